"""scripts/compare_event_models.py and compare_photons_read.py: what they run exists, what they write is the mean."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.errors import OptionError
from chandraclip.evaluation import comparison
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
    given = [dict(zip(command[1::2], command[2::2])) for command in trained]
    assert {(one["--max_steps"], one["--batch_size"]) for one in given} == {("7", "5")}


def test_the_stages_of_ppad_keep_their_shares(models, repository, tmp_path):
    assert "ppad" not in models.DEFAULT_MODELS  # over a second for each list that is embedded
    words = ["data", "--output", str(tmp_path), "--models", "ppad", "--max_steps", "250", "--batch_size", "6"]
    command, _ = next(models.commands(models.parse_arguments(words), 0))
    pretrain = load(repository / "training" / "pretrain.py")
    made = pretrain.parse_arguments(pretrain.PretrainArguments, None, command[1:])
    assert made.training_config == {
        "max_lists": 1000, "filter_location": 200, "filtered_steps": 50, "latent_steps": 50
    }  # fmt: skip
    assert (made.max_steps, made.batch_size, made.gradient_accumulation_steps) == (250, 6, 2)


def small_dataset(folder):
    folder.mkdir()
    pq.write_table(pa.table({"name": [f"S{row}" for row in range(8)], "split": ["test"] * 8}), folder / "test.parquet")
    return folder


@pytest.fixture
def steps(tmp_path):
    """A repository of two programs, the commands that run them, and what has run so far."""
    folder = tmp_path / "repository"
    folder.mkdir()
    log, model, embedded = tmp_path / "log", tmp_path / "model", tmp_path / "embeddings"
    write = "import sys, pathlib; folder = pathlib.Path(sys.argv[2]); folder.mkdir(exist_ok=True)\n"
    note = f"open({str(log)!r}, 'a').write(sys.argv[0] + ' ')\n"
    (folder / "train").write_text(f"{write}{note}(folder / 'config.json').write_text(open(sys.argv[1]).read())\n"
                                  "(folder / 'metrics.json').write_text('done')\n")  # fmt: skip
    (folder / "embed").write_text(f"{write}{note}(folder / 'embeddings.json').write_text('done')\n")
    (folder / "a.yaml").write_text("1")
    commands = [
        (["train", "a.yaml", str(model)], model / "metrics.json"),
        (["embed", str(model), str(embedded), "data"], embedded / "embeddings.json"),
    ]

    def run(content: str = "first") -> str:
        log.write_text("")
        comparison.run_steps(commands, folder, tmp_path / "output", {"data": content})
        return log.read_text().strip()

    return run, folder, model


def test_what_is_finished_is_so_for_its_inputs(steps, capfd):
    run, folder, model = steps
    assert run() == "train embed"
    assert run() == ""
    assert run("another dataset") == "train embed"
    (folder / "a.yaml").write_text("2")  # another configuration, so another model
    assert run("another dataset") == "train embed"
    (model / "config.json").write_text("3")  # a model that was trained elsewhere
    assert run("another dataset") == "embed"
    (folder / "embed").write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit) as end:
        run("a third dataset")
    assert end.value.code == 3


def test_another_dataset_in_its_place_is_another_comparison(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "commands", lambda options, seed: iter(()))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    data = small_dataset(tmp_path / "data")
    (data / "manifest.json").write_text('{"rows": 1}')
    options = [str(data), "--output", str(tmp_path / "out")]
    models.main(options)
    models.main(options)
    (data / "manifest.json").write_text('{"rows": 2}')
    with pytest.raises(OptionError, match=r"with other options \(dataset_id;"):
        models.main(options)


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
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    data = small_dataset(tmp_path / "data")
    options = [str(data), "--output", str(tmp_path), "--seeds", "2", "--models", "transformer"]
    models.main(options)
    rows = {row["number"]: row for row in json.loads((tmp_path / "comparison.json").read_text())["rows"]}
    assert (rows["rates"]["mean"], rows["rates"]["published, not comparable"]) == ("1.000 +- 0.707", "0.873")
    np.testing.assert_allclose(rows["event_tasks"]["values"], [0.5, 1.5])
    assert "arXiv:2502.01627" in (tmp_path / "comparison.md").read_text()
    with pytest.raises(OptionError, match="with other options"):
        models.main([*options, "--max_steps", "5"])
