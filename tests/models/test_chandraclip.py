"""Any subset of modalities, frozen text, cached text features, and the tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from chandraclip.models import (
    ChandraClipConfig,
    ChandraClipModel,
    ChandraClipProcessor,
    EventTransformerConfig,
    EventTransformerModel,
    SpectrumAutoencoderConfig,
    SpectrumAutoencoderModel,
    small_text_config,
    train_tokenizer,
)

EMBEDS = ("spectrum_embeds", "event_embeds", "text_embeds")


@pytest.fixture
def batch(processor: ChandraClipProcessor, columns: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(processor(columns))


def test_embeddings_are_unit_vectors_and_zero_where_missing(
    model: ChandraClipModel, processor: ChandraClipProcessor, columns: dict[str, Any]
) -> None:
    columns["spectrum_counts"][1] = None
    columns["event_time"][2], columns["event_energy"][2] = None, None
    columns["summary"][3], columns["summary"][4] = None, "  "
    output = model(**processor(columns), return_loss=True)
    missing = {"spectrum_embeds": [1], "event_embeds": [2], "text_embeds": [3, 4]}
    for name in EMBEDS:
        norm = output[name].norm(dim=1)
        expected = torch.ones(8)
        expected[missing[name]] = 0.0
        torch.testing.assert_close(norm, expected)
    assert set(output.loss_parts) == {
        "info_nce_spectrum_event",
        "info_nce_spectrum_text",
        "info_nce_event_text",
        "regularizer",
    }
    output.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_a_missing_modality_does_not_change_the_others(model: ChandraClipModel, batch: dict) -> None:
    full = model(**batch)
    without_text = {name: value for name, value in batch.items() if name not in ("input_ids", "attention_mask")}
    output = model(**without_text, return_loss=True)
    assert output.text_embeds is None
    for name in EMBEDS[:2]:
        assert torch.equal(output[name], full[name])
    assert set(output.loss_parts) == {"info_nce_spectrum_event", "regularizer"}
    with pytest.raises(ValueError, match="two modalities"):
        model(spectrum_values=batch["spectrum_values"], spectrum_summary=batch["spectrum_summary"], return_loss=True)


def test_features_are_what_forward_embeds(model: ChandraClipModel, batch: dict) -> None:
    output = model(**batch)
    assert torch.equal(model.get_spectrum_features(**batch), output.spectrum_embeds)
    assert torch.equal(model.get_event_features(**batch), output.event_embeds)
    assert torch.equal(model.get_text_features(**batch), output.text_embeds)
    cached = model.get_text_latents(**batch)
    tokens = {name: value for name, value in batch.items() if name not in ("input_ids", "attention_mask")}
    assert torch.equal(model(**tokens, text_features=cached).text_embeds, output.text_embeds)


def test_every_parameter_has_a_gradient_even_where_all_rows_are_masked(model: ChandraClipModel, batch: dict) -> None:
    model.train()
    masked = {**batch, "text_mask": torch.zeros(8, dtype=torch.bool)}
    model(**masked, return_loss=True).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert not [name for name, gradient in gradients.items() if gradient is None]
    assert not any(gradient.any() for name, gradient in gradients.items() if name.startswith("text_"))
    assert gradients["spectrum_projection.fc2.weight"].any()


def test_padding_does_not_change_a_text(model: ChandraClipModel, processor: ChandraClipProcessor) -> None:
    short, long = "A quasar", "A source of 400 photons, a quasar with N_H 21.4 and more " * 4
    alone = model.get_text_features(**processor.tokenize([short]))
    together = model.get_text_features(**processor.tokenize([short, long, None]))
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-6)
    assert not together[2].any()
    padding = {"input_ids": torch.zeros(2, 5, dtype=torch.long), "attention_mask": torch.zeros(2, 5)}
    assert torch.isfinite(model.get_text_latents(**padding)).all()


def test_logit_scale_is_clamped(model: ChandraClipModel, batch: dict) -> None:
    assert model(**batch).logit_scale.item() == pytest.approx(1 / 0.07, rel=1e-3)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    assert model(**batch).logit_scale.item() == 100.0


@pytest.mark.parametrize("freeze_text", [False, True])
def test_from_pretrained_towers(batch: dict, processor: ChandraClipProcessor, freeze_text: bool) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 8}
    spectrum = SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**small, patch_size=40)).eval()
    events = EventTransformerModel(EventTransformerConfig(**small)).eval()
    text = AutoModel.from_config(small_text_config(len(processor.tokenizer), hidden_size=16)).eval()
    model = ChandraClipModel.from_pretrained_towers(
        spectrum, events, text, freeze_text=freeze_text, projection_dim=8
    ).eval()
    assert torch.equal(model.get_spectrum_latents(**batch), spectrum.encode(**batch))
    assert torch.equal(model.get_event_latents(**batch), events.encode(**batch))
    states = text(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    weight = batch["attention_mask"][..., None].float()
    expected = (states * weight).sum(dim=1) / weight.sum(dim=1)
    torch.testing.assert_close(model.get_text_latents(**batch), expected)
    assert not [name for name, _ in model.named_parameters() if "decoder" in name or "pooler" in name]

    model.train()
    model(**batch, return_loss=True).loss.backward()
    got = {parameter.grad is not None for parameter in model.text_encoder.parameters()}
    assert got == {not freeze_text}
    assert model.text_encoder.training is not freeze_text
    assert all(parameter.grad is not None for parameter in model.spectrum_encoder.parameters())


def test_cls_pooling_is_the_first_token(model: ChandraClipModel, batch: dict) -> None:
    model.config.text_pooling = "cls"
    states = model.text_encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    torch.testing.assert_close(model.get_text_latents(**batch), states.last_hidden_state[:, 0])


def test_any_text_encoder(batch: dict) -> None:
    for model_type in ("roberta", "mpnet", "distilbert"):
        text = AutoConfig.for_model(
            model_type, vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        if model_type == "distilbert":
            text = AutoConfig.for_model(model_type, vocab_size=300, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
        model = ChandraClipModel(ChandraClipConfig(text_config=text))
        model(**batch, return_loss=True).loss.backward()
        assert not [name for name, parameter in model.named_parameters() if parameter.grad is None], model_type


@pytest.mark.parametrize(
    "options, message", [({"regularizer": "l1"}, "regularizer"), ({"text_pooling": "max"}, "text_pooling")]
)
def test_impossible_configurations_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChandraClipConfig(**options)


def test_processor_takes_what_the_batch_has(processor: ChandraClipProcessor, columns: dict[str, Any]) -> None:
    assert set(processor(columns)) >= {"spectrum_values", "event_values", "input_ids", "text_mask"}
    spectra = {name: columns[name] for name in ("spectrum_counts", "exposure")}
    assert set(processor(spectra)) == {"spectrum_values", "spectrum_summary", "spectrum_mask"}
    assert set(processor(columns, modalities=["text"])) == {"input_ids", "attention_mask", "text_mask"}
    with pytest.raises(KeyError, match="summary"):
        processor(spectra, modalities=["text"])
    with pytest.raises(ValueError, match="image"):
        processor(columns, modalities=["image"])
    with pytest.raises(ValueError, match="modalities"):
        processor({"name": ["a"]})


def test_numbers_and_units_are_whole_words_where_frequent() -> None:
    texts = [
        "A flux of (4.5 +- 1.3) x 10^-14 erg/cm2/s",
        "X-ray flux 4.5e-14 erg cm^-2 s^-1",
        "N_H is 21.37, kT 0.65 keV",
    ]
    tokenizer = train_tokenizer(texts, vocab_size=200)
    assert tokenizer.tokenize("4.5 +- 1.3 x 10^-14 erg/cm2/s") == ["4.5", "+-", "1.3", "x", "10^-14", "erg/cm2/s"]
    assert tokenizer.tokenize("X-ray: 4.5e-14 erg cm^-2 s^-1") == [
        "x-ray",
        "[UNK]",
        "4.5",
        "e-14",
        "erg",
        "cm^-2",
        "s^-1",
    ]
    assert tokenizer.tokenize("N_H is 21.37, kT 0.65") == ["n_h", "is", "21.37", ",", "kt", "0.65"]
    assert tokenizer.tokenize("13.7 keV") == ["1", "##3", "##.", "##7", "kev"]  # never seen: spelt, not lost
    assert tokenizer.decode(tokenizer("kT 0.65 keV")["input_ids"]).startswith("[CLS]")
    assert len(tokenizer) <= 200
    assert tokenizer(["flux"], ["is"])["input_ids"]
    assert train_tokenizer(texts[::-1], vocab_size=200).get_vocab() == tokenizer.get_vocab()
    with pytest.raises(ValueError, match="at least one text"):
        train_tokenizer(["", None], vocab_size=200)  # type: ignore[list-item]


def test_texts_are_cut_at_the_limit(processor: ChandraClipProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "max_text_length", 8)
    tokens = processor.tokenize(["a quasar " * 50, "short"])
    assert tokens["input_ids"].shape == (2, 8)
    assert tokens["input_ids"][0, -1] == processor.tokenizer.sep_token_id
