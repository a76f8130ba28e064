"""scripts/list_readings.py: what is read from a folder, and what differs from an earlier list."""

import importlib.util
import json

import pytest


@pytest.fixture
def program(repository):
    spec = importlib.util.spec_from_file_location("list_readings", repository / "scripts" / "list_readings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_kind_is_listed_and_a_change_is_shown(program, ogip, tmp_path, capsys):
    ogip.arf(), ogip.rmf()
    path = ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf")
    (path.parent / "notes.txt").write_text("not FITS")
    earlier = tmp_path / "readings.json"

    assert program.main([str(path.parent), "--output", str(earlier)]) == 0
    printed = capsys.readouterr().out
    assert "source.pi spectrum: 9 counts, 1000 s, response 3 x 4" in printed
    assert "source.arf arf: 3 energies from 0.5 to 4 keV, sum 450 cm2" in printed
    assert "source.rmf rmf: 3 x 4" in printed
    assert "notes.txt" not in printed

    ogip.pha(counts=(1, 1, 1, 1), ANCRFILE="source.arf", RESPFILE="source.rmf")
    assert program.main([str(path.parent), "--before", str(earlier)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  before 9 counts") for line in lines)
    assert any(line.startswith("  now    4 counts") for line in lines)
    assert lines[-1].startswith("1 of 3 differ")


def test_a_refused_file_is_listed_with_its_reason(program, ogip, tmp_path, capsys):
    path = ogip.pha(EXPOSURE=-1.0)
    output = tmp_path / "readings.json"
    assert program.main([str(path.parent), "--output", str(output)]) == 0
    (reading,) = json.loads(output.read_text()).values()
    assert reading.startswith("refused: ")
    assert "EXPOSURE" in reading
