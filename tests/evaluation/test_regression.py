"""Regression where the truth is known: a linear signal, no signal, missing values, excluded features."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from chandraclip.evaluation.regression import (
    HAND,
    MEDIAN,
    RIDGE_PENALTIES,
    SELECTED,
    Standardizer,
    improvement,
    predict_knn,
    predict_ridge,
    published_comparison,
    regression_metrics,
)
from chandraclip.evaluation.variables import EXCLUDED_FEATURES, HAND_FEATURES, hand_features, target_values


def signal(table, seed=0):
    """A target that is linear in the spectrum latents."""
    latents = table.arrays["spectrum_latents"]
    return (latents @ np.random.default_rng(seed).normal(size=latents.shape[1])).astype(np.float64)


def results_of(table, columns, variables, **kwargs):
    result = regression_metrics(table, columns, variables, num_resamples=100, **kwargs)
    records = {(r["variable"], r["representation"], r["method"]): r for r in result["records"]}
    return result, records


def test_a_linear_signal_is_recovered_and_noise_is_not(make_embeddings):
    table = make_embeddings(num_sources=600)
    generator = np.random.default_rng(1)
    columns = {
        "powlaw_gamma": signal(table),
        "bb_kt": generator.permutation(signal(table)),
        "theta": generator.normal(size=len(table)),
    }
    result, records = results_of(table, columns, ["powlaw_gamma", "bb_kt"])
    exact = records["powlaw_gamma", "spectrum_latents", "ridge"]
    assert exact["r2"] > 0.999
    assert exact["mae"] < 0.05 * records["powlaw_gamma", MEDIAN, MEDIAN]["mae"]
    assert records["powlaw_gamma", "text_features", "ridge"]["r2"] < 0.05
    assert records["powlaw_gamma", HAND, "ridge"]["r2"] < 0.05
    assert exact["mae_over_hand_features_high"] < 0.1
    for representation in result["representations"]:
        noise = records["bb_kt", representation, "ridge"]
        assert noise["r2"] < 0.1
        assert noise["r2_low"] <= noise["r2"] <= noise["r2_high"]
        assert records["bb_kt", representation, "knn"]["r2"] < 0  # three neighbours of pure noise
    assert records["powlaw_gamma", SELECTED, "ridge"]["chosen"] == "spectrum_latents"
    assert records["powlaw_gamma", SELECTED, "ridge"]["mae"] == exact["mae"]


def test_nothing_is_fitted_or_chosen_on_test(make_embeddings):
    table = make_embeddings(num_sources=300)
    columns = {"powlaw_gamma": signal(table)}
    _, before = results_of(table, columns, ["powlaw_gamma"])
    disturbed = columns["powlaw_gamma"] + np.where(table.split == "test", 1000.0 * (np.arange(len(table)) % 2), 0.0)
    _, after = results_of(table, {"powlaw_gamma": disturbed}, ["powlaw_gamma"])
    for key, record in before.items():
        assert after[key]["validation_mae"] == record["validation_mae"]
        assert after[key].get("chosen") == record.get("chosen")
        assert after[key]["mae"] > 100


def test_missing_values_drop_rows_of_that_variable_only(make_embeddings):
    table = make_embeddings(num_sources=300)
    whole, thin, sparse = signal(table), signal(table, 1), np.full(len(table), np.nan)
    thin[::2] = np.nan
    sparse[:5] = 1.0
    result, records = results_of(table, {"a": whole, "b": thin, "c": sparse, "d": np.ones(len(table))}, list("abcd"))
    assert sum(result["counts"]["a"].values()) == 600
    assert sum(result["counts"]["b"].values()) == 300
    assert "too few" in result["skipped"]["c"]
    assert "one value" in result["skipped"]["d"]
    assert {record["variable"] for record in result["records"]} == {"a", "b"}
    # A variable is scored the same, alone or beside others.
    _, alone = results_of(table, {"b": thin}, ["b"])
    assert alone["b", "spectrum_latents", "ridge"]["mae"] == pytest.approx(
        records["b", "spectrum_latents", "ridge"]["mae"]
    )


def test_representations_share_rows_and_thin_ones_stay_out(make_embeddings):
    rows = np.arange(600)
    table = make_embeddings(
        num_sources=300, event_latents=rows % 3 > 0, event_embedding=rows % 3 > 0, text_features=rows % 5 == 0
    )
    result, _ = results_of(table, {"a": signal(table)}, ["a"])
    assert "33% of the rows" in result["skipped"]["event_latents"]
    assert "spectrum+event_embedding" in result["skipped"]
    assert "text_features" in result["representations"]
    assert sum(result["counts"]["a"].values()) == 480


def test_knn_equals_a_direct_search():
    generator = np.random.default_rng(2)
    train, queries, targets = (
        generator.normal(size=(50, 4)),
        generator.normal(size=(9, 4)),
        generator.normal(size=(50, 2)),
    )
    nearest = np.argsort(np.linalg.norm(queries[:, None] - train[None], axis=2), axis=1)[:, :3]
    np.testing.assert_allclose(predict_knn(train, targets, queries), targets[nearest].mean(axis=1))


def test_knn_takes_the_nearest_rows_that_have_a_value():
    generator = np.random.default_rng(5)
    train, queries = generator.normal(size=(400, 3)), generator.normal(size=(60, 3))
    targets = generator.normal(size=(400, 3))
    targets[::2, 0] = np.nan
    targets[5:, 1] = np.nan  # so rare that the search is done again
    distance = np.linalg.norm(queries[:, None] - train[None], axis=2)
    predicted = predict_knn(train, targets, queries)
    for column in range(3):
        rows = np.flatnonzero(np.isfinite(targets[:, column]))
        nearest = rows[np.argsort(distance[:, rows], axis=1)[:, :3]]
        np.testing.assert_allclose(predicted[:, column], targets[nearest, column].mean(axis=1))


def test_ridge_equals_that_of_scikit_learn():
    generator = np.random.default_rng(6)
    features, targets = generator.normal(3.0, 2.0, size=(90, 5)), generator.normal(7.0, 1.0, size=(90, 2))
    targets += features[:, :2]
    predicted = predict_ridge(features[:50], targets[:50], features[50:70], targets[50:70], features[70:])
    standardize = Standardizer.fit(features[:50])
    models = [Ridge(alpha=penalty).fit(standardize(features[:50]), targets[:50]) for penalty in RIDGE_PENALTIES]
    errors = [np.abs(model.predict(standardize(features[50:70])) - targets[50:70]).mean(axis=0) for model in models]
    for column, best in enumerate(np.argmin(errors, axis=0)):
        expected = models[best].predict(standardize(features[70:]))[:, column]
        np.testing.assert_allclose(predicted[:, column], expected)


def test_ridge_chooses_the_penalty_for_each_target():
    generator = np.random.default_rng(3)
    features = generator.normal(size=(90, 40))
    clean, noise = features[:, :1] * 2, generator.normal(size=(90, 1))
    targets = np.concatenate([clean, noise], axis=1)
    predicted = predict_ridge(features[:50], targets[:50], features[50:70], targets[50:70], features[70:])
    np.testing.assert_allclose(predicted[:, 0], clean[70:, 0], atol=0.05)
    assert np.std(predicted[:, 1]) < 0.5 * np.std(noise)  # shrunk, where no penalty would overfit 40 features


def test_a_feature_never_predicts_itself_or_its_functions():
    columns = {name: np.arange(1.0, 5.0) for name in HAND_FEATURES}
    for variable in ("hard_hm", "hard_hs", "hard_ms"):
        assert {"hard_hm", "hard_hs", "hard_ms"} <= EXCLUDED_FEATURES[variable]
    for band in "hms":
        assert "flux_aper_b" in EXCLUDED_FEATURES[f"flux_aper_{band}"]
    for variable, excluded in EXCLUDED_FEATURES.items():
        assert variable in excluded or variable not in HAND_FEATURES
        assert hand_features(columns, variable).shape == (4, len(HAND_FEATURES) - len(excluded))
    assert hand_features(columns, "powlaw_gamma").shape == (4, len(HAND_FEATURES))


def test_decades_are_in_dex_and_non_positive_fluxes_are_missing():
    values = target_values({"flux_aper_b": np.array([1e-14, 0.0, -1.0, np.inf, 1e-12])}, "flux_aper_b")
    np.testing.assert_allclose(values, [-14, np.nan, np.nan, np.nan, -12])


def test_summaries(make_embeddings):
    table = make_embeddings(num_sources=300)
    columns = {"hard_hs": signal(table), "theta": np.random.default_rng(0).normal(size=len(table))}
    result, records = results_of(table, columns, ["hard_hs"])
    gains = improvement(result["records"])
    selected = records["hard_hs", SELECTED, "knn"]["mae"]
    assert gains["over_spectrum"]["mean"] == pytest.approx(
        1 - selected / records["hard_hs", "spectrum_latents", "knn"]["mae"]
    )
    assert gains["over_hand_features"]["num_variables"] == 1
    (comparison,) = published_comparison(result["records"], simulated=True)
    assert comparison["published_mae"] == 0.12
    assert not comparison["comparable"]


def test_bad_input(make_embeddings):
    table = make_embeddings(num_sources=20)
    with pytest.raises(ValueError, match="not in the catalogue"):
        regression_metrics(table, {"a": np.zeros(40)}, ["b"])
