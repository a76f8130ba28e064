"""Two gloo processes and one give the same loss and gradients, with missing rows spread unevenly."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import warm_python

SCRIPT = Path(__file__).with_name("parity.py")


def test_two_processes_equal_one(tmp_path):
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    warm_python.run([sys.executable, SCRIPT, one], check=True)
    warm_python.run_ranks([sys.executable, SCRIPT, two], 2)
    expected, found = load_file(one), load_file(two)
    assert expected.keys() == found.keys()
    assert {
        "none.log_scale",
        "distance.loss",
        "neighbourhoods.loss",
        "variance_covariance.towers.text.weight",
    } <= expected.keys()
    for name, value in expected.items():
        assert value.abs().sum() > 0, name
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=name)
