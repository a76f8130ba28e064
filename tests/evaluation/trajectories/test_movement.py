"""Simulated campaigns, with count rate and hardness in place of a model: what moved is found, what did not is not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from chandraclip.catalog.ragged import Ragged
from chandraclip.evaluation.trajectories.movement import (
    NUM_PILOT,
    Paths,
    _batches,
    _stages,
    measure_movement,
)
from chandraclip.simulate.campaigns import simulate_campaigns
from chandraclip.simulate.instrument.response import builtin_instrument

SOURCES, OBSERVATIONS = 50, 4


@pytest.fixture(scope="module")
def responses():
    return {response.response_id: response for response in builtin_instrument().responses}


def embed(rows: pa.Table) -> np.ndarray:
    """(N, 2) log10 net rate and the hard share: an embedding that is quick."""
    counts, region = (
        Ragged.from_arrow(rows[name]).values.reshape(rows.num_rows, -1).astype(float)
        for name in ("spectrum_counts", "spectrum_background")
    )
    net = (counts - region * rows["background_scale"].to_numpy()[:, None])[:, 34:480]
    total = np.maximum(net.sum(axis=1), 0.5)
    hard = np.clip(net[:, 103:].sum(axis=1) / total, -1, 2)
    return np.stack([np.log10(total / rows["exposure"].to_numpy()), hard], axis=1).astype(np.float32)


def without_photons(rows: pa.Table) -> pa.Table:
    """Spectra alone, which is all that `embed` reads, and quick to draw."""
    for name in ("event_time", "event_energy", "gti_start", "gti_stop"):
        field = rows.schema.field(name)
        rows = rows.set_column(rows.column_names.index(name), field, pa.nulls(rows.num_rows, field.type))
    return rows


def paths_of(rows: pa.Table) -> Paths:
    rows = without_photons(rows)
    return Paths(rows, np.repeat(np.arange(SOURCES), OBSERVATIONS), rows["mjd_obs"].to_numpy())


def measured(kind: str, twin: str | None, responses, **options):
    rows = simulate_campaigns(8, kind, SOURCES, OBSERVATIONS, (100, 5000), twin=twin)
    return measure_movement(paths_of(rows), responses, embed, num_draws=39, progress=False, **options)


@pytest.fixture(scope="module")
def by_kind(responses):
    return {
        (kind, twin): measured(kind, twin, responses).table
        for kind, twin in [("states", None), ("states", "total"), ("states", "each"), ("decay", "each")]
    }


@pytest.mark.parametrize("twin", ["total", "each"])
def test_states_are_told_from_constant_sources_of_equal_counts(by_kind, twin):
    score = [by_kind["states", which]["departure_sigma"] for which in (None, twin)]
    assert roc_auc_score(np.repeat([1, 0], SOURCES), np.concatenate(score)) > 0.95
    assert by_kind["states", None]["moved"].mean() > 0.8


@pytest.mark.parametrize("sample", [("states", "total"), ("states", "each"), ("decay", "each")])
def test_false_alarms_are_as_stated(by_kind, sample):
    p_value = by_kind[sample]["p_value"]
    assert (p_value <= 0.05).sum() <= 8  # of 50, 2.5 expected
    assert p_value.mean() == pytest.approx(0.5, abs=0.12)
    assert by_kind[sample]["moved"].sum() == 0
    for name in ("length_p", "displacement_p", "turning_p"):
        assert (by_kind[sample][name] <= 0.05).sum() <= 9


def test_the_ranking_is_in_order_and_names_its_sources(by_kind):
    table = by_kind["states", None]
    rows = simulate_campaigns(8, "states", SOURCES, OBSERVATIONS, (100, 5000))
    assert (np.diff(table["p_value"]) >= 0).all()
    assert (table["q_value"] >= table["p_value"] - 1e-12).all()
    names = rows["name"].to_pylist()
    assert [names[number * OBSERVATIONS] for number in table["path"]] == table["name"].tolist()
    assert table["observations"].eq(OBSERVATIONS).all()
    counts = Ragged.from_arrow(rows["spectrum_counts"]).values.reshape(SOURCES, OBSERVATIONS, -1).sum(axis=-1)
    assert table["total_counts"].tolist() == counts.sum(axis=1)[table["path"]].tolist()
    assert table["most_counts"].tolist() == counts.max(axis=1)[table["path"]].tolist()
    assert table["class_distance"].isna().all()
    assert table["class_distance_p"].isna().all()


def test_a_source_that_changes_in_brightness_alone_moves_unless_its_flux_is_free(responses):
    rows = simulate_campaigns(9, "red_noise", SOURCES, OBSERVATIONS, (2000, 5000), twin="total")
    # A constant source whose clock says that it took twice as long in every other observation: half the rate.
    exposure = rows["exposure"].to_numpy() * np.tile([1.0, 2.0], SOURCES * OBSERVATIONS // 2)
    index = rows.column_names.index("exposure")
    rows = rows.set_column(index, rows.schema.field(index), pa.array(exposure.astype(np.float32)))
    fixed, free = (
        measure_movement(paths_of(rows), responses, embed, num_draws=39, flux_free=flag, progress=False).table
        for flag in (False, True)
    )
    assert (fixed["p_value"] <= 0.05).mean() > 0.9
    assert (free["p_value"] <= 0.05).mean() < 0.2


def test_what_is_wrong_with_the_area_alone_is_movement_unless_allowed_for(responses):
    rows = simulate_campaigns(10, "red_noise", SOURCES, OBSERVATIONS, (20_000, 25_000), twin="total")
    strict, allowing = (
        measure_movement(
            paths_of(rows), responses, embed, num_draws=39, calibration_scatter=scatter, progress=False
        ).table["p_value"]
        for scatter in (0.0, 0.02)
    )
    assert (strict <= 0.05).mean() > 0.5
    assert (allowing <= 0.05).mean() < 0.2


def test_equal_seeds_give_equal_answers(responses):
    first, again, other = (measured("states", "each", responses, seed=seed) for seed in (3, 3, 4))
    assert first.table.equals(again.table)
    assert not first.table["p_value"].equals(other.table["p_value"])
    assert first.cloud.shape == (NUM_PILOT, SOURCES * OBSERVATIONS, 2)


def test_class_distance_is_measured_where_the_class_is_known(responses):
    rows = simulate_campaigns(8, "states", SOURCES, OBSERVATIONS, (100, 5000))
    centres = np.repeat([[-3.0, 0.5]], SOURCES * OBSERVATIONS, axis=0)
    centres[: 2 * OBSERVATIONS] = np.nan
    paths = Paths(rows, np.repeat(np.arange(SOURCES), OBSERVATIONS), rows["mjd_obs"].to_numpy(), centres)
    table = measure_movement(paths, responses, embed, num_draws=39, progress=False).table.sort_values("path")
    assert table["class_distance"].isna().tolist() == [True] * 2 + [False] * (SOURCES - 2)
    assert table["class_distance_p"][2:].dropna().between(1 / 40, 1).all()


def test_stages_end_with_what_was_asked_for():
    assert _stages(39) == [39]
    assert _stages(99) == [39, 99]
    assert _stages(999) == [39, 199, 999]


def test_batches_hold_every_source_once():
    cost = np.array([2, 20, 3, 5, 2, 2, 19, 4.5])
    batches = _batches(np.arange(8), cost, 500)
    assert np.concatenate(batches).tolist() == list(range(8))
    assert len(batches) > 1
    assert _batches(np.zeros(0, int), cost, 500) == []


def test_too_few_draws_and_no_path_are_refused(responses):
    rows = simulate_campaigns(8, "states", 2, 2)
    with pytest.raises(ValueError, match="num_draws 10"):
        measure_movement(Paths(rows, np.array([0, 0, 1, 1]), np.zeros(4)), responses, embed, num_draws=10)
    with pytest.raises(ValueError, match="no source has two observations"):
        measure_movement(Paths(rows.slice(0, 0), np.zeros(0, int), np.zeros(0)), responses, embed)
