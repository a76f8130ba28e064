"""scripts/compare_spectrum_models.py: what it runs exists, and what it writes is the mean of what was found."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from chandraclip.errors import OptionError
from chandraclip.evaluation import comparison


def load(path):
    spec = importlib.util.spec_from_file_location(f"program_{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(repository):
    return load(repository / "scripts" / "compare_spectrum_models.py")


def test_the_programs_take_what_they_are_given(script, repository, tmp_path):
    options = script.parse_arguments(["data", "--output", str(tmp_path), "--models", *script.MODELS])
    products = []
    for command, product in script.commands(options, 1):
        program = load(repository / command[0])
        if "--config" in command:
            assert (repository / command[command.index("--config") + 1]).is_file()
        if command[0] == "training/pretrain.py":
            parsed = vars(program.parse_arguments(program.PretrainArguments, None, command[1:]))
        else:
            parsed = vars(program.parse_arguments(command[1:]))
        assert not any(value is None for name, value in parsed.items() if f"--{name}" in command)
        products.append(product)
    assert len(set(products)) == len(products) == 4 * len(script.MODELS) + 3
    trained = [command for command, _ in script.commands(options, 2) if command[0] == "training/pretrain.py"]
    assert all(command[command.index("--seed") + 1] == "2" for command in trained)
    budget = {tuple(command[command.index("--max_steps") :][:4]) for command in trained}
    assert budget == {("--max_steps", "600", "--batch_size", "128")}


def test_numbers_are_means_over_the_seeds(script, tmp_path, capsys):
    for seed in range(2):
        for name in ("classification", "clustering", "reconstruction"):
            folder = tmp_path / f"seed_{seed}" / "results" / name
            folder.mkdir(parents=True)
            item = {"metric": name, "value": 0.5 + seed, "chance": 0.125, "baseline": 0.4, "baseline_name": "hand"}
            (folder / "metrics.json").write_text(
                json.dumps({"evaluation": name, "headline": [{**item, "published": 0.4}]})
            )
        records = [
            {"variable": "true_nh", "representation": "spectrum_latents", "method": "ridge", "r2": 0.2 + 0.2 * seed},
            {"variable": "true_nh", "representation": "hand_features", "method": "ridge", "r2": 0.1},
        ]
        folder = tmp_path / f"seed_{seed}" / "results" / "regression" / "gru_8"
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"results": {"records": records}}))
    options = script.parse_arguments(["data", "--output", str(tmp_path), "--seeds", "2", "--models", "gru_8"])
    rows = {row["number"]: row for row in script.summary(options)}
    assert rows["classification"]["mean"] == "1.000 +- 0.707"
    faint = rows["gru_8: R2 of true_nh below 300 counts, ridge"]
    np.testing.assert_allclose(faint["values"], [0.2, 0.4])
    assert faint["baseline"] == "0.100 (hand features)"


def test_a_comparison_with_other_options_is_not_gone_on_with(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "commands", lambda options, seed: iter(()))
    monkeypatch.setattr(comparison, "contents_of", lambda dataset: {comparison.place_of(dataset): "an id"})
    monkeypatch.setattr(script, "summary", lambda options: [{"number": "x", "values": []}])
    script.main(["data", "--output", str(tmp_path)])
    script.main(["data", "--output", str(tmp_path), "--seeds", "1"])  # fewer or more seeds are the same comparison
    with pytest.raises(OptionError, match="with other options"):
        script.main(["data", "--output", str(tmp_path), "--max_steps", "5"])


def test_bad_options(script, capsys):
    for wrong in (["--seeds", "0"], ["--models", "none"]):
        with pytest.raises(SystemExit) as end:
            script.parse_arguments(["data", *wrong])
        assert end.value.code == 2
