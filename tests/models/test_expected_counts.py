"""What a decoder gives, turned into counts a channel: the features' way back, and the families that can."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.resampling import smoothed_background
from chandraclip.catalog.statistics import cash
from chandraclip.errors import InputFileError
from chandraclip.models import (
    FAMILIES,
    EventFeatureExtractor,
    EventTransformerConfig,
    EventTransformerModel,
    SpectrumAutoencoderConfig,
    SpectrumAutoencoderModel,
    SpectrumFeatureExtractor,
    SpectrumRecurrentAutoencoderConfig,
    SpectrumRecurrentAutoencoderModel,
    TowerModel,
    load_reconstructing,
    reconstructs,
)

NORMALIZATIONS = ("min_max", "sqrt", "asinh")
WIDTH = 0.0146
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "latent_size": 4, "patch_size": 40}


def smooth_rows(channels: int = 1024, width: float = WIDTH) -> dict[str, Any]:
    """A bright smooth spectrum of whole counts, on a flat background of a tenth of it; and a null one."""
    energy = width * (np.arange(channels) + 0.5)
    counts = np.round(5e4 * width / WIDTH * energy**1.5 * np.exp(-energy)).astype(np.int32)
    return {
        "spectrum_counts": [counts, None],
        "spectrum_background": [np.full(channels, 50.0), None],
        "background_scale": [2.0, None],
        "exposure": [1e4, None],
    }


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_counts_come_back(normalization: str) -> None:
    columns, extractor = smooth_rows(), SpectrumFeatureExtractor(normalization=normalization)
    batch = extractor(columns, return_tensors="np")
    expected = extractor.expected_counts(columns, batch["spectrum_values"])
    np.testing.assert_array_equal(expected.offsets, [0, 1024, 1024])
    counts = columns["spectrum_counts"][0]
    inside = slice(40, 540)  # of 0.5-8 keV, clear of its borders
    np.testing.assert_allclose(expected.values[inside], counts[inside], rtol=0.01)
    np.testing.assert_allclose(expected.values[600:], 100.0)  # beyond the band, the background alone


@pytest.mark.parametrize("exposure", [None, 1e4, 123.0])
def test_counts_do_not_depend_on_the_exposure(exposure: float | None) -> None:
    columns, extractor = {**smooth_rows(), "exposure": [exposure, None]}, SpectrumFeatureExtractor()
    values = extractor(columns, return_tensors="np")["spectrum_values"]
    expected = extractor.expected_counts(columns, values).values
    np.testing.assert_allclose(expected[40:540], columns["spectrum_counts"][0][40:540], rtol=0.01)


def test_any_grid_in_any_order() -> None:
    """EPIC's fine channels, and a grating's from high energies to low."""
    fine, extractor = smooth_rows(4096, 0.005), SpectrumFeatureExtractor()
    edges = 0.005 * np.arange(4097)
    columns = {name: [rows[0], rows[0]] for name, rows in fine.items()}
    columns["channel_energy_edges"] = [edges, edges[::-1]]
    columns["spectrum_counts"] = [fine["spectrum_counts"][0], fine["spectrum_counts"][0][::-1]]
    values = extractor(columns, return_tensors="np")["spectrum_values"]
    expected = extractor.expected_counts(columns, values).values.reshape(2, -1)
    np.testing.assert_allclose(expected[0, 120:1560], columns["spectrum_counts"][0][120:1560], rtol=0.01)
    np.testing.assert_allclose(expected[1, ::-1], expected[0], rtol=1e-6)


def test_bad_channels_change_nothing_beside_them() -> None:
    columns, extractor = smooth_rows(), SpectrumFeatureExtractor()
    quality = np.zeros(1024, np.int16)
    quality[200:210] = 5
    columns["spectrum_counts"][0] = np.where(quality, 9_999_999, columns["spectrum_counts"][0]).astype(np.int32)
    columns["spectrum_background"][0] = np.where(quality, 1e6, 50.0)
    columns["spectrum_quality"] = [quality, None]
    values = extractor(columns, return_tensors="np")["spectrum_values"]
    expected = extractor.expected_counts(columns, values).values
    good = np.r_[40:200, 210:540]
    np.testing.assert_allclose(expected[good], columns["spectrum_counts"][0][good], rtol=0.01)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_values_of_counts_are_the_values(normalization: str) -> None:
    columns, extractor = smooth_rows(), SpectrumFeatureExtractor(normalization=normalization)
    values = np.array(extractor(columns, return_tensors="np")["spectrum_values"], dtype=np.float64)
    values[0] *= 0.7
    back = extractor.values_of(columns, extractor.expected_counts(columns, values, keep_total=False))
    np.testing.assert_allclose(back[0, 5:-5], values[0, 5:-5], atol=2e-3)
    assert not back[1].any()
    with pytest.raises(ValueError, match="other lengths"):
        extractor.values_of(columns, Ragged(np.ones(5), np.array([0, 5, 5])))


@pytest.mark.parametrize("factor", [0.3, 2.0])
def test_the_total_is_the_rows_own(factor: float) -> None:
    """Of a faint spectrum, whose interpolated points hold more counts than it has, and of a reconstruction too low."""
    faint = np.zeros(1024, np.int32)
    faint[np.random.default_rng(1).choice(np.arange(40, 540), 9, replace=False)] = 1
    columns = {"spectrum_counts": [faint, *smooth_rows()["spectrum_counts"]], "exposure": [1e4] * 3}
    extractor = SpectrumFeatureExtractor()
    values = factor * extractor(columns, return_tensors="np")["spectrum_values"]
    kept = extractor.expected_counts(columns, values).values.reshape(2, -1)[:, 34:548].sum(axis=1)
    free = extractor.expected_counts(columns, values, keep_total=False).values.reshape(2, -1)[:, 34:548].sum(axis=1)
    np.testing.assert_allclose(kept, [9, columns["spectrum_counts"][1][34:548].sum()], rtol=1e-3)
    assert (np.abs(np.log(free / kept)) > 0.05).all()


def test_a_reconstruction_below_nothing_expects_no_source() -> None:
    columns, extractor = smooth_rows(), SpectrumFeatureExtractor()
    expected = extractor.expected_counts(columns, np.full((2, 400), -3.0))
    np.testing.assert_allclose(expected.values, 100.0)


def test_background_is_smoothed_and_keeps_its_sum() -> None:
    counts = np.random.default_rng(0).poisson(0.1, 1024)
    ragged, background = (Ragged(values, np.array([0, 1024])) for values in (np.zeros(1024), counts))
    good = np.ones(1024, bool)
    good[:100] = False
    smooth = smoothed_background(ragged, background, np.array([0.25]), np.full(1024, WIDTH), good)
    assert not smooth[:100].any()
    assert (smooth[100:] > 0).all()
    assert smooth.sum() == pytest.approx(0.25 * counts[100:].sum())
    assert len(np.unique(smooth.round(12))) < 8  # steps of 20 counts
    statistic = cash(counts[100:], smooth[100:] / 0.25).sum() / 924
    assert statistic < cash(counts[100:], np.full(924, 0.3)).sum() / 924


@pytest.fixture(params=["transformer", "recurrent"])
def autoencoder(request: pytest.FixtureRequest) -> TowerModel:
    torch.manual_seed(0)
    if request.param == "transformer":
        return SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**SMALL, num_attention_heads=2)).eval()
    return SpectrumRecurrentAutoencoderModel(SpectrumRecurrentAutoencoderConfig(**SMALL)).eval()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_an_autoencoder_expects_what_it_reconstructs(
    autoencoder: TowerModel, columns: dict[str, Any], normalization: str
) -> None:
    extractor = SpectrumFeatureExtractor(normalization=normalization)
    batch = extractor(columns)
    with pytest.raises(ValueError, match=r"load_reconstructing"):
        autoencoder.expected_counts(columns, batch)
    autoencoder.feature_extractor = extractor
    expected = autoencoder.expected_counts(columns, batch)
    assert expected.values.dtype == np.float64
    assert (expected.values >= 0).all()
    with torch.no_grad():
        reconstruction = autoencoder(**batch).reconstruction.numpy()
    np.testing.assert_array_equal(expected.values, extractor.expected_counts(columns, reconstruction).values)


def test_loading_sets_the_feature_extractor(autoencoder: TowerModel, tmp_path: Any) -> None:
    autoencoder.save_pretrained(tmp_path)
    SpectrumFeatureExtractor(normalization="sqrt").save_pretrained(tmp_path)
    model, extractor = load_reconstructing(tmp_path)
    assert model.feature_extractor is extractor
    assert extractor.normalization == "sqrt"
    assert "feature_extractor" not in model.config.to_dict()


def test_only_families_with_a_decoder_of_spectra(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reconstructs(FAMILIES["spectrum_autoencoder"])
    assert reconstructs(FAMILIES["spectrum_recurrent_autoencoder"])
    assert not reconstructs(EventTransformerModel)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 8}
    events = EventTransformerModel(EventTransformerConfig(**small))
    with pytest.raises(NotImplementedError, match="event_transformer has no decoder"):
        events.expected_counts({}, {})
    events.save_pretrained(tmp_path)
    EventFeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(InputFileError, match="spectrum tower"):
        load_reconstructing(tmp_path)
    monkeypatch.setattr(SpectrumAutoencoderModel, "expected_counts", TowerModel.expected_counts)
    SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**SMALL, num_attention_heads=2)).save_pretrained(tmp_path / "s")
    with pytest.raises(InputFileError, match=r"has no decoder of spectra; these have: .*spectrum_recurrent"):
        load_reconstructing(tmp_path / "s")
