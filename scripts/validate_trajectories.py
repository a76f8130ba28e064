"""What trajectories find, and how often they are wrong: simulated campaigns of sources that change and of twins.

    python scripts/validate_trajectories.py outputs/align --output outputs/results/trajectories_validation

Decays, changes of state, flares and the slow noise of active nuclei, five observations each within two years, against
twins that do not change, with the same counts in all or in each observation. Beside the model: what an astronomer has
without one, count rate and hardness, through the same test. Writes metrics.json and validation.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KINDS = ("decay", "states", "flares", "red_noise")
COUNTS = (100.0, 5000.0)
BASELINE = "rate and hardness"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub id of the model")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/results/trajectories_validation"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="of change (default: all)")
    parser.add_argument("--num_sources", type=int, default=60, help="of each kind, and twins (default: %(default)s)")
    parser.add_argument("--num_observations", type=int, default=5, help="of each source (default: %(default)s)")
    parser.add_argument(
        "--counts",
        type=float,
        nargs=2,
        metavar=("LEAST", "MOST"),
        help="of all observations of a source, even in the log (default: 100 5000)",
    )
    parser.add_argument("--num_draws", type=int, default=99, help="see eval/trajectories.py (default: %(default)s)")
    parser.add_argument("--representation", nargs="+", metavar="NAME", help="default: all of X-rays together")
    parser.add_argument("--pileup", action="store_true", help="photons of one frame and cell are read as one event")
    parser.add_argument("--flux_free", action="store_true", help="a change of brightness alone is no movement")
    parser.add_argument("--batch_size", type=int, default=256, help="detections a forward pass (default: %(default)s)")
    parser.add_argument(
        "--max_events",
        type=int,
        default=512,
        help="photons of a list that the model sees, drawn at random; 0 for all (default: %(default)s)",
    )
    parser.add_argument("--device", help="torch device; default: cuda where there is one, else cpu")
    parser.add_argument("--seed", type=int, default=0, help="of sources and draws (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.kinds = options.kinds or list(KINDS)
    options.counts = options.counts or list(COUNTS)
    for name, least in {
        "num_sources": 2,
        "num_observations": 2,
        "num_draws": 39,
        "batch_size": 1,
        "max_events": 0,
        "seed": 0,
    }.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    if not 0 < options.counts[0] <= options.counts[1]:
        parser.error("--counts are two numbers above 0, the lesser first")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np
    import torch
    from sklearn.metrics import roc_auc_score, roc_curve

    from chandraclip.embedding.embedder import EmbedConfig, Embedder
    from chandraclip.embedding.points import embed_points, limit_photons
    from chandraclip.evaluation.results import markdown_table
    from chandraclip.evaluation.trajectories.figures import plot_validation
    from chandraclip.evaluation.trajectories.movement import Paths, measure_movement
    from chandraclip.evaluation.trajectories.selection import XRAY
    from chandraclip.files import write_json
    from chandraclip.model_folder import model_folder, model_id
    from chandraclip.simulate.campaigns import TWINS, simulate_campaigns
    from chandraclip.simulate.instrument.response import builtin_instrument

    folder = model_folder(options.model)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    responses = {response.response_id: response for response in builtin_instrument().responses}
    embedder = Embedder(EmbedConfig(str(folder), "simulated campaigns", options.batch_size, device), responses)
    limit_photons(embedder, options.max_events or None)
    known = list(embedder.outputs)
    representations = options.representation or next(
        (names for names in XRAY if all(name in known for name in names)),
        [name for name in known if not name.startswith("text_")][:1],
    )
    source = np.repeat(np.arange(options.num_sources), options.num_observations)
    methods = {
        "model": lambda rows: embed_points(embedder, rows, representations),
        BASELINE: rate_and_hardness,
    }
    results: dict[str, Any] = {method: {} for method in methods}
    rows: list[dict[str, Any]] = []
    constant: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    for number, kind in enumerate(options.kinds):
        samples = {
            name: simulate_campaigns(
                1000 * options.seed + KINDS.index(kind),
                kind,
                options.num_sources,
                options.num_observations,
                tuple(options.counts),
                twin=None if name == "changed" else name,
                pileup=options.pileup,
            )
            for name in ("changed", *TWINS)
        }
        for method, embed in methods.items():
            tables = {}
            for name, sample in samples.items():
                print(f"{kind}, {name}, {method}: {number + 1} of {len(options.kinds)} kinds")
                rows_of_it = without_photons(sample) if method == BASELINE else sample
                paths = Paths(rows_of_it, source, sample["mjd_obs"].to_numpy())
                movement = measure_movement(
                    paths,
                    responses,
                    embed,
                    num_draws=options.num_draws,
                    flux_free=options.flux_free,
                    seed=options.seed,
                )
                tables[name] = movement.table.sort_values("path")
            part: dict[str, Any] = {name: table["p_value"].tolist() for name, table in tables.items()}
            part["curves"] = {}
            constant[method] += [tables[twin]["p_value"].to_numpy() for twin in TWINS]
            for twin in TWINS:
                truth = np.repeat([1, 0], options.num_sources)
                score = np.concatenate([tables[name]["departure_sigma"] for name in ("changed", twin)])
                total = np.concatenate([tables[name]["total_counts"] for name in ("changed", twin)])
                auc = float(roc_auc_score(truth, score))
                low, high = auc_interval(score, options.num_sources, options.seed)
                curve = roc_curve(truth, score)
                part["curves"][twin] = [values.tolist() for values in curve[:2]]
                row = {"kind": kind, "twins": twin, "method": method, "AUC": auc, "low": low, "high": high}
                middle = np.sqrt(options.counts[0] * options.counts[1])
                for label, chosen in {"faint": total < middle, "bright": total >= middle}.items():
                    both = len(np.unique(truth[chosen])) == 2
                    row[f"AUC {label}"] = float(roc_auc_score(truth[chosen], score[chosen])) if both else float("nan")
                row["changed, p <= 0.05"] = float((tables["changed"]["p_value"] <= 0.05).mean())
                row["constant, p <= 0.05"] = float((tables[twin]["p_value"] <= 0.05).mean())
                rows.append(row)
            results[method][kind] = part
    alarms = [
        {"method": method, "stated": level, **false_alarms(np.concatenate(values), level)}
        for method, values in constant.items()
        for level in (0.025, 0.05, 0.1, 0.2)
    ]
    plot_validation(results["model"], options.output / "validation.png")
    facts = {"model": options.model, "model_id": model_id(folder), "representations": list(representations)}
    write_json(
        options.output / "metrics.json",
        {
            "evaluation": "trajectories on simulated campaigns",
            "embeddings": {**facts, "dataset": "simulated campaigns"},
            "headline": [
                {
                    "metric": f"{row['kind']} against constant twins ({row['twins']} counts equal) AUC",
                    "value": row["AUC"],
                    "low": row["low"],
                    "high": row["high"],
                    "chance": 0.5,
                    "baseline": next(
                        other["AUC"]
                        for other in rows
                        if other["method"] == BASELINE
                        and (other["kind"], other["twins"]) == (row["kind"], row["twins"])
                    ),
                    "baseline_name": BASELINE,
                    "published": None,
                    "comparable": None,
                }
                for row in rows
                if row["method"] == "model"
            ],
            "results": {"options": {**vars(options), "output": str(options.output)}, "rows": rows, "alarms": alarms},
        },
    )
    print(markdown_table(rows))
    print()
    print(markdown_table(alarms))
    print(
        f"\n{options.num_sources} sources of {options.num_observations} observations a row; chance of AUC: 0.5. "
        "Intervals: 95 %, bootstrap over sources; of false alarms Clopper and Pearson's."
    )
    print(f"wrote {options.output / 'metrics.json'}, {options.output / 'validation.png'}")
    now_try(["scripts/report.py", options.output, "--output", options.output / "report.md"])


def without_photons(rows: pa.Table) -> pa.Table:
    """Spectra alone, all that the baseline reads: photon lists take the longest to draw."""
    import pyarrow as pa

    for name in ("event_time", "event_energy", "gti_start", "gti_stop"):
        field = rows.schema.field(name)
        rows = rows.set_column(rows.column_names.index(name), field, pa.nulls(rows.num_rows, field.type))
    return rows


def rate_and_hardness(rows: pa.Table) -> np.ndarray:
    """(N, 3) log10 net counts/s, and the shares of the net counts in 0.5-1.2 and 2-7 keV, of 1,024 ACIS channels."""
    import numpy as np

    from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, BANDS
    from chandraclip.catalog.ragged import Ragged

    counts, region = (
        np.asarray(Ragged.from_arrow(rows[name]).values, dtype=np.float64).reshape(rows.num_rows, -1)
        for name in ("spectrum_counts", "spectrum_background")
    )
    net = counts - region * rows["background_scale"].to_numpy()[:, None]
    middle = ACIS_CHANNEL_WIDTH * (np.arange(net.shape[1]) + 0.5)
    soft, medium, hard = (
        net[:, (middle >= BANDS[band][0]) & (middle < BANDS[band][1])].sum(axis=1) for band in ("s", "m", "h")
    )
    total = np.maximum(soft + medium + hard, 0.5)
    rate = np.log10(total / rows["exposure"].to_numpy())
    return np.stack([rate, np.clip(soft / total, -2, 3), np.clip(hard / total, -2, 3)], axis=1).astype(np.float32)


def auc_interval(score: np.ndarray, num_sources: int, seed: int, num_resamples: int = 1000) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC, pairs of source and twin drawn together."""
    import numpy as np

    from chandraclip.evaluation.bootstrap import interval, resampled_auc

    changed, pair = np.repeat([True, False], num_sources), np.tile(np.arange(num_sources), 2)
    return interval(resampled_auc(score, changed, pair, num_resamples, seed))


def false_alarms(p_values: np.ndarray, level: float) -> dict[str, float]:
    """The measured share of constant sources at or below a p-value, with its exact binomial interval."""
    from scipy.stats import binomtest

    found = int((p_values <= level).sum())
    test = binomtest(found, len(p_values)).proportion_ci()
    return {
        "measured": found / len(p_values),
        "low": float(test.low),
        "high": float(test.high),
        "constant sources": len(p_values),
    }


if __name__ == "__main__":
    run_program(main)
