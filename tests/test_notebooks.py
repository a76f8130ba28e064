"""Every notebook of docs/ runs from the top, and what it has stored is what its cells give."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPOSITORY / "docs").rglob("*.ipynb"))
# Of each at least.
NUM_PICTURES = {
    "anomalies_and_graph.ipynb": 2,
    "dataset_with_polars.ipynb": 2,
    "own_file.ipynb": 4,
    "own_file_to_neighbours.ipynb": 1,
    "search_by_text.ipynb": 1,
}
_NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?|\s+")


@pytest.fixture(scope="module")
def notebooks():
    path = REPOSITORY / "docs" / "_site" / "notebooks.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook: dict) -> list[list[str]]:
    """Of each code cell: its texts, without the digits, which may differ in the last place; "picture" for a figure.

    What a model that was trained in the notebook finds may differ between machines: only that it is a text.
    """
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            data = [output.get("data", {"text/plain": output.get("text")}) for output in cell["outputs"]]
            varies = cell.get("metadata", {}).get("varies")
            texts = ["text" if varies else _NUMBER.sub(" ", "".join(one.get("text/plain") or "")) for one in data]
            found.append(["picture" if "image/png" in one else text for one, text in zip(data, texts)])
    return found


def test_there_are_all():
    assert {path.name: NUM_PICTURES[path.name] for path in NOTEBOOKS} == NUM_PICTURES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_stores_what_it_gives(notebooks, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = json.loads(path.read_text())
    assert (stored["nbformat"], stored["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in stored["cells"]}) == len(stored["cells"])
    assert path.stat().st_size < 300_000
    fresh = notebooks.run(stored)
    assert outputs(fresh) == outputs(stored), f"python docs/_site/notebooks.py {path.relative_to(REPOSITORY)}"
    assert sum("picture" in one for one in outputs(stored)) >= NUM_PICTURES[path.name]
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_cell_ends_the_run(notebooks):
    cell = {"cell_type": "code", "source": ["x = 1\n", "x / 0"], "outputs": []}
    with pytest.raises(ZeroDivisionError):
        notebooks.run({"cells": [cell]})


def test_outputs_are_those_of_jupyter(notebooks):
    import matplotlib.pyplot as plt

    plt.figure()  # of another test, and no picture of the notebook
    sources = ["print('a')\n1 + 1", "x = 3\nx;", "import matplotlib.pyplot as plt\nplt.plot([1, 2]);", "None"]
    cells = [{"cell_type": "code", "source": [source], "outputs": []} for source in sources]
    result = notebooks.run({"cells": cells})["cells"]
    assert [output["output_type"] for output in result[0]["outputs"]] == ["stream", "execute_result"]
    assert result[0]["outputs"][1]["data"]["text/plain"] == ["2"]
    assert (result[1]["outputs"], result[3]["outputs"]) == ([], [])
    assert ["image/png" in output["data"] for output in result[2]["outputs"]] == [True]
    assert plt.get_fignums() == []
    page = notebooks.page({"cells": result}, "it.ipynb")
    assert page.startswith("```python\nprint('a')\n1 + 1\n```\n\n```text\na\n```\n\n```text\n2\n```")
    assert "![plt.plot((1, 2))](data:image/png;base64," in page
