"""scripts/compare_event_models.py and compare_photons_read.py: what they run exists, what they write is the mean."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chandraclip.errors import OptionError
from test_spectrum_comparison import load


@pytest.fixture
def models(repository):
    return load(repository / "scripts" / "compare_event_models.py")


@pytest.fixture
def photons(repository):
    return load(repository / "scripts" / "compare_photons_read.py")


def check_programs(steps, repository):
    """Every program understands its options; the files that they write last differ."""
    products = []
    for command, product in steps:
        program = load(repository / command[0])
        if command[0] == "training/pretrain.py":
            parsed = vars(program.parse_arguments(program.PretrainArguments, None, command[1:]))
        else:
            parsed = vars(program.parse_arguments(command[1:]))
        assert not any(value is None for name, value in parsed.items() if f"--{name}" in command)
        products.append(product)
    assert len(set(products)) == len(products)
    return products


def test_the_programs_take_what_they_are_given(models, repository, tmp_path):
    names = [name for name, (config, _, _) in models.MODELS.items()
             if (repository / "training" / "configs" / f"{config}.yaml").is_file()]  # fmt: skip
    assert "transformer" in names
    chosen = ["data", "--output", str(tmp_path), "--models", *names]
    products = check_programs(models.commands(models.parse_arguments(chosen), 1), repository)
    decoded = sum(models.MODELS[name][2] for name in names)
    assert len(products) == 2 * len(names) + decoded + 2
    budget = models.parse_arguments([*chosen, "--max_steps", "7", "--batch_size", "5"])
    trained = [command for command, _ in models.commands(budget, 2) if command[0] == "training/pretrain.py"]
    assert all(command[command.index("--seed") + 1] == "2" for command in trained)
    assert {tuple(command[command.index("--max_steps") :][:4]) for command in trained} == {
        ("--max_steps", "7", "--batch_size", "5")
    }


def test_lengths_that_are_read(photons, repository, tmp_path):
    options = photons.parse_arguments(["model", "data", "--output", str(tmp_path), "--hours", "8", "2.5"])
    steps = list(photons.commands(options))
    check_programs(steps, repository)
    cuts = {product.parent.name: command[4:] for command, product in steps[:-1]}
    assert cuts == {
        "512_photons": ["--max_photons", "512"],
        "2048_photons": ["--max_photons", "2048"],
        "8_hours": ["--max_hours", "8.0"],
        "2.5_hours": ["--max_hours", "2.5"],
        "all": [],
    }
    assert steps[-1][0][-3] == "512"  # judged: lists that the shortest cut shortens
    with pytest.raises(SystemExit):
        photons.parse_arguments(["model", "data", "--photons", "0"])


def test_numbers_are_means_over_the_seeds_beside_the_published(models, tmp_path, monkeypatch, capsys):
    for seed in range(2):
        for name in ("event_tasks", "rates"):
            folder = tmp_path / f"seed_{seed}" / "results" / name
            folder.mkdir(parents=True)
            item = {"metric": name, "value": 0.5 + seed, "chance": 0.0, "baseline": 0.4, "baseline_name": "hand"}
            content = {"evaluation": name, "headline": [{**item, "published": 0.873}]}
            (folder / "metrics.json").write_text(json.dumps(content))
    monkeypatch.setattr(models, "commands", lambda options, seed: iter(()))
    options = ["data", "--output", str(tmp_path), "--seeds", "2", "--models", "transformer"]
    models.main(options)
    rows = {row["number"]: row for row in json.loads((tmp_path / "comparison.json").read_text())["rows"]}
    assert (rows["rates"]["mean"], rows["rates"]["published, not comparable"]) == ("1.000 +- 0.707", "0.873")
    np.testing.assert_allclose(rows["event_tasks"]["values"], [0.5, 1.5])
    assert "arXiv:2502.01627" in (tmp_path / "comparison.md").read_text()
    with pytest.raises(OptionError, match="with other options"):
        models.main([*options, "--max_steps", "5"])
