"""`python scripts/inspect.py`, and that its name takes nothing from the scripts beside it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import chandraclip

PICTURES = ["energy_time_map.png", "light_curve.png", "spectrum.png"]


def run(repository, *arguments, cwd=None):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd or repository,
        capture_output=True,
        text=True,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )


def test_facts_and_pictures_of_the_sample(repository, tmp_path):
    done = run(repository, "scripts/inspect.py", chandraclip.sample(), "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    observation = chandraclip.open(chandraclip.sample())
    counts = f"{observation.spectrum.counts.sum()} in 1024 channels"
    for fact in (observation.header.object_name, counts, "PhoIndex", "nH", "var_index", "hs ", "rmf.fits"):
        assert fact in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == PICTURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert done.stderr == ""


def test_without_files_it_takes_the_sample_and_a_place_of_its_name(repository, tmp_path):
    done = run(repository, repository / "scripts" / "inspect.py", "--model", "none", "--bin", 5000, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "outputs" / "inspect" / "flare_pha").iterdir()) == PICTURES


def test_a_spectrum_without_energies_has_its_facts(repository, tmp_path, ogip):
    done = run(repository, "scripts/inspect.py", ogip.pha(), "--output", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    assert "9 in 4 channels" in done.stdout
    assert (
        "no picture of the spectrum: the energies of its channels are not known (no RMF: RESPFILE is none"
        in done.stdout
    )
    assert not (tmp_path / "pictures").exists()


def test_events_alone(repository, tmp_path):
    events = chandraclip.sample().with_name("flare_evt.fits.gz")
    (tmp_path / "alone.fits").write_bytes(events.read_bytes())
    done = run(repository, "scripts/inspect.py", tmp_path / "alone.fits", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == PICTURES[:2]


def test_a_file_that_is_not_there_ends_in_one_line(repository, tmp_path):
    done = run(repository, "scripts/inspect.py", tmp_path / "none.fits")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "none.fits" in done.stderr


@pytest.mark.parametrize("folder", ["scripts", "scripts/inspect.py", "eval", "training", "benchmarks"])
def test_no_program_stands_before_a_module_of_the_standard_library(repository, folder):
    """A script's own folder comes first on Python's path."""
    names = [path.stem for path in (repository / folder).glob("*.py") if path.is_file()]
    names += [path.parent.name for path in (repository / folder).glob("*/__init__.py")]
    assert [name for name in names if name in sys.stdlib_module_names] == []
    assert names


def test_the_scripts_beside_it_find_the_standard_librarys_inspect(repository, tmp_path):
    script = repository / "scripts" / "make_sample.py"
    code = f"import sys; sys.path[0] = {str(script.parent)!r}; import inspect; print(inspect.__file__)"
    done = run(repository, "-c", code)
    assert os.path.basename(os.path.dirname(done.stdout.strip())).startswith("python3"), done.stderr
    done = run(repository, script, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
