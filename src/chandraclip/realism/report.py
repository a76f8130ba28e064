"""The simulator's validation as a page: generated parts between markers, so that the prose around them stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.data.splits import assign_splits
from chandraclip.errors import InputFileError
from chandraclip.evaluation.results import markdown_table, number
from chandraclip.files import write_text
from chandraclip.realism.apart import FEATURES as APART_FEATURES
from chandraclip.realism.apart import telling_apart
from chandraclip.realism.catalog_tables import KEY
from chandraclip.realism.distances import (
    MOST_DETECTIONS,
    QUANTITIES,
    detection_quantities,
    differences_in_words,
    ks_table,
    not_later,
)
from chandraclip.realism.points import Point
from chandraclip.realism.transfer import (
    FEATURES,
    TASKS,
    published_table,
    source_table,
    transfer_score,
)

MAIN_TRAININGS = (
    ("real", "real"),
    ("simulated", "simulated"),
    ("simulated", "real"),
    ("real", "simulated"),
)
# The published table and the one rebuilt from CSC 2 detections differ in definitions; these say by how much.
CONTROL_TRAININGS = (("rebuilt", "rebuilt"), ("real", "rebuilt"), ("simulated", "rebuilt"))
# What `scripts/calibrate_population.py` did not fit.
NOT_CALIBRATED = ("theta", "kp_prob_b", "log_num_detections")


@dataclass(frozen=True)
class Validation:
    """What was measured of one simulated table.

    Attributes:
        quantities: of `detection_quantities`, real and simulated.
        distances: of `ks_table`.
        scores: task -> "real -> simulated" -> `transfer_score`.
        apart: of `telling_apart`.
        rows: of `compare_rows`, where simulated rows stand for real ones; else empty.
    """

    quantities: dict[str, pd.DataFrame]
    distances: pd.DataFrame
    scores: dict[str, dict[str, dict[str, Any]]]
    apart: list[dict[str, Any]]
    rows: list[dict[str, Any]]


def validate(
    real: pd.DataFrame, published: pd.DataFrame, simulated: pd.DataFrame, same_rows: bool = False
) -> Validation:
    """Every measurement of one simulated table.

    Args:
        real: `catalog_tables.read_real_detections`. published: `catalog_tables.read_published_sources`.
        simulated: a frame of `catalog_tables.catalog_frame`.
        same_rows: whether simulated rows stand for real ones of the same obsid, obi and region_id.
    """
    simulated = not_later(simulated, real)
    quantities = {
        "real": detection_quantities(real, MOST_DETECTIONS),
        "simulated": detection_quantities(simulated, MOST_DETECTIONS),
    }
    tables = {
        "real": published_table(published),
        "rebuilt": source_table(real),
        "simulated": source_table(simulated),
    }
    if same_rows:  # the same sources by another name, or by the same: never in training and test at once
        names = simulated.merge(real[["name", *KEY]], on=list(KEY), how="left", suffixes=("_simulated", ""))
        twin = names.drop_duplicates("name_simulated").set_index("name_simulated")["name"]
        named = tables["simulated"]["name"].map(twin)
        tables["simulated"]["name"] = named.fillna(tables["simulated"]["name"])
        tables["simulated"] = tables["simulated"].drop_duplicates("name", ignore_index=True)
    scores: dict[str, dict[str, Any]] = {task: {} for task in TASKS}
    tasks = [(task, pair) for task in TASKS for pair in (*MAIN_TRAININGS, *CONTROL_TRAININGS)]
    for task, (training, test) in tqdm(tasks, desc="classify", unit="training"):
        scores[task][f"{training} -> {test}"] = transfer_score(tables[training], tables[test], task)
    return Validation(
        quantities=quantities,
        distances=ks_table(quantities["real"], quantities["simulated"]),
        scores=scores,
        apart=telling_apart(real, simulated),
        rows=compare_rows(real, simulated) if same_rows else [],
    )


def compare_rows(real: pd.DataFrame, simulated: pd.DataFrame) -> list[dict[str, Any]]:
    """Simulated against real detections of the same obsid, obi and region_id.

    Returns:
        One entry a quantity: num_rows, spearman, median and half_width (half of the 16 to 84 % range) of simulated less
        real; for counts and fluxes of the decimal logarithm, where both are positive.
    """
    both = simulated.merge(real, on=list(KEY), suffixes=("", "_real"))
    found = []
    for name in ("src_cnts_aper_b", "flux_aper_b", "flux_aper_h", "flux_aper_m", "flux_aper_s"):
        positive = (both[name] > 0) & (both[f"{name}_real"] > 0)
        found.append(_agreement(f"log {name}", *(np.log10(both.loc[positive, f"{name}{s}"]) for s in ("", "_real"))))
    for x, y in ("hm", "hs", "ms"):
        ratio = []
        for suffix in ("", "_real"):
            flux = {band: both[f"flux_aper_{band}{suffix}"].clip(lower=0.0) for band in (x, y)}
            ratio.append((flux[x] - flux[y]) / (flux[x] + flux[y]).where(flux[x] + flux[y] > 0))
        found.append(_agreement(f"energy_{x}{y}", *ratio))
    found += [_agreement(name, both[name], both[f"{name}_real"]) for name in ("var_prob_b", "kp_prob_b")]
    return found


def _agreement(name: str, simulated: pd.Series, real: pd.Series) -> dict[str, Any]:
    present = simulated.notna() & real.notna()
    difference = (simulated - real)[present]
    if len(difference) < 3:
        return {"quantity": name, "num_rows": len(difference), "spearman": None, "median": None, "half_width": None}
    low, median, high = np.percentile(difference, [16, 50, 84])
    spearman = float(simulated[present].corr(real[present], method="spearman"))
    return {
        "quantity": name,
        "num_rows": len(difference),
        "spearman": spearman,
        "median": float(median),
        "half_width": float(0.5 * (high - low)),
    }


def class_counts(frames: Mapping[str, pd.DataFrame]) -> str:
    """Sources (and detections) a class, a column a table."""
    rows = []
    for name in SOURCE_CLASSES:
        row = {"class": name}
        for title, frame in frames.items():
            own = frame[frame["source_class"] == name]
            row[title] = f"{own['name'].nunique()} ({len(own)})"
        rows.append(row)
    return markdown_table(rows)


def distance_tables(distances: pd.DataFrame) -> str:
    """The distances as a grid, then every number folded away."""
    labels = {quantity.column: quantity.label for quantity in QUANTITIES}
    cells = {
        (row.quantity, row.source_class): f"**{row.ks:.2f}** ({row.floor:.2f})"
        if row.beyond_floor
        else f"{row.ks:.2f} ({row.floor:.2f})"
        for row in distances.itertuples()
    }
    grid = [
        {"KS (floor)": label, **{name: cells.get((column, name), "-") for name in SOURCE_CLASSES}}
        for column, label in labels.items()
    ]
    everything = [
        {
            "class": row.source_class,
            "quantity": labels[str(row.quantity)],
            "sources": f"{row.real_sources} / {row.simulated_sources}",
            "real: 16, 50, 84 %": f"{row.real_p16:.2f}, {row.real_median:.2f}, {row.real_p84:.2f}",
            "simulated": f"{row.simulated_p16:.2f}, {row.simulated_median:.2f}, {row.simulated_p84:.2f}",
            "KS": f"{row.ks:.2f} [{row.ks_low:.2f}, {row.ks_high:.2f}]",
            "floor": f"{row.floor:.2f}",
        }
        for row in distances.itertuples()
    ]
    return f"{markdown_table(grid)}\n\n{_folded('Percentiles and intervals', markdown_table(everything))}"


def held_out_table(real: pd.DataFrame, simulated: pd.DataFrame, num_resamples: int = 100) -> str:
    """Mean KS distance of the calibrated quantities from the real sources fitted (split train), and from the others.

    Args:
        real, simulated: of `detection_quantities`.
        num_resamples: for the floors, see `ks_table`.
    """
    fitted = np.array(assign_splits(real["name"].astype(str).tolist())) == "train"
    rows: dict[str, dict[str, Any]] = {}
    for title, chosen in (("fitted", fitted), ("held out", ~fitted)):
        distances = ks_table(real[chosen], simulated, num_resamples)
        distances = distances[~distances["quantity"].isin(NOT_CALIBRATED)]
        for name, of_class in distances.groupby("source_class", sort=False):
            row = rows.setdefault(str(name), {"class": name})
            row[f"sources {title}"] = int(of_class["real_sources"].max())
            row[f"mean KS {title} (floor)"] = f"{of_class['ks'].mean():.3f} ({of_class['floor'].mean():.3f})"
            row[f"quantities {title}"] = len(of_class)
    return markdown_table(list(rows.values()))


def photon_hardness_table(simulated: pd.DataFrame, published: Mapping[tuple[str, str], Mapping[str, float]]) -> str:
    """CSC's hardness ratios of photon fluxes: how much of the simulated sources lies below CSC's percentiles.

    Args:
        simulated: a frame of `catalog_tables.catalog_frame`; of each source its detection with most counts.
        published: `catalog_tables.photon_hardness`.
    """
    brightest = simulated.sort_values("src_cnts_aper_b", ascending=False, kind="stable").drop_duplicates("name")
    rows = []
    for (name, ratio), entry in published.items():
        values = brightest.loc[brightest["source_class"] == name, ratio].dropna()
        shares = {
            f"below CSC's {percentile} %": f"{100 * (values < entry[key]).mean():.0f} %" if len(values) else "-"
            for percentile, key in ((16, "p16"), (50, "median"), (84, "p84"))
        }
        rows.append({"class": name, "ratio": ratio, "sources": f"{entry['n']} / {len(values)}", **shares})
    return markdown_table(rows)


def transfer_tables(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Balanced accuracies and recalls."""
    trainings = list(next(iter(scores.values())))
    accuracy = []
    for training in trainings:
        row: dict[str, Any] = {"training -> test": training}
        for task, of_task in scores.items():
            score = of_task[training]
            row[task] = _with_interval(score, "balanced_accuracy") if score else "-"
            if "auc" in score:
                row[task] += f", AUC {score['auc']:.2f}"
        sizes = scores["8 classes"][training]
        row["sources"] = f"{sizes['num_training']} -> {sizes['num_test']}" if sizes else "-"
        accuracy.append(row)
    recalls = []
    for training, score in scores["8 classes"].items():
        of_class = score.get("recalls", {})
        cells = {name: f"{of_class[name][0]:.2f}" if name in of_class else "-" for name in SOURCE_CLASSES}
        recalls.append({"recall": training, **cells})
    return "\n\n".join(markdown_table(rows) for rows in (accuracy, recalls))


def apart_table(sides: Mapping[str, list[dict[str, Any]]]) -> str:
    """How well real and simulated sources are told apart, a row a class.

    Args:
        sides: "population" -> `telling_apart`, and so on; the first one says what gives it away.
    """
    first = next(iter(sides.values()))
    of_class = {title: {entry["source_class"]: entry for entry in entries} for title, entries in sides.items()}
    rows = []
    for entry in first:
        name = entry["source_class"]
        row: dict[str, Any] = {"class": name, "sources a side": entry["num_sources"]}
        for title, entries in of_class.items():
            row[f"AUC, {title}"] = _with_interval(entries[name], "auc") if name in entries else "-"
        row["real halves"] = _with_interval(entry["real_halves"], "auc") if entry["real_halves"] else "-"
        row["given away by (AUC lost without)"] = (
            ", ".join(f"{group} {lost:.2f}" for group, lost in entry["groups"].items() if lost >= 0.01) or "-"
        )
        row["columns"] = ", ".join(f"{name} {lost:.2f}" for name, lost in list(entry["features"].items())[:3])
        rows.append(row)
    return markdown_table(rows)


def point_table(points: list[Point]) -> str:
    """The points of the audit, a row a number."""
    rows = [
        {
            "point": f"{point.number}. {point.title}",
            "of": row.label,
            "real or right": number(row.real),
            "before": number(row.before),
            "now": number(row.after),
        }
        for point in points
        for row in point.rows
    ]
    return markdown_table(rows)


def point_summary(points: list[Point]) -> list[dict[str, Any]]:
    """The points for JSON, to four decimals; what was not measured is null."""
    return _rounded([{"number": point.number, "rows": [vars(row) for row in point.rows]} for point in points])


def row_table(rows: list[dict[str, Any]]) -> str:
    """`compare_rows` as a table."""
    return markdown_table(
        {
            "quantity": row["quantity"],
            "detections": row["num_rows"],
            "Spearman": number(row["spearman"]),
            "simulated - real, median": number(row["median"]),
            "half of the 68 % range": number(row["half_width"]),
        }
        for row in rows
    )


def difference_list(distances: pd.DataFrame) -> str:
    """`differences_in_words` as a list, with how many of the distances they are."""
    beyond = int(distances["beyond_floor"].sum()) if len(distances) else 0
    lines = [f"{beyond} of {len(distances)} distances are beyond the noise floor by more than their interval."]
    sentences = differences_in_words(distances)
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in sentences)]) if sentences else lines[0]


def summary(validation: Validation) -> dict[str, Any]:
    """The numbers for JSON, to four decimals; NaN is null."""
    columns = ["source_class", "quantity", "ks", "ks_low", "ks_high", "floor", "beyond_floor"]
    kept = ("balanced_accuracy", "low", "high", "chance", "auc", "num_training", "num_test", "recalls")
    return _rounded(
        {
            "distances": validation.distances.reindex(columns=columns).to_dict("records"),
            "transfer": {
                task: {title: {key: score[key] for key in kept if key in score} for title, score in of_task.items()}
                for task, of_task in validation.scores.items()
            },
            "features": list(FEATURES),
            "apart_features": list(APART_FEATURES),
            "telling_apart": validation.apart,
            "row_by_row": validation.rows,
        }
    )


def write_parts(path: Path, parts: Mapping[str, str]) -> None:
    """Put generated parts into a page, each between its ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        InputFileError: the page is missing, or lacks a marker.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise InputFileError(path, f"not readable, and the prose around the numbers is there ({error})") from error
    for name, content in parts.items():
        before, begin, rest = text.partition(f"<!-- begin {name} -->")
        _, end, after = rest.partition(f"<!-- end {name} -->")
        if not begin or not end:
            raise InputFileError(path, f"there is no <!-- begin {name} --> ... <!-- end {name} --> in it")
        text = f"{before}{begin}\n\n{content}\n\n{end}{after}"
    write_text(path, text)


def _with_interval(score: Mapping[str, Any], key: str) -> str:
    return f"{score[key]:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{content}\n\n</details>"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
