"""The learning rate as a function of the step, and which parameters decay."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from chandraclip.training.optimizer import build_optimizer, learning_rate_at, set_learning_rate
from chandraclip.training.randomness import seed_step


def test_warm_up_then_cosine_to_zero():
    rates = [learning_rate_at(step, 2.0, 10, 110) for step in range(111)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[9] == rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0.0, abs=1e-12)
    assert all(late <= early for early, late in pairwise(rates[10:]))
    assert learning_rate_at(0, 2.0, 0, 5) == 2.0


def test_only_matrices_decay_and_frozen_parameters_are_left_out():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
    model.logit_scale = torch.nn.Parameter(torch.tensor(1.0))
    model[2].requires_grad_(False)
    optimizer = build_optimizer(model, 1e-3, 0.1)
    decayed, others = optimizer.param_groups
    assert [id(parameter) for parameter in decayed["params"]] == [id(model[0].weight)]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert len(others["params"]) == 4  # a bias, a norm's two, the temperature
    set_learning_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}


def test_what_is_pre_trained_can_learn_more_slowly():
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(3, 4), "head": torch.nn.Linear(4, 2)})
    optimizer = build_optimizer(model, 1e-3, 0.1, {"encoder.": 0.1})
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    for learning_rate in (1e-3, 0.5):
        set_learning_rate(optimizer, learning_rate)
        rates = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
        assert [rates[id(each)] for each in model["encoder"].parameters()] == pytest.approx([0.1 * learning_rate] * 2)
        assert [rates[id(each)] for each in model["head"].parameters()] == pytest.approx([learning_rate] * 2)


def test_every_step_and_process_draws_its_own_numbers():
    def draw(*place):
        seed_step(*place)
        return torch.rand(4)

    assert torch.equal(draw(0, 3, 1), draw(0, 3, 1))
    draws = [draw(seed, step, process) for seed in (0, 1) for step in (0, 1, 2) for process in (0, 1)]
    assert len({tuple(numbers.tolist()) for numbers in draws}) == len(draws)
