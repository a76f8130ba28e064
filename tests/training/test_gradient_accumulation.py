"""Micro-batches give the loss and gradient of the whole batch, hold less in memory, and draw their dropout once."""

from __future__ import annotations

import weakref
from functools import partial

import datasets
import pytest
import torch
from accelerate import Accelerator

from chandraclip.errors import OptionError
from chandraclip.losses import REGULARIZERS
from chandraclip.models import (
    ChandraClipConfig,
    ChandraClipModel,
    ChandraClipProcessor,
    EventFeatureExtractor,
    EventTransformerConfig,
    EventTransformerModel,
    SpectrumAutoencoderConfig,
    SpectrumAutoencoderModel,
    SpectrumFeatureExtractor,
    small_text_config,
    train_tokenizer,
)
from chandraclip.program import explain
from chandraclip.training.arguments import RunArguments
from chandraclip.training.distributed import make_accelerator
from chandraclip.training.gradient_accumulation import accumulate_gradients
from chandraclip.training.randomness import seed_step

ROWS, PARTS = 16, 4
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 8}
# Micro-batches with all rows, some, and none.
MASKS = {
    "spectrum": torch.tensor([1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 1, 1]).bool(),
    "event": torch.tensor([1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0]).bool(),
    "text": torch.tensor([0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1]).bool(),
}


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    return Accelerator()


@pytest.fixture(scope="module")
def rows(dataset):
    return datasets.load_dataset(str(dataset), "pairs", split="train").with_format("arrow")[:ROWS]


@pytest.fixture(scope="module")
def processor(rows):
    tokenizer = train_tokenizer(rows["summary"].to_pylist(), vocab_size=300)
    return ChandraClipProcessor(SpectrumFeatureExtractor(), EventFeatureExtractor(mesh_size=32), tokenizer)


def cut(processed_by, rows, parts):
    """The rows in micro-batches, with the masks above."""
    size = ROWS // parts
    batches = [dict(processed_by(rows.slice(start, size))) for start in range(0, ROWS, size)]
    for number, batch in enumerate(batches):
        for name, mask in MASKS.items():
            if f"{name}_mask" in batch:
                batch[f"{name}_mask"] = mask[number * size : (number + 1) * size]
    return batches


def make_aligned(processor, dropout, **options):
    torch.manual_seed(0)
    text = small_text_config(
        len(processor.tokenizer), hidden_size=16, intermediate_size=32, hidden_dropout_prob=dropout
    )
    config = ChandraClipConfig(
        spectrum_config={**SMALL, "patch_size": 40, "hidden_dropout": dropout},
        event_config={**SMALL, "num_queries": 4, "chunk_size": 16, "hidden_dropout": dropout},
        text_config=text,
        projection_dim=8,
        projection_dropout=dropout,
        gamma=0.5,
        **options,
    )
    return ChandraClipModel(config).train()


def gradient(accelerator, model, batches, seed=lambda number: torch.manual_seed(0)):
    """The parts of the loss and the gradient as one vector."""
    model.zero_grad()
    parts = accumulate_gradients(accelerator, model, batches, seed)
    return parts, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def assert_equal(found, expected):
    assert expected[1].norm() > 0
    assert (found[1] - expected[1]).norm() <= 1e-5 * expected[1].norm()
    assert found[0].keys() == expected[0].keys()
    for name, part in expected[0].items():
        torch.testing.assert_close(found[0][name], part, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_the_alignment_with_all_negatives(accelerator, processor, rows, regularizer):
    weights = {"pair_weights": {"spectrum_event": 0.3}, "neighbourhood_weights": {"event": 0.5}}
    model = make_aligned(processor, 0.0, regularizer=regularizer, **weights)
    whole = gradient(accelerator, model, cut(processor, rows, 1))
    assert whole[0]["info_nce_spectrum_text"] > 1
    assert whole[0]["neighbourhood_event"] > 0
    assert_equal(gradient(accelerator, model, cut(processor, rows, PARTS)), whole)


def test_dropout_is_the_same_in_both_passes_and_another_in_each_micro_batch(accelerator, processor, rows):
    model, batches, seed = make_aligned(processor, 0.2), cut(processor, rows, PARTS), partial(seed_step, 1, 2, 0)
    found = gradient(accelerator, model, batches, seed)

    # All graphs at once: what the two passes must equal.
    model.zero_grad()
    outputs = []
    for number, batch in enumerate(batches):
        seed(number)
        outputs.append(model(**batch))
    whole = {name: torch.cat([output[name] for output in outputs]) for name in outputs[0] if name != "logit_scale"}
    masks = {name: torch.cat([batch[f"{name}_mask"] for batch in batches]) for name in MASKS}
    output = type(outputs[0])(**whole, logit_scale=model.clamped_logit_scale())
    loss, _ = model.loss_of_embeddings(output, masks)
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    torch.testing.assert_close(found[0]["loss"], loss.detach())
    assert (found[1] - expected).norm() <= 1e-5 * expected.norm()

    draws = set()
    for place in ((1, 2, 0, 0), (1, 2, 0, 1), (1, 2, 1, 0), (1, 3, 0, 0)):
        seed_step(*place)
        draws.add(torch.rand(()).item())
    assert len(draws) == 4


@pytest.mark.parametrize("family", ["spectrum", "event"])
def test_a_mean_over_the_rows_that_count(accelerator, processor, rows, family):
    """The place in the cells of the rate field is one random number for all rows, whatever a micro-batch's seed."""
    torch.manual_seed(0)
    if family == "spectrum":
        extractor = processor.spectrum_feature_extractor
        model = SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**SMALL, patch_size=40, hidden_dropout=0.0))
    else:
        extractor = processor.event_feature_extractor
        model = EventTransformerModel(EventTransformerConfig(**SMALL, num_queries=4, hidden_dropout=0.0))
        torch.nn.init.normal_(model.decoder.output_projection.weight)  # 0 at the start: a rate constant in time
    model.train()
    batches = cut(extractor, rows, PARTS)
    assert {int(batch[f"{family}_mask"].sum()) for batch in batches} >= {0, 4}
    seed = partial(seed_step, 1, 2, 0)
    whole = gradient(accelerator, model, cut(extractor, rows, 1), seed)
    assert_equal(gradient(accelerator, model, batches, seed), whole)
    with pytest.raises(ValueError, match="one mask"):
        accumulate_gradients(accelerator, model, [{**batch, "other_mask": MASKS["text"]} for batch in batches], int)


def test_a_quarter_of_the_activations_is_held_at_a_time(accelerator, processor, rows):
    """Bytes of all tensors that autograd keeps for the backward pass, at their highest."""
    model = make_aligned(processor, 0.1)
    weights = {parameter.data_ptr() for parameter in model.parameters()}

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor

    def highest(batches):
        held, most = 0, 0

        def release(size):
            nonlocal held
            held -= size

        def pack(tensor):
            nonlocal held, most
            kept = Kept(tensor)
            if tensor.data_ptr() not in weights:
                size = tensor.numel() * tensor.element_size()
                held, most = held + size, max(most, held + size)
                weakref.finalize(kept, release, size)
            return kept

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
            gradient(accelerator, model, batches)
        return most

    whole = highest(cut(processor, rows, 1))
    assert whole > 1e6
    assert highest(cut(processor, rows, PARTS)) < 0.45 * whole  # the rows differ in photons


def test_the_number_is_ours_if_set_and_else_that_of_accelerate(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for asked, told, expected in ((None, None, 1), (None, 4, 4), (2, 4, 2), (2, None, 2)):
        if told is None:
            monkeypatch.delenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", raising=False)
        else:
            monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", str(told))
        arguments = RunArguments(batch_size=16, gradient_accumulation_steps=asked)
        accelerator = make_accelerator(arguments)
        assert arguments.num_micro_batches == arguments.gradient_accumulation_steps == expected
        assert arguments.micro_batch_size == 16 // expected
        assert accelerator.gradient_accumulation_steps == 1  # by which `backward` would divide
    with pytest.raises(OptionError, match=r"batch_size 16 does not divide into 1 process.* x 3"):
        make_accelerator(RunArguments(batch_size=16, gradient_accumulation_steps=3))
    with pytest.raises(ValueError, match="gradient_accumulation_steps must be positive"):
        RunArguments(gradient_accumulation_steps=0)


def test_an_option_that_cannot_be_honoured_ends_the_program_in_one_line():
    assert explain(OptionError("batch_size 16 is wrong")) == "batch_size 16 is wrong"
