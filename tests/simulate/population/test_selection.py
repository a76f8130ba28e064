from dataclasses import fields

import numpy as np
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.simulate.population.selection import SELECTIONS, Selection

GOOD = {"src_cnts_aper_b": 500.0, "flux_significance_b": 20.0, "theta": 1.0, "livetime": 40_000.0}


def columns(num_rows: int = 1, events: object = 600, **values: object) -> dict[str, object]:
    """Detections that every selection keeps, but for what is given."""
    lengths = np.broadcast_to(events, num_rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    table: dict[str, object] = {
        name: np.broadcast_to(value, num_rows).astype(float) for name, value in (GOOD | values).items()
    }
    return table | {"event_time": Ragged(np.zeros(offsets[-1]), offsets)}


@pytest.mark.parametrize(
    ("cut", "column", "values"),
    [
        ({"min_counts": 40.0}, "src_cnts_aper_b", [40.0, 39.9, -3.0]),
        ({"min_significance": 4.0}, "flux_significance_b", [4.0, 3.99, 0.0]),
        ({"max_theta": 10.0}, "theta", [10.0, 10.01, 15.0]),
        ({"min_events": 10}, "events", [10, 9, 0]),
        ({"max_events": 12}, "events", [12, 13, 5000]),
        ({"min_livetime": 28_800.0}, "livetime", [28_800.0, 28_799.0, 1000.0]),
        ({"max_livetime": 50_000.0}, "livetime", [50_000.0, 50_001.0, 1e5]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_cut_is_of_its_own_column_and_keeps_the_limit(
    cut: dict[str, float], column: str, values: list[float]
) -> None:
    detections = columns(3, **{column: values})
    np.testing.assert_array_equal(Selection(**cut).passes(detections), [True, False, False])
    # No other cut looks at that column.
    np.testing.assert_array_equal(Selection().passes(detections), [True, True, True])


def test_every_cut_is_tested_above() -> None:
    assert {field.name for field in fields(Selection)} == {
        "min_counts", "min_significance", "max_theta", "min_events", "max_events", "min_livetime", "max_livetime"
    }  # fmt: skip


def test_a_row_passes_all_cuts_or_none() -> None:
    cuts = Selection(min_counts=100.0, max_theta=5.0, min_events=50)
    counts, theta, events = (axis.ravel() for axis in np.meshgrid([99.0, 100.0], [5.0, 6.0], [49, 50]))
    passed = cuts.passes(columns(8, src_cnts_aper_b=counts, theta=theta, events=events))
    np.testing.assert_array_equal(passed, (counts == 100.0) & (theta == 5.0) & (events == 50))
    assert passed.sum() == 1
    assert passed.dtype == bool


def test_a_quantity_that_was_not_measured_passes_no_cut_of_it() -> None:
    missing = columns(2, flux_significance_b=[np.nan, 9.0])
    np.testing.assert_array_equal(Selection(min_significance=0.0).passes(missing), [False, True])


def test_events_are_counted_row_by_row() -> None:
    """Lists that share one flat array: each row's own length, whatever its neighbours'."""
    events = np.array([0, 7, 3, 0, 12])
    for limit in range(14):
        np.testing.assert_array_equal(Selection(min_events=limit).passes(columns(5, events)), events >= limit)
        np.testing.assert_array_equal(Selection(max_events=limit).passes(columns(5, events)), events <= limit)


def test_all_keeps_whatever_was_looked_at() -> None:
    faint = columns(1, 0, src_cnts_aper_b=-2.0, flux_significance_b=0.0, theta=15.0, livetime=900.0)
    assert SELECTIONS["all"].passes(faint).all()
    assert not any(cuts.passes(faint).any() for name, cuts in SELECTIONS.items() if name != "all")
    assert all(cuts.passes(columns()).all() for cuts in SELECTIONS.values())
    assert SELECTIONS["all"].passes(columns(0)).shape == (0,)


@pytest.mark.parametrize(
    ("name", "worst", "failing"),
    [
        (
            "multimodal_universe",
            {"src_cnts_aper_b": 40.0, "flux_significance_b": 4.0, "theta": 10.0, "livetime": 900.0, "events": 0},
            {"src_cnts_aper_b": 39.9, "flux_significance_b": 3.9, "theta": 10.1},
        ),
        (
            "literature",
            {"src_cnts_aper_b": 6.0, "flux_significance_b": 5.0, "theta": 5.0, "livetime": 900.0, "events": 0},
            {"flux_significance_b": 4.9, "theta": 5.1},
        ),
        (
            "spectral_fits",
            {"src_cnts_aper_b": 150.0, "flux_significance_b": 5.0, "theta": 15.0, "livetime": 900.0, "events": 0},
            {"src_cnts_aper_b": 149.9, "flux_significance_b": 4.9},
        ),
        (
            "event_lists",  # 8 hours
            {"src_cnts_aper_b": -2.0, "flux_significance_b": 0.0, "theta": 15.0, "livetime": 28_800.0, "events": 10},
            {"livetime": 28_799.0, "events": 9},
        ),
        (
            "event_lists",
            {"src_cnts_aper_b": 9e4, "flux_significance_b": 300.0, "livetime": 1.8e5, "events": 10_000},
            {"events": 10_001},
        ),
    ],
)
def test_presets_keep_the_worst_of_their_published_sample_and_nothing_beyond(
    name: str, worst: dict[str, float], failing: dict[str, float]
) -> None:
    assert SELECTIONS[name].passes(columns(**worst)).all()
    for column, value in failing.items():
        assert not SELECTIONS[name].passes(columns(**worst | {column: value})).any(), column
