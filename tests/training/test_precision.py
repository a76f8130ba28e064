"""Mixed precision: bf16 trains and resumes; a step that fp16's scaler skips is not an error; losses are in fp32."""

from __future__ import annotations

import json

import pytest
import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from chandraclip.errors import OptionError
from chandraclip.training.arguments import RunArguments
from chandraclip.training.distributed import make_accelerator
from chandraclip.training.optimizer import build_optimizer
from chandraclip.training.run import Run
from chandraclip.training.step import train_step


@pytest.fixture
def precision(monkeypatch):
    """Sets it as accelerate launch does, and forgets it: the state of accelerators is one for all of a process."""

    def choose(name):
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", name)
        AcceleratorState._reset_state(reset_partial_state=True)

    yield choose
    AcceleratorState._reset_state(reset_partial_state=True)


class Line(torch.nn.Module):
    """y = a x by least squares; its loss is inf where x is."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor([0.0]))

    def forward(self, x, **kwargs):
        return type("Output", (), {"loss": (self.a * x - x).square().mean()})


@pytest.fixture
def scaled(precision):
    """A model and its optimizer with a loss scaler, as in fp16 on a GPU."""
    precision("fp16")
    accelerator = Accelerator()
    accelerator.native_amp = True
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    model = Line()
    optimizer = AcceleratedOptimizer(
        build_optimizer(model, 0.1, 0.0), device_placement=False, scaler=accelerator.scaler
    )
    accelerator._optimizers.append(optimizer)
    return accelerator, model, optimizer


ARGUMENTS = RunArguments(warmup_steps=0, learning_rate=0.1)
GOOD, BAD = [{"x": torch.ones(4)}], [{"x": torch.tensor([1.0, float("inf")])}]


def test_a_step_that_overflows_is_skipped_and_the_scale_halved(scaled):
    accelerator, model, optimizer = scaled
    values = train_step(accelerator, model, optimizer, GOOD, 0, ARGUMENTS)
    assert values["loss_scale"] == 8.0
    assert values["grad_norm"] == pytest.approx(2.0)  # unscaled
    before = model.a.detach().clone()
    assert before > 0
    values = train_step(accelerator, model, optimizer, BAD, 1, ARGUMENTS)
    assert not torch.isfinite(torch.tensor(values["grad_norm"]))
    assert torch.equal(model.a, before)
    values = train_step(accelerator, model, optimizer, GOOD, 2, ARGUMENTS)
    assert values["loss_scale"] == 4.0
    assert model.a > before


def test_a_gradient_that_no_scale_helps_is_an_error_with_and_without_a_scaler(scaled):
    accelerator, model, optimizer = scaled
    for step in range(4):
        train_step(accelerator, model, optimizer, BAD, step, ARGUMENTS)
    with pytest.raises(FloatingPointError, match=r"step 4 is not finite.*loss scale 0.5"):
        train_step(accelerator, model, optimizer, BAD, 4, ARGUMENTS)
    accelerator.scaler, accelerator.native_amp = None, False
    plain = build_optimizer(model, 0.1, 0.0)
    with pytest.raises(FloatingPointError, match="step 5 is not finite"):
        train_step(accelerator, model, plain, BAD, 5, ARGUMENTS)


def test_the_scale_is_in_the_checkpoint(scaled, tmp_path):
    accelerator, model, optimizer = scaled
    arguments = RunArguments(output_dir=str(tmp_path / "run"), max_steps=9, save_steps=2, logging_steps=100)

    def go(run, steps):
        with run.tracker() as tracker:
            for step in steps:
                values = train_step(accelerator, model, optimizer, BAD if step == 0 else GOOD, step, arguments)
                run.end_step(step, tracker, values, None, model, optimizer.optimizer)

    go(Run(arguments, {}, accelerator, "loss", False), range(2))
    state = json.loads((tmp_path / "run/checkpoints/step-00000002/state.json").read_text())
    assert state["grad_scaler"]["scale"] == 4.0
    assert state["grad_scaler"]["_growth_tracker"] == 1
    accelerator.scaler.load_state_dict({**state["grad_scaler"], "scale": 1024.0})
    run = Run(arguments, {}, accelerator, "loss", False)
    run.resume(model, optimizer.optimizer)
    assert accelerator.scaler.state_dict() == state["grad_scaler"]


def test_fp16_on_a_cpu_is_refused(precision):
    precision("fp16")
    with pytest.raises(OptionError, match=r"fp16 needs a GPU.*bf16"):
        make_accelerator(RunArguments())


@pytest.mark.slow
def test_bf16_trains_resumes_exactly_and_embeds_in_fp32(towers, tmp_path, run_loop, precision, monkeypatch):
    from chandraclip.training import step as training_step

    precision("bf16")
    dtypes = set()

    def keep_dtype(module, inputs, output):
        dtypes.add(output.dtype)

    def look(accelerator, model, optimizer, micro_batches, step, arguments, **schedule):
        linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
        handles = [module.register_forward_hook(keep_dtype) for module in linear]
        values = train_step(accelerator, model, optimizer, micro_batches, step, arguments, **schedule)
        for handle in handles:
            handle.remove()
        if step == 0:
            model.eval()
            with torch.no_grad():
                output = model(**micro_batches[0], return_loss=True)
            tensors = [output.loss, *(output.loss_parts or {}).values()] if "loss_parts" in output else [output.loss]
            for name in ("spectrum_embeds", "event_embeds", "text_embeds"):
                if name in output:
                    tensors.append(output[name])
                    norm = output[name].norm(dim=1)
                    assert torch.all((norm - 1).abs().lt(1e-6) | norm.eq(0)), name
            assert {tensor.dtype for tensor in tensors} == {torch.float32}
        return values

    monkeypatch.setattr(training_step, "train_step", look)
    for loop, config, rate in (("pretrain", "spectrum", 3e-3), ("pretrain", "events", 3e-3), ("align", "align", 3e-3)):
        dtypes.clear()
        options = [
            "--config",
            towers / f"{config}.yaml",
            "--max_steps",
            18,
            "--learning_rate",
            rate,
            "--save_steps",
            6,
        ]
        whole, ended = tmp_path / f"{config}-whole", tmp_path / f"{config}-ended"
        run_loop(loop, *options, "--output_dir", whole)
        assert dtypes == {torch.bfloat16}, config
        lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
        losses = [line["train/loss"] for line in lines if "train/loss" in line]
        assert len(losses) == 18
        if config != "events":  # the loss of photon lists is of what is planted into each batch, and may be negative
            assert sum(losses[-6:]) < 0.97 * sum(losses[:6]), config
        weights = load_file(whole / "model.safetensors")
        assert {value.dtype for value in weights.values()} == {torch.float32}

        with monkeypatch.context() as patch:
            patch.setattr(Run, "finish", interrupt)
            patch.setattr(Run, "is_due", lambda self, step, every: (step + 1) % every == 0 or end_at(step, 13))
            with pytest.raises(KeyboardInterrupt):
                run_loop(loop, *options, "--output_dir", ended)
        run_loop(loop, *options, "--output_dir", ended)
        again = load_file(ended / "model.safetensors")
        assert all(torch.equal(value, again[name]) for name, value in weights.items()), config


def interrupt(*_):
    raise KeyboardInterrupt


def end_at(step, last):
    if step == last:
        raise KeyboardInterrupt
    return False
