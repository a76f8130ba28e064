"""Does a classifier of real X-ray sources work on simulated ones, and the other way round?

The features are those of the published training set (Yang et al. 2022, ApJ 941, 104), a row a source; `source_table`
makes the same from detections. The classifier is fixed, so that scores differ only by the tables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation.bootstrap import interval, resampled_sums
from chandraclip.realism.distances import FLUX_FLOOR

HARDNESS = ("energy_hm", "energy_hs", "energy_ms")
FEATURES = (*HARDNESS, "log_flux", "powlaw_gamma", "var_intra_prob", "var_inter_prob")
COMPACT = ("HMXB", "LMXB", "NS")
NUM_TREES = 300
NUM_FOLDS = 5

TASKS = {
    "8 classes": (FEATURES, None),
    "8 classes, hardness only": (HARDNESS, None),
    "AGN or compact": (FEATURES, ("AGN", *COMPACT)),
}


def classifier(seed: int = 0) -> Pipeline:
    """Random forest of `NUM_TREES` trees on medians for missing values and their indicators.

    Of the leaf sizes 1, 2, 3, 5 and 8, three sources scored best on the published table (balanced accuracy 0.474 to
    0.496), so the score on real sources is optimistic by no more than that.
    """
    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        RandomForestClassifier(NUM_TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed),
    )


def source_table(detections: pd.DataFrame) -> pd.DataFrame:
    """One row a source: name, source_class and `FEATURES`, from a frame of `catalog_tables.catalog_frame`.

    Band fluxes are means over the detections weighted by livetime, powlaw_gamma is the mean over those that have it,
    var_intra_prob the highest Kuiper probability (as the published table's), var_inter_prob the chi-squared
    probability that the 0.5-7 keV fluxes of at least two detections differ, given their errors.
    """
    groups = detections.groupby("name", sort=True)
    means = {}
    for band in "smh":
        flux = detections[f"flux_aper_{band}"].clip(lower=0.0)
        weight = detections["livetime"].where(flux.notna() & (detections["livetime"] > 0))
        sums = pd.DataFrame({"name": detections["name"], "sum": flux * weight, "weight": weight}).groupby("name").sum()
        means[band] = sums["sum"] / sums["weight"].where(sums["weight"] > 0)
    table = _features(means["s"], means["m"], means["h"])
    table["powlaw_gamma"] = groups["powlaw_gamma"].mean()
    table["var_intra_prob"] = groups["kp_prob_b"].max()
    table["var_inter_prob"] = variability_between(detections)
    return table.assign(source_class=groups["source_class"].first()).reset_index(names="name")


def published_table(published: pd.DataFrame) -> pd.DataFrame:
    """`source_table` of `catalog_tables.read_published_sources`: its own mean fluxes, index and probabilities."""
    table = _features(*(published[f"Fcsc_{band}"] for band in "smh"))
    table["powlaw_gamma"] = published["powlaw_gamma_mean"]
    table[["var_intra_prob", "var_inter_prob"]] = published[["var_intra_prob", "var_inter_prob"]]
    return table.assign(source_class=published["Class"], name=published["name"])


def _features(soft: pd.Series, medium: pd.Series, hard: pd.Series) -> pd.DataFrame:
    """Hardness and log flux; fluxes below `FLUX_FLOOR` (the placeholder of an upper limit) are raised to it."""
    soft, medium, hard = (flux.clip(lower=FLUX_FLOOR) for flux in (soft, medium, hard))
    return pd.DataFrame(
        {
            "energy_hm": (hard - medium) / (hard + medium),
            "energy_hs": (hard - soft) / (hard + soft),
            "energy_ms": (medium - soft) / (medium + soft),
            "log_flux": np.log10(soft + medium + hard),
        }
    )


def variability_between(detections: pd.DataFrame) -> pd.Series:
    """By name: chi-squared probability against one flux in all detections; NaN with fewer than two fluxes.

    Where a detection has no error (no net count), it is that of its net counts, at least one, at the flux a count of
    the source's other detections.
    """
    frame = detections[["name", "flux_aper_b", "flux_error_b", "src_cnts_aper_b", "livetime"]].copy()
    seen = frame[(frame["src_cnts_aper_b"] > 0) & (frame["flux_aper_b"] > 0)]
    sums = pd.DataFrame(
        {"name": seen["name"], "fluence": seen["flux_aper_b"] * seen["livetime"], "counts": seen["src_cnts_aper_b"]}
    )
    sums = sums.groupby("name").sum()
    fluence_of_count = frame["name"].map(sums["fluence"] / sums["counts"])
    missing = fluence_of_count * frame["src_cnts_aper_b"].abs().clip(lower=1.0) / frame["livetime"]
    flux = frame["flux_aper_b"]
    error = frame["flux_error_b"].where(frame["flux_error_b"] > 0).fillna(missing)
    weight = (1.0 / error**2).where(flux.notna() & (error > 0))
    sums = pd.DataFrame({"name": frame["name"], "w": weight, "wf": weight * flux, "n": weight.notna()})
    sums = sums.groupby("name").sum()
    mean = frame["name"].map(sums["wf"] / sums["w"].where(sums["w"] > 0))
    statistic = (weight * (flux - mean) ** 2).groupby(frame["name"]).sum()
    probability = chi2.cdf(statistic, np.maximum(sums["n"] - 1, 1))
    return pd.Series(np.where(sums["n"] >= 2, probability, np.nan), index=sums.index)


def predict_classes(
    training: pd.DataFrame, test: pd.DataFrame, features: tuple[str, ...], label: str = "source_class", seed: int = 0
) -> np.ndarray:
    """(rows of test, labels of training in sorted order) probabilities.

    Where a source of `test` is in `training` too (by name), it is predicted by a forest that has not seen it: five
    folds over the sources of `training`.
    """
    x, y = training[list(features)].to_numpy(), training[label].to_numpy().astype(str)
    z = test[list(features)].to_numpy()
    position = pd.Index(training["name"]).get_indexer(test["name"])
    labels = np.unique(y)
    found = np.zeros((len(test), len(labels)))
    folds = np.full(len(training), -1)
    if (position >= 0).any():
        splitter = StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed)
        for fold, (_, rows) in enumerate(splitter.split(x, y)):
            folds[rows] = fold
    fold_of_test = np.where(position >= 0, folds[position], -1)
    for fold in np.unique(fold_of_test):
        rows, fitted_on = fold_of_test == fold, (folds != fold) | (fold == -1)
        forest = classifier(seed).fit(x[fitted_on], y[fitted_on])
        found[np.ix_(rows, np.searchsorted(labels, forest.classes_))] = forest.predict_proba(z[rows])
    return found


def transfer_score(training: pd.DataFrame, test: pd.DataFrame, task: str, seed: int = 0) -> dict[str, Any]:
    """Balanced accuracy (recalls of the classes of `test`, averaged) of a task of `TASKS`, with its 95 % interval.

    Args:
        training, test: of `source_table` or `published_table`; the same table for five folds by source.
        task: "AGN or compact" is of two labels, and adds auc.

    Returns:
        balanced_accuracy, low, high, chance, num_training, num_test, recalls (label -> recall, low, high) and
        confusion, rows true and columns predicted in the order of `labels`. Empty where either side has fewer than
        two classes. A class with fewer than `NUM_FOLDS` sources on a side is left out of that side.
    """
    features, classes = TASKS[task]
    sides = []
    for table in (training, test):
        kept = table if classes is None else table[table["source_class"].isin(classes)]
        label = (
            kept["source_class"] if classes is None else kept["source_class"].replace(dict.fromkeys(COMPACT, "compact"))
        )
        sides.append(kept.assign(label=label)[label.groupby(label).transform("size") >= NUM_FOLDS])
    training, test = sides
    if any(table["label"].nunique() < 2 for table in sides):
        return {}
    known = np.unique(training["label"].to_numpy().astype(str))
    probability = predict_classes(training, test, features, "label", seed)
    predicted, true = known[probability.argmax(axis=1)], test["label"].to_numpy().astype(str)
    labels = [name for name in (*SOURCE_CLASSES, "compact") if name in set(true) | set(known)]
    confusion = [[int(((true == row) & (predicted == column)).sum()) for column in labels] for row in labels]
    tested = [name for name in labels if (true == name).any()]
    is_class = np.stack([true == name for name in tested], axis=1)
    sums = resampled_sums(
        np.concatenate([is_class, is_class & (predicted == true)[:, None]], axis=1), test["name"].to_numpy()
    )
    with np.errstate(invalid="ignore"):
        recalls = sums[:, len(tested) :] / sums[:, : len(tested)]
    low, high = interval(np.nanmean(recalls, axis=1))
    own = {name: float((predicted == true)[true == name].mean()) for name in tested}
    result: dict[str, Any] = {
        "balanced_accuracy": float(np.mean(list(own.values()))),
        "low": low,
        "high": high,
        "chance": 1.0 / len(tested),
        "num_training": len(training),
        "num_test": len(test),
        "labels": labels,
        "confusion": confusion,
        "recalls": {name: [own[name], *interval(recalls[:, column])] for column, name in enumerate(tested)},
    }
    if classes is not None:
        result["auc"] = float(roc_auc_score(true == "AGN", probability[:, list(known).index("AGN")]))
    return result
