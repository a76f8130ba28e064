"""From spectra to recorded events: observe, photons, exposures and detector together, against what must come out."""

import numpy as np
import pytest
import scipy.sparse as sparse
from numpy.typing import ArrayLike
from scipy import stats

from chandraclip.catalog.ragged import Ragged
from chandraclip.ogip.response import Response
from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.emission.spectra import SpectrumParameters
from chandraclip.simulate.instrument.area import ENERGY, ENERGY_HI, ENERGY_LO, INSTRUMENTS, effective_area
from chandraclip.simulate.instrument.detector import (
    FOCUSED_SHARE,
    FRAME_TIME,
    GRADE_MIGRATION,
    BadColumns,
    GoodTime,
    background_shape,
    draw_good_time,
)
from chandraclip.simulate.instrument.exposures import Rates, Recorded, _pile_up, record
from chandraclip.simulate.instrument.photons import draw_channels, draw_energies
from chandraclip.simulate.instrument.pileup import fold_with_pileup
from chandraclip.simulate.instrument.redistribution import CHANNEL_EDGES, redistribution_matrix
from chandraclip.simulate.instrument.response import Instrument, builtin_instrument
from chandraclip.simulate.observe import Sight, look
from chandraclip.simulate.population.observations import Observations
from chandraclip.simulate.population.sources import Sources
from chandraclip.simulate.variability.epochs import Epochs
from chandraclip.simulate.variability.kinds import CONSTANT, PULSATION, VARIABILITY_KINDS, Variable, draw_variability
from chandraclip.simulate.variability.light_curves import LightCurves

ERG = 1.602176634e-9  # of a keV
LIVE = {False: 3.2 / 3.24104, True: 1.0 - 0.04104 / (3.24104 / 8)}  # share of a frame; by whether in a sub-array
CHANNEL = 0.5 * (CHANNEL_EDGES[1:] + CHANNEL_EDGES[:-1])
SEEN = [redistribution_matrix(name).toarray() * ((CHANNEL >= 0.3) & (CHANNEL < 10.0)) for name in INSTRUMENTS]
GAPS = ((0, 2000), (2600, 5000), (7000, 10_000))  # frames; good ones, of 10,000


def frames_good(intervals: tuple[tuple[int, int], ...], num_rows: int, subarray: bool = False) -> GoodTime:
    padded = intervals + ((intervals[-1][1],) * 2,) * (4 - len(intervals))
    edges = np.tile(FRAME_TIME * np.array(padded, dtype=float), (num_rows, 1, 1))
    return GoodTime(edges[..., 0], edges[..., 1], np.full(num_rows, FRAME_TIME / (8 if subarray else 1)))


def columns_at(offset: np.ndarray, blur: float = 1e-3, phase: float = 0.0) -> BadColumns:
    """NaN: no bad column."""
    return BadColumns(offset, *(np.full(len(offset), value) for value in (blur, 1000.0, phase)))


def no_columns(num_rows: int) -> BadColumns:
    return columns_at(np.full(num_rows, np.nan))


def steady_rates(spectra: np.ndarray, background: float = 0.0) -> Rates:
    num_rows, num_bins = spectra.shape
    nothing = draw_variability(np.random.default_rng(0), *np.zeros((4, num_rows)))
    empty = np.zeros((0, num_bins))
    return Rates(spectra, nothing, empty, empty, np.full(num_rows, background))


def hump(rate: float = 1.0) -> np.ndarray:
    """A spectrum of `rate` photons/s behind the area; few of its photons sum to more than the 9.3 keV of the grid."""
    shape = ENERGY * np.exp(-ENERGY / 0.5)
    return rate * shape / shape.sum()


def ideal_detector(area: np.ndarray) -> Instrument:
    """Channels are the energy bins, and no photon lands in another's; the same area for all detections."""
    response = Response(ENERGY_LO, ENERGY_HI, np.ones(450), sparse.csr_array(sparse.eye(450)), ENERGY_LO, ENERGY_HI)
    return Instrument((response,) * 2, lambda instrument, theta, mjd: np.tile(area, (len(theta), 1)), ("ideal",) * 2)


def run(
    rates: Rates, good_time: GoodTime, seed: int = 0, pileup: bool = False, theta: float = 0.0, number: ArrayLike = 1
) -> Recorded:
    """`number`: of the instrument; S3 where it does not matter."""
    num_rows = len(rates.background)
    rng = np.random.default_rng(seed)
    where = np.full(num_rows, theta)
    number = np.broadcast_to(number, num_rows)
    return record(rng, rates, builtin_instrument(), number, good_time, where, no_columns(num_rows), pileup)


def rows_of(column: Ragged) -> np.ndarray:
    return np.repeat(np.arange(len(column)), np.diff(column.offsets))


def powerlaws(gamma: np.ndarray, nh: np.ndarray) -> SpectrumParameters:
    zero, none, missing = np.zeros(len(gamma)), np.full(len(gamma), -1), np.full(len(gamma), np.nan)
    return SpectrumParameters(
        zero.astype(int), gamma, missing, none, missing, missing, zero, nh, zero, zero + 1.0, zero, zero
    )


def see(
    observations: Observations,
    spectrum: SpectrumParameters,
    good_time: GoodTime,
    instrument: Instrument,
    kind: int = CONSTANT,
    strength: float = 1.0,
    period: float = np.nan,
) -> Sight:
    """Each observation is of a source of its own, as bright as it is on average, without bad columns."""
    num_rows = len(observations.source)
    parts = {name: np.zeros(num_rows) for name in Sources.__dataclass_fields__} | {"spectrum": spectrum}
    parts |= {"kind": np.full(num_rows, kind)}
    parts |= {"strength": np.full(num_rows, strength), "period": np.full(num_rows, period)}
    usual = Epochs(np.zeros(num_rows), np.zeros(num_rows), np.ones(num_rows))
    active = np.ones(num_rows, bool)
    rng = np.random.default_rng(9)
    return look(rng, Sources(**parts), observations, usual, instrument, good_time, no_columns(num_rows), active)


def p_value(observed: np.ndarray, expected: np.ndarray) -> float:
    """Of a larger chi-square of Poisson numbers about exact expectations; near 1 they scatter too little."""
    assert expected.min() > 15
    return float(stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), expected.size))


# --- how many photons, where in energy -------------------------------------------------------------------------------


def test_counts_are_flux_times_area_times_live_time() -> None:
    """Each detection and each channel is Poisson about an expectation written down here."""
    num_rows, rng = 500, np.random.default_rng(1)
    exposure, subarray = 10.0 ** rng.uniform(3.5, 5.0, num_rows), rng.random(num_rows) < 0.3
    theta, mjd, instrument = rng.uniform(0, 12, num_rows), rng.uniform(51500, 59500, num_rows), np.arange(num_rows) % 2
    gamma, nh = rng.uniform(0.5, 3.0, num_rows), 10.0 ** rng.uniform(0, 2.5, num_rows)
    good_time = draw_good_time(rng, exposure, subarray, instrument)
    assert (good_time.duration > 1.01 * (good_time.stop - good_time.start).sum(axis=1)).sum() > 100  # have gaps
    observations = Observations(np.arange(num_rows), theta, exposure, mjd, instrument, subarray, subarray)
    sight = see(observations, powerlaws(gamma, nh), good_time, builtin_instrument())

    index = 1.0 - gamma[:, None]
    photons = (ENERGY_HI**index - ENERGY_LO**index) / index * transmission(ENERGY, nh)
    broad = (ENERGY > 0.5) & (ENERGY < 7.0)
    photons /= ERG * (photons * ENERGY)[:, broad].sum(axis=1, keepdims=True)  # 1 erg/s/cm2 in 0.5-7 keV
    detected = 0.9 * photons * effective_area(instrument, theta, mjd)  # of the PSF, in the aperture
    frame = np.where(subarray, np.where(instrument == 1, 0.4, 0.5), FRAME_TIME)
    live = (good_time.stop - good_time.start).sum(axis=1) * (1.0 - 0.04104 / frame)
    flux = 10.0 ** rng.uniform(1.5, 2.7, num_rows) / (detected.sum(axis=1) * live)
    expected = np.zeros((num_rows, CHANNEL.size))
    for number, seen in enumerate(SEEN):
        rows = instrument == number
        expected[rows] = (detected * (flux * live)[:, None])[rows] @ seen

    recorded = run(sight.rates(flux, np.zeros(num_rows)), good_time, number=instrument)
    assert 1e-4 < p_value(recorded.counts.sum(axis=1), expected.sum(axis=1)) < 0.9999
    groups = np.arange(21, 600, 3)
    in_groups = [np.add.reduceat(counts.sum(axis=0)[:600], groups) for counts in (recorded.counts, expected)]
    bright = in_groups[1] > 20
    assert bright.sum() > 150
    assert 1e-4 < p_value(in_groups[0][bright], in_groups[1][bright]) < 0.9999
    for number in (0, 1):  # and each instrument through its own matrix
        rows = instrument == number
        in_groups = [np.add.reduceat(part[rows].sum(axis=0)[:600], groups) for part in (recorded.counts, expected)]
        bright = in_groups[1] > 20
        assert 1e-4 < p_value(in_groups[0][bright], in_groups[1][bright]) < 0.9999
    # What the sight promises is what was worked out, and linear in flux.
    np.testing.assert_allclose(sight.counts_per_flux * flux * live, (detected * (flux * live)[:, None]).sum(axis=1))
    np.testing.assert_allclose(sight.rates(3.0 * flux, flux).steady, 3.0 * sight.rates(flux, flux).steady)


@pytest.mark.parametrize("kind", range(len(VARIABILITY_KINDS)), ids=VARIABILITY_KINDS)
def test_the_photons_carry_the_flux_whatever_the_light_curve(kind: int) -> None:
    """An ideal detector of 100 cm2 in 0.5-7 keV collects energy: flux times area times live time, gaps or not."""
    num_rows, rng = 120, np.random.default_rng(2)
    good_time = frames_good(GAPS, num_rows)
    detector = ideal_detector(np.where((ENERGY > 0.5) & (ENERGY < 7.0), 100.0, 0.0))
    zero = np.zeros(num_rows)
    observations = Observations(np.arange(num_rows), zero, zero, zero, zero.astype(int), zero > 0, zero > 0)
    spectrum = powerlaws(rng.uniform(1.0, 2.5, num_rows), rng.uniform(1.0, 60.0, num_rows))
    # A long period does not average out over the good time, and is not meant to.
    sight = see(observations, spectrum, good_time, detector, kind, 0.8, 50.0 if kind == PULSATION else np.nan)
    assert len(sight.variable.row) == (0 if kind == CONSTANT else num_rows)
    live = 7400 * FRAME_TIME * LIVE[False]
    flux = 10.0 ** rng.uniform(2.0, 3.0, num_rows) * 2.0 * ERG / (100.0 * live)
    rates = sight.rates(flux, zero)
    recorded = record(rng, rates, detector, zero, good_time, zero, no_columns(num_rows), pileup=False)
    row, energy = rows_of(recorded.energy), recorded.energy.values
    collected, scatter = (np.bincount(row, ERG * energy**power, num_rows) for power in (1, 2))
    deviation = (collected - flux * 100.0 * live) / np.sqrt(ERG * scatter)
    assert deviation.mean() == pytest.approx(0.0, abs=4.0 / np.sqrt(num_rows))
    assert deviation.std() == pytest.approx(1.0, abs=0.3)
    counts = np.bincount(row, minlength=num_rows)
    assert 1e-4 < p_value(counts, sight.counts_per_flux * flux * live) < 0.9999


def test_off_axis_sources_lose_counts_most_of_all_hard_ones() -> None:
    """10' off axis, 0.87 of the area is left at 1.5 keV and 0.72 at 6.4 keV."""
    num_rows = 2
    good_time, zero = frames_good(GAPS, num_rows), np.zeros(2)
    observations = Observations(np.arange(2), np.array([0.0, 10.0]), zero, zero, zero.astype(int), zero > 0, zero > 0)
    sight = see(observations, powerlaws(zero, zero), good_time, builtin_instrument())
    recorded = run(sight.rates(np.full(2, 4.0e-10), zero), good_time)
    for energy, left in ((1.5, 0.87), (6.4, 0.72)):
        near = np.abs(CHANNEL - energy) < 0.3
        axis, off = recorded.counts[:, near].sum(axis=1)
        assert axis > 20_000
        assert off / axis == pytest.approx(left, abs=0.03)
    assert recorded.counts[1].sum() < 0.9 * recorded.counts[0].sum()


def test_dead_time_is_an_eighth_of_the_rows_times_worse() -> None:
    """41 ms of transfer a frame: 1.3 % of a whole frame, 10 % of a sub-array's."""
    for source, background in ((10.0, 0.0), (0.0, 10.0)):
        counts = []
        for subarray in (False, True):
            good_time = frames_good(GAPS, 1, subarray)
            counts.append(run(steady_rates(hump(source)[None], background), good_time).counts.sum())
            assert good_time.livetime[0] == pytest.approx(7400 * FRAME_TIME * LIVE[subarray])
        assert counts[1] / counts[0] == pytest.approx(LIVE[True] / LIVE[False], abs=0.012)
    assert LIVE[True] / LIVE[False] == pytest.approx(0.910, abs=0.001)


# --- when ------------------------------------------------------------------------------------------------------------


def test_photons_and_background_come_evenly_in_good_time_and_never_outside() -> None:
    good_time = frames_good(GAPS, 300)
    for rates in (steady_rates(np.tile(hump(5e-3), (300, 1))), steady_rates(np.zeros((300, 450)), 5e-3)):
        time = run(rates, good_time).time.values
        number = np.array([((time > start) & (time < stop)).sum() for start, stop in FRAME_TIME * np.array(GAPS)])
        assert number.sum() == time.size > 30_000
        assert stats.chisquare(number, time.size * np.array([2000, 2400, 3000]) / 7400).pvalue > 1e-4
        gone = np.array([0.0, 600.0, 2600.0])[np.searchsorted([2000, 5000], time / FRAME_TIME)]  # frames in gaps before
        assert stats.kstest((time / FRAME_TIME - gone) / 7400, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("subarray", [False, True])
def test_times_are_the_middles_of_readout_frames(subarray: bool) -> None:
    recorded = run(steady_rates(hump(2.0)[None]), frames_good(((0, 1000),), 1, subarray))
    frame_time = 3.24104 / 8 if subarray else 3.24104
    frame = recorded.time.values / frame_time - 0.5
    np.testing.assert_allclose(frame, np.round(frame), atol=1e-6)
    num_frames = 8000 if subarray else 1000
    number = np.bincount(np.round(frame).astype(int), minlength=num_frames)
    assert number.size == num_frames
    # Photons of one frame share its time: a Poisson number of them.
    mean = recorded.time.values.size / number.size
    assert mean == pytest.approx(2.0 * frame_time * LIVE[subarray], rel=0.06)
    assert number.var() / mean == pytest.approx(1.0, abs=5.0 * np.sqrt(2.0 / number.size))
    assert (np.diff(recorded.time.values) >= 0).all()


def test_each_spectrum_follows_its_own_light_curve() -> None:
    """A soft line fades, a hard one rises, and what is between the intervals of good time is missing in both."""
    good_time = frames_good(GAPS, 1)
    end = good_time.duration[0]
    still = (np.full(1, np.inf), np.zeros(1), np.zeros(1))
    curves = [LightCurves(np.array([[0.0, end]]), np.array([rate]), *still) for rate in ([1.0, 0.0], [0.0, 1.0])]
    spectra = np.where(np.abs(ENERGY - np.array([[1.0], [5.0]])) < 0.011, 2.0, 0.0)
    variable = Variable(np.zeros(1, int), np.ones(1, int), *curves)
    recorded = run(Rates(np.zeros((1, 450)), variable, spectra[:1], spectra[1:], np.zeros(1)), good_time)
    time, soft = recorded.time.values, recorded.energy.values < 2.0
    edges = FRAME_TIME * np.concatenate([np.linspace(start, stop, 11) for start, stop in GAPS])
    good = np.arange(32) % 11 != 10
    middle, width = 0.5 * (edges[1:] + edges[:-1]) / end, np.diff(edges) * LIVE[False]
    lines = spectra.sum(axis=1)
    for chosen, expected in ((soft, lines[0] * (1.0 - middle) * width), (~soft, lines[1] * middle * width)):
        observed = np.histogram(time[chosen], edges)[0]
        assert observed[~good].sum() == 0
        assert 1e-4 < p_value(observed[good], expected[good]) < 0.9999


# --- background and bad columns --------------------------------------------------------------------------------------


def test_background_comes_in_its_expected_amount_with_or_without_a_source() -> None:
    num_rows, rate = 400, 3.0e-3
    good_time = frames_good(GAPS, num_rows)
    recorded = run(steady_rates(np.zeros((num_rows, 450)), rate), good_time)
    live = 7400 * FRAME_TIME * LIVE[False]
    broad = (CHANNEL >= 0.5) & (CHANNEL < 7.0)
    assert 1e-4 < p_value(recorded.counts[:, broad].sum(axis=1), np.full(num_rows, rate * live)) < 0.9999
    # Off band, too: channels as the background's spectrum has them.
    expected = np.add.reduceat(num_rows * rate * live * background_shape(CHANNEL_EDGES), np.arange(0, 1024, 8))
    observed = np.add.reduceat(recorded.counts.sum(axis=0), np.arange(0, 1024, 8))
    used = expected > 0
    assert observed[~used].sum() == 0
    assert 1e-4 < p_value(observed[used], expected[used]) < 0.9999
    # Nothing else is recorded, and nothing of it is in the pile-up fraction.
    assert (recorded.pileup_fraction == 0).all()
    both = run(steady_rates(np.tile(hump(4.0e-3), (num_rows, 1)), rate), good_time, seed=1)
    source = run(steady_rates(np.tile(hump(4.0e-3), (num_rows, 1))), good_time, seed=2)
    sums = [result.counts.sum() for result in (both, source, recorded)]
    assert sums[0] == pytest.approx(sums[1] + sums[2], abs=4.0 * np.sqrt(2.0 * sums[0]))


@pytest.mark.parametrize(
    ("offset", "lost"),
    [(0.0, 2.0 * np.arcsin(1 / 16.3) / np.pi), (16.3, np.arccos(15.3 / 16.3) / np.pi)],
    ids=["middle", "turn"],
)
def test_a_bad_column_takes_its_share_of_the_dither_from_source_and_background(offset: float, lost: float) -> None:
    """Two pixels wide: 3.9 % of the sine's time in its middle, 11 % at its turn, where the source lingers."""
    good_time = frames_good(((0, 10_000),), 2)
    broken = columns_at(np.array([np.nan, offset]))
    for rates in (steady_rates(np.tile(hump(6.0), (2, 1))), steady_rates(np.zeros((2, 450)), 6.0)):
        rng, on_s, axis = np.random.default_rng(3), np.ones(2), np.zeros(2)
        recorded = record(rng, rates, builtin_instrument(), on_s, good_time, axis, broken, pileup=False)
        whole, rest = recorded.counts.sum(axis=1)
        assert 1.0 - rest / whole == pytest.approx(lost, abs=4.0 * np.sqrt(2.0 / whole))
        # Lost when the pattern passes over it, and only then.
        phase = (recorded.time.values[rows_of(recorded.time) == 1] / 1000.0) % 1.0
        number = np.histogram(phase, np.linspace(0.0, 1.0, 251))[0]
        crossing = (0, 125) if offset == 0.0 else (60, 62, 64)  # of 250; the turn is at 62.5
        assert number[list(crossing)].max() < 0.02 * np.median(number)
        assert number.min() == number[list(crossing)].min()
        assert (number < 0.5 * np.median(number)).mean() == pytest.approx(lost, abs=0.02)
    assert broken.exposed_share()[0] == 1.0


def test_a_blurred_source_is_dimmed_by_a_bad_column_but_never_gone() -> None:
    good_time = frames_good(((0, 10_000),), 1)
    recorded = record(
        np.random.default_rng(4),
        steady_rates(hump(6.0)[None]),
        builtin_instrument(),
        np.ones(1),
        good_time,
        np.zeros(1),
        columns_at(np.zeros(1), blur=4.0),
        pileup=False,
    )
    number = np.histogram((recorded.time.values / 1000.0) % 1.0, np.linspace(0.0, 1.0, 251))[0]
    over_the_middle = stats.norm.cdf(1.0 / 4.0) - stats.norm.cdf(-1.0 / 4.0)
    measured = 1.0 - number[[0, 125, 249]].mean() / number[50:75].mean()
    assert measured == pytest.approx(over_the_middle, abs=0.06)


# --- pile-up ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("theta", "cells"), [(0.0, 1), (5.0, 12)])
@pytest.mark.parametrize("photons_per_frame", [0.05, 0.4, 1.5])
def test_piled_up_spectra_are_those_of_davis(photons_per_frame: float, theta: float, cells: int) -> None:
    """The cells off axis: 0.7 of a circle of 3.5 arcsec in squares of 3 x 3 pixels of 0.492 arcsec."""
    num_rows = 20
    good_time = frames_good(GAPS, num_rows)
    live_frame = FRAME_TIME * LIVE[False]
    flux = hump(photons_per_frame / live_frame)
    recorded = run(steady_rates(np.tile(flux, (num_rows, 1))), good_time, pileup=True, theta=theta)
    davis = fold_with_pileup(
        builtin_instrument().responses[1],
        flux,
        num_rows * 7400 * live_frame,
        alpha=GRADE_MIGRATION,
        fraction=FOCUSED_SHARE,
        cells=cells,
        frame_time=live_frame,
        fractional_exposure=1.0,
    )
    davis[CHANNEL < 0.3] = 0.0
    total = recorded.counts.sum()
    assert total == pytest.approx(davis.sum(), abs=4.0 * np.sqrt(total))
    groups = np.arange(21, 630, 3)
    observed, expected = (np.add.reduceat(part[:630], groups) for part in (recorded.counts.sum(axis=0), davis))
    used = expected > 20
    assert used.sum() > 40
    assert p_value(observed[used], expected[used]) > 1e-4

    # Of those events, the share of more than one photon, the wings' single ones included.
    per_cell = FOCUSED_SHARE * photons_per_frame / cells
    alone = FOCUSED_SHARE * photons_per_frame * np.exp(-per_cell)
    core = cells * np.exp(-per_cell) * np.expm1(GRADE_MIGRATION * per_cell) / GRADE_MIGRATION
    wings = (1.0 - FOCUSED_SHARE) * photons_per_frame
    piled = (core - alone) / (core + wings)
    assert recorded.pileup_fraction.mean() == pytest.approx(piled, abs=4.0 * np.sqrt(piled / total) + 0.01 * piled)


def test_a_sub_array_piles_up_an_eighth() -> None:
    rate, num_rows = 0.4 / (FRAME_TIME * LIVE[False]), 60
    whole, eighth = (
        run(steady_rates(np.tile(hump(rate), (num_rows, 1))), frames_good(GAPS, num_rows, subarray), pileup=True)
        for subarray in (False, True)
    )
    photons = 0.4 * LIVE[True] / LIVE[False] / 8  # a frame
    core, wings = FOCUSED_SHARE * photons, (1.0 - FOCUSED_SHARE) * photons
    pairs = 0.5 * GRADE_MIGRATION * core**2 * np.exp(-core) * (1.0 + GRADE_MIGRATION * core / 3.0)  # and triples
    expected = pairs / (core * np.exp(-core) + pairs + wings)
    scatter = np.sqrt(expected / eighth.counts.sum())
    assert eighth.pileup_fraction.mean() == pytest.approx(expected, abs=4.0 * scatter + 0.01 * expected)
    assert eighth.pileup_fraction.mean() < 0.14 * whole.pileup_fraction.mean()


def test_without_pileup_counts_are_in_proportion_to_the_rate() -> None:
    rate = np.array([0.05, 0.5, 5.0])
    good_time = frames_good(GAPS, 3)
    rates = steady_rates(hump() * rate[:, None])
    recorded, piled = (run(rates, good_time, pileup=on) for on in (False, True))
    expected = rate * 7400 * FRAME_TIME * LIVE[False] * (hump() @ SEEN[1]).sum()
    assert 1e-4 < p_value(recorded.counts.sum(axis=1), expected) < 0.9999
    assert (recorded.pileup_fraction == 0).all()
    mean = recorded.counts @ CHANNEL / recorded.counts.sum(axis=1)
    seen = hump() @ SEEN[1]
    np.testing.assert_allclose(mean, seen @ CHANNEL / seen.sum(), atol=0.05)  # no harder if bright
    assert piled.counts[2].sum() < 0.1 * recorded.counts[2].sum()  # 16 photons a frame: hardly a good grade


def test_only_photons_that_share_a_frame_pile_up() -> None:
    """However low the mean rate: a burst in 200 of 30,000 frames, beside photons that have a frame each."""
    alone, burst = np.arange(1000), np.repeat(2000 + np.arange(200), 4)
    frame = np.concatenate([alone, burst])
    energy = np.full(frame.size, 1.5)
    good_time = frames_good(((0, 30_000),), 1)
    row, left, energy, number = _pile_up(
        np.random.default_rng(0), np.zeros(frame.size, np.int64), frame, energy, np.zeros(1), good_time
    )
    single = np.isin(left, alone)
    assert single.sum() == 1000
    assert (number[single] == 1).all()
    assert (energy[single] == 1.5).all()
    assert (row == 0).all()
    assert (~single).sum() < 500
    assert number[~single].max() > 1


# --- photon by photon ------------------------------------------------------------------------------------------------


def test_energies_follow_each_spectrum_and_none_comes_where_it_is_zero() -> None:
    edges = np.array([0.5, 0.7, 1.0, 2.0, 2.5, 6.0])
    detected = np.array([[1.0, 0.0, 2.0, 4.0, 1.0], [0.0, 0.0, 0.0, 0.0, 9.0], [5.0, 1e-3, 0.0, 0.0, 0.0]])
    row = np.repeat([0, 1, 2], [40_000, 1000, 40_000])
    number = np.bincount(row)
    energy = draw_energies(np.random.default_rng(5), detected, number, edges[:-1], edges[1:])
    assert draw_energies(np.random.default_rng(5), np.zeros((2, 5)), np.zeros(2, int), edges[:-1], edges[1:]).size == 0
    for number in range(3):
        observed = np.histogram(energy[row == number], edges)[0]
        share = detected[number] / detected[number].sum()
        assert observed[share == 0].sum() == 0
        assert number == 1 or stats.chisquare(observed[share > 0], observed.sum() * share[share > 0]).pvalue > 1e-4
    wide = energy[(row == 0) & (energy > 1.0) & (energy < 2.0)]
    assert stats.kstest(wide - 1.0, "uniform").pvalue > 1e-4


def test_channels_follow_the_rows_of_the_matrix_and_lose_what_these_lose() -> None:
    """Rows of three energies: one whole, one that loses 30 %, one of no channel at all."""
    dense = np.array([[0.2, 0.5, 0.3, 0.0], [0.0, 0.1, 0.0, 0.6], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    lo, channel = np.array([1.0, 2.0, 3.0, 4.0]), np.arange(4.0)
    response = Response(lo, lo + 1.0, np.ones(4), sparse.csr_array(dense), channel, channel + 1.0)
    energy = np.repeat([1.5, 2.5, 3.5, 4.5], 20_000)
    drawn = draw_channels(np.random.default_rng(6), response, energy).reshape(4, -1)
    for number in range(4):
        expected = np.append(1.0 - dense[number].sum(), dense[number]) * 20_000
        observed = np.bincount(drawn[number] + 1, minlength=5)
        some = expected > 1e-6
        assert observed[~some].sum() == 0
        np.testing.assert_allclose(observed[some], expected[some], atol=4.0 * np.sqrt(5000.0))
    outside = draw_channels(np.random.default_rng(6), response, np.array([0.9, 5.0, 5.1, 1.0]))
    np.testing.assert_array_equal(outside[:3], -1)
    assert outside[3] in (0, 1, 2)


def test_a_row_above_one_keeps_its_shape() -> None:
    dense = np.array([[0.25, 0.5, 0.27]])
    response = Response(
        np.ones(1), np.full(1, 2.0), np.ones(1), sparse.csr_array(dense), np.arange(3.0), np.arange(1.0, 4.0)
    )
    drawn = draw_channels(np.random.default_rng(7), response, np.full(50_000, 1.5))
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 50_000, dense[0] / dense.sum(), atol=0.01)


def test_same_seed_same_events_and_no_rate_no_events() -> None:
    rates, good_time = steady_rates(np.tile(hump(0.05), (5, 1)), 0.01), frames_good(GAPS, 5)
    one, two, other = (run(rates, good_time, seed, pileup=True) for seed in (7, 7, 8))
    for name in ("time", "energy"):
        np.testing.assert_array_equal(getattr(one, name).values, getattr(two, name).values)
    assert not np.array_equal(one.counts, other.counts)
    nothing = run(steady_rates(np.zeros((5, 450))), good_time, pileup=True)
    assert nothing.time.values.size == nothing.counts.sum() == 0
    np.testing.assert_array_equal(nothing.time.offsets, np.zeros(6))
    np.testing.assert_array_equal(nothing.pileup_fraction, np.zeros(5))
