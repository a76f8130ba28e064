import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sparse
from scipy.optimize import brentq
from scipy.stats import chi2, poisson

from chandraclip.ogip import read_response
from chandraclip.simulate.emission.incident import powerlaw
from chandraclip.simulate.instrument.pileup import davis_counts, fold_with_pileup, pile_up_photons, pileup_fraction
from chandraclip.simulate.instrument.response import builtin_response

NUM_BINS = 128
EDGES = np.linspace(0.0, 12.8, NUM_BINS + 1)
CENTRE = 0.5 * (EDGES[1:] + EDGES[:-1])
EXPOSURE, FRAME_TIME = 5.0e4, 3.2


def hump(num_bins: int = NUM_BINS) -> np.ndarray:
    """A spectrum of one photon a frame, as an ARF shapes them: 0.5 to 8 keV, peak at 1.2 keV."""
    centre = (np.arange(num_bins) + 0.5) * 12.8 / num_bins
    shape = np.where((centre > 0.5) & (centre < 8.0), centre * np.exp(-centre / 1.2), 0.0)
    return shape / shape.sum()


def series(photons, exposure, alpha, fraction, cells, fractional_exposure, max_photons=30):
    """The formula term by term, with np.convolve and factorials; each photon more is shared between two bins."""
    per_cell = photons * fraction / (cells * fractional_exposure)
    total = per_cell.sum()
    recorded, power, probability = per_cell.copy(), per_cell / total, math.exp(-total) * (1.0 + total)
    further = np.convolve(per_cell / total, [0.5, 0.5])[: photons.size]
    for p in range(2, max_photons + 1):
        power = np.convolve(power, further)[: photons.size]
        recorded += alpha ** (p - 1) * total**p / math.factorial(p) * power
        probability += math.exp(-total) * total**p / math.factorial(p)
        if probability > 0.99999:
            break
    piled = cells * fractional_exposure * math.exp(-total) * recorded
    return exposure / FRAME_TIME * (piled + (1.0 - fraction) * photons)


def draw_photons(rng, photons_per_frame, num_frames):
    """Photons of steady spectra (D, B), frame by frame: detection, frame, energy; in no order within a detection."""
    counts = rng.poisson(photons_per_frame * num_frames)
    row, index = np.divmod(np.repeat(np.arange(counts.size), counts.ravel()), counts.shape[1])
    energy = EDGES[1] * (index + rng.random(index.size))
    return row, rng.integers(0, num_frames, row.size), energy


def test_agrees_with_the_formula_term_by_term():
    rows = [
        (0.01, 0.5, 0.95, 1.0, 0.987),
        (0.3, 1.0, 0.9, 2.5, 1.0),
        (2.0, 0.0, 1.0, 1.0, 0.6),
        (6.0, 0.7, 0.95, 3.0, 0.987),
        (12.0, 1.0, 1.0, 1.0, 1.0),  # most energies far above the grid: they must not wrap around
        (25.0, 0.8, 1.0, 1.0, 1.0),  # more than `max_photons`
    ]
    rate, alpha, fraction, cells, share = np.array(rows).T
    exposure = np.linspace(1e4, 6e4, len(rows))
    photons = hump() * rate[:, None]
    counts = davis_counts(photons, exposure, alpha, fraction, cells, FRAME_TIME, share)
    for row, expected in enumerate(zip(photons, exposure, alpha, fraction, cells, share)):
        direct = series(*expected)
        np.testing.assert_allclose(counts[row], direct, rtol=1e-9, atol=1e-9 * direct.sum())
    assert (counts >= 0).all()


def test_batched_is_row_by_row_and_broadcasts():
    rng = np.random.default_rng(0)
    photons = hump() * 10.0 ** rng.uniform(-3, 1, (3, 40, 1))
    alpha, fraction, cells = rng.random((3, 40)), rng.uniform(0.9, 1.0, 40), rng.uniform(1.0, 4.0, (3, 1))
    counts = davis_counts(photons, EXPOSURE, alpha, fraction, cells)
    for place in [(0, 0), (1, 20), (2, 39)]:
        one = davis_counts(photons[place], EXPOSURE, alpha[place], fraction[place[1]], cells[place[0], 0])
        np.testing.assert_allclose(counts[place], one, rtol=1e-9, atol=1e-9 * one.max())
    # one spectrum, many alphas
    many = davis_counts(hump(), EXPOSURE, alpha[0])
    np.testing.assert_allclose(many, davis_counts(np.tile(hump(), (40, 1)), EXPOSURE, alpha[0]), rtol=1e-12)


def test_without_flux_nothing_piles_up():
    faint = 1e-8 * hump()
    counts = davis_counts(faint, EXPOSURE, frame_time=FRAME_TIME)
    np.testing.assert_allclose(counts, faint * EXPOSURE / FRAME_TIME, rtol=1e-7, atol=1e-12)
    assert davis_counts(np.zeros((2, NUM_BINS)), EXPOSURE).sum() == 0.0
    assert pileup_fraction(0.0) == 0.0
    assert pileup_fraction(1e-8) == pytest.approx(0.5 * 0.5 * 0.95e-8 / 0.987, rel=1e-4)


def test_totals_are_those_of_the_closed_series():
    """sum_p alpha^(p-1) X^p / p! = (exp(alpha X) - 1) / alpha, on a grid that holds all energies."""
    rate, alpha = np.array([[0.05], [0.6], [3.0]]), np.array([0.3, 0.8])
    spectrum = np.concatenate([hump(), np.zeros(7 * NUM_BINS)])
    counts = davis_counts(spectrum * rate[..., None], EXPOSURE, alpha, 1.0, 2.0, FRAME_TIME, 0.9)
    per_cell = rate / (2.0 * 0.9)
    expected = EXPOSURE / FRAME_TIME * 2.0 * 0.9 * np.exp(-per_cell) * np.expm1(alpha * per_cell) / alpha
    # frames past the 99.999 % are left out
    np.testing.assert_allclose(counts.sum(axis=-1), expected, rtol=1e-4)
    assert (counts.sum(axis=-1) < expected).all()
    single = EXPOSURE / FRAME_TIME * rate * np.exp(-per_cell)
    np.testing.assert_allclose(pileup_fraction(rate, alpha, 1.0, 2.0, 0.9), 1.0 - single / expected, rtol=1e-10)


def test_energy_is_exact_when_every_event_is_good():
    """alpha = 1: events are fewer but hold all the energy, at the centres of their bins."""
    spectrum = np.concatenate([hump(), np.zeros(7 * NUM_BINS)])
    centre = EDGES[1] * (np.arange(spectrum.size) + 0.5)
    for rate in (0.1, 1.0, 3.0):
        counts = davis_counts(rate * spectrum, EXPOSURE, 1.0, 0.95, 1.0, FRAME_TIME, 1.0)
        # The series ends at P photons, and sum_{p<=P} p Poisson(p | X) = X Poisson(N <= P - 1 | X).
        last = next(p for p in range(2, 31) if poisson.cdf(p, 0.95 * rate) > 0.99999)
        kept = 0.05 + 0.95 * poisson.cdf(last - 1, 0.95 * rate)
        incident = rate * EXPOSURE / FRAME_TIME
        assert counts @ centre == pytest.approx(kept * incident * (spectrum @ centre), rel=1e-9)
        assert 0.999 < kept < 1.0
        assert counts.sum() < 0.98 * incident
    # A line: two photons share their sum between two bins; the unbiased place is the edge between them.
    line = np.zeros(NUM_BINS)
    line[20] = 0.5
    event = davis_counts(line, EXPOSURE, 1.0, 1.0, 1.0, FRAME_TIME, 1.0)
    assert event[40] == pytest.approx(event[41])
    assert event[[39, 42]].sum() < 1e-9 * event[40]


def test_pileup_hardens_and_grows_with_the_flux():
    rate = np.logspace(-3, 0.7, 30)
    counts = davis_counts(rate[:, None] * hump(), EXPOSURE, alpha=0.5, fraction=1.0)
    assert (np.diff(counts @ CENTRE / counts.sum(axis=1)) > 0).all()
    share = pileup_fraction(rate, alpha=0.5, fraction=1.0)
    assert (np.diff(share) > 0).all()
    assert 0.0 < share[0] < 1e-3
    assert share[-1] > 0.6
    # More cells, fewer photons in each.
    assert (pileup_fraction(rate, cells=3.0) < pileup_fraction(rate, cells=1.0)).all()


def test_without_grade_migration_only_single_photons_are_recorded():
    rate = np.array([0.01, 0.5, 2.0])
    counts = davis_counts(rate[:, None] * hump(), EXPOSURE, 0.0, 0.95, 1.0, FRAME_TIME, 1.0)
    expected = rate * (0.05 + 0.95 * np.exp(-0.95 * rate)) * EXPOSURE / FRAME_TIME
    np.testing.assert_allclose(counts, expected[:, None] * hump(), rtol=1e-12, atol=1e-12)
    assert (pileup_fraction(rate, alpha=0.0) == 0.0).all()


def test_count_rate_rises_and_falls():
    """d/dX of exp(-X) (exp(alpha X) - 1) vanishes at X = -ln(1 - alpha) / alpha: 1.386 for alpha = 1/2."""
    rate = np.linspace(0.02, 5.0, 250)
    counts = davis_counts(rate[:, None] * hump(1024), EXPOSURE, 0.5, 1.0, 1.0, FRAME_TIME, 1.0)
    total = counts.sum(axis=1)
    peak = rate[total.argmax()]
    assert peak == pytest.approx(2.0 * math.log(2.0), abs=0.05)
    assert (np.diff(total[rate < peak]) > 0).all()
    assert (np.diff(total[rate > peak]) < 0).all()


@pytest.mark.parametrize("cells", [1, 3])
def test_davis_is_the_expectation_of_the_photons(cells):
    """Spectrum by spectrum at pile-up fractions of 2, 15 and 50 %, and one with half of the frames dark."""
    rng = np.random.default_rng(cells)
    num_frames, fraction, share = 100_000, 0.95, np.array([1.0, 1.0, 1.0, 0.5])
    alpha = np.array([0.5, 0.6, 0.7, 0.6])
    rate = np.array(
        [
            brentq(lambda x, goal=goal, a=a, s=s: pileup_fraction(x, a, fraction, cells, s) - goal, 1e-3, 100.0)
            for goal, a, s in zip((0.02, 0.15, 0.50, 0.15), alpha, share)
        ]
    )
    photons = rate[:, None] * hump()
    row, frame, energy = draw_photons(rng, photons, num_frames)
    frame = np.floor(frame * share[row]).astype(np.int64)
    piled = pile_up_photons(rng, row, frame, energy, alpha, np.full(4, fraction), np.full(4, cells))

    wings = (1.0 - fraction) * photons * num_frames
    expected = davis_counts(photons, num_frames * FRAME_TIME, alpha, fraction, cells, FRAME_TIME, share)
    for number in range(4):
        of = piled.kept & (row == number)
        observed = np.histogram(piled.energy[of], EDGES)[0]
        # Each cell and frame gives one event or none, a multinomial; the wings are Poisson.
        trials = num_frames * cells * share[number]
        in_cell = (expected[number] - wings[number]) / trials
        covariance = trials * (np.diag(in_cell) - np.outer(in_cell, in_cell)) + np.diag(wings[number])
        used = expected[number] > 10.0
        deviation = (observed - expected[number])[used]
        statistic = deviation @ np.linalg.solve(covariance[np.ix_(used, used)], deviation)
        assert used.sum() > 60
        assert 1e-3 < chi2.sf(statistic, used.sum()) < 1.0 - 1e-3
        assert abs(deviation.sum()) < 3.5 * math.sqrt(covariance[np.ix_(used, used)].sum())
        # The share of events of several photons, the wings left out of the expectation.
        several = (piled.num_photons[of] > 1).sum()
        in_cells = of.sum() - wings[number].sum()
        predicted = pileup_fraction(rate[number], alpha[number], fraction, cells, share[number])
        assert several == pytest.approx(predicted * in_cells, abs=4.0 * math.sqrt(predicted * in_cells) + 1.0)


def test_sums_of_photons_lie_where_davis_puts_them_within_half_a_bin():
    """The mean energy of the events of several photons, closely enough to tell bin i + j from the edge above it."""
    rng = np.random.default_rng(5)
    photons = 2.0 * hump()[None]
    row, frame, energy = draw_photons(rng, photons, 200_000)
    piled = pile_up_photons(rng, row, frame, energy, np.ones(1), np.ones(1), np.ones(1))
    several = piled.energy[(piled.num_photons > 1) & (piled.energy < EDGES[-1])]
    counts = davis_counts(photons[0], 200_000 * FRAME_TIME, 1.0, 1.0, 1.0, FRAME_TIME, 1.0)
    multiple = counts - davis_counts(photons[0], 200_000 * FRAME_TIME, 0.0, 1.0, 1.0, FRAME_TIME, 1.0)
    mean, error = several.mean(), several.std() / math.sqrt(several.size)
    assert abs(mean - multiple @ CENTRE / multiple.sum()) < 3.0 * error
    assert 3.0 * error < 0.3 * EDGES[1]


def test_photons_merge_as_grouping_them_says():
    """Against a dictionary; frames in no order, far from zero; alpha = 1 loses no energy."""
    rng = np.random.default_rng(2)
    row = np.repeat([2, 0, 1], [400, 300, 0])
    frame = 10**9 + rng.integers(0, 150, row.size) * np.where(row == 2, 1, 1000)
    energy = rng.uniform(0.5, 8.0, row.size)
    piled = pile_up_photons(rng, row, frame, energy, np.ones(3), np.ones(3), np.ones(3))
    groups: dict[tuple[int, int], list[int]] = {}
    for number, key in enumerate(zip(row.tolist(), frame.tolist())):
        groups.setdefault(key, []).append(number)
    assert piled.kept.sum() == len(groups)
    for members in groups.values():
        assert piled.kept[members[0]]
        assert piled.num_photons[members[0]] == len(members)
        assert piled.energy[members[0]] == pytest.approx(energy[members].sum())
        assert not piled.kept[members[1:]].any()
    assert piled.num_photons.sum() == row.size
    assert piled.energy.sum() == pytest.approx(energy.sum())
    assert (piled.energy[~piled.kept] == 0).all()


def test_rows_have_their_own_alpha_fraction_and_cells():
    rng = np.random.default_rng(3)
    row = np.repeat(np.arange(4), 20_000)
    frame = rng.integers(0, 10_000, row.size)
    energy = np.ones(row.size)
    alpha, fraction = np.array([0.0, 1.0, 1.0, 0.5]), np.array([1.0, 0.0, 1.0, 0.6])
    piled = pile_up_photons(rng, row, frame, energy, alpha, fraction, np.array([1.0, 1.0, 2.4, 50.0]))
    largest = np.maximum.reduceat(piled.num_photons, np.flatnonzero(np.diff(row, prepend=-1)))
    assert largest[0] == 1  # alpha = 0
    assert piled.kept[row == 1].all()  # all in the wings
    assert largest[2] > 1
    share = np.array([(piled.num_photons[row == number] > 0).mean() for number in range(4)])
    # A frame of row 2 has Poisson(1) photons in each of two cells, of row 3 Poisson(0.024) in each of fifty.
    assert share[2] == pytest.approx(1.0 - math.exp(-1.0), abs=0.01)
    assert 0.97 < share[3] < 0.995
    # alpha = 0 keeps the frames of one photon: exp(-2)
    assert share[0] == pytest.approx(math.exp(-2.0), abs=0.01)


def test_photon_process_is_a_function_of_its_seed():
    rng = np.random.default_rng(4)
    row, frame, energy = np.repeat([0, 1], 500), rng.integers(0, 300, 1000), rng.random(1000)
    arguments = (row, frame, energy, np.full(2, 0.5), np.full(2, 0.9), np.full(2, 2.0))
    first, again = (pile_up_photons(np.random.default_rng(7), *arguments) for _ in range(2))
    for one, other in zip(first, again):
        np.testing.assert_array_equal(one, other)
    nothing = pile_up_photons(rng, row[:0], frame[:0], energy[:0], *arguments[3:])
    assert nothing.kept.size == nothing.energy.size == nothing.num_photons.size == 0


def flux_of(response, gamma: float = 1.7) -> np.ndarray:
    return powerlaw(response.energy_lo, response.energy_hi, np.array([gamma]))[0]


def test_fold_without_pileup_is_the_plain_fold():
    response = builtin_response()
    flux = 1e-11 * flux_of(response) * np.array([[1.0], [0.1]])
    np.testing.assert_allclose(fold_with_pileup(response, flux, 7e4), response.fold(flux) * 7e4, rtol=1e-6)
    # whatever the parameters, and where the grid of the response starts between bins of the uniform one
    shifted = replace(response, energy_lo=response.energy_lo + 0.0137, energy_hi=response.energy_hi + 0.0137)
    counts = fold_with_pileup(shifted, flux, 7e4, 0.3, 0.92, 2.5, 0.44104, 0.7)
    np.testing.assert_allclose(counts, shifted.fold(flux) * 7e4, rtol=1e-6)


def test_fold_on_an_uneven_grid_keeps_counts_and_energy():
    """Bins merged at random: the same spectrum piles up to the same counts and energy, but for the coarser bins."""
    response = builtin_response()
    flux = 3e-3 * flux_of(response)
    first = np.sort(np.random.default_rng(6).choice(np.arange(1, 450), 260, replace=False))
    first = np.concatenate([[0], first])
    detected = flux * response.arf
    weight = np.add.reduceat(detected, first)
    spread = np.add.reduceat(detected[:, None] * response.matrix.toarray(), first)
    merged = replace(
        response,
        energy_lo=response.energy_lo[first],
        energy_hi=np.append(response.energy_lo[first[1:]], response.energy_hi[-1]),
        arf=weight / np.add.reduceat(flux, first),
        matrix=sparse.csr_array(spread / weight[:, None]),
    )
    fine = fold_with_pileup(response, flux, 5e4)
    coarse = fold_with_pileup(merged, np.add.reduceat(flux, first), 5e4)
    assert fine.sum() < 0.8 * response.fold(flux).sum() * 5e4
    assert coarse.sum() == pytest.approx(fine.sum(), rel=1e-3)
    channel = 0.5 * (response.channel_energy_lo + response.channel_energy_hi)
    assert coarse @ channel / coarse.sum() == pytest.approx(fine @ channel / fine.sum(), rel=1e-2)


def test_fold_loses_only_what_lies_above_the_rmf():
    """alpha = 1, n = 1: the events missing from the RMF's range are those that the photons put there."""
    response = builtin_response()
    flux = np.zeros(450)
    flux[[100, 300]] = 2e-3  # 2.3 and 6.3 keV: a sum of two or three may be above 9.3 keV
    num_frames = 50_000
    counts = fold_with_pileup(response, flux, num_frames * FRAME_TIME, 1.0, 1.0, 1.0, FRAME_TIME, 1.0)
    rng = np.random.default_rng(8)
    expected = flux * response.arf * FRAME_TIME
    number = rng.poisson(expected * num_frames)
    energy = np.repeat(response.energy_lo, number) + 0.02 * rng.random(number.sum())
    frame = rng.integers(0, num_frames, energy.size)
    piled = pile_up_photons(rng, np.zeros(energy.size, int), frame, energy, np.ones(1), np.ones(1), np.ones(1))
    above = (piled.energy > response.energy_hi[-1]).sum()
    recorded = piled.kept.sum() - above
    assert above > 500
    assert counts.sum() == pytest.approx(recorded, abs=4.0 * math.sqrt(recorded))
    assert counts.sum() < piled.kept.sum() - 0.8 * above


def test_real_response_piles_up(real_data):
    """An ACIS-S response on its own grid: the plain limit, and a pile-up peak at twice a line's energy."""
    folder = real_data / "spectra" / "3c273_obs459"
    response = read_response(folder / "3c273.arf", folder / "3c273.rmf.gz")
    flux = 1e-10 * flux_of(response)
    plain = response.fold(flux) * 2e4
    np.testing.assert_allclose(fold_with_pileup(response, flux, 2e4), plain, rtol=1e-6, atol=1e-9 * plain.max())
    line = np.where((response.energy_lo > 1.99) & (response.energy_lo < 2.0), 2e-3, 0.0)
    counts = fold_with_pileup(response, line, 2e4, alpha=1.0)
    centre = 0.5 * (response.channel_energy_lo + response.channel_energy_hi)
    second = (centre > 3.0) & (centre < 4.9)
    assert centre[second][counts[second].argmax()] == pytest.approx(4.0, abs=0.06)


def test_arguments_are_checked():
    spectrum, ones = hump(), np.ones(1)
    for arguments in ({"alpha": 1.1}, {"fraction": -0.1}, {"cells": 0.0}, {"fractional_exposure": 0.0}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            davis_counts(spectrum, 1e4, **arguments)
        with pytest.raises(ValueError, match=next(iter(arguments))):
            pileup_fraction(1.0, **arguments)
    for photons in (-spectrum, np.full(4, np.nan), np.full(4, np.inf)):
        with pytest.raises(ValueError, match="photons a frame"):
            davis_counts(photons, 1e4)
    with pytest.raises(ValueError, match="exposure"):
        davis_counts(spectrum, -1.0)
    with pytest.raises(ValueError, match="frame_time"):
        davis_counts(spectrum, 1e4, frame_time=0.0)
    with pytest.raises(ValueError, match="max_photons"):
        davis_counts(spectrum, 1e4, max_photons=1)
    with pytest.raises(ValueError, match="450 bins"):
        fold_with_pileup(builtin_response(), np.ones(449), 1e4)
    two = np.ones(2)
    with pytest.raises(ValueError, match="stand together"):
        pile_up_photons(np.random.default_rng(0), np.array([0, 1, 0]), np.zeros(3, int), np.ones(3), two, two, two)
    with pytest.raises(ValueError, match="63 bits"):
        pile_up_photons(np.random.default_rng(0), np.zeros(2, int), np.array([0, 2**61]), np.ones(2), ones, ones, ones)
