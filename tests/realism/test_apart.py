"""Real or simulated: tables whose difference is known, and what must not count as one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chandraclip.realism import apart
from chandraclip.realism.apart import COLUMNS_OF, CONTEXT, FEATURES, features, observed_alike, telling_apart
from chandraclip.realism.catalog_tables import catalog_frame
from chandraclip.realism.distances import MOST_DETECTIONS, detection_quantities, not_later


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(apart, "NUM_TREES", 40)
    monkeypatch.setattr(apart, "NUM_REPEATS", 1)


def detections(seed: int, num_sources: int = 240, theta: float = 6.0, **factors: float) -> pd.DataFrame:
    """Detections of AGN, up to three each; `factors` multiply columns."""
    generator = np.random.default_rng(seed)
    source = np.repeat(np.arange(num_sources), generator.integers(1, 4, num_sources))
    size = source.size
    flux = 10 ** generator.normal(-13.5, 0.5, size)
    columns = {
        "name": [f"S{seed}-{index}" for index in source],
        "obsid": np.arange(size),
        "obi": 0,
        "region_id": 1,
        "source_class": "AGN",
        "theta": theta * generator.random(size),
        "mjd_obs": generator.uniform(52000.0, 56000.0, size),
        "livetime": 10 ** generator.normal(4.5, 0.3, size),
        "src_cnts_aper_b": flux * 1e15 * generator.uniform(0.8, 1.2, size),
        "flux_aper_b": flux,
        "flux_significance_b": 0.86 * np.sqrt(flux * 1e15) * generator.normal(1.0, 0.03, size),
        "var_prob_b": generator.uniform(size=size),
        "var_index_b": generator.integers(0, 3, size),
        "powlaw_gamma": generator.normal(1.9, 0.3, num_sources)[source],
    }
    for band in "hms":
        columns[f"flux_aper_{band}"] = flux * generator.uniform(0.1, 0.5, size)
    for name in ("powlaw_nh", "bb_nh", "brems_nh", "bb_kt", "brems_kt"):
        columns[name] = generator.lognormal(0.0, 0.5, num_sources)[source]
    for name, factor in factors.items():
        columns[name] = columns[name] * factor
    return catalog_frame(pd.DataFrame(columns))


def test_equal_sources_are_not_told_apart():
    """An interval over sources lacks what folds and forests add, so the mean of four pairs is asked for."""
    entries = [telling_apart(detections(seed), detections(seed + 1, 500))[0] for seed in (0, 2, 4, 6)]
    for part in (entries, [entry["real_halves"] for entry in entries]):
        auc = [found["auc"] for found in part]
        assert 0.45 < np.mean(auc) < 0.55
        assert 0.4 < min(auc) < max(auc) < 0.6
        assert all(found["low"] < found["auc"] < found["high"] < found["low"] + 0.2 for found in part)
    assert {(entry["source_class"], entry["num_sources"]) for entry in entries} == {("AGN", 240)}
    assert set(entries[0]["groups"]) == set(COLUMNS_OF)
    assert set(entries[0]["features"]) == set(FEATURES)


def test_a_mock_is_not_taken_for_its_source():
    """A mock has the name and much of its source: trained on one of the two, a forest would call the other real."""
    real = detections(0)
    (entry,) = telling_apart(real, real.copy())
    assert 0.45 < entry["auc"] < 0.55


@pytest.mark.parametrize(
    ("column", "factor", "group", "least"),
    [
        ("flux_significance_b", 1.15, "significance", 0.65),
        ("flux_aper_s", 0.4, "hardness", 0.65),
        ("bb_kt", 8.0, "fits", 0.55),
    ],
)
def test_a_shift_of_one_quantity_gives_away(column, factor, group, least):
    """Half of the sources have no fits. The pair is one that gives .50 without the shift."""
    (entry,) = telling_apart(detections(2), detections(3, 500, **{column: factor}))
    assert entry["low"] > least
    assert next(iter(entry["groups"])) == group


def test_how_it_was_observed_gives_nothing_away():
    """Twice as far off axis and twice as long: only what was observed as the real ones were is compared."""
    simulated = detections(1, 3000, theta=12.0)
    simulated["livetime"] *= 2.0
    real = detections(0)
    (entry,) = telling_apart(real, simulated)
    assert entry["auc"] < 0.6
    sides = observed_alike(features(real), features(simulated))
    for name, tolerance in CONTEXT.items():
        assert abs(sides[0][name].median() - sides[1][name].median()) < 0.5 * tolerance


def test_what_the_catalogue_lacks_gives_nothing_away():
    real, simulated = detections(0), detections(1, 500)
    generator = np.random.default_rng(2)
    lacking = generator.random(len(real)) < 0.4
    real.loc[lacking, ["var_prob_b", "var_index_b", "flux_aper_s"]] = np.nan
    unfitted = real["name"].isin(real["name"].unique()[::2])
    real.loc[unfitted, ["powlaw_gamma", "powlaw_nh", "bb_kt", "bb_nh", "brems_kt", "brems_nh"]] = np.nan
    (entry,) = telling_apart(real, simulated)
    assert 0.4 < entry["auc"] < 0.6
    first, second = observed_alike(features(real), features(simulated))
    np.testing.assert_array_equal(first[list(FEATURES)].notna().sum(), second[list(FEATURES)].notna().sum())


def test_a_source_is_one_of_its_detections_with_the_fits_of_the_brightest():
    frame = detections(0, 60)
    table = features(frame)
    assert table["name"].is_unique
    assert len(table) == 60
    assert (features(frame, seed=1)["log_counts"] != table["log_counts"]).any()
    frame["powlaw_gamma"] = np.arange(len(frame), dtype=float)
    brightest = frame.loc[frame.groupby("name")["src_cnts_aper_b"].idxmax()].set_index("name")
    bright = brightest["src_cnts_aper_b"] >= 150.0
    found = features(frame).set_index("name")["powlaw_gamma"]
    np.testing.assert_array_equal(found[bright[bright].index], brightest.loc[bright, "powlaw_gamma"])
    assert found[bright[~bright].index].isna().all()


def test_few_detections_of_a_source_and_none_later_than_the_real_ones():
    frame = detections(0, 3)
    many = pd.concat([frame.iloc[:1].assign(obsid=number, src_cnts_aper_b=number) for number in range(20)])
    found = detection_quantities(many.reset_index(drop=True), MOST_DETECTIONS)
    assert len(found) == MOST_DETECTIONS
    assert found["log_num_detections"].dropna().tolist() == [pytest.approx(np.log10(20))]
    assert found["powlaw_gamma"].notna().sum() == 1
    again = detection_quantities(many.iloc[::-1].reset_index(drop=True), MOST_DETECTIONS)
    assert sorted(found["log_counts_b"]) == sorted(again["log_counts_b"])
    later = detections(1, 50)
    later.loc[::2, "mjd_obs"] = 58000.0
    assert len(not_later(later, detections(0))) == (later["mjd_obs"] < 57000).sum()
