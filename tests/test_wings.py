"""The wings of the package import one way, as docs/architecture.md says."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOOT = {"errors", "files", "lock", "model_folder", "processes", "program", "rank_runs", "ranks", "versions"}
# wing -> the wings it may import beside itself and the foot
MAY_IMPORT = {
    "acquire": {"ogip", "data"},  # what the archives hold, handed to the packaging
    "ogip": set(),
    "losses": set(),
    "catalog": {"ogip"},
    "data": {"ogip", "catalog"},
    "simulate": {"ogip", "catalog", "data"},
    "models": {"losses", "ogip", "catalog", "data"},
    "observation": {"ogip", "catalog", "data", "simulate", "models", "embedding"},
    "evaluation": {"catalog", "data"},  # embeddings in, metrics out: never a model
    "embedding": {"catalog", "data", "models", "evaluation"},
    "graphs": {"data", "evaluation"},  # embeddings in, graphs out: never a model
    "search": {"ogip", "catalog", "data", "models", "observation", "evaluation", "embedding"},
    "explorer": {"data", "models", "observation", "evaluation", "search"},
    "realism": {"catalog", "data", "simulate", "evaluation"},
    "summaries": {"acquire"},  # what papers say, told by a chat model
    "training": {"losses", "catalog", "data", "simulate", "models", "evaluation"},
}


def imports_of(file: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("chandraclip.")}


def wings(repository: Path) -> set[str]:
    package = repository / "src" / "chandraclip"
    return {folder.name for folder in package.iterdir() if any(folder.glob("**/*.py"))}


def test_every_wing_is_listed(repository):
    assert wings(repository) == set(MAY_IMPORT)


@pytest.mark.parametrize("wing", sorted(MAY_IMPORT))
def test_no_wing_imports_one_above_its_own(repository, wing):
    files = sorted((repository / "src" / "chandraclip" / wing).rglob("*.py*"))
    allowed = MAY_IMPORT[wing] | FOOT | {wing}
    wrong = [
        f"{file.relative_to(repository)} imports {name}"
        for file in files
        if file.suffix in (".py", ".pyi")
        for name in imports_of(file)
        if name.split(".")[1] not in allowed
    ]
    assert files
    assert not wrong


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("chandraclip.ogip.spectrum", {"torch", "transformers", "datasets", "pandas", "pyarrow"}),
        ("chandraclip.ogip.events", {"torch", "transformers", "datasets", "pandas", "pyarrow"}),
        ("chandraclip.acquire.build", {"torch", "transformers", "datasets", "pyvo"}),
        ("chandraclip.acquire.literature", {"torch", "transformers", "datasets", "pyvo"}),
        ("chandraclip.summaries.summarizing", {"torch", "transformers", "datasets", "huggingface_hub"}),
        ("chandraclip.catalog.measure", {"torch", "transformers", "datasets"}),
        ("chandraclip.observation.observation", {"torch", "transformers", "datasets", "matplotlib"}),
        ("chandraclip.observation.opening", {"torch", "transformers", "datasets", "matplotlib"}),
        ("chandraclip.simulate.detections", {"torch", "transformers", "datasets"}),
        ("chandraclip.observation.fitting", {"torch", "transformers", "datasets"}),
        ("chandraclip.evaluation.retrieval", {"transformers", "datasets", "chandraclip.models"}),
        ("chandraclip.graphs.report", {"transformers", "datasets", "chandraclip.models", "matplotlib", "networkx"}),
    ],
)
def test_a_wing_loads_only_what_it_needs(module, heavy):
    code = f"import sys, {module}; print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert module in loaded
    assert not loaded & heavy
