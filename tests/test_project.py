"""What a project that others join needs: pinned packages, a workflow that runs the gate, pages for every module."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    built_from_source = extras.pop("sherpa")
    assert built_from_source
    return [Requirement(line) for line in [*project["dependencies"], *(x for extra in extras.values() for x in extra)]]


def test_every_dependency_has_a_tested_version_inside_its_range(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    tested = {canonicalize_name(name): version for name, version in pins}
    assert len(tested) == len(pins)
    for requirement in requirements(repository):
        version = tested[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (str(requirement), version)
        kinds = {specifier.operator for specifier in requirement.specifier}
        assert kinds == {">=", "<"}, f"{requirement} needs both bounds"


def test_the_workflow_runs_the_gate(repository):
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())
    job = workflow["jobs"]["gate"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == [".ci/run"]
    assert os.access(repository / ".ci" / "run", os.X_OK)


def test_the_gate_lists_what_contributing_says(repository):
    lines = (repository / ".ci" / "run").read_text().splitlines()
    words = [word for line in lines if line.startswith("make ") for word in shlex.split(line)[1:]]
    targets = [word for word in words if not word.startswith("-") and "=" not in word]
    text = " ".join((repository / "CONTRIBUTING.md").read_text().split())
    assert f"must pass {', '.join(f'`make {name}`' for name in targets[:-1])} and `make {targets[-1]}`" in text


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_are_what_github_takes(repository, name):
    form = yaml.safe_load((repository / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= set(form)
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    for field in form["body"]:
        assert field["type"] in {"textarea", "input", "dropdown", "checkboxes"}
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["attributes"]["label"]


def test_every_public_module_has_a_page_in_the_navigation(repository):
    pages = load(repository / "docs" / "_site" / "pages.py")
    modules = pages.public_modules()
    assert {"chandraclip", "chandraclip.ogip", "chandraclip.ogip.events", "chandraclip.models"} <= set(modules)
    wings = {path.name for path in (repository / "src" / "chandraclip").iterdir() if (path / "__init__.py").exists()}
    assert wings <= {module.split(".")[1] for module in modules if "." in module}

    def leaves(entry):
        if isinstance(entry, str):
            return [entry]
        return [leaf for item in (entry.values() if isinstance(entry, dict) else entry) for leaf in leaves(item)]

    found = leaves(pages._nav(modules, "chandraclip"))
    assert sorted(found) == sorted(map(pages.page_of, modules))


def test_arguments_named_together_get_an_entry_each(repository):
    separated = load(repository / "docs" / "_site" / "grouped_names.py").separated
    text = "A line.\n\nArgs:\n    ra, dec: deg,\n        ICRS.\n    order: of it, here: 4."
    assert separated(text) == (
        "A line.\n\nArgs:\n    ra: see `dec`.\n    dec: deg,\n        ICRS.\n    order: of it, here: 4."
    )


@pytest.mark.parametrize("folder, outcome", [("none", "1 skipped"), ("/nowhere", "1 error")])
def test_ci_has_the_real_files_or_says_that_it_does_not(repository, tmp_path, folder, outcome):
    """In a copy: a real checkout may have ../shared/data beside it."""
    tests = tmp_path / "checkout" / "tests"
    tests.mkdir(parents=True)
    (tests / "conftest.py").write_bytes((repository / "tests" / "conftest.py").read_bytes())
    (tests / "test_one.py").write_text("def test_one(real_data):\n    pass\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", tests],
        env=os.environ | {"CI": "true", "CHANDRACLIP_DATA": folder, "PYTHONPATH": str(repository / "tests")},
        cwd=tests,
        capture_output=True,
        text=True,
    )
    assert outcome in result.stdout, result.stdout
