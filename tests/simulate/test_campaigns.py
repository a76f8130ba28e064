"""Campaigns: what changes does, its twins do not, and counts are equal where it is said."""

from __future__ import annotations

import numpy as np
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.simulate.campaigns import CAMPAIGN, KINDS, MIN_CHANGE, simulate_campaigns

SOURCES, OBSERVATIONS = 40, 4


def by_source(table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_pylist(), dtype=float).reshape(SOURCES, OBSERVATIONS)


def counts(table) -> np.ndarray:
    total = Ragged.from_arrow(table["spectrum_counts"]).values.reshape(SOURCES, OBSERVATIONS, -1)
    region = Ragged.from_arrow(table["spectrum_background"]).values.reshape(SOURCES, OBSERVATIONS, -1)
    kept = slice(21, 684)  # 0.3 to 10 keV
    return total.sum(axis=-1) - by_source(table, "background_scale") * region[..., kept].sum(axis=-1)


@pytest.fixture(scope="module", params=["decay", "states"])
def samples(request):
    return request.param, {
        twin: simulate_campaigns(3, request.param, SOURCES, OBSERVATIONS, (300, 3000), twin=twin)
        for twin in (None, "total", "each")
    }


def test_sources_change_and_twins_do_not(samples):
    kind, tables = samples
    change = {twin: np.ptp(np.log10(by_source(table, "true_flux_b")), axis=1) for twin, table in tables.items()}
    assert (change[None] >= MIN_CHANGE - 1e-3).all()
    for twin in ("total", "each"):
        assert change[twin].max() < 0.2  # of the calibration alone
    assert set(tables[None]["true_class"].to_pylist()) <= set(KINDS[kind])
    assert set(tables[None]["true_variability"].to_pylist()) == {"constant"}
    days = by_source(tables[None], "mjd_obs")
    assert (np.diff(days, axis=1) > 0).all()
    assert np.ptp(days, axis=1).max() <= CAMPAIGN


def test_twins_are_the_same_sources_with_equal_counts(samples):
    _, tables = samples
    changed = counts(tables[None])
    for twin in ("total", "each"):
        assert tables[twin]["name"].to_pylist() == tables[None]["name"].to_pylist()
        assert by_source(tables[twin], "theta").tolist() == by_source(tables[None], "theta").tolist()
        ratio = counts(tables[twin]).sum(axis=1) / changed.sum(axis=1)
        assert np.median(ratio) == pytest.approx(1, abs=0.05)
        assert ratio.std() < 0.3
    enough = changed > 50
    each, total = (np.abs(np.log(counts(tables[twin]).clip(1) / changed.clip(1)))[enough] for twin in ("each", "total"))
    assert np.median(each) < 0.15 < np.median(total)


def test_equal_seeds_give_equal_rows():
    first, again = (simulate_campaigns(4, "flares", 3, 2) for _ in range(2))
    assert first.equals(again)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "supernova"}, "kind must be one of"),
        ({"twin": "none"}, "twin must be one of"),
        ({"num_observations": 1}, "at least 1, 2"),
        ({"counts": (10, 5)}, "at least 1, 2"),
    ],
)
def test_wrong_arguments_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        simulate_campaigns(**{"seed": 0, "kind": "decay", "num_sources": 2, **options})
