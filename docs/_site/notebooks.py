"""Notebooks of docs/: run here, cell by cell, and shown as pages of the site. No Jupyter is needed for either.

    python docs/_site/notebooks.py docs/tutorials/own_file.ipynb

runs a notebook from the top and stores what its cells give. tests/test_notebooks.py runs each one too.
"""

from __future__ import annotations

import argparse
import ast
import base64
import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

DOTS_PER_INCH = 80  # keeps the stored pictures small


def run(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its code cells, run in order in one namespace, as Jupyter gives them.

    Args:
        notebook: the JSON of an .ipynb file (nbformat 4).

    Returns:
        A copy. A cell's outputs are what it printed, the value of its last expression, and its figures as PNG.
    """
    os.environ["MPLBACKEND"] = "Agg"
    import matplotlib.pyplot as plt

    plt.close("all")  # figures of whoever runs the notebook
    result = json.loads(json.dumps(notebook))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for cell in result["cells"]:
        if cell["cell_type"] == "code":
            count += 1
            cell["execution_count"] = count
            cell["outputs"] = _outputs("".join(cell["source"]), namespace, count)
    return result


def _outputs(source: str, namespace: dict[str, Any], count: int) -> list[dict[str, Any]]:
    import matplotlib.pyplot as plt

    name = f"cell {count}"
    body = ast.parse(source, name).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    silent = source.rstrip().endswith(";")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None and not silent:
        data: dict[str, Any] = {"text/plain": _lines(repr(value))}
        outputs.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    for number in plt.get_fignums():
        picture = io.BytesIO()
        plt.figure(number).savefig(picture, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
        data = {"image/png": base64.b64encode(picture.getvalue()).decode() + "\n", "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "metadata": {}, "data": data})
    plt.close("all")
    return outputs


def page(notebook: dict[str, Any], name: str) -> str:
    """Markdown of a notebook with its stored outputs; `name` of the file, which the page links to."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", [])})
            if "image/png" in data:
                parts.append(f"![{_first_comment(source)}](data:image/png;base64,{data['image/png'].strip()})")
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    parts.append(f"*This page is a notebook: [{name}]({name}).*")
    return "\n\n".join(parts) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """mkdocs: a page beside each notebook."""
    from mkdocs.structure.files import File

    for path in sorted(Path(config.docs_dir).rglob("*.ipynb")):
        place = path.relative_to(config.docs_dir).with_suffix(".md").as_posix()
        files.append(File.generated(config, place, content=page(json.loads(path.read_text()), path.name)))
    return files


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _first_comment(source: str) -> str:
    """The picture in words: the call that made it."""
    return source.strip().splitlines()[-1].rstrip(";").replace("[", "(").replace("]", ")")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", type=Path)
    path = parser.parse_args().notebook
    from chandraclip.files import write_text

    write_text(path, json.dumps(run(json.loads(path.read_text())), indent=1, ensure_ascii=False) + "\n")
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
