"""What neighbours and whole lists say, against a loop over a few photons; and what must not look like a burst."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.models import EventFeatureExtractor
from chandraclip.models.event_transformer.event_encoder import photon_lists
from chandraclip.models.event_transformer.photon_features import (
    PhotonLists,
    list_statistics,
    neighbour_features,
    num_statistics,
)
from chandraclip.models.event_transformer.thinning import halves

SCALES = 4  # 1, 2, 4, 8


def lists_of(columns: dict[str, Any]) -> PhotonLists:
    return photon_lists(**EventFeatureExtractor()(columns))


def direct(time: np.ndarray, exposure: float, frame: float, place: int, step: int) -> tuple[float, float]:
    """Ratio and surprise of the stretch of `step` photons (backwards where negative) from one photon."""
    last = min(max(place + step, 0), len(time) - 1)
    number = abs(last - place)
    if number == abs(step):
        length = abs(time[last] - time[place]) + frame
    else:
        length = exposure - time[place] if step > 0 else time[place]
    expected = length * len(time) / exposure
    deviance = 2.0 * ((number * math.log(number / expected) if number else 0.0) - number + expected)
    sigma = math.copysign(math.sqrt(max(deviance, 0.0)), number - expected)
    return math.log10(max(number, 0.5) / expected), math.asinh(0.5 * sigma)


def test_neighbours_against_a_loop(columns: dict[str, Any]) -> None:
    lists = lists_of(columns)
    log_ratio, surprise, whole = neighbour_features(lists, SCALES)
    for row in (1, 2, 5, 7):
        begin, end = lists.cu_seqlens[row : row + 2].tolist()
        time, exposure = lists.time[begin:end].numpy(), float(lists.exposure[row])
        for place in range(0, end - begin, 3):
            for number, step in enumerate([1, 2, 4, 8, -1, -2, -4, -8]):
                expected = direct(time, exposure, float(lists.frame[row]), place, step)
                found = log_ratio[begin + place, number].item(), surprise[begin + place, number].item()
                assert found == pytest.approx(expected, abs=2e-4), (row, place, step)
                assert whole[begin + place, number] == (0 <= place + step < end - begin)


def test_two_photons_of_a_frame_are_no_burst_and_ten_are() -> None:
    rng = np.random.default_rng(0)
    frame = 3.24104
    steady = np.sort(np.round(rng.uniform(0.0, 3e4, 300) / frame) * frame)
    assert (np.diff(steady) == 0).any()
    burst = np.sort(np.append(steady[:-10], np.full(10, np.round(9e3 / frame) * frame)))
    both = {"event_time": [steady, burst], "gti_start": [[0.0]] * 2, "gti_stop": [[3e4]] * 2}
    lists = lists_of(both)
    assert lists.frame.tolist() == pytest.approx([frame, frame], rel=1e-4)
    _, surprise, whole = neighbour_features(lists, 10)
    sigma = 2.0 * surprise.sinh()
    quiet, loud = (sigma[slice(*lists.cu_seqlens[row : row + 2].tolist())] for row in (0, 1))
    assert quiet[:, 0].max() < 3.0  # an interval of 0 alone would be infinitely surprising
    assert loud[:, 3].max() > 6.0  # nine photons after the first of the ten
    statistics = list_statistics(lists, surprise, whole)
    assert statistics.shape == (2, num_statistics(10))
    highest = statistics[:, 14:24].amax(dim=1)
    assert highest[1] > highest[0] + 0.5


def test_statistics_of_known_lists() -> None:
    rng = np.random.default_rng(1)
    number, exposure = 2000, 3e4
    steady = np.sort(rng.uniform(0.0, exposure, number))
    half = np.sort(rng.uniform(0.0, exposure / 2, number))
    pulsed = np.sort(rng.uniform(0.0, exposure, 4 * number))
    pulsed = pulsed[rng.random(len(pulsed)) < 0.25 * (1 + np.cos(2 * np.pi * pulsed / 500.0))]  # 60 cycles
    turned = [np.where(time < exposure / 2, 0.8, 3.0) for time in (steady,)]
    rows = [steady, half, pulsed, steady]
    energy = [np.full(len(time), 1.0) for time in rows[:3]] + turned
    lists = lists_of(
        {"event_time": rows, "event_energy": energy, "gti_start": [[0.0]] * 4, "gti_stop": [[exposure]] * 4}
    )
    _, surprise, whole = neighbour_features(lists, SCALES)
    statistics = list_statistics(lists, surprise, whole)
    energies, known, dyadic, colour, octave = (
        statistics[:, begin:end] for begin, end in ((1, 13), (13, 14), (22, 34), (34, 38), (38, 49))
    )
    assert statistics.shape[1] == 52
    assert (known == 1.0).all()
    place = int(12 * math.log(1.0 / 0.3) / math.log(10.0 / 0.3))
    torch.testing.assert_close(energies[0], 5.0 * torch.eye(12)[place])
    # Noise stays near its mean; a light curve that fills one half has all its power at the longest scale.
    assert dyadic[0].abs().max() < 2.0
    assert dyadic[1].argmax() == 11
    assert dyadic[1, 11].item() == pytest.approx(math.asinh((number - 1) / math.sqrt(2 * (1 - 1 / number))), rel=1e-4)
    assert octave[2].argmax() == 5  # 32 to 63 cycles
    assert octave[2, 5] > octave[0].max() + 2.0
    best = statistics[:, 49:]
    torch.testing.assert_close(
        best[:, :2], torch.stack([statistics[:, 14:18].amax(1), statistics[:, 18:22].amin(1)], 1)
    )
    assert best[2, 2] > best[0, 2] + 2.0
    assert colour[0].max() < 0.0  # one energy: less than noise
    assert colour[3].argmax() == 3


def statistics_of(times: list[np.ndarray], exposure: float, **how: Any) -> torch.Tensor:
    number = len(times)
    lists = lists_of({"event_time": times, "gti_start": [[0.0]] * number, "gti_stop": [[exposure]] * number})
    _, surprise, whole = neighbour_features(lists, SCALES)
    return list_statistics(lists, surprise, whole, **how)


def test_frames_do_not_beat_against_the_cells_of_the_light_curve() -> None:
    """A bright constant list in frames of 3.24 s, of which a cell of 7.3 s holds two or three."""
    rng = np.random.default_rng(3)
    exposure, frame = 3e4, 3.24104
    steady = np.sort((rng.uniform(0.0, exposure, 6000) // frame + 0.5) * frame)
    steady = steady[steady < exposure]
    recorded, spread = (
        statistics_of([steady], exposure, spread_over_frames=way, power_oversampling=1)[0] for way in (False, True)
    )
    assert recorded[-1].sinh() > 30.0  # the highest peak, over what noise gives
    assert spread[-1].sinh() < 5.0
    assert spread[22:34].abs().max() < 3.0  # nor does it leave anything at dyadic scales


def test_a_pulsation_between_two_frequencies_keeps_its_power() -> None:
    rng = np.random.default_rng(4)
    exposure = 3e4
    time = np.sort(rng.uniform(0.0, exposure, 4000))
    chance = rng.random(len(time))
    pulsed = [time[chance < 0.5 * (1 + 0.4 * np.cos(2 * np.pi * cycles * time / exposure))] for cycles in (60.0, 60.5)]
    peak = {samples: statistics_of(pulsed, exposure, power_oversampling=samples)[:, -1].sinh() for samples in (1, 2)}
    assert peak[2][0] == pytest.approx(peak[1][0].item(), rel=0.1)
    assert peak[1][1] < 0.6 * peak[1][0]
    assert peak[2][1] > 0.8 * peak[2][0]


@pytest.mark.parametrize("samples", [1, 2])
def test_powers_are_those_of_the_light_curve(samples: int) -> None:
    """Sampled once (version 3) or twice a cycle, against the sum over cells; also for one photon, and for none."""
    rng = np.random.default_rng(5)
    exposure, number = 1e4, 300
    time = np.sort(rng.uniform(0.0, exposure, number))
    found = statistics_of([time, time[:1], time[:0]], exposure, spread_over_frames=False, power_oversampling=samples)
    assert found.isfinite().all()
    cell = np.floor(time / exposure * 4096 + 3.1e-4)
    for octave in (0, 3):
        cycles = np.arange(samples << octave, samples << (octave + 1)) / samples
        phase = np.exp(-2j * np.pi * cycles[:, None] * cell / 4096)
        window = np.exp(-2j * np.pi * cycles[:, None] * np.arange(4096) / 4096).sum(axis=1) * number / 4096
        power = np.abs(phase.sum(axis=1) - window) ** 2 / number
        expected = math.asinh(power.max() - octave * math.log(2.0))
        assert found[0, 38 + octave].item() == pytest.approx(expected, rel=1e-4)


def test_halves_are_the_lists_own_and_share_all_photons(columns: dict[str, Any]) -> None:
    batch = EventFeatureExtractor()(columns)
    lists, draw = photon_lists(**batch), torch.tensor(0.3)
    one, two = halves(lists, batch["event_key"], draw, 0.1)
    assert torch.equal(one.counts + two.counts, lists.counts)
    assert torch.equal(torch.cat([one.time, two.time]).sort().values, lists.time.sort().values)
    torch.testing.assert_close(one.share + two.share, torch.ones(8))
    assert ((one.share > 0.0999) & (one.share < 0.9001)).all()
    bright = 6
    assert one.counts[bright].item() == pytest.approx(400 * one.share[bright].item(), abs=4 * 10)
    # The same whatever the batch, and others with another draw.
    alone = EventFeatureExtractor()({name: column[bright : bright + 1] for name, column in columns.items()})
    part, _ = halves(photon_lists(**alone), alone["event_key"], draw, 0.1)
    begin, end = one.cu_seqlens[bright : bright + 2].tolist()
    torch.testing.assert_close(part.time, one.time[begin:end])
    other, _ = halves(lists, batch["event_key"], torch.tensor(0.31), 0.1)
    assert other.counts.tolist() != one.counts.tolist()


def test_shares_are_spread_over_lists_and_draws() -> None:
    number = 4000
    columns = {"event_time": [np.array([float(row)]) for row in range(1, number + 1)]}
    batch = EventFeatureExtractor()(columns)
    one, _ = halves(photon_lists(**batch), batch["event_key"], torch.tensor(0.7), 0.1)
    place = (torch.logit(one.share) / math.log(9.0)).sort().values  # even from -1 to 1
    assert (place - torch.linspace(-1, 1, number)).abs().max() < 0.06  # Kolmogorov-Smirnov
