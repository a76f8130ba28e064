"""Variability that is put into training lists, so that the latents learn its kinds whatever the data have of them.

A burst or a flare moves some of a list's photons in time, a dip or an eclipse and a pulsation leave some out: energies
stay as they are, so that nothing but the course in time tells. What is planted, and where, is a function of the list
and of the batch's one draw, as its thinning is (`thinning.py`).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from chandraclip.models.draws import keyed_uniforms
from chandraclip.models.event_transformer.photon_features import PhotonLists

NOTHING, BURST, FLARE, DIP, PULSATION = range(5)
NUM_KINDS = 5
MIN_PHOTONS = 12  # of a list that something is planted in: a burst has 5 on average or more, a pulsation leaves half
BURST_SECONDS = (1.0, 60.0)  # of a burst's decay, evenly in the log
FLARE_SHARE = (0.005, 0.12)  # of a flare's decay, of the good time
DIP_SHARE = (0.05, 0.3)  # of a dip's length
CYCLES = (4.0, 400.0)  # of a pulsation in the good time
FIRST_STREAM = 10  # of the draws; the thinning has those before
LONGEST_DECAYS = 6.0  # of a burst that is kept, e-folding times


def plant(
    lists: PhotonLists, key: Tensor, draw: Tensor, share: float, good_time: tuple[Tensor, Tensor]
) -> tuple[PhotonLists, Tensor, Tensor]:
    """Plant something in a share of the lists.

    Args:
        lists: B whole lists.
        key: (B,) int64, a hash of each list.
        draw: scalar in [0, 1), of the whole batch.
        share: of the lists that get something, in equal parts a burst, a flare, a dip (an eclipse where it is total)
            and a pulsation.
        good_time: event_gti (G, 2) and event_gti_row (G,) of the feature extractor.

    Returns:
        The lists, with fewer photons where some are left out; (B,) int64 kind; (B,) log10 of its time scale (decay,
        length or period) over the good time, 0 where there is nothing.
    """
    row = lists.row
    numbers = torch.arange(1, 7, device=key.device)
    which, scale, place, strength, phase, more = keyed_uniforms(key[:, None], draw, numbers, FIRST_STREAM).unbind(dim=1)
    kind = torch.where(which < share, 1 + (which / share * 4).long().clamp(max=3), NOTHING)
    kind = torch.where(lists.counts >= MIN_PHOTONS, kind, NOTHING)
    exposure = lists.exposure
    frame = torch.maximum(lists.frame, 1e-7 * exposure)

    def between(ends: tuple[float, float], uniform: Tensor) -> Tensor:
        return ends[0] * (ends[1] / ends[0]) ** uniform

    burst = (torch.maximum(between(BURST_SECONDS, scale) / exposure, frame / exposure)).clamp(max=FLARE_SHARE[1])
    length = torch.stack(
        [torch.ones_like(scale), burst, between(FLARE_SHARE, scale), between(DIP_SHARE, scale),
         1.0 / between(CYCLES, scale)]
    ).gather(0, kind[None])[0]  # fmt: skip

    rank = torch.arange(len(row), device=row.device) - lists.cu_seqlens[:-1][row] + 1
    chosen, late = (keyed_uniforms(key[row], draw, rank, FIRST_STREAM + stream) for stream in (1, 2))
    time = (lists.time / exposure.double()[row]).clamp(0.0, 1.0)
    of_kind, of_length = kind[row], length[row]
    # Bursts: the photons of a share, at exponential delays from the onset.
    least = 5.0 / lists.counts.clamp(min=1)
    moved_share = torch.maximum(least, 0.1 + 0.6 * strength)[row]
    moved = ((of_kind == BURST) | (of_kind == FLARE)) & (chosen < moved_share)
    onset = place * (1.0 - length)
    delay = -torch.log(late).clamp(min=-LONGEST_DECAYS) * of_length
    after = onset[row] + delay
    after = torch.where(after > 1.0, onset[row] + late * (1.0 - onset[row]), after).double()
    # Into frames as the list's own photons lie in them, or their times alone would tell which were moved.
    has_photons = lists.counts > 0
    first = torch.zeros_like(exposure, dtype=torch.float64)
    first[has_photons] = time[lists.cu_seqlens[:-1][has_photons]]
    in_frames = (frame / exposure).double()
    begin = first.remainder(in_frames)[row]
    in_frames = in_frames[row]
    time = torch.where(moved, (((after - begin) / in_frames).round() * in_frames + begin).clamp(0.0, 1.0), time)
    # Dips and pulsations: photons are left out, of a dip all of them half of the time.
    inside = (time - (place * (1.0 - length))[row]).float()
    depth = torch.where(more < 0.5, 1.0, 0.6 + 0.4 * strength)[row]
    left_out = (of_kind == DIP) & (inside > 0) & (inside < of_length) & (chosen < depth)
    cycle = torch.cos(2.0 * math.pi * (time / of_length + phase[row]).float())
    left_out |= (of_kind == PULSATION) & (chosen > 0.5 * (1.0 + (0.5 + 0.5 * strength)[row] * cycle))

    place_in_span = torch.where(moved, places_of(time, row, *good_time), lists.values[:, 0].double())
    values = torch.stack([place_in_span.float(), time.float(), lists.values[:, 2]], dim=1)
    order = time.argsort(stable=True)
    order = order[row[order].argsort(stable=True)]
    planted = replace(lists, values=values[order], time=(time * exposure.double()[row])[order], band=lists.band[order])
    planted = planted.part(~left_out[order], torch.ones_like(lists.share))
    return planted, kind, torch.where(kind == NOTHING, 0.0, length.log10())


def places_of(share: Tensor, row: Tensor, gti: Tensor, gti_row: Tensor) -> Tensor:
    """(K,) places in the span where shares (K,) of the good time of lists (K,) have elapsed.

    Args:
        gti: (G, 2) good time intervals in [0, 1], in order, at least one a list.
        gti_row: (G,) int64, non-decreasing.
    """
    length = (gti[:, 1] - gti[:, 0]).clamp(min=0.0)
    number = int(gti_row[-1]) + 1
    total = length.new_zeros(number).index_add(0, gti_row, length).clamp(min=1e-12)
    before = length.cumsum(0) - length
    first = torch.searchsorted(gti_row, torch.arange(number, device=row.device))
    begins = ((before - before[first][gti_row]) / total[gti_row]).clamp(0.0, 1.0)
    interval = torch.searchsorted(2.0 * gti_row + begins, 2.0 * row + share, right=True) - 1
    return (gti[interval, 0] + (share - begins[interval]) * total[row]).clamp(0.0, 1.0)
