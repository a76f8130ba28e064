import numpy as np
import pytest

from chandraclip.simulate.variability.epochs import (
    CALIBRATION_SCATTER,
    DECAY,
    FLARES,
    LONG_TERM_KINDS,
    RED_NOISE,
    STATES,
    STEADY,
    Epochs,
    draw_epochs,
    epochs_of_flux,
)


def draw(kind: int, amplitude: float, days: tuple[float, ...], num_sources: int = 20_000, seed: int = 0) -> Epochs:
    """Sources of one kind, all looked at on the same days; `by_source` gives a row a source."""
    source, mjd = np.repeat(np.arange(num_sources), len(days)), np.tile(np.array(days) + 55_000.0, num_sources)
    num_rows = len(source)
    return draw_epochs(np.random.default_rng(seed), source, mjd, np.full(num_rows, kind), np.full(num_rows, amplitude))


def by_source(values: np.ndarray, days: tuple[float, ...]) -> np.ndarray:
    return values.reshape(-1, len(days))


def test_steady_sources_differ_by_the_calibration_alone() -> None:
    epochs = draw(STEADY, 0.7, (0.0, 1.0, 500.0))
    assert epochs.log_flux.mean() == pytest.approx(0.0, abs=4.0 * 0.02 / np.sqrt(60_000))
    assert epochs.log_flux.std() == pytest.approx(0.02, rel=0.02)
    assert np.corrcoef(by_source(epochs.log_flux, (0.0,) * 3).T)[0, 1] == pytest.approx(0.0, abs=0.03)
    np.testing.assert_array_equal(epochs.gamma_shift, 0.0)
    np.testing.assert_array_equal(epochs.kt_factor, 1.0)


@pytest.mark.parametrize("amplitude", [0.1, 0.35])
def test_red_noise_scatters_by_its_amplitude_about_the_typical_flux(amplitude: float) -> None:
    days = (0.0, 3.0, 900.0)
    log_flux = by_source(draw(RED_NOISE, amplitude, days).log_flux, days)
    expected = np.hypot(amplitude, CALIBRATION_SCATTER)
    np.testing.assert_allclose(log_flux.mean(axis=0), 0.0, atol=4.0 * expected / np.sqrt(len(log_flux)))
    np.testing.assert_allclose(log_flux.std(axis=0), expected, rtol=0.03)  # as much at every epoch: stationary
    kurtosis = (log_flux**4).mean() / (log_flux**2).mean() ** 2
    assert kurtosis == pytest.approx(3.0, abs=0.15)  # log-normal in flux


def test_red_noise_forgets_in_200_days() -> None:
    days = (0.0, 20.0, 220.0, 1220.0)
    log_flux = by_source(draw(RED_NOISE, 1.0, days).log_flux, days)
    correlation = np.corrcoef(log_flux.T)
    for first in range(4):
        for second in range(first):
            expected = np.exp(-(days[first] - days[second]) / 200.0)
            assert correlation[first, second] == pytest.approx(expected, abs=0.03)
    # A source knows nothing of the one before it, whose last epoch stands right before its first.
    assert np.corrcoef(log_flux[:-1, 3], log_flux[1:, 0])[0, 1] == pytest.approx(0.0, abs=0.03)


@pytest.mark.parametrize("amplitude", [0.6, 0.9])
def test_states_are_two_as_likely_and_their_ratio_apart(amplitude: float) -> None:
    log_flux = draw(STATES, amplitude, (0.0, 100.0)).log_flux
    high = log_flux > 0
    assert high.mean() == pytest.approx(0.5, abs=4.0 * 0.5 / np.sqrt(40_000 / 2))
    assert log_flux[high].mean() - log_flux[~high].mean() == pytest.approx(amplitude, abs=1e-3)
    for state in (high, ~high):
        assert log_flux[state].std() == pytest.approx(CALIBRATION_SCATTER, rel=0.05)


def test_states_are_left_at_a_rate_of_one_in_150_days() -> None:
    days = (0.0, 15.0, 90.0, 390.0, 5000.0)
    high = by_source(draw(STATES, 1.0, days).log_flux, days) > 0
    for number, gap in enumerate(np.diff(days)):
        left = (high[:, number] != high[:, number + 1]).mean()
        assert left == pytest.approx(0.5 * (1.0 - np.exp(-2.0 * gap / 150.0)), abs=4.0 * 0.5 / np.sqrt(20_000))
    assert (high[:, 0] != high[:, 1]).mean() == pytest.approx(15.0 / 150.0, abs=0.02)  # one way, in a short time
    np.testing.assert_allclose(high.mean(axis=0), 0.5, atol=0.015)


def test_flares_are_caught_now_and_then_and_typically_of_their_amplitude() -> None:
    amplitude = 0.45
    epochs = draw(FLARES, amplitude, (0.0, 100.0, 200.0))
    log_flux = epochs.log_flux
    # An exponential in dex, cut where it stands clear of the calibration: memoryless, so the mean tells all of it.
    clear = log_flux > 0.1
    assert clear.mean() == pytest.approx(0.12 * np.exp(-0.1 / amplitude), abs=0.006)
    assert (log_flux[clear] - 0.1).mean() == pytest.approx(amplitude, rel=0.06)
    quiet = log_flux < 0.0
    assert log_flux.min() > -6.0 * CALIBRATION_SCATTER  # never below quiescence
    assert np.sqrt((log_flux[quiet] ** 2).mean()) == pytest.approx(CALIBRATION_SCATTER, rel=0.03)
    caught = by_source(clear, (0.0,) * 3)
    assert (caught[:, 0] & caught[:, 1]).mean() == pytest.approx(clear.mean() ** 2, abs=0.003)  # each on its own


def test_decay_falls_from_epoch_to_epoch_as_time_to_the_minus_five_thirds() -> None:
    """(1 + t / t0)^(-5/3) to the power of -3/5 is a straight line, whose slope is 1 / t0 = 1 / (100 d x amplitude)."""
    days = (0.0, 300.0, 900.0, 3000.0)
    for amplitude in (0.5, 1.0, 2.0):
        log_flux = by_source(draw(DECAY, amplitude, days, 4000).log_flux, days)
        assert (np.diff(log_flux, axis=1) < 0).mean() > 0.999  # but for the calibration
        line = 10.0 ** (-0.6 * log_flux)
        slope = np.diff(line, axis=1) / np.diff(days)
        np.testing.assert_allclose(slope.mean(axis=0), 1.0 / (100.0 * amplitude), rtol=0.02)
        # The peak is not after the first look, nor more than a year before it.
        since_peak = (line[:, 0] - 1.0) * 100.0 * amplitude
        assert np.percentile(since_peak, [1, 99]) == pytest.approx([8.6, 361.4], abs=20.0)
        assert since_peak.mean() == pytest.approx(185.0, rel=0.03)
        assert log_flux.max() < 4.0 * CALIBRATION_SCATTER


def test_every_source_of_a_decay_keeps_its_own_peak() -> None:
    """Sources one after another in the table: no epoch is reckoned from another source's start."""
    rng = np.random.default_rng(3)
    number = rng.integers(1, 6, 2000)
    source = np.repeat(np.arange(2000), number)
    mjd = rng.uniform(52_000, 59_000, source.size)
    mjd = mjd[np.lexsort([mjd, source])]
    epochs = draw_epochs(rng, source, mjd, np.full(source.size, DECAY), np.ones(source.size))
    start = np.maximum.accumulate(np.where(np.diff(source, prepend=-1) > 0, np.arange(source.size), 0))
    assert (mjd[start] < mjd).sum() > 3000
    early, late = (-5.0 / 3.0 * np.log10(1.0 + (mjd - mjd[start] + days) / 100.0) for days in (5.0, 365.0))
    assert (epochs.log_flux < early + 5.0 * CALIBRATION_SCATTER).all()
    assert (epochs.log_flux > late - 5.0 * CALIBRATION_SCATTER).all()
    # One peak a source: what its epochs' places between the two say of it is the same, but for the calibration.
    since_peak = 100.0 * (10.0 ** (-0.6 * epochs.log_flux) - 1.0) - (mjd - mjd[start])
    next_day = np.flatnonzero((np.diff(source) == 0) & (np.diff(mjd) < 300.0) & (mjd[1:] - mjd[start[1:]] < 300.0))
    assert next_day.size > 50
    assert np.corrcoef(since_peak[next_day], since_peak[next_day + 1])[0, 1] > 0.95


def test_spectra_change_with_the_flux_as_each_kind_has_it() -> None:
    days = (0.0, 200.0, 400.0)
    noise, states = draw(RED_NOISE, 0.3, days), draw(STATES, 1.0, days)
    for epochs in (noise, states):  # softer when brighter, and no hotter
        assert np.corrcoef(epochs.log_flux, epochs.gamma_shift)[0, 1] > 0.95
        np.testing.assert_array_equal(epochs.kt_factor, 1.0)
    # Low and hard to high and soft: 1.7 to 2.4 in Remillard & McClintock (2006), a little less here.
    high = states.log_flux > 0
    assert states.gamma_shift[high].mean() - states.gamma_shift[~high].mean() == pytest.approx(0.6, abs=0.02)
    flares, decay = draw(FLARES, 0.5, days), draw(DECAY, 1.0, days)
    for epochs in (flares, decay):
        np.testing.assert_array_equal(epochs.gamma_shift, 0.0)
    bright = (flares.log_flux > 0.1) & (flares.log_flux < 1.5)
    assert np.polyfit(flares.log_flux[bright], np.log10(flares.kt_factor[bright]), 1)[0] == pytest.approx(0.3)
    near = decay.log_flux > -2.0
    np.testing.assert_allclose(decay.kt_factor[near], 10.0 ** (0.25 * decay.log_flux[near]))  # T^4: a constant area


@pytest.mark.parametrize("kind", range(len(LONG_TERM_KINDS)), ids=LONG_TERM_KINDS)
def test_spectra_stay_within_bounds_however_bright(kind: int) -> None:
    log_flux = np.array([-8.0, -0.2, 0.0, 0.2, 8.0])
    epochs = epochs_of_flux(log_flux, np.full(5, kind))
    np.testing.assert_array_equal(epochs.log_flux, log_flux)
    assert np.abs(epochs.gamma_shift).max() <= 0.4
    assert ((epochs.kt_factor >= 0.3) & (epochs.kt_factor <= 4.0)).all()
    assert (epochs.gamma_shift[2], epochs.kt_factor[2]) == (0.0, 1.0)
    assert (np.diff(epochs.gamma_shift) >= 0).all()
    assert (np.diff(epochs.kt_factor) >= 0).all()


@pytest.mark.parametrize("kind", range(len(LONG_TERM_KINDS)), ids=LONG_TERM_KINDS)
def test_same_seed_same_epochs(kind: int) -> None:
    one, two, other = (draw(kind, 0.5, (0.0, 50.0, 80.0), 100, seed) for seed in (5, 5, 6))
    for name in ("log_flux", "gamma_shift", "kt_factor"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.log_flux != other.log_flux).all()


def test_each_row_changes_as_its_own_kind_does() -> None:
    """All kinds in one table; the first rows of a source have no epoch before them."""
    num_rows = 5 * 4000
    source, kind = np.arange(num_rows), np.arange(num_rows) % 5
    epochs = draw_epochs(np.random.default_rng(7), source, np.full(num_rows, 55_000.0), kind, np.full(num_rows, 0.8))
    log_flux = [epochs.log_flux[kind == number] for number in range(5)]
    assert log_flux[STEADY].std() == pytest.approx(0.02, rel=0.05)
    assert log_flux[RED_NOISE].std() == pytest.approx(0.8, rel=0.05)
    np.testing.assert_allclose(np.abs(log_flux[STATES]), 0.4, atol=0.1)
    assert np.median(log_flux[FLARES]) == pytest.approx(0.0, abs=0.01)
    assert log_flux[DECAY].max() < 0.1
    assert np.median(log_flux[DECAY]) < -0.5


def test_one_epoch_and_none_at_all_will_do() -> None:
    nothing, index = np.zeros(0), np.zeros(0, int)
    assert draw_epochs(np.random.default_rng(0), index, nothing, index, nothing).log_flux.shape == (0,)
    one = draw_epochs(np.random.default_rng(0), np.zeros(1, int), np.full(1, 55e3), np.full(1, RED_NOISE), np.ones(1))
    assert np.isfinite(one.log_flux).all()
