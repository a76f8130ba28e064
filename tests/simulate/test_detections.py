import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, BANDS
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.names import healpix_cell
from chandraclip.data.schema import FLUX_SPECTRUM_FIELDS, RARE_CLASSES, SOURCE_CLASSES, TABLE_SCHEMA
from chandraclip.data.splits import split_of
from chandraclip.simulate import builtin_response, simulate_chunk, simulate_detections
from chandraclip.simulate.detections import FIRST_OBSID, MAX_CHUNK_SIZE
from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.emission.incident import energy_flux, powerlaw
from chandraclip.simulate.instrument.detector import EVENT_BAND, FRAME_TIME
from chandraclip.simulate.instrument.response import instrument_from_files
from chandraclip.simulate.population.selection import SELECTIONS

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
    for name in ("ra", "dec", "theta", "mjd_obs", "livetime", "nh_gal", "true_class", "true_nh", "true_flux_b"):
        assert table[name].null_count == 0
    never = ("channel_energy_edges", "spectrum_quality", "spectrum_grouping", "events_note")
    fluxes = [field.name for field in FLUX_SPECTRUM_FIELDS]  # of spectra without counts, which no simulation makes
    planted = ("true_event_time", "true_event_duration")  # of `simulate_transients`
    for name in TABLE_SCHEMA.names:
        unused = name in (*never, *planted, *fluxes)
        assert (table[name].null_count == 2000) == unused, name


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
    np.testing.assert_array_equal(table["healpix"].to_numpy(), healpix_cell(ra, dec))
    frame = table.select(["name", "ra", "source_class", "nh_gal", "true_nh", "summary"]).to_pandas()
    same = frame.drop(columns="true_nh").groupby("name").nunique(dropna=False)
    assert (same == 1).all(axis=None)
    assert 700 < frame["name"].nunique() < 1300


def test_spectra_are_histograms_of_the_events(table, spectra):
    energy = Ragged.from_arrow(table["event_energy"])
    row = np.repeat(np.arange(2000), np.diff(energy.offsets))
    channel = np.floor(energy.values.astype(np.float64) / ACIS_CHANNEL_WIDTH).astype(int)
    counts = np.bincount(1024 * row + channel, minlength=2000 * 1024).reshape(2000, 1024)
    np.testing.assert_array_equal(counts[energy.valid], spectra[energy.valid])
    assert 0.02 < 1.0 - energy.valid.mean() < 0.06
    assert (spectra.sum(axis=1) < 1.2e5).all()


def test_times_are_sorted_in_good_time_on_frames(table):
    time, start, stop = (Ragged.from_arrow(table[name]) for name in ("event_time", "gti_start", "gti_stop"))
    row = np.repeat(np.arange(2000), np.diff(time.offsets))
    assert (np.diff(time.values)[np.diff(row) == 0] >= 0).all()
    span = 1.0e6
    interval_row = np.repeat(np.arange(2000), np.diff(start.offsets))
    interval = np.searchsorted(interval_row * span + start.values, row * span + time.values) - 1
    np.testing.assert_array_equal(interval_row[interval], row)
    assert (time.values < stop.values[interval]).all()
    good = np.bincount(interval_row, stop.values - start.values, minlength=2000)
    live = floats(table, "exposure")[time.valid] / good[time.valid]
    whole_frame = live > 0.95
    assert 0.9 < whole_frame.mean() < 1.0
    np.testing.assert_allclose(live[whole_frame], 1.0 - 0.04104 / FRAME_TIME, rtol=1e-4)
    on_s = np.array(table["instrument"].to_pylist()) == "ACIS-S"
    subarray = np.zeros(2000, bool)
    subarray[np.flatnonzero(time.valid)[~whole_frame]] = True
    frame_time = np.where(subarray, np.where(on_s, 0.4, 0.5), FRAME_TIME)
    np.testing.assert_allclose(live[~whole_frame], (1.0 - 0.04104 / frame_time)[time.valid][~whole_frame], rtol=1e-4)
    np.testing.assert_allclose(time.values / frame_time[row] % 1.0, 0.5, atol=1e-4)
    np.testing.assert_array_equal(table["tstart"].is_null().to_numpy(), ~time.valid)


def test_missing_modalities_are_null_together(table):
    for group in (("event_time", "event_energy", "gti_start", "gti_stop"), ("summary", "bibcodes", "summary_model")):
        nulls = [table[name].is_null().to_numpy() for name in group]
        assert 0.01 < nulls[0].mean() < 0.1
        for other in nulls[1:]:
            np.testing.assert_array_equal(nulls[0], other)
    assert set(table["summary_model"].to_pylist()) == {None, "simulated"}
    assert set(table["prompt_version"].to_pylist()) == {None, "simulated-3"}
    # The catalogue measured its columns on events that the dataset need not have.
    no_events = table["event_time"].is_null().to_numpy()
    assert np.isfinite(floats(table, "var_prob_b")[no_events]).mean() > 0.6


def test_counts_are_flux_times_area_times_exposure():
    """Every detection has its own expectation: the sum over thousands is Poisson about the sum of theirs."""
    table = simulate_chunk(3, 0, 4000, pileup=False, fits=False)
    response, back = builtin_response("ACIS-I"), builtin_response("ACIS-S")
    # For plain power laws at a constant rate, from the true_* columns and the ARF alone.
    simple = np.array(table["true_spectrum"].to_pylist()) == "powerlaw"
    simple &= (np.array(table["true_variability"].to_pylist()) == "constant") & (floats(table, "true_nh") < 30)
    simple &= np.array(table["true_class"].to_pylist()) == "AGN"
    spectra, background, area = (
        Ragged.from_arrow(table[name]).values.reshape(4000, -1)[simple].astype(np.float64)
        for name in ("spectrum_counts", "spectrum_background", "arf")
    )
    gamma, nh = floats(table, "true_gamma")[simple], floats(table, "true_nh")[simple]
    energy = 0.5 * (response.energy_lo + response.energy_hi)
    incident = powerlaw(response.energy_lo, response.energy_hi, gamma) * transmission(energy, nh)
    observed = energy_flux(incident, response.energy_lo, response.energy_hi, BANDS["b"])
    incident *= (floats(table, "true_flux_b")[simple] / observed)[:, None]
    on_s = (np.array(table["instrument"].to_pylist()) == "ACIS-S")[simple, None]
    expected = np.where(on_s, (incident * area) @ back.matrix, (incident * area) @ response.matrix)
    expected *= floats(table, "exposure")[simple, None]
    expected *= 0.9  # of the PSF, in the aperture
    scale = floats(table, "background_scale")[simple]
    channel_energy = ACIS_CHANNEL_WIDTH * (np.arange(1024) + 0.5)
    kept = (channel_energy >= EVENT_BAND[0]) & (channel_energy < EVENT_BAND[1])
    source = expected[:, kept].sum(axis=1)
    counts, outside = spectra[:, kept].sum(axis=1), background[:, kept].sum(axis=1)
    net = counts - scale * outside
    deviation = (net - source) / np.sqrt(source + scale * outside + scale**2 * outside + 0.1)
    assert simple.sum() > 250
    assert abs(deviation.mean()) < 4.0 / np.sqrt(simple.sum())
    assert deviation.std() == pytest.approx(1.0, abs=0.12)
    # 1 % for the iron line, which is not in the expectation
    assert net.sum() == pytest.approx(source.sum(), rel=0.01 + 5.0 / np.sqrt(source.sum()))


def test_measured_columns_agree_with_the_truth(table):
    net, flux, truth = (floats(table, name) for name in ("src_cnts_aper_b", "flux_aper_b", "true_flux_b"))
    bright = net > 300
    assert bright.sum() > 200
    ratio = np.log10(flux[bright] / truth[bright])
    assert abs(np.median(ratio)) < 0.02
    assert np.percentile(np.abs(ratio), 68) < 0.12  # pile-up and varying spectra leave a tail
    significance = floats(table, "flux_significance_b")
    assert (significance[bright & (floats(table, "theta") < 12)] > 12).all()  # further out, background counts
    np.testing.assert_array_equal(np.isnan(floats(table, "powlaw_gamma")), np.isnan(floats(table, "bb_kt")))
    fitted = ~np.isnan(floats(table, "powlaw_gamma"))
    assert (net[fitted] > 145).all()
    assert (net[~fitted] < 155).all()


def test_significances_scatter_as_draws_do_and_limits_are_nought(table):
    """By 3 % about what the spectrum says, as CSC's on axis; nothing is measured below nought."""
    frame = table.select(["src_cnts_aper_b", "flux_significance_b", "theta", "flux_aper_b", "flux_aper_s"]).to_pandas()
    assert (frame[["src_cnts_aper_b", "flux_aper_b", "flux_aper_s", "flux_significance_b"]].min() == 0).all()
    near = frame[(frame["theta"] < 3) & frame["src_cnts_aper_b"].between(50, 1000)]
    ratio = near["flux_significance_b"] / np.sqrt(near["src_cnts_aper_b"])
    low, middle, high = np.percentile(ratio, [16, 50, 84])
    assert 0.84 < middle < 0.88
    assert 0.02 < 0.5 * (high - low) / middle < 0.045


def test_fits_of_simple_spectra_are_unbiased():
    table = pa.concat_tables([simulate_chunk(5, chunk, 3000) for chunk in range(4)])
    simple = ~np.isnan(floats(table, "powlaw_gamma")) & (np.array(table["true_spectrum"].to_pylist()) == "powerlaw")
    simple &= (floats(table, "true_pileup_fraction") < 0.01) & (floats(table, "true_nh") < 30)
    simple &= np.array(table["true_variability"].to_pylist()) == "constant"
    assert simple.sum() > 200
    residual = (floats(table, "powlaw_gamma") - floats(table, "true_gamma"))[simple]
    assert abs(np.median(residual)) < 0.05
    assert np.percentile(np.abs(residual), 68) < 0.35


def test_variability_is_seen_where_it_was_put(table):
    kind = np.array(table["true_variability"].to_pylist())
    probability, net = floats(table, "var_prob_b"), floats(table, "src_cnts_aper_b")
    measured = ~np.isnan(probability) & (net > 100)
    assert (probability[measured & (kind == "constant")] > 0.9).mean() < 0.06  # bad columns are not told apart
    assert (probability[measured & (kind == "flare")] > 0.9).mean() > 0.3
    period = floats(table, "true_period")
    assert np.isnan(period[kind == "constant"]).all()
    assert np.isfinite(period[kind == "pulsation"]).all()


def test_classes_differ_as_the_real_ones_do(table):
    """Labelled CSC 2 sources, photon hardness: HMXB hard, LM-STAR soft, AGN between; binaries bright."""
    frame = table.select(["true_class", "hard_hs", "hard_ms", "src_cnts_aper_b", "flux_significance_b"]).to_pandas()
    assert set(SOURCE_CLASSES) <= set(frame["true_class"]) <= set(SOURCE_CLASSES + RARE_CLASSES)
    rare = frame["true_class"].isin(RARE_CLASSES)
    assert 0.002 < rare.mean() < 0.05
    np.testing.assert_array_equal(table["source_class"].is_null().to_numpy(), rare)
    clear = frame[frame["flux_significance_b"] > 5].groupby("true_class").median()
    assert clear.loc["HMXB", "hard_hs"] > clear.loc["AGN", "hard_hs"] > clear.loc["LM-STAR", "hard_hs"]
    assert clear.loc["LM-STAR", "hard_hs"] < -0.5
    assert clear.loc["HMXB", "hard_ms"] > clear.loc["YSO", "hard_ms"] > clear.loc["LM-STAR", "hard_ms"]
    counts = frame.groupby("true_class")["src_cnts_aper_b"].median()
    assert counts[["CV", "HMXB", "LMXB", "NS"]].min() > counts[["AGN", "LM-STAR"]].max()
    assert 30 < frame["src_cnts_aper_b"].median() < 80


@pytest.mark.parametrize("name", sorted(set(SELECTIONS) - {"all"}))
def test_selections_keep_what_they_promise(name):
    table = simulate_chunk(2, 0, 60, selection=name, fits=name == "spectral_fits")
    assert table.num_rows == 60
    cuts = SELECTIONS[name]
    assert floats(table, "src_cnts_aper_b").min() >= cuts.min_counts
    assert floats(table, "flux_significance_b").min() >= cuts.min_significance
    assert floats(table, "theta").max() <= cuts.max_theta
    assert floats(table, "livetime").min() >= cuts.min_livetime
    assert len(set(table["obsid"].to_pylist())) == 60
    if name == "spectral_fits":
        assert table["powlaw_gamma"].null_count == 0
    with pytest.raises(ValueError, match="selection must be one of"):
        simulate_chunk(2, 0, 60, selection=name + "s")


def test_a_real_response_is_looked_through(real_data):
    folder = real_data / "spectra" / "xmm_epicpn_heacit"
    instrument = instrument_from_files(folder / "PN.arf", folder / "PN.rmf.gz", name="EPIC-pn")
    table = simulate_chunk(1, 0, 400, instrument=instrument, pileup=False)
    assert set(table["response_id"].to_pylist()) == {instrument.response.response_id}
    assert set(table["instrument"].to_pylist()) == {"EPIC-pn"}
    edges = Ragged.from_arrow(table["channel_energy_edges"])
    assert (np.diff(edges.offsets) == instrument.response.num_channels + 1).all()
    net, flux, truth = (floats(table, name) for name in ("src_cnts_aper_b", "flux_aper_b", "true_flux_b"))
    assert abs(np.median(np.log10(flux[net > 300] / truth[net > 300]))) < 0.06  # a CCD of 5 % wide tails
    simple = np.array(table["true_spectrum"].to_pylist()) == "powerlaw"
    residual = (floats(table, "powlaw_gamma") - floats(table, "true_gamma"))[simple & (net > 200)]
    assert residual.size > 20
    assert abs(np.median(residual)) < 0.15


def test_pileup_takes_events_and_hardens_bright_sources():
    piled, ideal = (simulate_chunk(9, 0, 3000, class_exponent=0.0, pileup=on, fits=False) for on in (True, False))
    np.testing.assert_allclose(floats(piled, "true_flux_b"), floats(ideal, "true_flux_b"))
    fraction = floats(piled, "true_pileup_fraction")
    assert (floats(ideal, "true_pileup_fraction") == 0).all()
    bright = fraction > 0.1
    assert bright.sum() > 10
    counts = [floats(table, "src_cnts_aper_b") for table in (piled, ideal)]
    assert (counts[0][bright] < counts[1][bright]).all()
    harder = floats(piled, "hard_hm")[bright] - floats(ideal, "hard_hm")[bright]
    assert np.median(harder) > 0.0


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
    # Detections of a source share its text, hence its error.
    assert 0.15 < literature[~frame["name"][chosen].duplicated()].std() < 0.27


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
