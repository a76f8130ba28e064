import numpy as np
import pytest

from chandraclip.data.schema import ACIS_CHANNEL_WIDTH
from chandraclip.simulate.detector import (
    FIRST_CHANNEL,
    FRAME_TIME,
    LAST_CHANNEL,
    LIVE_SHARE,
    aperture_area,
    background_shape,
    draw_background,
    draw_good_time,
    record_events,
)
from chandraclip.simulate.variability import CONSTANT, FLARE, RateShape

EXPOSURE = np.tile([1000.0, 20_000.0, 90_000.0], 300)


@pytest.fixture
def good_time():
    return draw_good_time(np.random.default_rng(0), EXPOSURE)


def test_good_time_adds_up_to_the_exposure(good_time):
    total = (good_time.stop - good_time.start).sum(axis=1)
    np.testing.assert_allclose(total, EXPOSURE, atol=FRAME_TIME)
    np.testing.assert_allclose(good_time.livetime, LIVE_SHARE * total)
    assert pytest.approx(0.98734, abs=1e-5) == LIVE_SHARE


def test_intervals_are_in_order_disjoint_and_start_at_zero(good_time):
    start, stop = good_time.ragged()
    np.testing.assert_array_equal(start.offsets, stop.offsets)
    first = start.offsets[:-1]
    np.testing.assert_array_equal(start.values[first], 0.0)
    assert (stop.values > start.values).all()
    later = np.ones(start.values.size, dtype=bool)
    later[first] = False
    assert (start.values[later] - stop.values[np.flatnonzero(later) - 1] > 250.0).all()
    number = np.diff(start.offsets)
    assert number.min() == 1
    assert number.max() == 4
    assert 0.6 < (number == 1).mean() < 0.8


def test_background_grows_with_aperture_and_time():
    rng = np.random.default_rng(0)
    theta = np.repeat([0.0, 10.0], 4000)
    expected, ratio = draw_background(rng, np.zeros(8000, np.int64), theta, np.full(8000, 5.0e4))
    near, far = np.median(expected[:4000]), np.median(expected[4000:])
    assert far / near == pytest.approx(aperture_area(10.0) / aperture_area(0.0), rel=0.1)
    assert ((ratio > 0) & (ratio <= 0.2)).all()


def test_background_shape_is_per_band_count():
    shape = background_shape()
    energy = ACIS_CHANNEL_WIDTH * (np.arange(1024) + 0.5)
    assert shape[(energy >= 0.5) & (energy < 7.0)].sum() == pytest.approx(1.0)
    assert shape[: FIRST_CHANNEL - 1].sum() == 0.0
    assert shape[LAST_CHANNEL:].sum() == 0.0
    gold = shape[np.abs(energy - 2.14) < 0.02].mean()
    assert gold > 1.3 * shape[np.abs(energy - 2.6) < 0.05].mean()


def test_events_are_the_photons_of_the_spectrum():
    rng = np.random.default_rng(1)
    num_rows = 30
    good_time = draw_good_time(rng, np.full(num_rows, 3.0e4))
    counts = np.zeros((num_rows, 1024), dtype=np.int64)
    counts[:, FIRST_CHANNEL:LAST_CHANNEL] = rng.poisson(0.3, (num_rows, LAST_CHANNEL - FIRST_CHANNEL))
    counts[3] = 0
    ones = np.ones(num_rows)
    shape = RateShape(
        np.where(np.arange(num_rows) % 2, FLARE, CONSTANT), 5 * ones, 1e4 * ones, 2e3 * ones, np.inf * ones
    )
    time, energy = record_events(rng, counts, shape, np.full(counts.shape, 0.1), good_time)
    np.testing.assert_array_equal(np.diff(time.offsets), counts.sum(axis=1))
    np.testing.assert_array_equal(time.offsets, energy.offsets)
    assert energy.values.dtype == np.float32
    row = np.repeat(np.arange(num_rows), np.diff(time.offsets))
    channel = np.floor(energy.values.astype(np.float64) / ACIS_CHANNEL_WIDTH).astype(int)
    np.testing.assert_array_equal(np.bincount(1024 * row + channel, minlength=counts.size), counts.ravel())
    # in order, in good time, on the frames
    assert (np.diff(time.values)[np.diff(row) == 0] >= 0).all()
    inside = (time.values[:, None] > good_time.start[row]) & (time.values[:, None] < good_time.stop[row])
    assert inside.any(axis=1).all()
    np.testing.assert_allclose(time.values / FRAME_TIME % 1.0, 0.5, atol=1e-6)
