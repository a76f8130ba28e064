"""``--help`` of every program: quick, since nothing heavy is loaded, and true, since defaults are those that hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
# scripts/smoke_wheel.py is of the gate: it tries the installed package, which it imports before all else.
PROGRAMS = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in ("training", "scripts", "eval")
    for path in (REPOSITORY / folder).glob("*.py")
    if path.name != "smoke_wheel.py"
)
HEAVY = {"torch", "transformers", "datasets", "accelerate", "pandas", "matplotlib", "sklearn", "chandraclip.models"}
# Runs a program up to the end of its --help; tells the modules loaded and the options of its parser.
PROBE = """
import argparse, json, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rsplit("/", 1)[0])
made = []
original = argparse.ArgumentParser.__init__
def keep(self, *args, **kwargs):
    original(self, *args, **kwargs)
    made.append(self)
argparse.ArgumentParser.__init__ = keep
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as done:
    assert done.code == 0, done.code
options = {
    action.option_strings[-1]: [action.default, self._get_formatter()._expand_help(action) if action.help else ""]
    for self in made if self.add_help for action in self._actions if action.option_strings
}
print("PROBE" + json.dumps({"modules": sorted(sys.modules), "options": options}, default=str))
"""


def probe(program: str, *options: str) -> tuple[dict, str]:
    command = [sys.executable, "-c", PROBE, program, *options, "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text, _, facts = done.stdout.rpartition("PROBE")
    assert text.startswith("usage:")
    return json.loads(facts), text


def test_there_are_programs():
    assert {"training/align.py", "training/pretrain.py", "scripts/embed.py", "eval/retrieval.py"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_loads_nothing_heavy_and_tells_every_default(program):
    facts, _ = probe(program)
    assert not HEAVY & set(facts["modules"])
    for name, (default, said) in facts["options"].items():
        if default in (None, False, "==SUPPRESS=="):
            continue
        shown = " ".join(str(default).split())
        assert "default" in said, f"{name} of {program} does not say that its default is {shown}: {said!r}"
        assert Path(shown).name in said, f"{name} of {program}: its default is {shown}, its help {said!r}"


@pytest.mark.parametrize(
    ("program", "config", "options"),
    [
        ("training/align.py", "align", []),
        ("training/pretrain.py", "events_transformer", ["--config", "training/configs/events_transformer.yaml"]),
    ],
)
def test_help_of_training_shows_the_values_of_its_config(program, config, options):
    content = yaml.safe_load((REPOSITORY / "training" / "configs" / f"{config}.yaml").read_text())
    facts, text = probe(program, *options)
    assert len(content) >= 8
    for name, value in content.items():
        default, said = facts["options"][f"--{name}"]
        assert default == value
        assert said.endswith(f"(default: {value})")
    steps = rf"--max_steps\s+MAX_STEPS\s+optimizer\s+steps\s+\(default:\s+{content['max_steps']}\)"
    assert re.search(steps, text)


def test_names_that_arguments_repeat_are_those_of_the_models():
    from chandraclip import losses
    from chandraclip.models.chandraclip import configuration_chandraclip
    from chandraclip.training import arguments

    assert arguments.REGULARIZERS == losses.REGULARIZERS
    assert arguments.MODALITIES == configuration_chandraclip.MODALITIES
