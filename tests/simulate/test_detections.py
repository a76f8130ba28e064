import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from chandraclip.data.healpix import healpix_nested
from chandraclip.data.schema import ACIS_CHANNEL_WIDTH, BANDS, SOURCE_CLASSES, TABLE_SCHEMA, Ragged
from chandraclip.data.splits import split_of
from chandraclip.simulate import builtin_response, simulate_chunk, simulate_detections
from chandraclip.simulate.absorption import transmission
from chandraclip.simulate.detections import FIRST_OBSID, MAX_CHUNK_SIZE
from chandraclip.simulate.detector import FIRST_CHANNEL, FRAME_TIME, LAST_CHANNEL
from chandraclip.simulate.emission import energy_flux, powerlaw

DIGEST = (
    "import hashlib, pyarrow as pa\n"
    "from chandraclip.simulate import simulate_chunk\n"
    "for chunk in (2, 0):\n"
    "    sink = pa.BufferOutputStream()\n"
    "    table = simulate_chunk(5, chunk, 60)\n"
    "    with pa.ipc.new_stream(sink, table.schema) as writer:\n"
    "        writer.write_table(table)\n"
    "    print(chunk, hashlib.sha256(sink.getvalue()).hexdigest())\n"
)


@pytest.fixture(scope="module")
def table():
    return simulate_chunk(seed=0, chunk=0, num_detections=2000)


@pytest.fixture(scope="module")
def spectra(table):
    return Ragged.from_arrow(table["spectrum_counts"]).values.reshape(-1, 1024)


def floats(table, name):
    return table[name].to_numpy().astype(np.float64)


def digests_of_a_process(**environment):
    command = [sys.executable, "-c", DIGEST]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
    return set(run.stdout.split("\n"))


def test_schema_and_keys(table):
    assert table.schema == TABLE_SCHEMA
    table.validate(full=True)
    assert table.num_rows == 2000
    obsid = floats(table, "obsid")
    assert obsid.min() >= FIRST_OBSID
    assert len(set(obsid)) == 2000
    for name in ("ra", "dec", "theta", "mjd_obs", "livetime", "nh_gal", "source_class", "true_nh", "true_flux_b"):
        assert table[name].null_count == 0
    for name in TABLE_SCHEMA.names:
        if name.startswith("apec_") or name == "channel_energy_edges":
            assert table[name].null_count == 2000


def test_chunks_share_nothing_and_only_the_last_is_short():
    tables = list(simulate_detections(250, seed=4, chunk_size=100))
    assert [table.num_rows for table in tables] == [100, 100, 50]
    whole = pa.concat_tables(tables)
    assert len(set(whole["obsid"].to_pylist())) == 250
    names = [set(table["name"].to_pylist()) for table in tables]
    assert not names[0] & names[1] | names[1] & names[2] | names[0] & names[2]
    assert tables[1].equals(simulate_chunk(4, 1, 100))
    assert not tables[1].equals(simulate_chunk(5, 1, 100))


def test_same_bytes_in_other_processes_and_orders():
    first = digests_of_a_process(OMP_NUM_THREADS="1", PYTHONHASHSEED="1")
    assert len(first) == 3  # two digests and the last line's end
    assert first == digests_of_a_process(OMP_NUM_THREADS="2", PYTHONHASHSEED="2")


def test_names_positions_and_splits_belong_together(table):
    names = table["name"].to_pylist()
    assert all(re.fullmatch(r"SIM J\d{6}\.\d[+-]\d{6}", name) for name in names)
    assert table["split"].to_pylist() == [split_of(name) for name in names]
    ra, dec = floats(table, "ra"), floats(table, "dec")
    np.testing.assert_array_equal(table["healpix"].to_numpy(), healpix_nested(ra, dec))
    frame = table.select(["name", "ra", "source_class", "nh_gal", "true_nh", "summary"]).to_pandas()
    assert (frame.groupby("name").nunique(dropna=False) == 1).all(axis=None)
    assert 700 < frame["name"].nunique() < 1300


def test_spectra_are_histograms_of_the_events(table, spectra):
    energy = Ragged.from_arrow(table["event_energy"])
    row = np.repeat(np.arange(2000), np.diff(energy.offsets))
    channel = np.floor(energy.values.astype(np.float64) / ACIS_CHANNEL_WIDTH).astype(int)
    counts = np.bincount(1024 * row + channel, minlength=2000 * 1024).reshape(2000, 1024)
    np.testing.assert_array_equal(counts[energy.valid], spectra[energy.valid])
    assert 0.02 < 1.0 - energy.valid.mean() < 0.06
    assert (spectra.sum(axis=1) < 3e4).all()


def test_times_are_sorted_in_good_time_on_frames(table):
    time, start, stop = (Ragged.from_arrow(table[name]) for name in ("event_time", "gti_start", "gti_stop"))
    row = np.repeat(np.arange(2000), np.diff(time.offsets))
    assert (np.diff(time.values)[np.diff(row) == 0] >= 0).all()
    span = 1.0e6
    interval_row = np.repeat(np.arange(2000), np.diff(start.offsets))
    interval = np.searchsorted(interval_row * span + start.values, row * span + time.values) - 1
    np.testing.assert_array_equal(interval_row[interval], row)
    assert (time.values < stop.values[interval]).all()
    np.testing.assert_allclose(time.values / FRAME_TIME % 1.0, 0.5, atol=1e-5)
    good = np.bincount(interval_row, stop.values - start.values, minlength=2000)
    np.testing.assert_allclose(good[time.valid] * 0.98734, floats(table, "exposure")[time.valid], rtol=1e-4)
    np.testing.assert_array_equal(table["tstart"].is_null().to_numpy(), ~time.valid)


def test_missing_modalities_are_null_together(table):
    for group in (("event_time", "event_energy", "gti_start", "gti_stop"), ("summary", "bibcodes", "summary_model")):
        nulls = [table[name].is_null().to_numpy() for name in group]
        assert 0.01 < nulls[0].mean() < 0.1
        for other in nulls[1:]:
            np.testing.assert_array_equal(nulls[0], other)
    assert set(table["summary_model"].to_pylist()) == {None, "simulated"}
    assert set(table["prompt_version"].to_pylist()) == {None, "simulated-1"}
    no_events = table["event_time"].is_null().to_numpy()
    assert np.isnan(floats(table, "var_prob_b")[no_events]).all()


def test_counts_are_flux_times_area_times_exposure(table, spectra):
    """Every detection has its own expectation: the sum over thousands is Poisson about the sum of theirs."""
    area = Ragged.from_arrow(table["arf"]).values.reshape(2000, 450).astype(np.float64)
    response = builtin_response()
    # For plain power laws, from the true_* columns and the ARF alone.
    gamma, nh = floats(table, "true_gamma"), floats(table, "true_nh")
    simple = np.array(table["true_spectrum"].to_pylist()) == "powerlaw"
    energy = 0.5 * (response.energy_lo + response.energy_hi)
    incident = powerlaw(response.energy_lo, response.energy_hi, gamma[simple]) * transmission(energy, nh[simple])
    observed = energy_flux(incident, response.energy_lo, response.energy_hi, BANDS["b"])
    incident *= (floats(table, "true_flux_b")[simple] / observed)[:, None]
    expected = (incident * area[simple]) @ response.matrix * floats(table, "exposure")[simple, None]
    background = Ragged.from_arrow(table["spectrum_background"]).values.reshape(-1, 1024)[simple]
    scale = floats(table, "background_scale")[simple]
    kept = slice(FIRST_CHANNEL - 1, LAST_CHANNEL)
    source = expected[:, kept].sum(axis=1)
    counts, outside = spectra[simple][:, kept].sum(axis=1), background[:, kept].sum(axis=1)
    net = counts - scale * outside
    deviation = (net - source) / np.sqrt(source + scale * outside + scale**2 * outside + 0.1)
    assert simple.sum() > 400
    assert abs(deviation.mean()) < 4.0 / np.sqrt(simple.sum())
    assert deviation.std() == pytest.approx(1.0, abs=0.1)
    assert net.sum() == pytest.approx(source.sum(), rel=5.0 / np.sqrt(source.sum()))
    # and spectrum by spectrum, in shape: the sum over all, channel by channel
    total = expected[:, kept].sum(axis=0) + (scale[:, None] * background[:, kept]).sum(axis=0)
    chi2 = ((spectra[simple][:, kept].sum(axis=0) - total) ** 2 / (1.2 * total + 1.0)).mean()
    assert chi2 < 1.3


def test_measured_columns_agree_with_the_truth(table):
    net, flux, truth = (floats(table, name) for name in ("src_cnts_aper_b", "flux_aper_b", "true_flux_b"))
    bright = net > 300
    assert bright.sum() > 200
    ratio = np.log10(flux[bright] / truth[bright])
    assert abs(np.median(ratio)) < 0.02
    assert ratio.std() < 0.12
    significance = floats(table, "flux_significance_b")
    assert (significance[bright] > 12).all()
    np.testing.assert_array_equal(np.isnan(floats(table, "powlaw_gamma")), np.isnan(floats(table, "bb_kt")))
    fitted = ~np.isnan(floats(table, "powlaw_gamma"))
    assert (net[fitted] > 145).all()
    assert (net[~fitted] < 155).all()
    simple = fitted & (np.array(table["true_spectrum"].to_pylist()) == "powerlaw")
    residual = (floats(table, "powlaw_gamma") - floats(table, "true_gamma"))[simple]
    assert abs(np.median(residual)) < 0.05
    assert np.percentile(np.abs(residual), 68) < 0.35


def test_variability_is_seen_where_it_was_put(table):
    kind = np.array(table["true_variability"].to_pylist())
    probability, net = floats(table, "var_prob_b"), floats(table, "src_cnts_aper_b")
    measured = ~np.isnan(probability) & (net > 100)
    assert (probability[measured & (kind == "constant")] > 0.9).mean() < 0.03
    assert (probability[measured & (kind == "flare")] > 0.9).mean() > 0.6
    period = floats(table, "true_period")
    assert np.isnan(period[kind == "constant"]).all()
    assert np.isfinite(period[kind == "periodic"]).all()


def test_classes_differ_as_the_real_ones_do(table):
    """Labelled CSC 2 sources, photon hardness: HMXB hard, LM-STAR soft, AGN between; binaries bright."""
    frame = table.select(["source_class", "hard_hs", "hard_ms", "src_cnts_aper_b", "flux_significance_b"]).to_pandas()
    frame["source_class"] = [SOURCE_CLASSES[number] for number in frame["source_class"]]
    assert set(frame["source_class"]) == set(SOURCE_CLASSES)
    clear = frame[frame["flux_significance_b"] > 5].groupby("source_class").median()
    assert clear.loc["HMXB", "hard_hs"] > 0.8
    assert clear.loc["LM-STAR", "hard_hs"] < -0.7
    assert -0.5 < clear.loc["AGN", "hard_hs"] < 0.2
    assert clear.loc["HMXB", "hard_ms"] > clear.loc["YSO", "hard_ms"] > clear.loc["LM-STAR", "hard_ms"]
    counts = frame.groupby("source_class")["src_cnts_aper_b"].median()
    assert counts[["CV", "HMXB", "LMXB", "NS"]].min() > counts[["AGN", "LM-STAR", "HM-STAR", "YSO"]].max()
    assert 30 < frame["src_cnts_aper_b"].median() < 70


def test_texts_state_neither_name_nor_measurement(table):
    columns = ["flux_aper_b", "powlaw_gamma", "powlaw_nh", "bb_kt", "src_cnts_aper_b", "hard_hm"]
    wanted = ["name", "summary", "true_gamma", "true_spectrum", *columns]
    frame = table.select(wanted).to_pandas().dropna(subset="summary")
    for row in frame.itertuples():
        assert row.name.removeprefix("SIM ") not in row.summary
        for value in (getattr(row, column) for column in columns):
            assert np.isnan(value) or f"{value:.4g}" not in row.summary or len(f"{value:.4g}") < 5
    # What papers say is off by their own error, not by this detection's.
    stated = (
        frame["summary"].str.extract(r"(?:Gamma = |Gamma of |index is |index |slope of )(-?\d\.\d)")[0].astype(float)
    )
    chosen = (frame["true_spectrum"] == "powerlaw") & stated.notna() & frame["powlaw_gamma"].notna()
    literature, fit = (stated - frame["true_gamma"])[chosen], (frame["powlaw_gamma"] - frame["true_gamma"])[chosen]
    assert chosen.sum() > 60
    assert abs(np.corrcoef(literature, fit)[0, 1]) < 4.0 / np.sqrt(chosen.sum())
    assert 0.15 < literature.std() < 0.27


@pytest.mark.parametrize(
    ("seed", "chunk", "num_detections"), [(0, 0, 0), (0, 0, MAX_CHUNK_SIZE + 1), (0, -1, 5), (0, 10**6, 5), (-1, 0, 5)]
)
def test_refuses_arguments_out_of_range(seed, chunk, num_detections):
    with pytest.raises(ValueError, match=r"must be|non-negative|negative"):
        simulate_chunk(seed, chunk, num_detections)


def test_few_detections_work():
    for number in (1, 2, 3):
        assert simulate_chunk(1, 7, number).num_rows == number
    assert list(simulate_detections(0)) == []
    with pytest.raises(ValueError, match="negative"):
        next(simulate_detections(-1))
