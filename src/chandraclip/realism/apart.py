"""Real or simulated? A classifier a class, on every column of the catalogue that the dataset's schema has as well.

A source is one of its detections, drawn at random, with the spectral fits of the source. How a detection was observed
(`CONTEXT`: off-axis angle, duration, date) is nobody's merit: simulated sources are chosen so that their detections
were observed as the real ones were, and the classifier may look at it. Nor is what the catalogue lacks of a detection:
simulated values are left out as often as real ones are. A source has one row, and its mock
another of the same name; folds and intervals are by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from chandraclip.catalog.bands import BANDS
from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.evaluation.bootstrap import interval, resampled_auc
from chandraclip.realism.distances import COUNTS_FLOOR, FLUX_FLOOR, NH_FLOOR

# Column -> a difference that does not matter: arcmin, dex, d.
CONTEXT = {"theta": 1.0, "log_duration": 0.1, "mjd_obs": 400.0}
COLUMNS_OF = {
    "counts": ("log_counts",),
    "flux": ("log_flux", "log_flux_of_count"),
    "significance": ("significance_of_count",),
    "hardness": ("energy_hm", "energy_hs", "energy_ms"),
    "variability": ("var_prob_b", "var_index_b"),
    "fits": ("powlaw_gamma", "log_powlaw_nh", "log_bb_kt", "log_bb_nh", "log_brems_kt", "log_brems_nh"),
}
FEATURES = ("whole_theta", *(name for names in COLUMNS_OF.values() for name in names))
MIN_COUNTS_OF_VARIABILITY = 20.0  # net; below, CSC often has none, for how its source regions were drawn
MIN_COUNTS_OF_FITS = 150.0  # net, in the detection that has most
MIN_SOURCES = 20  # on each side
NUM_FOLDS, NUM_TREES, NUM_REPEATS, NUM_RESAMPLES = 5, 200, 3, 200
LARGEST_PENALTY = 50.0  # of a pair: no match is worse than one seven tolerances away


def features(detections: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row a source, by name: name, source_class, `FEATURES` and `CONTEXT`, of one of its detections.

    Args:
        detections: a frame of `catalog_tables.catalog_frame`.
        seed: of which detection it is; among those with counts and a date.
    """
    frame = detections[detections["src_cnts_aper_b"].notna() & (detections["livetime"] > 0)]
    counts = frame["src_cnts_aper_b"]
    flux = {band: frame[f"flux_aper_{band}"].clip(lower=0.0) for band in BANDS}
    table = frame[["name", "source_class", "theta", "mjd_obs"]].copy()
    table["whole_theta"] = np.round(frame["theta"])  # aim points have angles of their own, to an arc second
    table["log_duration"] = np.log10(frame["livetime"])
    table["log_counts"] = np.log10(counts.clip(lower=COUNTS_FLOOR))
    table["log_flux"] = np.log10(flux["b"].clip(lower=FLUX_FLOOR))
    bands = flux["s"] + flux["m"] + flux["h"]
    for name, ratio in {
        "log_flux_over_bands": flux["b"] / bands.where(bands > 0),
        "log_flux_of_count": flux["b"] * frame["livetime"] / counts.where(counts > COUNTS_FLOOR),
    }.items():
        table[name] = np.log10(ratio.where(ratio > 0))
    table["significance_of_count"] = frame["flux_significance_b"] / np.sqrt(counts.clip(lower=COUNTS_FLOOR))
    for x, y in ("hm", "hs", "ms"):
        total = flux[x] + flux[y]
        table[f"energy_{x}{y}"] = (flux[x] - flux[y]) / total.where(total > 0)
    for name in COLUMNS_OF["variability"]:
        table[name] = frame[name].where(counts >= MIN_COUNTS_OF_VARIABILITY)
    # Fits are of the source, in CSC; a simulated source has those of its detection with most counts.
    best = frame.loc[counts.sort_values(ascending=False, kind="stable").index].drop_duplicates("name")
    best = best[best["src_cnts_aper_b"] >= MIN_COUNTS_OF_FITS].set_index("name")
    table["powlaw_gamma"] = table["name"].map(best["powlaw_gamma"])
    for model in ("powlaw", "bb", "brems"):
        table[f"log_{model}_nh"] = np.log10(table["name"].map(best[f"{model}_nh"]).clip(lower=NH_FLOOR))
    for model in ("bb", "brems"):
        table[f"log_{model}_kt"] = np.log10(table["name"].map(best[f"{model}_kt"]).where(lambda kt: kt > 0))
    order = np.random.default_rng(seed).permutation(len(table))
    return table.iloc[order].drop_duplicates("name").sort_values("name", kind="stable").reset_index(drop=True)


def observed_alike(real: pd.DataFrame, simulated: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The real rows, and for each a simulated one that was observed as it was, as near as there is.

    Those of the smallest sum of squared differences in `CONTEXT`, each used once. What the rows of one side lack of a
    column is then taken from as many of the other, at random (of fits: of all together, as a source has all or none).

    Args:
        real, simulated: of `features`, of one class; simulated has as many rows at least.
    """
    sides = [np.stack([side[name] / scale for name, scale in CONTEXT.items()], axis=1) for side in (real, simulated)]
    cost = np.square(sides[0][:, None, :] - sides[1][None, :, :]).sum(axis=-1)
    cost = np.minimum(np.nan_to_num(cost, nan=LARGEST_PENALTY), LARGEST_PENALTY)
    tables = real.reset_index(drop=True), simulated.iloc[linear_sum_assignment(cost)[1]].reset_index(drop=True)
    generator = np.random.default_rng(seed)
    fits = list(COLUMNS_OF["fits"])
    for columns in (*([name] for name in FEATURES if name not in fits), fits):
        present = [np.flatnonzero(table[columns[0]].notna()) for table in tables]
        for table, rows in zip(tables, present):
            surplus = rows.size - min(map(len, present))
            table.loc[generator.choice(rows, surplus, replace=False), columns] = np.nan
    return tables


def telling_apart(real: pd.DataFrame, simulated: pd.DataFrame, seed: int = 0) -> list[dict[str, Any]]:
    """How well a random forest tells real from simulated sources of a class: AUC, 0.5 if not at all.

    Args:
        real, simulated: frames of `catalog_tables.catalog_frame`.

    Returns:
        One entry a class with `MIN_SOURCES` on both sides: source_class, num_sources (a side), auc, low, high (95 %,
        bootstrap over sources), groups (of columns -> AUC lost when they are permuted together), features (column ->
        AUC lost), each the largest first, on the held-out folds; real_halves: auc, low and high between random halves
        of the real sources, what a perfect simulator would have; empty below `MIN_SOURCES`.
    """
    tables = [features(side, seed) for side in (real, simulated)]
    found = []
    for name in SOURCE_CLASSES:
        sides = [table[table["source_class"] == name].reset_index(drop=True) for table in tables]
        if min(map(len, sides)) < MIN_SOURCES:
            continue
        generator = np.random.default_rng([seed, *name.encode()])
        if len(sides[1]) < len(sides[0]):  # a mock that lacks some sources
            kept = np.sort(generator.choice(len(sides[0]), len(sides[1]), replace=False))
            sides[0] = sides[0].iloc[kept].reset_index(drop=True)
        entry = _forest(*observed_alike(sides[0], sides[1], seed), seed)
        order, size = generator.permutation(len(sides[0])), len(sides[0]) // 2
        halves = [sides[0].iloc[rows].reset_index(drop=True) for rows in (order[:size], order[size : 2 * size])]
        floor = _forest(halves[0], halves[1], seed, importances=False) if size >= MIN_SOURCES else {}
        found.append({"source_class": name, "num_sources": len(sides[0])} | entry | {"real_halves": floor})
    return found


def _forest(first: pd.DataFrame, second: pd.DataFrame, seed: int, importances: bool = True) -> dict[str, Any]:
    """AUC of a forest between two tables of `features` of equal length, in folds, and what it loses without columns."""
    generator = np.random.default_rng(seed)
    both = pd.concat([first, second], ignore_index=True)
    x = both[list(FEATURES)]
    x = x.fillna(x.median()).fillna(0.0).to_numpy()  # no indicators: what is missing was made as frequent on both sides
    y = np.repeat([0, 1], len(first))
    singles = {name: [FEATURES.index(name)] for name in FEATURES}
    groups = {name: [FEATURES.index(column) for column in columns] for name, columns in COLUMNS_OF.items()}
    score = np.zeros(len(y))
    permuted = {name: np.zeros((NUM_REPEATS, len(y))) for name in (*groups, *singles)}
    # By name: the mock of a real source has its name, and would be taken for it if one of the two had been trained on.
    folds = StratifiedGroupKFold(NUM_FOLDS, shuffle=True, random_state=seed)
    for training, test in folds.split(x, y, both["name"]):
        forest = RandomForestClassifier(NUM_TREES, min_samples_leaf=3, random_state=seed).fit(x[training], y[training])
        score[test] = forest.predict_proba(x[test])[:, 1]
        if importances:
            for name, columns in (*groups.items(), *singles.items()):
                for repeat in range(NUM_REPEATS):
                    changed = x[test].copy()
                    changed[:, columns] = changed[generator.permutation(len(test))][:, columns]
                    permuted[name][repeat, test] = forest.predict_proba(changed)[:, 1]
    auc = float(roc_auc_score(y, score))
    result: dict[str, Any] = {"auc": auc}
    result["low"], result["high"] = interval(resampled_auc(score, y == 1, both["name"].to_numpy(), NUM_RESAMPLES, seed))
    if importances:
        lost = {
            name: auc - float(np.mean([roc_auc_score(y, of_repeat) for of_repeat in values]))
            for name, values in permuted.items()
        }
        for title, names in {"groups": groups, "features": singles}.items():
            result[title] = dict(sorted(((name, lost[name]) for name in names), key=lambda item: -item[1]))
    return result
