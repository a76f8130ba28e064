import numpy as np
import pytest

from chandraclip.simulate.instrument.detector import (
    BAD_COLUMN_SHARE,
    EVENT_BAND,
    FRAME_TIME,
    MAX_INTERVALS,
    TRANSFER_TIME,
    background_shape,
    draw_background,
    draw_bad_columns,
    draw_good_time,
    pileup_cells,
)
from chandraclip.simulate.instrument.response import CHANNEL_EDGES


def test_good_time_adds_up_to_the_exposure_in_whole_frames():
    exposure = np.linspace(2e3, 1e5, 500)
    subarray = np.arange(500) % 2 == 0
    on_s = np.arange(500) % 3 == 0
    good = draw_good_time(np.random.default_rng(0), exposure, subarray, on_s.astype(int))
    assert good.start.shape == (500, MAX_INTERVALS)
    total = (good.stop - good.start).sum(axis=1)
    np.testing.assert_allclose(total, exposure, atol=FRAME_TIME)
    frame = np.where(subarray, np.where(on_s, 0.4, 0.5), FRAME_TIME)
    np.testing.assert_array_equal(good.frame_time, frame)
    np.testing.assert_allclose(total / frame, np.round(total / frame), atol=1e-6)
    assert (good.start[:, 0] == 0).all()
    assert (good.start[:, 1:] >= good.stop[:, :-1]).all()
    np.testing.assert_allclose(good.livetime, total * (1.0 - TRANSFER_TIME / frame))


def test_times_in_gaps_are_told_from_good_ones():
    good = draw_good_time(np.random.default_rng(1), np.full(200, 3e4), np.zeros(200, bool), np.zeros(200, int))
    rng = np.random.default_rng(2)
    row = np.repeat(np.arange(200), 300)
    time = good.duration[row] * rng.random(row.size)
    inside = ((time[:, None] >= good.start[row]) & (time[:, None] < good.stop[row])).any(axis=1)
    np.testing.assert_array_equal(good.contains(row, time), inside)
    assert 0.005 < 1.0 - inside.mean() < 0.2


def test_bad_columns_lose_what_the_exposure_map_says():
    columns = draw_bad_columns(np.random.default_rng(3), np.full(4000, 2.0))
    there = np.flatnonzero(np.isfinite(columns.offset))
    assert there.size / 4000 == pytest.approx(BAD_COLUMN_SHARE, abs=0.01)
    share = columns.exposed_share()
    assert (share[np.isnan(columns.offset)] == 1.0).all()
    rng = np.random.default_rng(4)
    row = np.repeat(there, 4000)
    lost = columns.lost(rng, row, rng.uniform(0, 5e4, row.size))
    measured = 1.0 - lost.reshape(there.size, 4000).mean(axis=1)
    np.testing.assert_allclose(measured, share[there], atol=0.03)
    assert share[there].min() < 0.95


def test_background_is_normalised_to_the_broad_band_and_has_its_lines():
    shape = background_shape(CHANNEL_EDGES)
    energy = 0.5 * (CHANNEL_EDGES[1:] + CHANNEL_EDGES[:-1])
    assert shape[(energy >= 0.5) & (energy < 7.0)].sum() == pytest.approx(1.0)
    assert (shape[(energy < EVENT_BAND[0]) | (energy >= EVENT_BAND[1])] == 0).all()
    near = shape[np.abs(energy - 2.14) < 0.05].mean()
    assert near > 1.5 * shape[np.abs(energy - 2.6) < 0.05].mean()


def test_background_grows_with_aperture_and_exposure():
    rng = np.random.default_rng(5)
    theta, mjd = np.repeat([0.5, 8.0], 2000), np.full(4000, 53000.0)
    counts, scale = draw_background(rng, np.zeros(4000, int), theta, mjd, np.full(4000, 4e4))
    assert np.median(counts[2000:]) > 30 * np.median(counts[:2000])
    assert ((scale > 0) & (scale < 0.5)).all()
    np.testing.assert_array_equal(pileup_cells(np.array([0.0, 6.0])), [1.0, 21.0])


def test_background_is_of_the_level_that_real_fields_have():
    """counts/s/arcsec2 in 0.5-7 keV of the background spectra in the shared data, by chip; fields differ."""
    rng = np.random.default_rng(6)
    theta, mjd, livetime = np.full(8000, 1.0), np.full(8000, 53200.0), np.full(8000, 5e4)  # 2004, as theirs
    for instrument, real in ((0, (5.8e-7, 6.8e-7, 7.8e-7, 1.0e-6)), (1, (2.0e-6, 2.8e-6, 3.6e-6, 4.2e-6))):
        counts, _ = draw_background(rng, np.full(8000, instrument), theta, mjd, livetime)
        aperture = np.sqrt(1.06 * 2.5) * np.pi * 1.1**2
        level = np.quantile(counts / livetime / aperture, [0.02, 0.5, 0.98])
        assert level[0] < min(real)
        assert min(real) < level[1] < 1.05 * np.median(real)
        assert level[2] > 0.85 * max(real)
    early, _ = draw_background(rng, np.zeros(8000, int), theta, np.full(8000, 53000.0), livetime)
    minimum, _ = draw_background(rng, np.zeros(8000, int), theta, np.full(8000, 55000.0), livetime)
    assert np.median(minimum) > 1.15 * np.median(early)
    far, _ = draw_background(rng, np.ones(8000, int), np.full(8000, 9.0), mjd, livetime)
    near, _ = draw_background(rng, np.ones(8000, int), theta, mjd, livetime)
    spread = [np.subtract(*np.log10(np.quantile(values, [0.9, 0.1]))) for values in (far, near)]
    assert spread[0] > spread[1] + 0.2  # beside S3 as well as on it


def test_far_from_the_axis_the_chips_are_others():
    """ACIS-I ends at 12.8'; S2 and, switched on less often, the back-illuminated S3 are beyond."""
    rng = np.random.default_rng(7)
    mjd, livetime = np.full(20_000, 53200.0), np.full(20_000, 5e4)
    spread = []
    for angle in (10.0, 14.0):
        counts, _ = draw_background(rng, np.zeros(20_000, int), np.full(20_000, angle), mjd, livetime)
        spread.append(np.divide(*np.quantile(counts, [0.9, 0.1])))
    assert spread[1] > 1.4 * spread[0]
    theta = np.repeat([5.0, 14.0], 10_000)
    plain, nebula = (
        draw_background(rng, np.zeros(20_000, int), theta, mjd, livetime, np.full(20_000, young))[0]
        for young in (False, True)
    )
    assert np.mean(nebula[:10_000]) / np.mean(plain[:10_000]) == pytest.approx(1.0, abs=0.05)
    assert np.mean(nebula[10_000:]) / np.mean(plain[10_000:]) == pytest.approx(1.8, abs=0.12)
