"""Families that plan their training: rows of their own, stages, parameters of rows; a rate that falls on plateaus."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from chandraclip.errors import InputFileError
from chandraclip.models.contract import TrainingPlan, TrainingStage
from chandraclip.training.plan import StagedSampler
from chandraclip.training.plateau import Plateau
from training_files import TINY


def test_the_rate_falls_as_pytorchs_scheduler_has_it():
    rng = np.random.default_rng(0)
    losses = np.concatenate([5 - np.arange(8.0), rng.normal(-3, 0.01, 40), rng.normal(2, 0.5, 10)])
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    state: dict[str, float] = {}
    ours = Plateau(0.1, 0.5, 3, state)
    rates = set()
    for loss in losses:
        for part in (loss - 1, loss + 1):  # two steps an epoch
            ours.end_step(float(part), ends_epoch=part > loss)
            ours = Plateau(0.1, 0.5, 3, state)  # all of it is in the state
        theirs.step(float(np.mean([loss - 1, loss + 1])))
        assert ours.learning_rate == pytest.approx(optimizer.param_groups[0]["lr"])
        rates.add(ours.learning_rate)
    assert len(rates) > 3
    ours.begin()
    assert ours.learning_rate == 0.1


def test_batches_are_those_of_the_stage():
    plan = TrainingPlan(
        range(50), (TrainingStage(5, rows=np.arange(10, 20)), TrainingStage(4, frozen=("a",)), TrainingStage())
    )
    sampler = StagedSampler("data", plan, 4, seed=1)
    batches = [sampler.batch(step) for step in range(30)]
    assert all(np.isin(batch, plan.stages[0].rows).all() for batch in batches[:5])
    assert np.unique(np.concatenate(batches[5:])).size > 40
    assert [sampler.place(step).begins for step in range(11)] == [step in (0, 5, 9) for step in range(11)]
    assert [step for step in range(30) if sampler.place(step).ends_epoch] == [1, 3, 20]
    assert [sampler.place(step).stage.frozen for step in (4, 5, 8, 9)] == [(), ("a",), ("a",), ()]
    halves = np.concatenate([sampler.batch(7, process, 2) for process in range(2)])
    assert np.array_equal(halves, sampler.batch(7))
    with pytest.raises(InputFileError, match=r"data.*batch_size 20"):
        StagedSampler("data", plan, 20, seed=1)


@pytest.mark.slow
def test_ppad_trains_in_three_stages_and_goes_on_from_any_of_their_steps(dataset, tmp_path, run_loop):
    content = {
        **{
            **TINY,
            "warmup_steps": 0,
            "save_steps": 1,
            "keep_checkpoints": 9,
            "eval_steps": 6,
            "max_validation_rows": 4,
            "weight_decay": 0,
        },
        **{"model_type": "poisson_autodecoder", "schedule": "plateau", "plateau_patience": 0, "dataset": str(dataset)},
        "model_options": {"decoder_hidden_size": 8, "num_decoder_blocks": 1, "num_fit_steps": 2, "mesh_size": 16},
        "feature_extractor_options": {"mesh_size": 16},
        "training_options": {"filtered_steps": 2, "latent_steps": 2, "filter_location": 60, "min_duration": 5000},
    }
    (tmp_path / "ppad.yaml").write_text(yaml.safe_dump(content))
    run_loop("pretrain", "--config", tmp_path / "ppad.yaml", "--output_dir", tmp_path / "whole")
    at = {
        step: load_file(tmp_path / f"whole/checkpoints/step-0000000{step}/model.safetensors")
        for step in (1, 2, 3, 4, 6)
    }
    table = {step: tensors.pop("training_latents") for step, tensors in at.items()}

    def changed(first: int, second: int) -> set[str]:
        return {name for name in at[first] if not torch.equal(at[first][name], at[second][name])}

    decoder = {name for name in at[1] if name.startswith("decoder.")}
    assert changed(1, 2) >= {name for name in decoder if name.endswith("weight")}
    moved = (table[1] != table[2]).any(dim=1)
    assert 0 < moved.sum() < len(moved) / 2  # of the bright ones alone
    assert changed(2, 4) == set()  # the decoder is frozen
    assert (table[2] != table[4]).any(dim=1).sum() > 8
    assert changed(4, 6) >= {name for name in decoder if name.endswith("weight")}

    for step in (1, 3, 4):
        run_loop("pretrain", "--config", tmp_path / "ppad.yaml", "--output_dir", tmp_path / f"from{step}",
                 "--resume_from_checkpoint", tmp_path / f"whole/checkpoints/step-0000000{step}")  # fmt: skip
        whole, again = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", f"from{step}"))
        assert all(torch.equal(value, again[name]) for name, value in whole.items()), step


@pytest.mark.slow
def test_ppad_can_train_on_some_lists_at_random(dataset):
    from chandraclip.data.loading import load_splits
    from chandraclip.models.contract import make_model, plan_training

    rows = load_splits(str(dataset), "pairs", None)["train"]
    whole, some, again = (
        plan_training(make_model("poisson_autodecoder", {"decoder_hidden_size": 4}), rows, 3, {"max_lists": number})
        for number in (None, 20, 20)
    )
    keys = [
        list(zip(*(plan.rows[:][name].to_pylist() for name in ("list_row", "window")))) for plan in (whole, some, again)
    ]
    assert len(keys[0]) > len(keys[1]) == 20
    assert keys[1] == keys[2] != keys[0][:20]
    assert set(keys[1]) <= set(keys[0])


def test_options_of_the_training_are_checked_before_anything_is_written(dataset, tmp_path, run_loop):
    for options, message in (
        (["--training_options", '{"stages": 3}'], "has no option stages"),
        (["--training_options", '{"min_duration": 1e6, "max_duration": 1e7}'], "no photon list of 10 to 10000 photons"),
    ):
        with pytest.raises(ValueError, match=message):
            run_loop("pretrain", "--model_type", "poisson_autodecoder", "--dataset", dataset,
                     "--output_dir", tmp_path / "out", *options)  # fmt: skip
    with pytest.raises(SystemExit):
        run_loop("pretrain", "--model_type", "poisson_autodecoder", "--schedule", "linear")
    assert not (tmp_path / "out").exists()
