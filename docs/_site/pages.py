"""Pages of the site that are not files in docs/: those of the repository's root, and one for each public module."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "chandraclip"
OF_THE_ROOT = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "CODE_OF_CONDUCT.md": "CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/RESULTS.md",
}


def public_modules() -> list[str]:
    """Dotted names of every module without a leading underscore; a package is named by its folder."""
    modules = set()
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            modules.add(".".join(parts))
    return sorted(modules)


def page_of(module: str) -> str:
    """``api/ogip/events.md`` of ``chandraclip.ogip.events``; a package is its folder's index."""
    parts = module.split(".")[1:]
    is_package = (PACKAGE / Path(*parts)).is_dir()
    return "/".join(["api", *parts, "index.md"] if is_package else ["api", *parts]) + ("" if is_package else ".md")


def _nav(modules: list[str], parent: str) -> list:
    """The pages below a package, its own first."""
    entries: list = [page_of(parent)]
    depth = parent.count(".") + 1
    for module in modules:
        if module.startswith(f"{parent}.") and module.count(".") == depth:
            is_package = page_of(module).endswith("index.md")
            name = module.split(".")[-1]
            entries.append({name: _nav(modules, module) if is_package else page_of(module)})
    return entries


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    entry = next(item for item in config.nav or [] if "API" in item)
    entry["API"] = _nav(public_modules(), PACKAGE.name)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in OF_THE_ROOT.items():
        text = (ROOT / source).read_text()
        text = re.sub(r"\]\(docs/", "](", text)  # relative to docs/ here
        files.append(File.generated(config, page, content=text))
    for module in public_modules():
        files.append(File.generated(config, page_of(module), content=f"# `{module}`\n\n::: {module}\n"))
    return files
