"""Photons dealt anew: nothing is lost, and exposure, area, background and good time are each observation's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sparse

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.evaluation.trajectories.photon_noise import PhotonNoise, channel_areas, frame_times
from chandraclip.simulate.campaigns import simulate_campaigns
from chandraclip.simulate.instrument.response import builtin_instrument

SOURCES, OBSERVATIONS = 40, 4
SOURCE = np.repeat(np.arange(SOURCES), OBSERVATIONS)


@pytest.fixture(scope="module")
def responses():
    return {response.response_id: response for response in builtin_instrument().responses}


@pytest.fixture(scope="module")
def constant():
    return simulate_campaigns(5, "red_noise", SOURCES, OBSERVATIONS, (200, 3000), twin="total")


@pytest.fixture(scope="module")
def noise(constant, responses):
    return PhotonNoise(constant, SOURCE, channel_areas(constant, responses, SOURCE))


def counts_of(table: pa.Table, draws: int) -> np.ndarray:
    return Ragged.from_arrow(table["spectrum_counts"]).values.reshape(draws, SOURCES * OBSERVATIONS, -1)


def test_every_photon_is_dealt_once(noise):
    drawn = noise.draw_counts(np.random.default_rng(0), 20)
    pooled = np.add.reduceat(noise.counts, noise.first, axis=0)
    assert (np.add.reduceat(drawn, noise.first, axis=1) == pooled).all()
    assert (drawn >= 0).all()
    assert (drawn[0] != drawn[1]).any()


def test_draws_are_centred_and_as_wide_as_a_constant_source_scatters(noise):
    drawn = noise.draw_counts(np.random.default_rng(0), 100)
    for band in (slice(0, 1024), slice(34, 137), slice(137, 480)):
        total, seen = drawn[..., band].sum(axis=-1), noise.counts[:, band].sum(axis=1)
        enough = total.std(axis=0) > 1
        score = ((seen - total.mean(axis=0)) / total.std(axis=0).clip(1))[enough]
        assert abs(score.mean()) < 0.25
        assert score.std() == pytest.approx(1, abs=0.2)


def test_a_draw_has_the_photons_of_its_spectrum_in_good_time_and_all_else_as_it_was(constant, noise):
    table = noise.draw(np.random.default_rng(1), 3)
    assert table.num_rows == 3 * constant.num_rows
    drawn = counts_of(table, 3)
    time, energy = Ragged.from_arrow(table["event_time"]), Ragged.from_arrow(table["event_energy"])
    assert np.array_equal(np.diff(time.offsets), drawn.reshape(-1, 1024).sum(axis=1))
    row = np.repeat(np.arange(table.num_rows), np.diff(time.offsets))
    channel = np.floor(energy.values / 0.0146).astype(int)
    histogram = np.zeros((table.num_rows, 1024), int)
    np.add.at(histogram, (row, channel), 1)
    assert np.array_equal(histogram, drawn.reshape(-1, 1024))
    assert (np.diff(time.values)[np.diff(row) == 0] >= 0).all()
    start, stop = (Ragged.from_arrow(table[name]) for name in ("gti_start", "gti_stop"))
    number = np.searchsorted(start.values + 1e7 * np.repeat(np.arange(len(start)), np.diff(start.offsets)),
                             time.values + 3.3 + 1e7 * row, side="right") - 1  # fmt: skip
    assert (time.values <= stop.values[number] + 3.3).all()
    for name in ("exposure", "theta", "nh_gal", "background_scale", "gti_start", "obsid", "livetime"):
        assert table[name].combine_chunks().equals(pa.concat_arrays([constant[name].combine_chunks()] * 3))
    assert "summary" not in table.column_names


def test_photons_are_even_over_good_time_and_on_the_frames(noise, constant):
    table = noise.draw(np.random.default_rng(2), 2)
    time = Ragged.from_arrow(table["event_time"])
    row = np.repeat(np.arange(table.num_rows), np.diff(time.offsets))
    stop = Ragged.from_arrow(table["gti_stop"])
    end = stop.values[stop.offsets[1:] - 1]
    place = time.values / end[row]
    assert place.mean() == pytest.approx(0.5, abs=0.01)
    frames = np.tile(noise.frames, 2)[row]
    gridded = frames > 0
    assert gridded.mean() > 0.5
    turns = time.values[gridded] / frames[gridded] - 0.5
    assert np.abs(turns - np.round(turns)).max() < 0.05


def test_the_background_region_is_drawn_anew_about_what_it_had(constant, noise):
    table = noise.draw(np.random.default_rng(3), 4)
    region = Ragged.from_arrow(table["spectrum_background"]).values.reshape(4, -1, 1024).sum(axis=-1)
    had = Ragged.from_arrow(constant["spectrum_background"]).values.reshape(-1, 1024).sum(axis=-1)
    score = (region - had) / np.sqrt(had.clip(1))
    assert abs(score.mean()) < 0.1
    assert score.std() == pytest.approx(1, abs=0.1)


def two_observations(counts, region, scale, exposure, arf) -> pa.Table:
    """One source, two observations, through a response of one channel a bin."""
    width = len(counts[0])
    flat = [Ragged.from_rows([np.asarray(row) for row in rows]) for rows in (counts, region, arf)]
    none = Ragged(np.zeros(0), np.zeros(3, int), np.zeros(2, bool))
    edges = Ragged.from_rows([np.linspace(1.0, 2.0, width + 1)] * 2)
    return build_table(
        {
            "name": ["a", "a"],
            "obsid": [1, 2],
            "obi": [0, 0],
            "region_id": [1, 1],
            "split": ["test", "test"],
            "spectrum_counts": flat[0],
            "spectrum_background": flat[1],
            "arf": flat[2],
            "background_scale": np.array(scale, np.float32),
            "exposure": np.array(exposure, np.float32),
            "response_id": ["unit", "unit"],
            "channel_energy_edges": edges,
            "event_time": none,
            "event_energy": none,
            "gti_start": none,
            "gti_stop": none,
        }
    )


def unit_response(width: int) -> dict:
    edges = np.linspace(1.0, 2.0, width + 1)
    matrix = sparse.csr_array(np.eye(width))
    unit = SimpleNamespace(
        num_channels=width, arf=np.ones(width), energy_lo=edges[:-1], energy_hi=edges[1:], matrix=matrix
    )
    return {"unit": unit}


def test_photons_go_by_exposure_times_area_channel_by_channel():
    area = [np.array([100.0, 100, 100, 100]), np.array([300.0, 100, 100, 0])]
    table = two_observations([[400, 200, 0, 10], [0, 0, 200, 0]], np.zeros((2, 4)), [0.1, 0.1], [1e4, 2e4], area)
    noise = PhotonNoise(
        table, np.zeros(2, int), channel_areas(table, unit_response(4), np.zeros(2, int)), calibration_scatter=0.0
    )
    mean = noise.draw_counts(np.random.default_rng(0), 4000).mean(axis=0)
    expected = np.array([400, 200, 200, 10]) * np.array([1 / 7, 1 / 3, 1 / 3, 1])
    assert mean[0] == pytest.approx(expected, rel=0.02)


def test_photons_of_the_background_stay_where_the_background_is():
    width = 200
    counts = np.random.default_rng(0).poisson(1.0, (2, width))
    counts[1] += np.random.default_rng(1).poisson(9.0, width)  # all of it background
    region = np.stack([np.zeros(width), np.full(width, 90.0)])
    table = two_observations(counts, region, [0.1, 0.1], [1e4, 1e4], np.full((2, width), 100.0))
    areas = channel_areas(table, unit_response(width), np.zeros(2, int))
    noise = PhotonNoise(table, np.zeros(2, int), areas, calibration_scatter=0.0)
    total = noise.draw_counts(np.random.default_rng(0), 500).sum(axis=-1)
    assert total[:, 1].mean() / total[:, 0].mean() == pytest.approx(10, rel=0.2)
    seen = counts[1].sum()
    assert abs(seen - total[:, 1].mean()) < 4 * total[:, 1].std()
    blind = PhotonNoise(
        table.set_column(
            table.column_names.index("spectrum_background"),
            "spectrum_background",
            Ragged(np.zeros(2 * width), width * np.arange(3)).to_arrow(pa.list_(pa.float64())),
        ),
        np.zeros(2, int),
        areas,
        calibration_scatter=0.0,
    )
    total = blind.draw_counts(np.random.default_rng(0), 500).sum(axis=-1)
    assert abs(seen - total[:, 1].mean()) > 20 * total[:, 1].std()


def test_a_flux_that_is_free_keeps_the_counts_of_each_observation(responses):
    changed = simulate_campaigns(16, "decay", SOURCES, OBSERVATIONS, (200, 3000))
    areas = channel_areas(changed, responses, SOURCE)
    seen = PhotonNoise(changed, SOURCE, areas).counts.sum(axis=1)
    free, fixed = (
        PhotonNoise(changed, SOURCE, areas, flux_free=flag).draw_counts(np.random.default_rng(0), 30).sum(axis=-1)
        for flag in (True, False)
    )
    enough = seen > 30
    assert free.mean(axis=0)[enough] == pytest.approx(seen[enough], rel=0.25)
    assert np.median(np.abs(np.log(fixed.mean(axis=0) / seen.clip(1)))[enough]) > 0.3


def test_frames_are_found_and_nothing_else_is():
    rng = np.random.default_rng(0)
    frame = 3.24104
    lists = [
        np.sort((rng.integers(0, 3000, 500) + 0.5) * frame),
        np.sort(rng.random(500) * 1e4),
        np.array([10.0]),
        np.sort((rng.integers(0, 300_000, 300) + 0.5) * 0.4),
        np.zeros(0),
    ]
    found = frame_times(Ragged.from_rows(lists))
    assert found[0] == pytest.approx(frame, rel=1e-6)
    assert found[1:3].tolist() == [0, 0]
    assert found[3] in (0.0, pytest.approx(0.4, rel=1e-6))
    assert found[4] == 0


def test_a_row_without_response_has_no_area(constant, responses):
    first = next(iter(responses))
    areas = channel_areas(constant, {first: responses[first]}, SOURCE)
    of_first = np.array([value == first for value in constant["response_id"].to_pylist()])
    assert np.isfinite(areas[of_first]).all()
    assert np.isnan(areas[~of_first]).all()
    assert 0 < of_first.sum() < len(of_first)
