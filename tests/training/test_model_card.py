"""The card of a trained model, and that pushing the model publishes it: card, metrics, processor, nothing private."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

import warm_python
from chandraclip.training.model_card import chance, metrics_table
from hub_server import HubServer

pytestmark = pytest.mark.slow

HEADER = """
import sys, chandraclip, torch
from transformers import AutoModel, AutoProcessor
def train(model):
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    return model
"""


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def aligned(towers: Path, tmp_path_factory: pytest.TempPathFactory, run_loop: Callable[..., None]) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "tiny-align"
    run_loop("align", "--config", towers / "align.yaml", "--output_dir", folder, "--max_steps", 2)
    return folder


@pytest.fixture
def run(hub: HubServer, tmp_path: Path) -> Callable[..., str]:
    """A fresh process with an empty cache that can reach the loopback Hub alone; its standard output."""
    caches = iter(range(100))

    def run(code: str, *arguments: object) -> str:
        cache = tmp_path / f"cache-{next(caches)}"
        environment = {**os.environ, **hub.environment(cache), "HF_DATASETS_CACHE": str(cache / "datasets")}
        process = warm_python.run([sys.executable, "-c", HEADER + code, *arguments], env=environment)
        assert process.returncode == 0, process.stderr[-3000:]
        return process.stdout

    return run


def published(hub: HubServer, repo: str) -> dict[str, bytes]:
    return hub.repos[repo][-1].files


def code_of(card: str) -> str:
    """The first block of Python."""
    found = re.search(r"```python\n(.*?)```", card, re.S)
    assert found is not None
    return found[1]


def assert_nothing_private(files: dict[str, bytes], *private: Path) -> None:
    home = str(Path.home())
    words = {str(path) for path in private} | {path.name for path in private} | ({home} if len(home) > 1 else set())
    for name, content in files.items():
        found = [word for word in words if word.encode() in content]
        assert not found, f"{name} holds {found}"
        assert not re.search(rb"[\"'` ]/(home|root|tmp|work|Users|private|var)/", content), name


def test_the_card_says_simulated_chance_and_how_to_repeat(towers: Path, aligned: Path, dataset: Path) -> None:
    num_rows = json.loads((dataset / "manifest.json").read_text())["num_rows"]["train"]
    metrics = json.loads((aligned / "metrics.json").read_text())
    text = (aligned / "README.md").read_text()
    assert f"**Simulated data**: all {num_rows} detections were simulated; nothing was observed." in text
    assert "nothing of how well it does on the sky" in text
    assert "python scripts/build_dataset.py simulate --num_detections 250 --seed 5 OUTPUT_DIR" in text
    assert "accelerate launch training/align.py --config train_config.yaml" in text
    assert "batch_size: 16" in text
    assert "licence cc-by-4.0" in text
    assert "0.3-10 keV (event) and 0.5-8 keV (spectrum)" in text
    assert "| metric | validation | validation, by chance | test | test, by chance |" in text
    pool = metrics["test"]["spectrum_text/num_candidates"]
    line = next(line for line in text.splitlines() if line.startswith("| spectrum_text/recall@5% |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3] == f"{metrics['test']['spectrum_text/recall@5%']:.4g}"
    assert float(cells[4]) == pytest.approx(-(-0.05 * pool // 1) / pool, rel=1e-3)
    assert_nothing_private({"README.md": text.encode()}, dataset.parent, aligned.parent, towers)

    text = (towers / "spectrum" / "README.md").read_text()
    assert "**Simulated data**: all" in text
    assert "training/pretrain.py" in text
    assert "0.5-8 keV." in text
    assert "by chance" not in text


@pytest.mark.parametrize("share", [0, 1], ids=["real", "mixed"])
def test_the_card_of_a_strangers_dataset(
    share: int, towers: Path, dataset: Path, run_loop: Callable[..., None], tmp_path: Path
) -> None:
    rows = datasets.load_dataset(str(dataset), "pairs", split="all").with_format("arrow")[:]
    simulated = ["powerlaw" if share and number % 3 == 0 else None for number in range(rows.num_rows)]
    rows = rows.select(["name", "spectrum_counts"]).append_column("true_spectrum", pa.array(simulated, pa.string()))
    (tmp_path / "survey").mkdir()
    pq.write_table(rows, tmp_path / "survey" / "all.parquet")
    folder = tmp_path / "model"
    run_loop("pretrain", "--config", towers / "spectrum.yaml", "--dataset", tmp_path / "survey", "--output_dir", folder)
    text = (folder / "README.md").read_text()
    found = re.search(r"\*\*Mixed data\*\*: (\d+) of the (\d+) detections were simulated, (\d+) are real", text)
    if share:
        assert found is not None
        assert int(found[1]) + int(found[3]) == int(found[2]) < rows.num_rows
        assert 0 < int(found[1]) < int(found[2])
    else:
        assert "**Real data**, as far as the dataset tells" in text
    assert ("on the sky" in text) == ("simulated-data" in text) == bool(share)
    names: dict[str, Any] = {}
    code = code_of(text).replace('"survey"', repr(str(tmp_path / "survey"))).replace('"model"', repr(str(folder)))
    exec(code, names)
    assert names["latents"].shape == (16, 8)


def test_the_hub_reads_the_metrics(towers: Path, aligned: Path) -> None:
    for folder, split in ((aligned, "test"), (towers / "events", "validation")):
        metrics = json.loads((folder / "metrics.json").read_text())[split]
        card = ModelCard.load(folder / "README.md")
        assert card.data.library_name == "transformers"
        assert card.data.pipeline_tag == "feature-extraction"
        assert card.data.license == "apache-2.0"
        assert {"chandraclip", "simulated-data"} <= set(card.data.tags)
        name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
        assert name == folder.name
        assert sorted(result.metric_value for result in results) == sorted(
            value for metric, value in metrics.items() if "num_candidates" not in metric
        )
        assert {(result.dataset_name, result.dataset_split) for result in results} == {("simulated (simulated)", split)}


def test_push_to_hub_publishes_a_model_that_works(
    aligned: Path, towers: Path, dataset: Path, hub: HubServer, run: Callable[..., str]
) -> None:
    run("AutoModel.from_pretrained(sys.argv[1]).push_to_hub('tester/x')", aligned)
    files = published(hub, "tester/x")
    card = files["README.md"].decode()
    assert "| spectrum_text/recall@1% |" in card
    assert "simulated" in card
    assert "More Information Needed" not in card
    assert 'path = "tester/x"' in card
    assert json.loads(files["metrics.json"]) == json.loads((aligned / "metrics.json").read_text())
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= set(files)
    assert not [name for name in files if "train_config" in name or name.endswith(".jsonl")]
    assert_nothing_private(files, dataset.parent, aligned.parent, towers)
    # The card's own code, in a process that has nothing but the repository's name.
    code = code_of(card).replace('load_dataset("simulated"', f'load_dataset("{dataset}"')
    code += "\nprint(tuple(output.text_embeds.shape), type(processor).__name__)"
    code += "\nmodel.push_to_hub('tester/copy')"
    assert run(code).strip() == "(16, 64) ChandraClipProcessor"
    # Published elsewhere, a model that was loaded from the Hub keeps its card, which names the new place.
    copy = published(hub, "tester/copy")
    assert copy["README.md"].decode() == card.replace('path = "tester/x"', 'path = "tester/copy"')
    assert copy.keys() == files.keys()
    assert copy["model.safetensors"] == files["model.safetensors"]
    assert not hub.unknown


def test_an_autoencoder_is_published_with_its_feature_extractor(
    towers: Path, dataset: Path, hub: HubServer, run: Callable[..., str], tmp_path: Path
) -> None:
    save_and_push = """
for name in ("spectrum", "events"):
    saved = f"{sys.argv[2]}/{name}"
    AutoModel.from_pretrained(f"{sys.argv[1]}/{name}").save_pretrained(saved)
    AutoModel.from_pretrained(saved).push_to_hub(f"tester/{name}")
"""
    run(save_and_push, towers, tmp_path)
    code = ""
    for name in ("spectrum", "events"):
        files = published(hub, f"tester/{name}")
        assert {"preprocessor_config.json", "metrics.json"} <= set(files)
        card = files["README.md"].decode()
        assert "| loss |" in card
        assert "simulated" in card
        assert_nothing_private(files, dataset.parent, towers, tmp_path)
        code += code_of(card).replace('load_dataset("simulated"', f'load_dataset("{dataset}"')
        code += "print(tuple(latents.shape), type(extractor).__name__)\n"
    assert run(code).splitlines() == ["(16, 8) SpectrumFeatureExtractor", "(16, 8) EventFeatureExtractor"]


def test_numbers_are_not_published_with_other_weights(
    aligned: Path, hub: HubServer, run: Callable[..., str], tmp_path: Path
) -> None:
    shutil.copytree(aligned, tmp_path / "own")
    (tmp_path / "own" / "README.md").write_text("---\nlicense: mit\n---\n\n# Mine\n")
    code = """
model = AutoModel.from_pretrained(sys.argv[1])
model.push_to_hub("tester/x")
model = train(AutoModel.from_pretrained("tester/x"))
model.save_pretrained(sys.argv[2])
AutoModel.from_pretrained(sys.argv[2]).push_to_hub("tester/x")
model.push_to_hub("tester/changed")
train(AutoModel.from_pretrained(sys.argv[3])).push_to_hub("tester/own")
AutoProcessor.from_pretrained(sys.argv[1]).push_to_hub("tester/own")
AutoProcessor.from_pretrained(sys.argv[1]).push_to_hub("tester/processor")
"""
    run(code, aligned, tmp_path / "changed", tmp_path / "own")
    assert "recall@" in hub.repos["tester/x"][1].files["README.md"].decode()
    for repo in ("tester/x", "tester/changed"):  # the card that is there already, and the one it was loaded with
        files = published(hub, repo)
        card = ModelCard(files["README.md"].decode())
        assert "recall@" not in card.content
        assert "No metrics, no record of training" in card.text
        assert f'path = "{repo}"' in card.text
        assert "processor_config.json" in files
    assert card.data.base_model == "tester/x"
    assert not (tmp_path / "changed" / "metrics.json").exists()
    # A card that names no weights is its author's; a processor brings none.
    assert "# Mine" in published(hub, "tester/own")["README.md"].decode()
    assert "README.md" not in published(hub, "tester/processor")


def test_a_model_made_in_memory_has_an_honest_card(hub: HubServer, run: Callable[..., str], tmp_path: Path) -> None:
    code = """
model = chandraclip.SpectrumAutoencoderModel(chandraclip.SpectrumAutoencoderConfig(hidden_size=16))
model.push_to_hub("tester/new", tags=["mine"], commit_message="First")
model.save_pretrained(sys.argv[1], push_to_hub=True, repo_id="tester/saved")
"""
    run(code, tmp_path / "saved")
    for repo in ("tester/new", "tester/saved"):
        files = published(hub, repo)
        card = ModelCard(files["README.md"].decode())
        assert "More Information Needed" not in card.text
        assert "made in memory" in card.text
        assert "No processor was published" in card.text
        assert f'path = "{repo}"' in card.text
        assert card.data.library_name == "transformers"
        assert ("mine" in card.data.tags) == (repo == "tester/new")
        assert set(files) == {"README.md", "config.json", "model.safetensors"}
        compile(code_of(card.text), "card", "exec")


@pytest.mark.parametrize(
    "metric, values, expected",
    [
        ("a_b/recall@1%", {"a_b/num_candidates": 250.0}, 3 / 250),
        ("a_b/recall@5%", {"a_b/num_candidates": 40.0}, 2 / 40),
        ("a_b/median_rank_share", {"a_b/num_candidates": 99.0}, 50 / 99),
        ("a_b/num_candidates", {"a_b/num_candidates": 99.0}, None),
        ("loss", {"loss": 1.0}, None),
    ],
)
def test_chance(metric: str, values: dict[str, Any], expected: float | None) -> None:
    assert chance(metric, values) == (None if expected is None else pytest.approx(expected))


def test_a_metric_that_one_split_lacks_is_left_blank() -> None:
    table = metrics_table({"validation": {"loss": 1.0}, "test": {"loss": float("nan"), "other": 2.0}})
    assert table.splitlines() == ["| metric | validation | test |", "| --- | --- | --- |", "| loss | 1 | - |",
                                  "| other | - | 2 |"]  # fmt: skip
