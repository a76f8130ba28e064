"""An observation in the shared space of a model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import chandraclip.observation as observation
from chandraclip.errors import InputFileError
from chandraclip.observation import Observation

FOLDING = {"spectrum": "folded_spectrum_autoencoder", "event": "event_transformer"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny aligned model with its processor, saved."""
    from registered_models import build, processor

    folder = tmp_path_factory.mktemp("aligned")
    build("chandraclip").save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


@pytest.fixture
def source(ogip) -> Observation:
    ogip.arf(), ogip.rmf()
    events = ogip.events(time=np.linspace(11, 29, 12), columns=[fits.Column("PI", "J", array=[100] * 12)])
    return observation.open(ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf"), events)


def test_an_embedding_is_what_the_model_gives_for_its_row(model, source):
    import torch
    from transformers import AutoModel, AutoProcessor

    network, processor = AutoModel.from_pretrained(model, dtype=torch.float32), AutoProcessor.from_pretrained(model)
    with torch.inference_mode():
        output = network(**processor(spectrum=source.spectrum, events=source.events))
    found = source.embeddings(model)
    assert list(found) == ["spectrum", "events"]
    np.testing.assert_allclose(found["spectrum"], output.spectrum_embeds[0], atol=1e-6)
    np.testing.assert_allclose(found["events"], output.event_embeds[0], atol=1e-6)
    np.testing.assert_array_equal(source.embed(model, "events"), found["events"])
    both = source.embed(model)
    assert both.shape == (64,)
    assert both.dtype == np.float32
    assert np.linalg.norm(both) == pytest.approx(1, abs=1e-6)
    mean = found["spectrum"] + found["events"]
    np.testing.assert_allclose(both, mean / np.linalg.norm(mean), atol=1e-6)
    network.train()
    np.testing.assert_allclose(source.embed(network), both, atol=1e-6)  # the processor saved beside it
    assert network.training
    np.testing.assert_allclose(source.embed(str(model)), both, atol=1e-6)


def test_one_part_alone_is_embedded_alone(model, source):
    alone = Observation(events=source.events)
    np.testing.assert_allclose(alone.embed(model), source.embed(model, "events"), atol=1e-6)
    with pytest.raises(ValueError, match="no spectrum to embed"):
        alone.embed(model, "spectrum")


def test_a_model_of_one_modality_gives_its_latents(source, tmp_path):
    from registered_models import SMALL, build, processor

    build("event_transformer").save_pretrained(tmp_path)
    processor().event_feature_extractor.save_pretrained(tmp_path)
    assert source.embed(tmp_path).shape == (SMALL["latent_size"],)
    with pytest.raises(ValueError, match="the model reads events, and the observation has spectrum"):
        Observation(spectrum=source.spectrum).embed(tmp_path)


def test_a_spectrum_that_a_folding_model_cannot_use_is_said(source, caplog):
    from dataclasses import replace

    from chandraclip.models import (
        ChandraClipConfig,
        ChandraClipModel,
        ChandraClipProcessor,
        FoldedSpectrumFeatureExtractor,
    )
    from registered_models import build, processor

    parts = {f"{modality}_config": build(family).config for modality, family in FOLDING.items()}
    network = ChandraClipModel(ChandraClipConfig(**parts, text_config=build("chandraclip").config.text_config)).eval()
    usual = processor()
    folding = ChandraClipProcessor(FoldedSpectrumFeatureExtractor(), usual.event_feature_extractor, usual.tokenizer)
    assert list(source.embeddings(network, folding)) == ["spectrum", "events"]
    lost = {"response": None, "response_problem": "source.rmf is not there"}
    channels = {"channel": np.arange(1, 1025), "counts": np.ones(1024, np.int64), "background_counts": None}
    without = replace(source.spectrum, **lost, **channels, quality=None, grouping=None)
    assert list(Observation(without, source.events).embeddings(network, folding)) == ["events"]
    assert f"{source.spectrum.path} is left out" in caplog.text
    assert "there is none: source.rmf is not there" in caplog.text
    with pytest.raises(ValueError, match=r"there is none: source\.rmf is not there"):
        Observation(without).embeddings(network, folding)


def test_a_model_that_does_not_load_is_said(source, tmp_path, model):
    with pytest.raises(InputFileError, match=r"no config\.json"):
        source.embed(tmp_path)
    shutil.copytree(model, tmp_path / "bare", ignore=shutil.ignore_patterns("*processor*", "*preprocessor*", "tok*"))
    with pytest.raises(InputFileError, match="no processor loads"):
        source.embed(tmp_path / "bare")


def test_a_model_with_a_context_and_a_joint_head(source, tmp_path):
    import torch
    from transformers import AutoModel

    from chandraclip.models import ChandraClipConfig, ChandraClipProcessor
    from registered_models import build, processor

    context = {
        "context": ["nh_gal", "theta", "effective_area_m"],
        "context_mean": [0.5, 3, 2],
        "context_std": [1, 1, 1],
    }
    torch.manual_seed(0)
    config = ChandraClipConfig(**build("chandraclip").config.to_dict() | context | {"joint_projection": True})
    AutoModel.from_config(config).save_pretrained(tmp_path)
    parts = processor()
    ChandraClipProcessor(
        parts.spectrum_feature_extractor, parts.event_feature_extractor, parts.tokenizer, context=config.context
    ).save_pretrained(tmp_path)
    known = source.embeddings(tmp_path, nh_gal=30.0)
    assert list(known) == ["spectrum", "events", "xray"]
    np.testing.assert_array_equal(source.embed(tmp_path, nh_gal=30.0), known["xray"])
    assert np.abs(source.embed(tmp_path, nh_gal=1.0) - known["xray"]).max() > 1e-3
    left_out = source.embed(tmp_path, nh_gal=30.0, without_context=["nh_gal"])
    np.testing.assert_array_equal(left_out, source.embed(tmp_path))
    # The area is read from the file's own ARF.
    without_area = source.embed(tmp_path, without_context=["nh_gal", "effective_area_m"])
    assert np.abs(left_out - without_area).max() > 1e-3
    alone = Observation(events=source.events).embeddings(tmp_path)
    assert list(alone) == ["events", "xray"]
