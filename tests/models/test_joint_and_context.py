"""The joint head of spectrum and photons, and the context of an observation, which may be missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import warm_python
from chandraclip.models import ChandraClipConfig, ChandraClipModel, ChandraClipProcessor

CONTEXT = {"context": ["nh_gal", "theta"], "context_mean": [0.5, 4.0], "context_std": [0.4, 2.0]}


@pytest.fixture
def rows(columns: dict[str, Any]) -> dict[str, Any]:
    columns["spectrum_counts"][1] = None
    columns["event_time"][2], columns["event_energy"][2] = None, None
    columns["spectrum_counts"][3], columns["event_time"][3], columns["event_energy"][3] = None, None, None
    columns["nh_gal"] = [1.0, 2.0, None, 4.0, float("nan"), 6.0, 0.0, 8.0]
    columns["theta"] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, None]
    return columns


@pytest.fixture
def with_context(processor: ChandraClipProcessor) -> ChandraClipProcessor:
    parts = (processor.spectrum_feature_extractor, processor.event_feature_extractor, processor.tokenizer)
    return ChandraClipProcessor(*parts, context=CONTEXT["context"])


@pytest.fixture
def joint(model: ChandraClipModel) -> ChandraClipModel:
    torch.manual_seed(1)
    return ChandraClipModel(ChandraClipConfig(**model.config.to_dict() | CONTEXT | {"joint_projection": True})).eval()


@pytest.fixture
def batch(with_context: ChandraClipProcessor, rows: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(with_context(rows))


def without(batch: dict[str, torch.Tensor], beginning: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in batch.items() if not name.startswith(beginning)}


def test_the_context_of_rows(with_context: ChandraClipProcessor, rows: dict[str, Any]) -> None:
    values = with_context(rows, return_tensors="np")["context_values"]
    nan = np.nan
    expected = [
        [0, 0],
        [np.log10(2), 1],
        [nan, 2],
        [np.log10(4), 3],
        [nan, 4],
        [np.log10(6), 5],
        [nan, 6],
        [0.90309, nan],
    ]
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert "context_values" in with_context.model_input_names
    left_out = with_context(rows, without_context=["theta"], return_tensors="np")["context_values"]
    np.testing.assert_array_equal(left_out[:, 0], values[:, 0])
    assert np.isnan(left_out[:, 1]).all()
    del rows["theta"]
    assert np.isnan(with_context(rows)["context_values"][:, 1]).all()
    assert "context_values" not in with_context(rows, modalities="text")
    with pytest.raises(ValueError, match="no distance"):
        with_context(rows, without_context=["distance"])
    with pytest.raises(ValueError, match="no distance; it can have nh_gal"):
        ChandraClipProcessor(with_context.spectrum_feature_extractor, with_context.event_feature_extractor,
                             with_context.tokenizer, context=["distance"])  # fmt: skip


def test_what_is_not_known_of_an_observation_counts_as_nothing_given(joint: ChandraClipModel, batch: dict) -> None:
    known = joint(**batch)
    unknown = joint(**batch | {"context_values": torch.full_like(batch["context_values"], torch.nan)})
    absent = joint(**without(batch, "context"))
    for name in ("spectrum_embeds", "event_embeds", "xray_embeds"):
        assert torch.equal(unknown[name], absent[name])
        assert (known[name] - absent[name]).abs().max() > 0.01
    assert torch.equal(known.text_embeds, absent.text_embeds)
    # The mean and "not known" are not the same to a head.
    mean = joint(**batch | {"context_values": torch.tensor(CONTEXT["context_mean"]).expand(8, 2)})
    assert (mean.spectrum_embeds - absent.spectrum_embeds).abs().max() > 1e-3


def test_the_joint_head_answers_for_whatever_a_row_has(joint: ChandraClipModel, batch: dict) -> None:
    output = joint(**batch, return_loss=True)
    assert output.xray_mask.tolist() == [True, True, True, False, True, True, True, True]
    torch.testing.assert_close(output.xray_embeds.norm(dim=1), output.xray_mask.float())
    assert "info_nce_xray_text" in output.loss_parts
    assert "info_nce_spectrum_xray" not in output.loss_parts
    assert torch.equal(joint.get_xray_features(**batch), output.xray_embeds)
    spectrum, events = (
        joint.get_xray_features(**without(batch, "event")),
        joint.get_xray_features(**without(batch, "spectrum")),
    )
    torch.testing.assert_close(spectrum[2], output.xray_embeds[2])  # it has no photons
    torch.testing.assert_close(events[1], output.xray_embeds[1])  # it has no spectrum
    assert (spectrum[0] - output.xray_embeds[0]).abs().max() > 1e-3
    assert not spectrum[1].any()
    assert not events[2].any()
    with pytest.raises(ValueError, match="neither"):
        joint.get_xray_features(**{name: batch[name] for name in ("input_ids", "context_values")})


def test_without_a_text_the_joint_head_has_no_partner(joint: ChandraClipModel, batch: dict) -> None:
    tokens = ("input_ids", "attention_mask", "text_mask")
    pair = joint(**{name: value for name, value in batch.items() if name not in tokens}, return_loss=True)
    assert set(pair.loss_parts) == {"info_nce_spectrum_event", "regularizer"}
    with pytest.raises(ValueError, match="two modalities"):
        joint(
            **{name: value for name, value in without(batch, "event").items() if name not in tokens}, return_loss=True
        )


def test_parts_are_left_out_in_training_only(joint: ChandraClipModel, batch: dict) -> None:
    joint.config.projection_dropout = 0.0
    for module in joint.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    still = joint(**batch)
    joint.train()
    joint.config.context_dropout = joint.config.joint_dropout = 0.0
    torch.testing.assert_close(joint(**batch).xray_embeds, still.xray_embeds)
    joint.config.context_dropout = 1.0
    nothing = joint(**batch)
    absent = joint.eval()(**without(batch, "context"))
    for name in ("spectrum_embeds", "event_embeds", "xray_embeds"):
        torch.testing.assert_close(nothing[name], absent[name])
    joint.train()
    joint.config.context_dropout, joint.config.joint_dropout = 0.0, 1.0
    one = joint(**batch).xray_embeds
    joint.eval()
    alone = torch.stack([joint.get_xray_features(**without(batch, name)) for name in ("event", "spectrum")])
    distance = (alone - one).abs().amax(dim=2)[:, [0, 4, 5, 6, 7]]  # rows that have both
    assert (distance.min(dim=0).values < 1e-5).all()
    assert (distance.max(dim=0).values > 1e-3).all()


def test_gradients_reach_the_joint_head(joint: ChandraClipModel, batch: dict) -> None:
    joint.train()(**batch, return_loss=True).loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in joint.parameters())
    assert joint.xray_projection.fc1.weight.grad.any()


def test_a_saved_model_has_its_context_and_joint_head(
    joint: ChandraClipModel, with_context: ChandraClipProcessor, batch: dict, tmp_path: Path
) -> None:
    joint.save_pretrained(tmp_path)
    with_context.save_pretrained(tmp_path)
    torch.save(batch, tmp_path / "batch.pt")
    script = (
        "import sys, torch, chandraclip\n"
        "from transformers import AutoModel, AutoProcessor\n"
        "model, processor = AutoModel.from_pretrained(sys.argv[1]).eval(), AutoProcessor.from_pretrained(sys.argv[1])\n"
        "assert processor.context == model.config.context == ['nh_gal', 'theta'], processor.context\n"
        "batch = torch.load(sys.argv[1] + '/batch.pt', weights_only=True)\n"
        "torch.save(model(**batch).xray_embeds.detach(), sys.argv[1] + '/found.pt')\n"
    )
    warm_python.run([sys.executable, "-c", script, tmp_path], check=True)
    torch.testing.assert_close(torch.load(tmp_path / "found.pt", weights_only=True), joint(**batch).xray_embeds)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"joint_projection": True, "modalities": ["spectrum", "text"]}, "joint_projection needs"),
        ({"context": ["nh_gal"]}, "one value for each"),
        ({"context": ["n_h"], "context_mean": [0.0], "context_std": [1.0]}, "the context has no n_h"),
        ({"context": ["theta"], "context_mean": [0.0], "context_std": [0.0]}, "must be positive"),
        ({"context_dropout": 1.5}, "between 0 and 1"),
        ({"pair_weights": {"xray_text": 1.0}}, "xray_text"),
        ({"neighbourhood_weights": {"photons": 1.0}}, "neighbourhood_weights names photons"),
    ],
)
def test_configurations_that_no_model_can_be_built_from(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ChandraClipConfig(**options)


def test_a_configuration_of_before_has_neither() -> None:
    config = ChandraClipConfig.from_dict({"config_version": 2, "model_type": "chandraclip"})
    assert not config.joint_projection
    assert config.context == []
    assert config.config_version == 3
