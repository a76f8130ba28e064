"""Simulated against real: populations whose truth is known, and tables worked out by hand."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2, ks_2samp

from chandraclip.catalog.kuiper import kuiper_probability
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import SOURCE_CLASSES, build_table
from chandraclip.data.splits import assign_splits
from chandraclip.errors import InputFileError
from chandraclip.realism import report as report
from chandraclip.realism.catalog_tables import (
    COLUMNS,
    FITTED,
    catalog_frame,
    read_published_sources,
    read_real_detections,
)
from chandraclip.realism.distances import detection_quantities, differences_in_words, ks_table
from chandraclip.realism.transfer import published_table, source_table, transfer_score


def population(seed: int, num_sources: int = 150, hardening: float = 1.0, classes=("AGN", "YSO")) -> pd.DataFrame:
    """Detections of sources that share their flux and hardness; `hardening` multiplies the hard fluxes."""
    generator = np.random.default_rng(seed)
    num_detections = 1 + generator.poisson(1.5, num_sources * len(classes))
    source = np.repeat(np.arange(num_detections.size), num_detections)
    number = source % len(classes)
    flux = 10 ** (generator.normal(-13.5, 0.5, num_detections.size)[source] + generator.normal(0, 0.1, source.size))
    softness = np.exp(generator.normal(0, 0.4, (num_detections.size, 2)))[source] * np.array([1.0, 3.0])[number, None]
    columns = {
        "name": np.array([f"S{seed}-{index}" for index in source]),
        "obsid": np.arange(source.size),
        "obi": 0,
        "region_id": 1,
        "source_class": np.array(classes, dtype=object)[number],
        "theta": generator.uniform(0, 10, source.size),
        "livetime": 1e4 * generator.uniform(1, 5, source.size),
        "src_cnts_aper_b": flux * 1e15,
        "flux_aper_b": flux,
        "flux_aper_h": 0.5 * flux * hardening,
        "flux_aper_m": 0.2 * flux * softness[:, 0],
        "flux_aper_s": 0.2 * flux * softness[:, 1],
        "flux_significance_b": 10.0,
        "var_prob_b": generator.uniform(size=source.size),
        "kp_prob_b": generator.uniform(size=source.size),
        "powlaw_gamma": generator.normal(1.9, 0.3, source.size),
        "powlaw_nh": np.zeros(source.size),
        "bb_kt": np.nan,
    }
    return catalog_frame(pd.DataFrame(columns))


def one_source(**columns) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    filled = {"name": "A", "obsid": np.arange(size), "obi": 0, "region_id": 1, "source_class": "NS"}
    return catalog_frame(pd.DataFrame(filled | columns))


def test_equal_populations_are_at_the_floor():
    real = detection_quantities(population(0))
    tables = [ks_table(real, detection_quantities(population(seed)), num_resamples=100) for seed in range(1, 5)]
    table = pd.concat(tables)
    assert table["beyond_floor"].mean() < 0.08
    assert 0.6 < (table["ks"] / table["floor"]).median() < 1.5
    assert (table["ks_low"] <= table["ks"]).all()


def test_a_shifted_population_is_flagged():
    real = detection_quantities(population(0))
    table = ks_table(real, detection_quantities(population(1, hardening=2.0)), num_resamples=100)
    flagged = set(table.loc[table["beyond_floor"], "quantity"])
    assert {"energy_hm", "energy_hs"} <= flagged <= {"energy_hm", "energy_hs", "energy_ms"}
    words = differences_in_words(table)
    assert any(sentence.startswith("**hardness h/m (energy)**") and "AGN higher" in sentence for sentence in words)


def test_the_distance_is_that_of_kolmogorov_and_smirnov():
    real, simulated = detection_quantities(population(0)), detection_quantities(population(1, hardening=1.4))
    for row in ks_table(real, simulated, num_resamples=0).itertuples():
        sides = [
            side.loc[side["source_class"] == row.source_class, row.quantity].dropna() for side in (real, simulated)
        ]
        assert row.ks == pytest.approx(ks_2samp(*sides).statistic)
        assert np.isnan(row.floor)


def test_missing_classes_and_columns_are_left_out():
    real = detection_quantities(population(0, classes=("AGN", "YSO")))
    table = ks_table(real, detection_quantities(population(1, classes=("YSO", "CV"))), num_resamples=20)
    assert set(table["source_class"]) == {"YSO"}
    assert "log_bb_kt" not in set(table["quantity"])
    nothing = ks_table(real, detection_quantities(population(1, classes=("CV", "NS"))))
    assert len(nothing) == 0
    assert differences_in_words(nothing) == []
    assert report.difference_list(nothing).startswith("0 of 0")


def test_quantities_of_zero_and_negative_fluxes():
    frame = one_source(
        flux_aper_h=[3e-15, 1e-15, -1e-15, np.nan],
        flux_aper_m=[1e-15, -2e-16, -1e-15, 1e-15],
        flux_aper_s=[1e-15, 0.0, 0.0, 1e-15],
        flux_aper_b=[5e-15, 1e-15, -2e-15, 2e-15],
        src_cnts_aper_b=[50.0, 9.0, -2.0, 80.0],
        var_prob_b=[0.3, 0.4, 0.5, 0.6],
        powlaw_nh=[3.0, 4.0, 5.0, 1e-7],
        bb_kt=[1.0, 1.0, 1.0, 0.1],
    )
    found = detection_quantities(frame)
    np.testing.assert_allclose(found["energy_hm"], [0.5, 1.0, np.nan, np.nan])
    np.testing.assert_allclose(found["energy_ms"], [0.0, np.nan, np.nan, 0.0])
    np.testing.assert_allclose(found["log_flux_b"], np.log10([5e-15, 1e-15, 1e-17, 2e-15]))
    np.testing.assert_allclose(found["log_counts_b"], np.log10([50.0, 9.0, 1.0, 80.0]))
    np.testing.assert_allclose(found["var_prob_b"], [0.3, np.nan, np.nan, 0.6])
    np.testing.assert_allclose(found["log_powlaw_nh"], [np.nan, np.nan, np.nan, 19.0])
    np.testing.assert_allclose(found["log_bb_kt"], [np.nan, np.nan, np.nan, -1.0])
    np.testing.assert_allclose(found["log_num_detections"], [np.nan, np.nan, np.nan, np.log10(4)])


def test_source_table_by_hand():
    frame = one_source(
        flux_aper_h=[2e-14, 8e-14],
        flux_aper_m=[1e-14, -1e-14],
        flux_aper_s=[0.0, 0.0],
        flux_aper_b=[3e-14, 8e-14],
        flux_significance_b=[3.0, 8.0],
        src_cnts_aper_b=[9.0, 64.0],
        livetime=[1e4, 3e4],
        powlaw_gamma=[np.nan, 1.5],
        kp_prob_b=[0.2, 0.7],
    )
    (row,) = source_table(frame).to_dict("records")
    hard, medium, soft = (2e-14 + 3 * 8e-14) / 4, 1e-14 / 4, 1e-17
    assert row["energy_hm"] == pytest.approx((hard - medium) / (hard + medium))
    assert row["energy_hs"] == pytest.approx((hard - soft) / (hard + soft))
    assert row["energy_ms"] == pytest.approx((medium - soft) / (medium + soft))
    assert row["log_flux"] == pytest.approx(np.log10(hard + medium + soft))
    assert (row["powlaw_gamma"], row["var_intra_prob"], row["source_class"]) == (1.5, 0.7, "NS")
    # Both errors are 1e-14, so the statistic is the squared difference over twice the variance.
    assert row["var_inter_prob"] == pytest.approx(chi2.cdf(5.0**2 / 2, 1))


def test_variability_between_needs_two_fluxes_and_an_error_without_counts():
    single = one_source(flux_aper_b=[1e-14, np.nan], flux_significance_b=[5.0, np.nan], livetime=[1e4, 1e4])
    assert np.isnan(source_table(single)["var_inter_prob"]).all()
    faded = one_source(
        flux_aper_b=[1e-14, 0.0], flux_significance_b=[10.0, 0.0], src_cnts_aper_b=[100.0, -1.0], livetime=[1e4, 1e4]
    )
    # A count is 1e-16 erg/s/cm2 here: 100 +- 10 against 0 +- 1.
    expected = chi2.cdf(100.0**2 / (10.0**2 + 1.0), 1)
    assert source_table(faded)["var_inter_prob"].item() == pytest.approx(expected)


def test_placeholders_of_the_published_table_are_limits():
    published = pd.DataFrame(
        {
            "Fcsc_s": [7.97884561e-18, 1e-15],
            "Fcsc_m": [7.97884561e-18, 1e-15],
            "Fcsc_h": [1e-15, 3e-15],
            "powlaw_gamma_mean": [np.nan, 2.0],
            "var_intra_prob": [0.1, np.nan],
            "var_inter_prob": [np.nan, 0.9],
            "Class": ["AGN", "NS"],
            "name": ["A", "B"],
        }
    )
    table = published_table(published)
    assert table["energy_ms"].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(table["energy_hm"], [(1e-15 - 1e-17) / (1e-15 + 1e-17), 0.5])
    assert table["log_flux"][0] == pytest.approx(np.log10(1e-15 + 2e-17))


def test_kuiper_is_uniform_for_a_constant_rate_across_gaps():
    generator = np.random.default_rng(3)
    num_rows, times = 2000, []
    for number_of_photons in generator.integers(12, 60, num_rows):
        elapsed = np.sort(generator.uniform(0, 300.0, number_of_photons))
        times.append(elapsed + np.where(elapsed > 100.0, 500.0, 0.0))  # good time 0-100 and 600-800
    intervals = [Ragged.from_rows([np.array(edges)] * num_rows) for edges in ([0.0, 600.0], [100.0, 800.0])]
    lists = Ragged.from_rows(times)
    probability = kuiper_probability(lists, *intervals, np.ones(lists.values.size, dtype=bool))
    # Stephens' correction is good to a few percent at these counts.
    np.testing.assert_allclose(np.quantile(probability, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.05)
    ignored_gap = kuiper_probability(
        lists,
        *(Ragged.from_rows([np.array([edge])] * num_rows) for edge in (0.0, 800.0)),
        np.ones(lists.values.size, bool),
    )
    assert np.median(ignored_gap) > 0.99
    few = kuiper_probability(lists, *intervals, np.arange(lists.values.size) % 10 == 0)
    assert np.isnan(few[np.diff(lists.offsets) < 90]).all()


def test_a_table_of_the_dataset_becomes_a_frame():
    events = Ragged.from_rows([np.linspace(0.1, 9.9, 40), None, np.linspace(0.1, 1.0, 40)])
    energy = Ragged(np.full(80, 1.0), events.offsets, events.valid)
    start, stop = (Ragged.from_rows([np.array([edge]), None, np.array([edge])]) for edge in (0.0, 10.0))
    table = build_table(
        {
            "name": ["A", "B", "C"],
            "obsid": [1, 2, 3],
            "obi": [0, 0, 0],
            "region_id": [1, 1, 1],
            "split": ["train"] * 3,
            "source_class": np.ma.MaskedArray([0, 3, 7], mask=[False, True, False]),
            "flux_aper_b": [2e-14, 1e-14, 0.0],
            "flux_significance_b": [4.0, 2.0, 0.0],
            "event_time": events,
            "event_energy": energy,
            "gti_start": start,
            "gti_stop": stop,
        }
    )
    frame = catalog_frame(table)
    assert list(frame.columns) == list(COLUMNS)
    assert frame["source_class"].tolist() == ["AGN", "YSO"]
    assert frame["flux_error_b"][0] == pytest.approx(5e-15, rel=1e-5)
    assert np.isnan(frame["flux_error_b"][1])
    assert frame["kp_prob_b"][0] < 0.01
    assert frame["kp_prob_b"][1] > 0.9999


def test_transfer_between_equal_and_shifted_populations():
    tables = [source_table(population(seed)) for seed in (0, 1)]
    shifted = source_table(population(2, hardening=5.0))
    own, across = transfer_score(tables[0], tables[0], "8 classes"), transfer_score(tables[1], tables[0], "8 classes")
    assert own["low"] < across["balanced_accuracy"] < own["high"]
    assert own["chance"] == 0.5
    assert own["balanced_accuracy"] > 0.8
    assert transfer_score(shifted, tables[0], "8 classes")["balanced_accuracy"] < own["low"]
    assert transfer_score(tables[0], tables[0], "AGN or compact") == {}
    np.testing.assert_array_equal(np.sum(own["confusion"], axis=1), [150, 150])


def test_a_source_in_both_tables_is_not_predicted_by_a_forest_that_saw_it():
    """Labels that are noise: a forest that had seen the sources would score far above chance."""
    generator = np.random.default_rng(0)
    table = source_table(population(0)).assign(source_class=lambda frame: generator.choice(["AGN", "NS"], len(frame)))
    renamed = table.assign(name=table["name"] + " again")
    same = transfer_score(table, table.iloc[::-1], "8 classes")
    assert abs(same["balanced_accuracy"] - 0.5) < 0.1
    assert transfer_score(table, renamed, "8 classes")["balanced_accuracy"] > 0.7


def test_sources_that_were_not_fitted_are_compared_apart():
    """Where only the sources of the calibration are alike, the others tell."""
    real, simulated = population(0, 400), population(1, 400)
    fitted = np.array(assign_splits(real["name"])) == "train"
    flux = ["flux_aper_b", "flux_aper_h", "flux_aper_m", "flux_aper_s"]
    real.loc[~fitted, flux] *= 30.0
    lines = report.held_out_table(detection_quantities(real), detection_quantities(simulated)).splitlines()
    names = [cell.strip() for cell in lines[0].strip("|").split("|")]
    for line in lines[2:]:
        row = dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        own = real[real["source_class"] == row["class"]]
        assert int(row["sources fitted"]) == own.loc[fitted[own.index], "name"].nunique()
        assert int(row["sources held out"]) == own.loc[~fitted[own.index], "name"].nunique()
        inside, outside = (float(row[f"mean KS {which} (floor)"].split()[0]) for which in ("fitted", "held out"))
        assert inside < 0.12 < outside
    assert len(lines) == 4


def test_rows_that_stand_for_real_ones():
    real = population(0, num_sources=60)
    mock = real.assign(name="M" + real["name"], src_cnts_aper_b=2.0 * real["src_cnts_aper_b"]).iloc[::-1]
    rows = {row["quantity"]: row for row in report.compare_rows(real, mock)}
    counts = rows["log src_cnts_aper_b"]
    assert (counts["num_rows"], counts["spearman"]) == (len(real), pytest.approx(1.0))
    assert counts["median"] == pytest.approx(np.log10(2.0))
    assert counts["half_width"] == pytest.approx(0.0, abs=1e-9)
    assert rows["energy_hm"]["median"] == 0.0


def test_parts_of_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("prose\n<!-- begin a -->\nold\n<!-- end a -->\nmore prose\n")
    for _ in range(2):
        report.write_parts(page, {"a": "new"})
    assert page.read_text() == "prose\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nmore prose\n"
    with pytest.raises(InputFileError, match="begin b"):
        report.write_parts(page, {"b": "new"})
    with pytest.raises(InputFileError, match="not readable"):
        report.write_parts(tmp_path / "none.md", {})


@pytest.fixture(scope="module")
def script(repository):
    path = repository / "scripts" / "validate_simulator.py"
    spec = importlib.util.spec_from_file_location("script_validate_simulator", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def write_real_tables(folder, detections: pd.DataFrame) -> None:
    """The columns of the real tables that are read, of a made-up population."""
    catalog = folder / "catalog"
    catalog.mkdir(parents=True)
    kept = ("theta", "var_prob_b", "var_index_b", "kp_prob_b", "flux_significance_b")
    table = detections[["name", "obsid", "obi", "region_id", *kept]]
    table = table.assign(instrument="ACIS", gti_obs="2003-11-09T01:33:18", gti_end="2003-11-09T03:09:02")
    table = table.assign(Class=detections["source_class"], src_cnts_aper90_b=detections["src_cnts_aper_b"])
    for band in "bhms":
        table[f"flux_aper90_{band}_obs"] = detections[f"flux_aper_{band}"]
    table["flux_aper90_hilim_b_obs"], table["flux_aper90_lolim_b_obs"] = 1.1 * table["flux_aper90_b_obs"], 0.0
    hrc = table.iloc[:3].assign(instrument="HRC", name="HRC")
    pd.concat([table, hrc]).to_csv(catalog / "csc2_detections.csv.gz", index=False)
    fits = detections.drop_duplicates("name")[["name", *FITTED]]
    fits.to_csv(catalog / "csc2_master_labelled.csv.gz", index=False)
    sources = source_table(detections)
    fluxes = {f"Fcsc_{band}": detections.groupby("name")[f"flux_aper_{band}"].mean().to_numpy() for band in "smh"}
    published = sources.assign(Class=sources["source_class"], powlaw_gamma_mean=sources["powlaw_gamma"], **fluxes)
    published.to_csv(catalog / "TD_v03022023_Xray.csv", index=False)
    entry = {"n": 9, "p16": -0.5, "median": 0.0, "p84": 0.5}
    statistics = {"classes": {"AGN": {"VIZIER": {"HR_hm_photon": entry, "HR_hs_photon": {"n": 1}}}}}
    (folder / "class_statistics.json").write_text(json.dumps(statistics))


def write_dataset(folder, detections: pd.DataFrame) -> None:
    (folder / "data").mkdir(parents=True)
    numbers = [SOURCE_CLASSES.index(name) for name in detections["source_class"]]
    table = pa.Table.from_pandas(detections.drop(columns=["flux_error_b"]).assign(source_class=numbers))
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")


def test_the_command(script, repository, tmp_path, monkeypatch):
    monkeypatch.setattr("chandraclip.realism.transfer.NUM_TREES", 6)
    monkeypatch.setattr("chandraclip.realism.apart.NUM_TREES", 6)
    monkeypatch.setattr("chandraclip.realism.apart.NUM_REPEATS", 1)
    real = population(0, num_sources=40)
    write_real_tables(tmp_path / "real", real)
    write_dataset(tmp_path / "simulated", population(1, num_sources=40, hardening=3.0))
    write_dataset(tmp_path / "mock", real.assign(name="M" + real["name"]))
    page = tmp_path / "docs" / "simulator.md"
    page.parent.mkdir()
    page.write_text((repository / "docs" / "simulator.md").read_text())
    options = [str(tmp_path / "simulated"), "--data", str(tmp_path / "real"), "--output", str(page)]
    script([*options, "--mock", str(tmp_path / "mock")])
    text, content = page.read_text(), json.loads(page.with_suffix(".json").read_text())
    assert "simulated -> real" in text
    assert "AGN higher" in text
    assert content["mock"]["row_by_row"][0]["median"] == 0.0
    assert len(content["transfer"]["8 classes"]["real -> real"]["recalls"]) == 2
    assert "given away by" in text
    assert [point["number"] for point in content["points"]] == list(range(1, 10))
    (pulsed,) = [row for row in content["points"][4]["rows"] if row["label"].startswith("pulsed fraction")]
    assert pulsed["after"] < 0.8 < pulsed["before"]
    for name in ("distributions", "distances", "confusion", "apart", "points"):
        assert 5_000 < (page.parent / "images" / f"simulator_{name}.png").stat().st_size < 150_000
    with pytest.raises(InputFileError, match=r"no data/\*\.parquet"):
        script([str(tmp_path / "nothing"), *options[1:]])


def test_the_real_tables_are_read(real_data):
    detections, sources = read_real_detections(real_data), read_published_sources(real_data)
    assert set(detections["source_class"]) == set(sources["Class"]) == set(SOURCE_CLASSES)
    quantities = detection_quantities(detections)
    table = ks_table(quantities, quantities, num_resamples=0)
    assert len(table) == 8 * 13
    assert (table["ks"] < 1e-9).all()
    # The rebuilt table is the published one again, up to how fluxes were averaged.
    rebuilt = source_table(detections).set_index("name")
    published = published_table(sources).set_index("name")
    both = rebuilt.join(published.add_suffix("_published"), how="inner")
    assert len(both) > 2000
    for name in ("energy_hm", "log_flux", "powlaw_gamma", "var_intra_prob", "var_inter_prob"):
        assert both[name].corr(both[f"{name}_published"], method="spearman") > 0.8
