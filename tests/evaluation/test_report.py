"""The report: what evaluations wrote as Markdown and as a page that a browser shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.report import find_evaluations, report_text
from chandraclip.evaluation.report_page import report_page
from chandraclip.evaluation.report_tables import results_tables
from chandraclip.evaluation.results import Headline, write_metrics
from chandraclip.files import content_hash
from chandraclip.model_folder import model_id
from chandraclip.versions import source_commit
from opened_page import opened_page


def test_tables_are_found_by_their_shape():
    results = {
        "split": "test",
        "by_class": {"AGN": {"n": 3, "auc": 0.5}, "CV": {"n": 1, "auc": None}},
        "records": [{"name": "a", "mae": 1.0, "mae_low": 0.5, "mae_high": 2.0, "of": {"x": True}}, {"name": "b"}],
        "directions": {
            one: {"queries": 10, "metrics": {"r": {"value": 0.25, "low": 0.125, "high": 0.5}}, "curve": [0.0] * 40}
            for one in ("there", "back")
        },
        "nothing": {"a": {}, "b": {}},
        "points": [[1.0, 2.0]] * 9,
    }
    assert results_tables(results) == [
        ("", [{"split": "test"}]),
        ("by class", [{"": "AGN", "n": "3", "auc": "0.500"}, {"": "CV", "n": "1", "auc": "-"}]),
        (
            "records",
            [{"name": "a", "mae": "1.00 [0.500, 2.00]", "of.x": "yes"}, {"name": "b", "mae": "-", "of.x": "-"}],
        ),
        ("directions", [{"": "there", "queries": "10"}, {"": "back", "queries": "10"}]),
        (
            "directions: metrics: r",
            [{"": one, "value": "0.250 [0.125, 0.500]"} for one in ("there", "back")],
        ),
    ]
    rows = [{"kind": "flare", "AUC": 0.5, "low": 0.25, "high": 0.75, "n": 2}]
    assert results_tables(rows) == [("", [{"kind": "flare", "AUC": "0.500 [0.250, 0.750]", "n": "2"}])]
    many = {f"v{number}": number for number in range(9)}
    assert results_tables(many)[0][1][8] == {"": "v8", "value": "8"}


def test_rows_of_like_objects_keep_their_names():
    results = {
        side: {"n": 1, "metrics": {"r1": {"value": 0.5}, "r5": {"value": 1.0}}, "note": "x"} for side in ("a", "b")
    }
    table = dict(results_tables(results))["metrics"]
    assert [(row[""], row[" "], row["value"]) for row in table] == [
        ("a", "r1", "0.500"), ("a", "r5", "1.00"), ("b", "r1", "0.500"), ("b", "r5", "1.00")
    ]  # fmt: skip


@pytest.fixture
def results(tmp_path, make_embeddings, monkeypatch) -> Path:
    """A folder as evaluations write it, of a model and a dataset that are there."""
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    model, dataset = Path("models/one"), Path("data/tiny")
    for folder in (model, dataset):
        folder.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "train_config.yaml").write_text(yaml.safe_dump({"temperature": 0.125}))
    (dataset / "manifest.json").write_text(json.dumps({"parameters": {"seed": 77}}))
    provenance = {
        "model": str(model), "model_id": model_id(model), "rows": {"train": 5, "test": 2}, "versions": {"torch": "2.9"},
        "dataset": str(dataset), "dataset_id": content_hash([dataset / "manifest.json"], dataset),
    }  # fmt: skip
    table = make_embeddings(20)
    table = EmbeddingTable(**{**table.__dict__, "provenance": provenance})
    numbers = [
        Headline("recall | @1%", 0.25, 0.125, 0.5, 0.01, 0.05, "class oracle", published=0.2, comparable=False),
        Headline("spread", 3.0, None, None, 4.0),
    ]
    folder = tmp_path / "results"
    write_metrics(folder / "new kind", "novelty", table, numbers, {"rows": [{"name": "<b>&|", "n": 1}] * 40})
    (folder / "new kind" / "graph.graphml").write_text("x" * 2345)
    (folder / "new kind" / "top.csv").write_text("name,score\n" + "".join(f"s{n},{n / 8}\n" for n in range(60)))
    figure = plt.figure(figsize=(9, 2))
    figure.savefig(folder / "new kind" / "a map.png")
    plt.close(figure)
    (folder / "texts").mkdir()
    (folder / "texts" / "it.md").write_text(
        "# Head\n\n![a map](../elsewhere.png)\n\n- <script>alert(1)</script> word\n"
    )
    return folder


def test_everything_in_a_folder_is_shown(results):
    text = report_text(find_evaluations([results]), results / "report")
    assert text.startswith("# Results of models/one\n")
    for part in (
        "## Novelty (new kind)", "## Texts", "### it.md", "#### Head", "### top.csv", "The first 50 of 60 rows.",
        "| recall \\| @1% | 0.250 [0.125, 0.500] | 0.0100 | 0.0500 (class oracle) | 0.200     | no         |",
        "| spread        | 3.00                 | 4.00   | -                     | -         | -          |",
        "`graph.graphml` (2.35 kB)", "![a map](<../new%20kind/a%20map.png>)", "\\<b>&\\|", "temperature: 0.125",
        '"seed": 77', "torch 2.9", "train 5, test 2", str(source_commit()), model_id(Path("models/one")),
    ):  # fmt: skip
        assert part in text, part
    beside = text[text.index("## Beside published") : text.index("## Novelty")]
    assert "recall" in beside
    assert "spread" not in beside


def test_a_folder_below_an_evaluation_is_a_part_of_it(results):
    below = results / "new kind" / "views" / "one"
    below.mkdir(parents=True)
    (below / "lists.md").write_text("# Core\n\nwords\n")
    text = report_text(find_evaluations([results]), results / "report")
    contents = text[: text.index("## Beside published")]
    assert "texts" in contents  # a folder of its own, though without numbers
    assert "views" not in contents
    assert text.index("## Novelty (new kind)") < text.index("\n### One (new kind/views/one)\n") < text.index("## Texts")
    assert "\n#### lists.md\n\n##### Core\n" in text


def test_provenance_is_of_what_was_evaluated(results):
    Path("models/one/config.json").write_text('{"another": 1}')
    Path("data/tiny/manifest.json").write_text('{"parameters": {"seed": 78}}')
    text = report_text(find_evaluations([results]), results)
    assert "now holds another model than" in text
    assert "now holds another dataset than" in text
    assert "temperature" not in text
    assert '"seed"' not in text


def test_the_commit_is_that_of_the_checkout(repository, monkeypatch, tmp_path):
    import subprocess

    if not (repository / ".git").exists():
        pytest.skip("this is no checkout")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True).stdout.strip()
    assert str(source_commit()).removesuffix("-dirty") == head
    monkeypatch.setattr("chandraclip.__file__", str(tmp_path / "site-packages" / "chandraclip" / "__init__.py"))
    assert source_commit() is None


def test_what_cannot_be_shown_is_said(results, tmp_path):
    with pytest.raises(InputFileError, match="nowhere: no such folder"):
        find_evaluations([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match="empty: no evaluation has written"):
        find_evaluations([results, tmp_path / "empty"])
    with pytest.raises(InputFileError, match=r"gone\.png: a picture"):
        report_page("![x](gone.png)", tmp_path)
    (results / "new kind" / "metrics.json").write_text("{")
    with pytest.raises(InputFileError, match=r"new kind/metrics.json: not readable as JSON"):
        find_evaluations([results])


@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_the_page(results, browser, width):
    text = report_text(find_evaluations([results]), results / "report")
    path = results / "report" / "index.html"
    path.parent.mkdir()
    path.write_text(report_page(text, path.parent))
    colours = set()
    for scheme in ("light", "dark"):
        with opened_page(browser, path.as_uri(), width, scheme) as opened:
            page = opened.page
            assert page.title() == "Results of models/one"
            assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
            assert page.locator("img").count() == 1
            # A long table is folded, and opens; a wide one is scrolled by itself.
            assert page.locator("details:not([open])").count() == 2
            page.locator("summary", has_text="40 rows").click()
            assert page.locator("td", has_text="<b>&|").first.is_visible()
            assert page.locator("script").count() == 0
            page.locator("nav a", has_text="Provenance").click()
            assert page.evaluate("scrollY") > 0
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            assert not opened.scrolls_sideways
            assert page.evaluate("document.querySelector('img').getBoundingClientRect().right") <= width
            assert opened.said == []
            assert {url.split("#")[0] for url in opened.asked} == {path.as_uri()}
    assert len(colours) == 2
