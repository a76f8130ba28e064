"""scripts/build_dataset.py simulate, with the tables and responses of the real catalogue."""

import gzip
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.data.response_table import read_responses
from chandraclip.data.schema import RARE_CLASSES, TABLE_SCHEMA
from chandraclip.ogip import read_response
from chandraclip.program import explain

KEY = ["obsid", "obi", "region_id"]
# Of the real tables: as many whole sources as come first.
NUM_SOURCES = 120

# Chunks of 60 rows in place of 2,000, so that a short table has several.
IN_SHORT_CHUNKS = """
import runpy, sys
from chandraclip.simulate import catalog
if __name__ == "__main__":
    catalog.ROWS_PER_CHUNK = 60
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def simulate(repository: Path) -> Callable[..., int]:
    """The exit status of `build_dataset.py simulate` with these arguments."""
    spec = importlib.util.spec_from_file_location("build_dataset", repository / "scripts" / "build_dataset.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    def run(*arguments: object) -> int:
        try:
            script.main(["simulate", *map(str, arguments)])
        except (OSError, ValueError) as error:  # as `run_program` does
            print(f"error: {explain(error)}", file=sys.stderr)
            return 1
        return 0

    return run


@pytest.fixture
def tables(real_data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The beginnings of the CSC detections and sources."""
    folder = real_data / "catalog"
    detections = pd.read_csv(folder / "csc2_detections.csv.gz", low_memory=False)
    sources = pd.read_csv(folder / "csc2_master_labelled.csv.gz", low_memory=False)
    names = detections["name"].unique()[:NUM_SOURCES]
    detections[detections["name"].isin(names)].to_csv(tmp_path / "detections.csv.gz", index=False)
    sources[sources["name"].isin(names)].to_csv(tmp_path / "sources.csv", index=False)
    return tmp_path / "detections.csv.gz", tmp_path / "sources.csv"


@pytest.fixture
def refusal(
    simulate: Callable[..., int], tables: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What is said of one of the tables, written to bad.csv with another value in one of its rows."""

    def refuse(number: int, row: int, column: str, value: Any) -> str:
        paths = list(tables)
        frame = pd.read_csv(paths[number]).astype({column: object})
        frame.loc[row, column] = value
        paths[number] = tmp_path / "bad.csv"
        frame.to_csv(paths[number], index=False)
        assert simulate("--from_catalog", paths[0], "--sources", paths[1], tmp_path / "out") == 1
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    return refuse


@pytest.fixture
def responses(real_data: Path) -> tuple[Path, Path]:
    """ARF and RMF of a CSC detection, ACIS-S."""
    folder = real_data / "spectra" / "csc_acisf07867_000N001_r0002"
    return folder / "acisf07867_000N001_r0002_arf3.fits", folder / "acisf07867_000N001_r0002_rmf3.fits.gz"


def read(output: Path) -> pa.Table:
    return pq.read_table(output / "data", schema=TABLE_SCHEMA)


def parameters(output: Path) -> dict[str, Any]:
    return json.loads((output / "manifest.json").read_text())["parameters"]


def test_from_catalog(
    simulate: Callable[..., int], tables: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detections, sources = tables
    output = tmp_path / "out"
    assert simulate("--from_catalog", detections, "--sources", sources, "--seed", 3, output) == 0
    assert f"{output}: written" in capsys.readouterr().out
    frame, real = read(output).to_pandas(), pd.read_csv(detections)
    assert sorted(frame[KEY].itertuples(index=False)) == sorted(real[KEY].itertuples(index=False))
    both = frame.merge(real.drop_duplicates(KEY), on=KEY, suffixes=("", "_real"))
    planted = both["true_class"].isin(RARE_CLASSES)
    assert 1 <= planted.sum() <= 12
    assert (both["name"] == both["name_real"])[~planted].all()
    column = pd.read_csv(sources).set_index("name")["nh_gal"]
    np.testing.assert_allclose(both["nh_gal"], column[both["name_real"]], rtol=1e-6)
    assert parameters(output)["num_detections"] == len(real)
    card = (output / "README.md").read_text()
    assert "simulate --from_catalog detections.csv.gz --sources sources.csv --seed 3 OUTPUT_DIR" in card
    # What is published names no folder of the machine that built it.
    assert str(tmp_path) not in card + (output / "manifest.json").read_text()


def test_from_catalog_without_fits_and_without_pileup(
    simulate: Callable[..., int], tables: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert simulate("--from_catalog", tables[0], "--no_pileup", output) == 0
    table = read(output)
    assert set(table["true_pileup_fraction"].to_pylist()) == {0.0}
    assert table["nh_gal"].null_count == 0
    assert (parameters(output)["sources"], parameters(output)["pileup"]) == (None, False)
    assert "--from_catalog detections.csv.gz --no_pileup --seed 0 OUTPUT_DIR" in (output / "README.md").read_text()


@pytest.mark.slow
def test_a_mock_has_the_same_bytes_from_any_number_of_processes(
    repository: Path, tables: tuple[Path, Path], tmp_path: Path
) -> None:
    launcher = tmp_path / "launcher.py"
    launcher.write_text(IN_SHORT_CHUNKS)
    command = [sys.executable, launcher, repository / "scripts" / "build_dataset.py", "simulate"]
    command += ["--from_catalog", tables[0], "--sources", tables[1], "--num_processes"]
    manifests = []
    for number in ("1", "2"):
        subprocess.run([*command, number, tmp_path / number], check=True)
        manifests.append(json.loads((tmp_path / number / "manifest.json").read_text()))
    assert manifests[0] == manifests[1]  # with the SHA-256 of every file
    assert manifests[0]["parameters"]["chunk_size"] == 60
    assert manifests[0]["parameters"]["num_detections"] > 2 * 60


def test_selection(simulate: Callable[..., int], tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert simulate("--num_detections", 30, "--selection", "literature", output) == 0
    frame = read(output).to_pandas()
    assert len(frame) == 30
    assert (frame["flux_significance_b"] >= 5).all()
    assert (frame["theta"] <= 5).all()
    assert parameters(output)["selection"] == "literature"
    assert "--num_detections 30 --seed 0 --selection literature OUTPUT_DIR" in (output / "README.md").read_text()


def test_real_response(
    simulate: Callable[..., int], responses: tuple[Path, Path], tmp_path: Path, real_data: Path
) -> None:
    output, (arf, rmf) = tmp_path / "out", responses
    assert simulate("--num_detections", 30, "--arf", arf, "--rmf", rmf, "--no_pileup", output) == 0
    frame, response = read(output).to_pandas(), read_response(arf, rmf)
    assert set(frame["response_id"]) == set(read_responses(output)) == {response.response_id}
    # The mission's own area, less what a bad column takes off a few detections.
    share = np.array([np.median(area[response.arf > 0] / response.arf[response.arf > 0]) for area in frame["arf"]])
    assert np.median(share) == pytest.approx(1.0, rel=1e-5)
    assert ((share > 0.8) & (share < 1.0 + 1e-5)).all()
    assert set(frame["true_pileup_fraction"]) == {0.0}
    card = (output / "README.md").read_text()
    assert "--seed 0 --arf ARF --rmf RMF --no_pileup OUTPUT_DIR" in card
    assert str(real_data) not in card + (output / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("name", "NGC 300 X-1", "no position in the name"),
        ("name", "2CXO J992207.5-723744", "no position in the name"),
        ("obsid", "", "obsid is not a whole number"),
        ("region_id", 2.5, "region_id is not a whole number"),
        ("obi", 10**6, "obi is not a whole number of 0 to 32767"),
        ("gti_obs", "03/11/2003", "gti_obs is not an ISO 8601 date"),
        ("gti_end", 184728798.0, "gti_end is not an ISO 8601 date"),  # Chandra's seconds
        ("gti_end", "2001-01-01T00:00:00", "gti_end is not after gti_obs"),
        ("theta", "on axis", "theta is not a number"),
        ("theta", 75.0, "theta is not an off-axis angle"),
        ("flux_aper90_h_obs", "<1e-15", "flux_aper90_h_obs is not a number"),
        ("flux_aper90_hilim_b_obs", "inf", "flux_aper90_hilim_b_obs is not a number"),
        ("var_prob_b", 9.0, "var_prob_b is not a probability"),
        ("Class", "QSO", "Class is none of AGN"),
    ],
)
def test_bad_rows_are_named(refusal: Callable[..., str], tmp_path: Path, column: str, value: Any, reason: str) -> None:
    error = refusal(0, 5, column, value)
    assert f"error: {tmp_path / 'bad.csv'}[row 7]: {reason}" in error  # as an editor counts, the header being row 1
    assert "(1 rows in all)" in error


@pytest.mark.parametrize(
    ("column", "value", "reason"), [("powlaw_gamma", "soft", "is not a number"), ("nh_gal", -1.0, "is below zero")]
)
def test_bad_sources_are_named(
    refusal: Callable[..., str], tmp_path: Path, column: str, value: Any, reason: str
) -> None:
    error = refusal(1, 2, column, value)
    assert f"error: {tmp_path / 'bad.csv'}[row 4]: {column} {reason}" in error


def test_bad_files_are_named(
    simulate: Callable[..., int],
    tables: tuple[Path, Path],
    responses: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    packed = tables[0].read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "broken.csv.gz").write_bytes(packed[:40] + bytes(40) + packed[80:])
    (tmp_path / "plain.csv.gz").write_bytes(gzip.decompress(packed))
    pd.read_csv(tables[0]).drop(columns=["theta", "obi"]).to_csv(tmp_path / "short.csv", index=False)
    cases = [(name, "not readable as CSV") for name in ("none.csv", "cut.csv.gz", "broken.csv.gz", "plain.csv.gz")]
    for name, reason in [*cases, ("short.csv", "columns obi, theta are not in it")]:
        assert simulate("--from_catalog", tmp_path / name, tmp_path / "out") == 1
        assert f"error: {tmp_path / name}: {reason}" in capsys.readouterr().err
    number, (arf, rmf) = ("--num_detections", 5), responses
    assert simulate(*number, "--arf", tmp_path / "no.arf", "--rmf", rmf, tmp_path / "out") == 1
    assert str(tmp_path / "no.arf") in capsys.readouterr().err
    assert simulate(*number, "--arf", rmf, "--rmf", arf, tmp_path / "out") == 1
    assert f"error: {arf}: no response matrix" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--from_catalog", "a.csv", "--selection", "literature"], "--selection cannot be used with --from_catalog"),
        (["--from_catalog", "a.csv", "--arf", "a", "--rmf", "b"], "--arf, --rmf cannot be used with --from_catalog"),
        (["--from_catalog", "a.csv", "--num_detections", "5"], "not allowed with argument --from_catalog"),
        (["--num_detections", "5", "--sources", "b.csv"], "--sources goes with --from_catalog"),
        (["--num_detections", "5", "--arf", "a"], "--arf and --rmf go together"),
        (["--num_detections", "5", "--selection", "bright"], "invalid choice: 'bright'"),
        (["--num_detections", "5", "--seed", "-1"], "--seed must not be negative"),
        ([], "one of the arguments --num_detections --from_catalog --planted is required"),
    ],
)
def test_options_that_do_not_go_together(
    simulate: Callable[..., int], capsys: pytest.CaptureFixture[str], options: list[str], reason: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        simulate(*options, "out")
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err
