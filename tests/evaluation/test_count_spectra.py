"""Channels that are scored, and the mean and PCA of shapes, on spectra of which the truth is known."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH
from chandraclip.catalog.ragged import Ragged
from chandraclip.evaluation.count_spectra import FIRST_BIN, NUM_BINS, BandSpectra, ShapeModel


def columns(counts: list, edges: list | None = None, quality: list | None = None) -> pa.Table:
    table = {"spectrum_counts": Ragged.from_rows(counts).to_arrow(pa.list_(pa.int32()))}
    if edges is not None:
        table["channel_energy_edges"] = Ragged.from_rows(edges).to_arrow(pa.list_(pa.float64()))
    if quality is not None:
        table["spectrum_quality"] = Ragged.from_rows(quality).to_arrow(pa.list_(pa.int16()))
    return pa.table(table)


def test_channels_of_the_band():
    """ACIS has the 445 channels that independent fits of the real spectra count; bad ones are left out."""
    flags = np.zeros(1024, np.int16)
    flags[100:110] = 5
    band = BandSpectra.of(columns([np.ones(1024), None, np.ones(1024)], quality=[None, None, flags]))
    np.testing.assert_array_equal(band.num_channels, [445, 0, 435])
    assert (FIRST_BIN, NUM_BINS) == (34, 445)
    assert band.low.min() == pytest.approx(34 * ACIS_CHANNEL_WIDTH)
    np.testing.assert_array_equal(band.channels[:445], np.arange(34, 479))
    assert band.channels[445] == 1024 + 34  # of the flat lists


@pytest.mark.parametrize("width", [0.005, 0.0146, 0.0219, 0.05])
@pytest.mark.parametrize("descending", [False, True])
def test_any_grid_is_binned_with_its_sum_and_shape(width, descending):
    edges = np.arange(0.1, 12, width)
    middle = 0.5 * (edges[1:] + edges[:-1])
    counts = 1e6 * width * np.exp(-middle)
    turn = slice(None, None, -1) if descending else slice(None)
    band = BandSpectra.of(columns([counts.astype(int)[turn]], [edges[turn]]))
    values = counts[turn][band.channels]
    binned = band.binned(values)
    assert binned.sum() == pytest.approx(values.sum())
    grid = ACIS_CHANNEL_WIDTH * (FIRST_BIN + 0.5 + np.arange(NUM_BINS))
    inside = slice(8, -8)
    smooth = np.convolve(binned[0] / (1e6 * ACIS_CHANNEL_WIDTH * np.exp(-grid)), np.ones(7) / 7, mode="same")
    np.testing.assert_allclose(smooth[inside], 1.0, atol=0.06)
    # And a shape is spread over its channels with the total asked for.
    expected = band.spread(np.exp(-grid), np.array([1234.0]))
    assert expected.sum() == pytest.approx(1234.0)
    np.testing.assert_allclose(expected / expected.sum(), values / values.sum(), rtol=0.03)


def family(num_rows: int, counts: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Shapes (rows, channels of ACIS) along one line, and counts drawn from them."""
    generator = np.random.default_rng(seed)
    energy = ACIS_CHANNEL_WIDTH * (np.arange(1024) + 0.5)
    slope = generator.uniform(-0.5, 0.5, num_rows)
    shapes = np.exp(-energy) * (1.0 + slope[:, None] * np.tanh(energy - 2))
    shapes /= shapes[:, FIRST_BIN : FIRST_BIN + NUM_BINS].sum(axis=1, keepdims=True)
    return shapes[:, FIRST_BIN : FIRST_BIN + NUM_BINS], generator.poisson(counts * shapes)


def test_components_are_what_spectra_differ_in():
    shapes, counts = family(3000, 300, 0)
    band = BandSpectra.of(columns(list(counts)))
    values = counts.reshape(-1)[band.channels].astype(float)
    model = ShapeModel.fit([(band, values)])
    np.testing.assert_allclose(model.mean, shapes.mean(axis=0), atol=4e-4)
    assert model.variance[0] > 0.02
    assert (model.variance[1:] < 0.05 * model.variance[0]).all()  # noise is no component

    shapes, counts = family(500, 300, 1)
    band = BandSpectra.of(columns(list(counts)))
    binned = band.binned(counts.reshape(-1)[band.channels].astype(float))

    def error(found: np.ndarray) -> float:
        return float((((found - shapes) ** 2) / model.mean).sum(axis=1).mean())

    mean, one, many = (error(model.shapes(binned, size)) for size in (0, 1, 64))
    assert one < 0.15 * mean
    assert many < 1.2 * one  # more components fit no noise
    assert error(binned / binned.sum(axis=1, keepdims=True)) > 10 * one


def test_few_counts_stay_near_the_mean():
    _, counts = family(3000, 300, 0)
    band = BandSpectra.of(columns(list(counts)))
    model = ShapeModel.fit([(band, counts.reshape(-1)[band.channels].astype(float))])
    empty = np.zeros((1, NUM_BINS))
    one = empty.copy()
    one[0, 400] = 1
    for binned, tolerance in ((empty, 0.05), (one, 0.5)):
        np.testing.assert_allclose(model.shapes(binned, 8)[0] / model.mean, 1.0, atol=tolerance)
    assert ShapeModel.fit([]) is None
    faint = BandSpectra.of(columns([np.eye(1, 1024, 100)[0]]))
    assert ShapeModel.fit([(faint, np.eye(1, 1024, 100)[0][faint.channels])]) is None
