"""Planted transients: what was planted is there, and nothing but time tells it."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

from chandraclip.catalog.good_photons import good_photons
from chandraclip.catalog.periodicity import periodicity
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.scan import scan
from chandraclip.data.loading import load_splits
from chandraclip.evaluation.rarity import area_under_curve
from chandraclip.simulate.dataset import build_planted
from chandraclip.simulate.shares import SHARES, checked_shares
from chandraclip.simulate.transients import simulate_transients
from chandraclip.simulate.variability.planted import FAST, planted_spectra

EACH = dict.fromkeys(SHARES, 0.15)
FRAME = 3.24104


@pytest.fixture(scope="module")
def planted():
    return simulate_transients(5, 0, 450, EACH, (100.0, 1000.0))


def column(table, name: str) -> np.ndarray:
    return np.array(table[name].to_pylist(), dtype=object if name == "true_variability" else float)


def lists(table) -> list[Ragged]:
    return [Ragged.from_arrow(table[name]) for name in ("event_time", "gti_start", "gti_stop")]


def test_every_kind_is_there_with_its_time_and_duration(planted):
    kind = column(planted, "true_variability")
    for name in SHARES:
        assert (kind == name).mean() == pytest.approx(0.15, abs=0.05)
    time, duration, period = (column(planted, f"true_{name}") for name in ("event_time", "event_duration", "period"))
    event = np.isin(kind, ["flare", "dip", "eclipse", "transient"])
    assert (np.isfinite(time) == event).all()
    assert (np.isfinite(duration) == event).all()
    assert (np.isfinite(period) == (kind == "pulsation")).all()
    assert (period[kind == "pulsation"] >= 10).all()
    fast = duration[kind == "transient"]
    assert FAST[0] * 0.999 <= fast.min() < fast.max() <= FAST[1] * 1.001
    livetime = column(planted, "livetime")
    assert np.median(livetime) == pytest.approx(3e4, rel=0.1)
    assert len(set(planted["name"].to_pylist())) == planted.num_rows


def test_events_are_where_the_truth_says(planted):
    kind, time, duration = (column(planted, f"true_{name}") for name in ("variability", "event_time", "event_duration"))
    times, start, stop = lists(planted)
    good_time = np.add.reduceat(stop.values - start.values, start.offsets[:-1])
    number = np.diff(times.offsets)
    row = np.repeat(np.arange(len(times)), number)
    for name, least, most in (("transient", 5.0, 1e9), ("flare", 1.5, 1e9), ("eclipse", 0.0, 0.4), ("dip", 0.0, 0.9)):
        half = np.where(np.isin(kind, ["dip", "eclipse"]), 0.5 * duration, duration)
        low = np.where(np.isin(kind, ["dip", "eclipse"]), time - half, time - FRAME)
        inside = np.bincount(row, (times.values >= low[row]) & (times.values <= (time + half)[row]), len(number))
        seen = (np.minimum(stop.values, np.repeat(time + half, np.diff(stop.offsets))) -
                np.maximum(start.values, np.repeat(low, np.diff(stop.offsets)))).clip(0)  # fmt: skip
        exposed = np.add.reduceat(seen, start.offsets[:-1])
        chosen = (kind == name) & (exposed > 0)
        ratio = inside[chosen] / (number * exposed / good_time)[chosen]
        assert least <= np.median(ratio) <= most, name


def test_neither_counts_nor_colours_tell_the_kind(planted):
    kind = column(planted, "true_variability")
    number = np.diff(lists(planted)[0].offsets)
    energy = Ragged.from_arrow(planted["event_energy"])
    hard = np.add.reduceat((energy.values > 2.0).astype(float), energy.offsets[:-1]) / number
    for name in SHARES:
        rows = np.isin(kind, [name, "constant"])
        positive = kind[rows] == name
        # 4 standard deviations of an AUC of two like samples (Mann & Whitney 1947)
        limit = 4 * np.sqrt((rows.sum() + 1) / (12 * positive.sum() * (~positive).sum()))
        for values in (number, hard):
            assert area_under_curve(values[rows], positive) == pytest.approx(0.5, abs=limit), name


def test_classical_tests_find_the_kinds_they_are_made_for(planted):
    kind = column(planted, "true_variability")
    bright = np.diff(lists(planted)[0].offsets) > 250
    photons = good_photons(*lists(planted))
    windows = -scan(photons, FRAME).log10_chance
    rows = np.flatnonzero(bright & np.isin(kind, ["pulsation", "constant"]))
    some = lists(planted.take(rows))
    pulses = np.zeros(planted.num_rows)
    pulses[rows] = -periodicity(good_photons(*some), *some[1:], FRAME).h_log10_chance
    for name, score in (("transient", windows), ("flare", windows), ("eclipse", windows), ("pulsation", pulses)):
        assert (score[(kind == name) & bright] > 2).mean() > 0.5, name
        assert (score[kind == "constant"] > 2).mean() < 0.05, name


def test_the_two_spectra_of_an_event_give_the_source_s():
    rng = np.random.default_rng(0)
    energy = np.linspace(0.3, 8, 60)
    spectrum = rng.random((5, 60)) * energy**-1.5
    share = np.array([0.05, 0.3, 0.8, 0.95, 0.0])
    first, second = planted_spectra(spectrum, np.array([2, 3, 7, 7, 5]), share, energy)
    np.testing.assert_allclose((1 - share)[:, None] * first + share[:, None] * second, spectrum, rtol=1e-9)
    np.testing.assert_allclose(second.sum(axis=1), spectrum.sum(axis=1), rtol=1e-9)
    assert (first >= 0).all()
    assert (second >= 0).all()
    mean = [(part * energy).sum(axis=1) / part.sum(axis=1) for part in (first, second)]
    assert (mean[1] > mean[0])[[0, 1, 2, 4]].all()  # of 95 % nothing is left to be softer


def test_a_chunk_is_a_function_of_its_arguments():
    tables = [simulate_transients(1, chunk, 20) for chunk in (0, 0, 1)]
    assert tables[0].equals(tables[1])
    assert not set(tables[0]["name"].to_pylist()) & set(tables[2]["name"].to_pylist())
    for arguments in ((0, 0, 0), (0, -1, 5)):
        with pytest.raises(ValueError, match="detections of chunk"):
            simulate_transients(*arguments)
    with pytest.raises(ValueError, match="counts"):
        simulate_transients(0, 0, 5, None, (5.0, 1.0))


@pytest.mark.parametrize("shares", [{"nova": 0.1}, {"flare": 0.6, "dip": 0.6}, {"flare": -0.1}, {"flare": "much"}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match=r"nova|shares|convert"):
        checked_shares(shares)


def test_a_planted_dataset_is_packaged_as_any(tmp_path, repository):
    main = runpy.run_path(str(repository / "scripts" / "build_dataset.py"))["main"]
    options = [
        "--shares",
        "flare=0.5",
        "transient=0.5",
        "--counts",
        "20",
        "200",
        "--seed",
        "3",
        str(tmp_path / "planted"),
    ]
    main(["simulate", "--planted", "40", *options])
    splits = load_splits(str(tmp_path / "planted"), "pairs")
    kinds = [kind for rows in splits.values() for kind in rows[:]["true_variability"].to_pylist()]
    assert set(kinds) == {"flare", "transient"}
    assert len(kinds) == 40
    assert "simulate --planted 40 --shares" in (tmp_path / "planted" / "README.md").read_text()
    for bad in (["--shares", "flare=2"], ["--selection", "paper"], ["--counts", "1", "2", "--num_detections", "3"]):
        with pytest.raises(SystemExit):
            main(["simulate", "--planted", "40", *bad, str(tmp_path)])
    with pytest.raises(ValueError, match="at least 1"):
        build_planted(tmp_path / "none", 0)
