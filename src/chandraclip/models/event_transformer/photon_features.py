"""What photons' neighbours and whole lists say about the rate, at every time scale at once.

Local features are per photon: the good time to the photon k places on and k places back, for k = 1, 2, 4, ..., beside
what the mean rate of the list expects. List statistics are global: extremes of these, powers of the light curve at
dyadic scales and by octave of frequency, colours. Everything is worked out from the photons of the batch at hand, on
its device, so that a thinned copy has features of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chandraclip.models.event_transformer.photon_lists import UNKNOWN_BAND

NUM_CELLS_LOG2 = 12  # of the light curve whose powers are taken: 4,096 cells of the good time
NUM_ENERGY_BINS = 12  # from 0.3 to 10 keV
COLOUR_SCALE = 5.0  # of the roots of the shares, which scatter by .1 to .2 from source to source
NUM_COLOUR_SCALES = 4
FEWEST_CYCLES = 4  # of the peak of all octaves: fewer are red noise and flares
# Cells are set off by a little: photons at 1/2 of the good time would lie on an edge, on either side by rounding.
_CELL_OFFSET = 3.1e-4
_GOLDEN_RATIO = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True)
class PhotonLists:
    """Photons of B lists end to end, each in order of time.

    Attributes:
        values: (T, 3) float32 of the feature extractor: place in the span, share of the good time, scaled log energy.
        time: (T,) float64, s of good time before the photon.
        band: (T,) int64: 0, 1, 2, -1 outside of them, -2 not known.
        cu_seqlens: (B + 1,) int64.
        exposure, frame, share: (B,) float32: good time in s, readout frame in s, share of the photons that are here.
    """

    values: Tensor
    time: Tensor
    band: Tensor
    cu_seqlens: Tensor
    exposure: Tensor
    frame: Tensor
    share: Tensor

    @property
    def row(self) -> Tensor:
        """(T,) int64, the list of each photon."""
        return torch.repeat_interleave(self.cu_seqlens.diff(), output_size=len(self.values))

    @property
    def counts(self) -> Tensor:
        """(B,) int64."""
        return self.cu_seqlens.diff()

    def part(self, keep: Tensor, share: Tensor) -> PhotonLists:
        """The photons of `keep` (T,) bool, which are a share (B,) of these."""
        index = keep.nonzero()[:, 0]
        counts = torch.bincount(self.row[index], minlength=len(self.share))
        cu_seqlens = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return replace(
            self,
            values=self.values[index],
            time=self.time[index],
            band=self.band[index],
            cu_seqlens=cu_seqlens,
            share=self.share * share,
        )


def signed_root(number: Tensor, expected: Tensor) -> Tensor:
    """Signed root of the deviance of Poisson counts: how many sigma `number` is from `expected`, for any number."""
    log_ratio = (number.clamp(min=1e-6) / expected).log()
    deviance = 2.0 * (number * log_ratio - (number - expected))
    return torch.sign(number - expected) * deviance.clamp(min=0.0).sqrt()


def neighbour_features(lists: PhotonLists, num_scales: int) -> tuple[Tensor, Tensor, Tensor]:
    """The stretch of good time from each photon to the k-th after and before it, for k = 1, 2, ..., 2^(num_scales - 1).

    The photons of a frame lie anywhere in it: a stretch from one frame to another is as long as the frames it touches,
    so two photons of one frame are a frame apart and not a burst. Where a list ends before the k-th photon, the stretch
    goes to the end of the good time and has as many as there are.

    Returns:
        Four times (T, 2 num_scales), after and then before: log10 of the photons in the stretch (at least half a one)
        over those that the list's mean rate expects there; asinh of half the signed root of the deviance (about the
        significance in sigma); and, bool, whether the stretch ends at a photon.
    """
    step = 2 ** torch.arange(num_scales, device=lists.time.device)
    row, index = lists.row, torch.arange(len(lists.time), device=lists.time.device)
    first, last = lists.cu_seqlens[:-1][row, None], lists.cu_seqlens[1:][row, None] - 1
    exposure, frame = lists.exposure.double()[row, None], lists.frame.double()[row, None]
    time = lists.time[:, None]
    after = torch.minimum(index[:, None] + step, last)
    before = torch.maximum(index[:, None] - step, first)
    number = torch.cat([after - index[:, None], index[:, None] - before], dim=1)
    whole = number == step.repeat(2)
    ends = torch.cat([exposure - time, time], dim=1).repeat_interleave(num_scales, dim=1)
    between = torch.cat([lists.time[after] - time, time - lists.time[before]], dim=1) + frame
    length = torch.maximum(torch.where(whole, between, ends), 1e-9 * exposure)
    rate = (lists.counts / lists.exposure.double())[row, None]
    expected = (length * rate).to(lists.values)
    number = number.to(lists.values)
    log_ratio = (number.clamp(min=0.5) / expected).log10()
    return log_ratio, (0.5 * signed_root(number, expected)).asinh(), whole


def list_statistics(
    lists: PhotonLists, surprise: Tensor, whole: Tensor, spread_over_frames: bool = True, power_oversampling: int = 2
) -> Tensor:
    """What a list as a whole says: (B, `num_statistics`) float32 of unit order.

    log10 of the readout frame over the mean interval; shares of the photons in 12 bins of log energy, as square roots,
    and the share of photons whose energy is known; for each k the largest and the smallest surprise of a stretch that
    begins and ends with a photon; how much neighbouring cells of the light curve differ, at 12 dyadic scales of the
    good time, over what photon noise gives; the same for the mean log energy, at 4 scales; the highest peak of the
    power spectrum in each of 11 octaves, from one cycle in the good time, over what noise gives; and the largest and
    the smallest surprise at any k, and the highest peak from four cycles on.

    Args:
        surprise, whole: of `neighbour_features`.
        spread_over_frames: photons of the light curve lie all over their readout frames. Where they are recorded, at
            one time a frame, cells that hold two frames and cells that hold three beat against each other: of 1,400
            constant lists, the brightest had peaks of 77 times the noise.
        power_oversampling: frequencies whose power is looked at, a cycle in the good time. With 1 a pulsation between
            two of them loses up to six tenths of its power.
    """
    num_rows, num_scales = len(lists.share), surprise.shape[1] // 2
    counts = lists.counts.float()
    frames = lists.frame * lists.counts / lists.exposure
    # In float64: differences of sums follow, of which float32 would leave the rounding.
    known = (lists.band != UNKNOWN_BAND).double()
    row = lists.row
    in_row = known.new_zeros(num_rows).index_add(0, row, known)
    log10_energy = lists.values[:, 2] * 0.35 + 0.2
    place = (log10_energy - math.log10(0.3)) / math.log10(10.0 / 0.3) * NUM_ENERGY_BINS
    energy_bin = row * NUM_ENERGY_BINS + place.long().clamp(0, NUM_ENERGY_BINS - 1)
    histogram = known.new_zeros(num_rows * NUM_ENERGY_BINS).index_add(0, energy_bin, known)
    shares = (histogram.view(num_rows, -1) / in_row.clamp(min=1.0)[:, None]).sqrt()
    extremes = _extremes(surprise[:, :num_scales], whole[:, :num_scales], row, num_rows)
    *powers, peak = _light_curve_powers(lists, row, known, spread_over_frames, power_oversampling)
    parts = [
        (frames.clamp(min=1e-4)).log10()[:, None],
        COLOUR_SCALE * shares,
        (in_row / counts.clamp(min=1.0))[:, None],
        *extremes,
        *powers,
        extremes[0].amax(dim=1, keepdim=True),
        extremes[1].amin(dim=1, keepdim=True),
        peak,
    ]
    return torch.cat([part.to(lists.values) for part in parts], dim=1)


def num_statistics(num_scales: int) -> int:
    """Columns of `list_statistics`."""
    octaves = NUM_CELLS_LOG2 - 1
    return 1 + NUM_ENERGY_BINS + 1 + 2 * num_scales + NUM_CELLS_LOG2 + NUM_COLOUR_SCALES + octaves + 3


def _extremes(surprise: Tensor, whole: Tensor, row: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Largest and smallest of the (T, K) that are `whole`, a list each; 0 where none is."""
    index = row[:, None].expand_as(surprise)
    empty = surprise.new_zeros((num_rows, surprise.shape[1]))
    kept = torch.where(whole, surprise, torch.nan)
    high = empty.scatter_reduce(0, index, kept.nan_to_num(-torch.inf), "amax", include_self=False)
    low = empty.scatter_reduce(0, index, kept.nan_to_num(torch.inf), "amin", include_self=False)
    return torch.where(high.isfinite(), high, 0.0), torch.where(low.isfinite(), low, 0.0)


def _light_curve_powers(
    lists: PhotonLists, row: Tensor, known: Tensor, spread_over_frames: bool, oversampling: int
) -> list[Tensor]:
    num_rows, num_cells = len(lists.share), 1 << NUM_CELLS_LOG2
    time = lists.time
    if spread_over_frames:
        # Evenly by rank, without a draw: a list is spread alike in any batch.
        rank = torch.arange(len(row), device=row.device) - lists.cu_seqlens[:-1][row]
        time = time + lists.frame.double()[row] * ((rank * _GOLDEN_RATIO).remainder(1.0) - 0.5)
    place = time / lists.exposure.double()[row] * num_cells + _CELL_OFFSET
    cell = row * num_cells + place.long().clamp(0, num_cells - 1)
    energy = lists.values[:, 2] * known
    sums = known.new_zeros((3, num_rows * num_cells))
    sums = sums.index_add(1, cell, torch.stack([torch.ones_like(known), known, energy]))
    curve, measured, energies = sums.view(3, num_rows, num_cells)
    total = measured.sum(dim=1, keepdim=True).clamp(min=1.0)
    mean = energies.sum(dim=1, keepdim=True) / total
    scatter = known.new_zeros(num_rows).index_add(0, row, energy.square())[:, None] / total - mean.square()

    differences: list[Tensor] = []
    colours: list[Tensor] = []
    halves, weights, moments = curve, measured, energies
    for scale in range(NUM_CELLS_LOG2):  # from the shortest cells up
        pairs = halves.unflatten(1, (-1, 2))
        halves = pairs.sum(dim=2)
        inverse = 1.0 / halves.clamp(min=1.0)
        difference = pairs.diff(dim=2)[..., 0].square() * inverse - (halves > 0).to(halves)
        variance = 2.0 * ((halves > 0).to(halves) - inverse).clamp(min=0.0).sum(dim=1)
        differences.append((difference.sum(dim=1) / variance.clamp(min=1.0).sqrt()).asinh())
        weight, moment = weights.unflatten(1, (-1, 2)), moments.unflatten(1, (-1, 2))
        if scale >= NUM_CELLS_LOG2 - NUM_COLOUR_SCALES:
            both = (weight > 0).all(dim=2)
            gap = (moment / weight.clamp(min=1.0)).diff(dim=2)[..., 0].square()
            noise = scatter.clamp(min=1e-2) * (1.0 / weight.clamp(min=1.0)).sum(dim=2)
            excess = ((gap / noise - 1.0) * both).sum(dim=1) / (2.0 * both.sum(dim=1).clamp(min=1)).sqrt()
            colours.append(excess.asinh())
        weights, moments = weight.sum(dim=2), moment.sum(dim=2)

    number = curve.sum(dim=1, keepdim=True).clamp(min=1.0)
    if oversampling > 1:  # between whole cycles the mean rate has power, too
        curve = curve - curve.mean(dim=1, keepdim=True)
    spectrum = torch.fft.rfft(curve, n=oversampling * num_cells)[:, : oversampling * num_cells // 2]
    power = spectrum.abs().square() / number  # of unit mean for photon noise
    octaves = [
        (power[:, oversampling << octave : oversampling << (octave + 1)].amax(dim=1) - octave * math.log(2.0)).asinh()
        for octave in range(NUM_CELLS_LOG2 - 1)
    ]
    peak = (power[:, oversampling * FEWEST_CYCLES :].amax(dim=1) - math.log(num_cells / 2 - 1)).asinh()
    return [torch.stack(part, dim=1) for part in (differences, colours, octaves, [peak])]


def earlier_features(lists: PhotonLists) -> Tensor:
    """(T, 5) features of models of configuration version 2: `values`, and log10 of the good time since the photon
    before and until the next, in mean intervals, as `event_values` had them then."""
    share = (lists.time / lists.exposure.double()[lists.row]).clamp(max=1.0)
    row = lists.row
    first = row.diff(prepend=row.new_full((1,), -1)) > 0
    last = first.roll(-1)
    before = torch.where(first, share, share.diff(prepend=share.new_zeros(1)))
    after = torch.where(last, 1.0 - share, before.roll(-1))
    intervals = torch.stack([before, after], dim=1) * (lists.counts[row, None] + 1.0)
    return torch.cat([lists.values, intervals.clamp(min=1e-4).log10().to(lists.values)], dim=1)
