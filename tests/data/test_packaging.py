import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sparse
import yaml

from chandraclip.data import build_from_files, card, files, packaging, shards
from chandraclip.data.files import DetectionFiles
from chandraclip.data.response_table import read_responses
from chandraclip.data.schema import CONFIGS, RESPONSE_SCHEMA, SOURCE_CLASSES, TABLE_SCHEMA
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError
from chandraclip.files import sha256_of
from chandraclip.ogip.response import Response
from chandraclip.ranks import Share
from chandraclip.simulate import dataset

NUM_ITEMS = 40
BAD_ITEM = 7


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def make_response(number):
    edges = np.linspace(0.3, 9.3, 31)
    channels = 0.0146 * np.arange(1025)
    matrix = sparse.random_array((30, 1024), density=0.05, rng=np.random.default_rng(number), format="csr")
    return Response(edges[:-1], edges[1:], np.full(30, 300.0 + number), matrix, channels[:-1], channels[1:])


def read_stand_in(item):
    number = int(item.label.split(".")[0])
    if number == BAD_ITEM:
        raise InputFileError(item.spectrum, f"no response beside {item.spectrum}", "SPECTRUM")
    rng = np.random.default_rng(number)
    response = make_response(number % 3)
    row = {
        "name": f"source {number // 2}",
        "obsid": 100 + number,
        "obi": 0,
        "region_id": number,
        "healpix": 3000 - number,
    }
    row |= {"spectrum_counts": rng.poisson(0.2, 1024), "exposure": 1e4, "arf": response.arf}
    row |= {"response_id": response.response_id, "source_class": number % 8 if number % 4 else None}
    if number % 5:
        row |= {"event_time": np.sort(rng.uniform(0, 50, 30)), "event_energy": rng.uniform(0.5, 7, 30), "tstart": 1e8}
        row |= {"gti_start": np.zeros(1), "gti_stop": np.full(1, 50.0)}
    return row, response


@pytest.fixture
def input_dir(tmp_path, monkeypatch):
    """A folder whose files are read by a stand-in, ten a chunk."""
    folder = tmp_path / "mission"
    folder.mkdir()
    for number in range(NUM_ITEMS):
        (folder / f"{number:03d}.pha").write_bytes(b"x" * number)
    monkeypatch.setattr(
        files, "find_detections", lambda found: [DetectionFiles(path.name, path) for path in found.glob("*.pha")]
    )
    monkeypatch.setattr(files, "read_detection", read_stand_in)
    monkeypatch.setattr(build_from_files, "FILES_PER_CHUNK", 10)
    return folder


def build(input_dir, output, **options):
    return build_from_files.build_from_files(input_dir, output, progress=False, **options)


def hashes(output):
    manifest = json.loads((output / "manifest.json").read_text())
    return {entry["path"]: entry["sha256"] for entry in manifest["shards"] + manifest["responses"]}


def test_every_config_loads_mapped_and_streamed(input_dir, tmp_path):
    output = tmp_path / "out"
    build(input_dir, output)
    moved = tmp_path / "elsewhere"  # the paths of the card are relative, as a Hub repository needs
    shutil.move(output, moved)
    assert datasets.get_dataset_config_names(str(moved)) == [*CONFIGS, "responses"]
    for config, fields in CONFIGS.items():
        names = [field.name for field in fields]
        mapped = datasets.load_dataset(str(moved), config)
        streamed = datasets.load_dataset(str(moved), config, streaming=True)
        for split in mapped:
            assert mapped[split].column_names == names
            assert list(streamed[split]) == list(mapped[split])
            assert set(mapped[split]["split"]) == {split}
            assert all(split_of(name) == split for name in mapped[split]["name"])
        assert sum(part.num_rows for part in mapped.values()) == NUM_ITEMS - 1
    default = datasets.load_dataset(str(moved), split="train")
    assert default.features["source_class"] == datasets.ClassLabel(names=list(SOURCE_CLASSES))
    assert None in default["source_class"]
    assert default.column_names == TABLE_SCHEMA.names


def test_rows_are_those_read_with_measured_quantities(input_dir, tmp_path):
    build(input_dir, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "data", schema=TABLE_SCHEMA).to_pylist()
    assert sorted(row["region_id"] for row in rows) == [n for n in range(NUM_ITEMS) if n != BAD_ITEM]
    for row in rows:
        read, _ = read_stand_in(DetectionFiles(f"{row['region_id']:03d}.pha"))
        assert row["spectrum_counts"] == read["spectrum_counts"].tolist()
        assert row["event_time"] == (read["event_time"].tolist() if "event_time" in read else None)
        assert row["summary"] is None
        assert -1 <= row["hard_hs"] <= 1
        assert (row["var_prob_b"] is None) == ("event_time" not in read)
    train = pq.read_table(next((tmp_path / "out" / "data").glob("train-*")))["healpix"].to_pylist()
    assert train == sorted(train)


def test_manifest_says_what_was_built_and_skipped(input_dir, tmp_path):
    manifest = build(input_dir, tmp_path / "out").manifest
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["skipped"] == [
        {"file": f"{BAD_ITEM:03d}.pha", "reason": f"no response beside {BAD_ITEM:03d}.pha", "extension": "SPECTRUM"}
    ]
    assert sum(manifest["num_rows"].values()) == NUM_ITEMS - 1
    for entry in manifest["shards"] + manifest["responses"]:
        path = tmp_path / "out" / entry["path"]
        assert sha256_of(path) == entry["sha256"]
        assert pq.read_metadata(path).num_rows == entry["num_rows"]
    assert str(tmp_path) not in json.dumps(manifest)
    assert not (tmp_path / "out" / shards.STAGING).exists()


def test_responses_are_stored_once_and_come_back(input_dir, tmp_path):
    build(input_dir, tmp_path / "out")
    back = read_responses(tmp_path / "out")
    expected = {response.response_id: response for response in map(make_response, range(3))}
    assert set(back) == set(expected)
    for name, response in expected.items():
        assert back[name].response_id == name
        np.testing.assert_allclose(back[name].matrix.toarray(), response.matrix.toarray(), rtol=1e-6)
        assert back[name].first_channel == response.first_channel
    with pytest.raises(InputFileError, match="no responses"):
        read_responses(tmp_path)


def test_texts_join_by_name_and_by_obsid(input_dir, tmp_path):
    texts = tmp_path / "texts.jsonl"
    lines = [
        {"name": "source 3", "summary": "A pulsar.", "bibcodes": ["2020ApJ...1"], "summary_model": "m"},
        {"obsid": 101, "summary": "A star."},
    ]
    texts.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    build(input_dir, tmp_path / "out", texts=texts)
    rows = pq.read_table(tmp_path / "out" / "data", schema=TABLE_SCHEMA).to_pylist()
    found = {row["obsid"]: row["summary"] for row in rows if row["summary"]}
    assert found == {106: "A pulsar.", 101: "A star."}  # 107 is the file that cannot be read
    assert next(row for row in rows if row["obsid"] == 106)["bibcodes"] == ["2020ApJ...1"]


@pytest.mark.parametrize(
    ("line", "match"),
    [("{", "line 1 is not JSON"), ('{"name": "a"}', "no summary"), ('{"summary": "a"}', "neither"), ("[1]", "summary")],
)
def test_malformed_texts_are_refused(input_dir, tmp_path, line, match):
    (tmp_path / "texts.jsonl").write_text(line)
    with pytest.raises(InputFileError, match=match):
        build(input_dir, tmp_path / "out", texts=tmp_path / "texts.jsonl")


def test_other_parameters_are_refused_unless_overwritten(input_dir, tmp_path):
    output = tmp_path / "out"
    assert not build(input_dir, output).already_built
    before = hashes(output)
    assert build(input_dir, output).already_built
    (input_dir / "000.pha").unlink()
    with pytest.raises(InputFileError, match=r"num_items 40 \(now 39\)"):
        build(input_dir, output)
    assert hashes(output) == before
    assert not build(input_dir, output, overwrite=True).already_built
    assert datasets.load_dataset(str(output), "texts")["train"].num_rows < NUM_ITEMS
    shutil.rmtree(output / ".building", ignore_errors=True)
    (output / "manifest.json").unlink()
    with pytest.raises(InputFileError, match="without a manifest"):
        build(input_dir, output)


def test_nothing_to_write_is_an_error(tmp_path, input_dir):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, match in ((empty, "no spectrum"), (tmp_path / "missing", "not a folder")):
        with pytest.raises(InputFileError, match=match):
            build(folder, tmp_path / "out")
    with pytest.raises(InputFileError, match="lies in the input folder"):
        build(input_dir, input_dir / "out")
    for path in input_dir.glob("*"):
        if path.stem != f"{BAD_ITEM:03d}":
            path.unlink()
    with pytest.raises(InputFileError, match="1 files were skipped"):
        build(input_dir, tmp_path / "out")
    with pytest.raises(ValueError, match="num_detections"):
        dataset.build_from_simulation(tmp_path / "out", 0)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def test_a_kill_at_any_step_leaves_nothing_that_loads_half(input_dir, tmp_path, monkeypatch):
    """Every rename and every deletion of a tree is a step at which the build dies once, and is then done again."""
    build(input_dir, tmp_path / "whole")
    expected = hashes(tmp_path / "whole")
    originals = {(os, "replace"): os.replace, (os, "rename"): os.rename, (shutil, "rmtree"): shutil.rmtree}
    step, finished = 0, False
    while not finished:
        output = tmp_path / f"killed-{step}"
        with monkeypatch.context() as patch:
            calls = iter(range(10**6))
            for (module, name), original in originals.items():

                def die_or_go_on(*arguments, original=original, calls=calls, last=step, **options):
                    if next(calls) == last:
                        raise Killed
                    return original(*arguments, **options)

                patch.setattr(module, name, die_or_go_on)
            try:
                build(input_dir, output)
                finished = True
            except Killed:
                pass
        if not (output / "data").exists():
            for config in (None, "pairs"):
                with pytest.raises((FileNotFoundError, ValueError)):
                    datasets.load_dataset(str(output), config)
        if step % 3 == 0 or (output / "README.md").exists():
            build(input_dir, output)
            assert hashes(output) == expected
            assert {path.name for path in output.iterdir()} == {"README.md", "manifest.json", "data", "responses"}
        shutil.rmtree(output)
        step += 1
    assert step > 20


def test_shards_are_cut_by_size_and_joined_in_order(input_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 20_000)
    whole = build(input_dir, tmp_path / "whole").manifest
    assert pq.ParquetFile(tmp_path / "whole" / whole["shards"][0]["path"]).num_row_groups > 3
    records = [shards.ChunkRecord(dict.fromkeys(packaging.SPLITS, 10), dict.fromkeys(packaging.SPLITS, 400), [])] * 5
    plans = shards.plan_shards(records, shard_bytes=900)
    assert [plan.chunks for plan in plans if plan.split == "train"] == [(0, 1), (2, 3), (4,)]
    assert plans[0].filename == "train-00000-of-00003.parquet"
    one_row = shards.ChunkRecord(
        {"train": 1, "validation": 0, "test": 0}, {"train": 5000, "validation": 0, "test": 0}, []
    )
    assert [plan.split for plan in shards.plan_shards([one_row], shard_bytes=900)] == ["train"]


def test_card_describes_every_column(input_dir, tmp_path):
    assert set(card.COLUMN_DESCRIPTIONS) == set(TABLE_SCHEMA.names)
    assert set(card.RESPONSE_DESCRIPTIONS) == set(RESPONSE_SCHEMA.names)
    assert set(card.CONFIG_DESCRIPTIONS) == {*CONFIGS, "responses"}
    build(input_dir, tmp_path / "out", license_id="cc0-1.0")
    _, header, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    parsed = yaml.safe_load(header)
    assert parsed["license"] == "cc0-1.0"
    assert parsed["size_categories"] == ["n<1K"]
    assert "$" not in text
    for name, (unit, _) in card.COLUMN_DESCRIPTIONS.items():
        assert f"| `{name}` |" in text
        assert unit in text


@pytest.mark.parametrize(("rows", "tag"), [(5, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**12, "n>10B")])
def test_size_category(rows, tag):
    assert card.size_category(rows) == tag


SIMULATE = """
import sys
from chandraclip.simulate import dataset
if __name__ == "__main__":
    dataset.SIMULATED_ROWS_PER_CHUNK = 60
    dataset.build_from_simulation(sys.argv[1], 300, seed=5, num_processes=int(sys.argv[2]), progress=False)
"""


@pytest.mark.slow
def test_a_killed_simulation_goes_on_and_processes_do_not_matter(tmp_path):
    script = tmp_path / "build.py"
    script.write_text(SIMULATE)

    def start(output, num_processes):
        return subprocess.Popen([sys.executable, str(script), str(output), str(num_processes)])

    assert start(tmp_path / "one", 1).wait() == 0
    assert start(tmp_path / "two", 2).wait() == 0
    killed = tmp_path / "killed"
    process = start(killed, 1)
    chunks = killed / ".building" / "chunks"
    while process.poll() is None and len(list(chunks.glob("*.json"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises((FileNotFoundError, ValueError)):
        datasets.load_dataset(str(killed))
    kept = {path: path.stat().st_mtime_ns for path in sorted(chunks.glob("*.json"))}
    assert 2 <= len(kept) < 5
    assert start(killed, 1).wait() == 0
    assert hashes(killed) == hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert datasets.load_dataset(str(killed), "pairs")["train"].num_rows > 100


def test_command_line(repository, tmp_path):
    script = repository / "scripts" / "build_dataset.py"

    def run(*arguments):
        return subprocess.run(
            [sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    assert "simulate" in run("--help").stdout
    arguments = ("simulate", "--num_detections", 40, "--seed", 3, tmp_path / "out")
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    assert "written" in first.stdout
    again = run(*arguments)
    assert again.returncode == 0
    assert "already built" in again.stdout
    other = run("simulate", "--num_detections", 41, tmp_path / "out")
    assert other.returncode == 1
    assert "num_detections 40 (now 41)" in other.stderr
    assert run("files", tmp_path / "none", tmp_path / "other").returncode == 1
    assert Path(tmp_path / "out" / "responses").is_dir()


def build_rank(input_dir, output, rank, num_ranks, **options):
    return build(input_dir, output, share=Share(rank, num_ranks), **options)


def test_ranks_make_what_one_process_makes(input_dir, tmp_path):
    build(input_dir, tmp_path / "whole")
    output = tmp_path / "ranks"
    assert build_rank(input_dir, output, 2, 3).num_staged == (1, 1)
    assert build_rank(input_dir, output, 0, 3).num_staged == (2, 2)
    assert not (output / "data").exists()
    with pytest.raises(InputFileError, match="1 of 4 chunks are missing or damaged"):
        build(input_dir, output, share=Share(only_merge=True))
    assert build_rank(input_dir, output, 1, 2).num_staged == (2, 2)  # another number of ranks makes the same chunks
    merged = build(input_dir, output, share=Share(only_merge=True))
    assert not merged.already_built
    assert hashes(output) == hashes(tmp_path / "whole")
    files = {path.relative_to(output) for path in output.rglob("*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()}
    assert all((output / path).read_bytes() == (tmp_path / "whole" / path).read_bytes() for path in files)
    assert build_rank(input_dir, output, 0, 3).already_built
    assert not (output / ".building").exists()


@pytest.mark.parametrize("damage", ["cut rows", "no responses"])
def test_a_damaged_chunk_is_not_merged_but_made_again(input_dir, tmp_path, damage):
    build(input_dir, tmp_path / "whole")
    output = tmp_path / "ranks"
    build_rank(input_dir, output, 0, 1)
    chunks = output / ".building" / "chunks"
    if damage == "cut rows":
        path = chunks / "000001-train.arrow"
        path.write_bytes(path.read_bytes()[:-40])
    else:
        (chunks / "000001-responses.arrow").unlink()
    with pytest.raises(InputFileError, match=r"1 of 4 chunks are missing or damaged \(1;"):
        build(input_dir, output, share=Share(only_merge=True))
    build(input_dir, output)
    assert hashes(output) == hashes(tmp_path / "whole")


def test_ranks_work_side_by_side_but_not_with_another_build(input_dir, tmp_path):
    output = tmp_path / "out"
    build_rank(input_dir, output, 1, 4)
    folder = output / ".ranks" / "build.1-of-2"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_RANK, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        build_rank(input_dir, output, 0, 2)
        with pytest.raises(InputFileError, match=f"process {holder.pid} on"):
            build_rank(input_dir, output, 1, 2)  # it is at work
        for other in ({}, {"share": Share(only_merge=True)}, {"overwrite": True}):
            with pytest.raises(InputFileError, match=f"rank 1-of-2 of a job, process {holder.pid} on .* works there"):
                build(input_dir, output, **other)
        with pytest.raises(InputFileError, match="works there"):
            build_rank(input_dir, output, 0, 2, overwrite=True, license_id="mit")
        assert len(list((output / ".building" / "chunks").glob("*.json"))) == 3
    finally:
        holder.kill()
        holder.wait()
    build_rank(input_dir, output, 1, 2)  # whom the kill has left free
    build(input_dir, output, share=Share(only_merge=True))
    assert (output / "data").exists()


HOLD_RANK = """
import sys
from pathlib import Path
from chandraclip.lock import acquire
acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_polars_and_duckdb_read_the_same_rows(input_dir, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="no duckdb, which the extra dev installs")
    polars = pytest.importorskip("polars", reason="no polars, which the extra dev installs")
    build(input_dir, tmp_path / "out")
    pattern = str(tmp_path / "out" / "data" / "*.parquet")
    expected = pq.read_table(tmp_path / "out" / "data", schema=TABLE_SCHEMA).sort_by("region_id").to_pylist()
    assert polars.read_parquet(pattern).sort("region_id").to_dicts() == expected
    assert polars.scan_parquet(pattern).filter(polars.col("split") == "test").select("name").collect().height > 0
    columns = ("name", "spectrum_counts", "event_time", "source_class", "exposure")
    selected = duckdb.sql(f"select {', '.join(columns)} from '{pattern}' order by region_id").fetchall()
    assert selected == [tuple(row[name] for name in columns) for row in expected]
    found = duckdb.sql(f"select sum(len(event_time)) from '{pattern}'").fetchone()
    assert found == (sum(len(row["event_time"] or ()) for row in expected),)
