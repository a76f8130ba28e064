"""Rates of which the truth is known: it gains on photons that were not shown, and a made-up flare does not."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation.rate_tables import NUM_CURVE_CELLS, RATES_FILE, RATES_SCHEMA, RateTable, load_rate_tables
from chandraclip.evaluation.rates import BLOCKS, CONSTANT, blocks, elapsed_times, simple_likelihoods

LENGTH, FLARE = 1000.0, (400.0, 440.0)
NUM_LISTS = 16


def true_rate(time, flares):
    return np.where(flares & (time >= FLARE[0]) & (time < FLARE[1]), 1.0, 0.05)


def make(sign=1.0, seed=0, gap=0.0):
    """Rows of the file: flaring lists and constant ones, with the true rate (`sign` 1) or a dip in the place of it."""
    generator = np.random.default_rng(seed)
    columns = {name: [] for name in RATES_SCHEMA.names[5:]}
    for number in range(NUM_LISTS):
        flares = number % 2 == 0
        halves = []
        for _ in range(2):
            constant = generator.uniform(0, LENGTH, generator.poisson(0.05 * LENGTH / 2))
            burst = generator.uniform(*FLARE, generator.poisson(0.95 * 40 / 2) * flares)
            halves.append(np.sort(np.r_[constant, burst]))
        cells = (np.arange(NUM_CURVE_CELLS) + 0.5) * LENGTH / NUM_CURVE_CELLS

        def log_rate(time, flares=flares):
            rate = true_rate(time, np.array(flares))
            return np.log(np.where(rate > 0.5, 1.0 if sign > 0 else 1e-3, rate))

        expected = 0.05 * LENGTH + flares * 40 * ((1.0 if sign > 0 else 1e-3) - 0.05)
        seen, held_out = halves
        columns["seen_time"].append(seen + gap * (seen > 600))
        columns["held_out_time"].append(held_out + gap * (held_out > 600))
        columns["seen_band"].append(np.full(len(seen), -1))
        columns["held_out_band"].append(np.full(len(held_out), -1))
        columns["gti_start"].append(np.array([0.0, 600.0 + gap]) if gap else np.zeros(1))
        columns["gti_stop"].append(np.array([600.0, LENGTH + gap]) if gap else np.full(1, LENGTH))
        columns["held_out_log_rate"].append(log_rate(held_out) - np.log(2))
        columns["held_out_expected"].append(np.full(3, expected / 6))
        columns["own_log_rate"].append(log_rate(np.r_[seen, held_out]))
        columns["own_expected"].append(np.full(3, expected / 3))
        columns["curve_time"].append(cells + gap * (cells > 600))
        columns["curve_log_rate"].append(log_rate(cells))
    arrays = {name: Ragged.from_rows(rows).to_arrow(RATES_SCHEMA.field(name).type) for name, rows in columns.items()}
    keys = {"name": [f"S{number:02d}" for number in range(NUM_LISTS)], "obsid": np.arange(NUM_LISTS)}
    keys |= {"obi": [0] * NUM_LISTS, "region_id": [1] * NUM_LISTS, "split": ["test"] * NUM_LISTS}
    return pa.table({**{name: pa.array(values) for name, values in keys.items()}, **arrays}).cast(RATES_SCHEMA)


def write(folder, table, model_type="truth"):
    folder.mkdir()
    pq.write_table(table, folder / RATES_FILE)
    (folder / "rates.json").write_text(json.dumps({"model_type": model_type, "num_latents": 8}))
    return folder


@pytest.fixture
def folders(tmp_path, monkeypatch, write_dataset):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    table = make()
    columns = {name: table[name].to_pylist() for name in ("name", "obsid", "obi", "region_id", "split")}
    columns["var_index_b"] = np.where(np.arange(NUM_LISTS) % 2, 0.0, 9.0)
    dataset = write_dataset(tmp_path / "dataset", build_table(columns))
    return write(tmp_path / "truth", table), write(tmp_path / "wrong", make(-1.0), "wrong"), dataset


def test_the_truth_gains_and_what_is_wrong_loses(script, folders, tmp_path, capsys):
    truth, wrong, dataset = folders
    output = tmp_path / "r"
    arguments = [str(truth), str(wrong), "--dataset", str(dataset), "--num_resamples", "50", "--output", str(output)]
    script("eval/rates.py")(arguments)
    content = json.loads((output / "metrics.json").read_text())
    records = {(record["group"], record["model"]): record for record in content["results"]["groups"]}
    varied = records["var_index_b >= 6", "truth 8"]
    assert varied["gain"] > varied["gain_low"] > 0.3
    assert varied["gain_over_blocks"] > 0  # blocks have to find the flare in half of the photons
    assert varied["num_lists"] == NUM_LISTS // 2
    assert records["var_index_b >= 6", "wrong 8"]["gain"] < 0
    assert records["all", CONSTANT]["gain"] == 0
    assert 0 < records["var_index_b >= 6", BLOCKS]["gain"] < varied["gain"]
    assert {"10-100 photons", "all"} <= {group for group, _ in records}
    figure = content["headline"][0]
    assert (figure["chance"], figure["baseline_name"]) == (0.0, BLOCKS)
    for name in ("rates.png", "light_curves.png"):
        assert (output / name).read_bytes()[:4] == b"\x89PNG"
    assert "own photons" in capsys.readouterr().out
    with pytest.raises(OptionError, match="min_photons"):
        script("eval/rates.py")([*arguments, "--min_photons", "100000"])


def test_good_time_is_what_counts(tmp_path):
    """A gap changes nothing for models of a constant rate and of blocks."""
    whole, gapped = (RateTable.load(write(tmp_path / name, make(gap=gap))) for name, gap in (("a", 0.0), ("b", 5e3)))
    np.testing.assert_allclose(elapsed_times(whole, "seen_time", 3), elapsed_times(gapped, "seen_time", 3))
    left, right = (simple_likelihoods(table, progress=False) for table in (whole, gapped))
    for name in (CONSTANT, BLOCKS):
        np.testing.assert_allclose(left[name].held_out, right[name].held_out)
        np.testing.assert_allclose(left[name].own, right[name].own)


def test_blocks_keep_the_photons():
    time = np.sort(np.r_[np.random.default_rng(0).uniform(0, 1000, 50), np.linspace(400, 402, 40)])
    curve = blocks(time, 1000.0)
    assert (curve.rate * np.diff(curve.edges)).sum() == pytest.approx(len(time))
    assert curve(np.array([401.0]))[0] > 10 > 0.2 > curve(np.array([900.0]))[0]
    assert blocks(np.array([5.0, 5.0]), 10.0).rate.tolist() == [0.2]


def test_expected_photons_are_the_integral_of_the_rate(tmp_path):
    table = make()
    found = RateTable.load(write(tmp_path / "a", table)).check_integrals()
    assert abs(found["median"] - 1) < 0.05
    assert found["share_outside"] == 0
    place = table.column_names.index("own_expected")
    halved = pa.array([[one / 2 for one in row] for row in table["own_expected"].to_pylist()])
    wrong = table.set_column(place, table.field(place), halved.cast(table.field(place).type))
    with pytest.raises(InputFileError, match=r"0\.5\d* times the integral"):
        load_rate_tables([tmp_path / "a", write(tmp_path / "b", wrong)])  # as eval/rates.py does


def test_files_that_are_wrong(tmp_path):
    table = make()
    with pytest.raises(InputFileError, match="no rates here"):
        RateTable.load(tmp_path)
    with pytest.raises(InputFileError, match="column is missing"):
        RateTable.load(write(tmp_path / "a", table.drop_columns(["own_expected"])))
    place = table.column_names.index("held_out_log_rate")
    short = table.set_column(place, table.field(place), table["seen_time"].cast(table.field(place).type))
    with pytest.raises(InputFileError, match="another length"):
        RateTable.load(write(tmp_path / "b", short))
    with pytest.raises(InputFileError, match="no row of 'train'"):
        RateTable.load(write(tmp_path / "c", table), "train")
