"""Young stars against AGN by their folded spectra: a feed-forward network on simulated ACIS spectra.

    python eval/star_agn.py --output outputs/results/star_agn --dataset outputs/data/default

After Hebbar & Heinke 2023: stars as in COUP, AGN as in the CDF-S. Accuracy by counts, background share, N_H, kT, Gamma
and redshift, beside hardness ratios and chance. With --dataset, trained on the same, they also classify its rows of
those classes. Writes metrics.json, star_agn.md and star_agn.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

STARS = ("LM-STAR", "YSO")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--num_spectra", type=int, default=40_000, help="simulated, 3/10 for test (default 40000)")
    parser.add_argument("--max_epochs", type=int, default=200, help="of the network (default: %(default)s)")
    parser.add_argument("--dataset", help="dataset whose AGN, LM-STAR and YSO are classified too")
    parser.add_argument("--split", default="test", help="of the dataset (default: %(default)s)")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything drawn (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name, least in (("num_spectra", 200), ("max_epochs", 1), ("num_resamples", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name} must be at least {least}")
    if options.seed < 0:
        parser.error("--seed must be at least 0")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.evaluation.results import Headline, markdown_table, number, write_simulated_metrics
    from chandraclip.evaluation.star_agn import (
        HARDNESS,
        NETWORK,
        PUBLISHED_ACCURACY,
        StarAgnClassifier,
        accuracy_records,
    )
    from chandraclip.evaluation.star_agn_figures import plot_accuracy
    from chandraclip.files import write_text
    from chandraclip.simulate.star_agn import draw_star_agn

    rows = dataset_rows(options.dataset, options.split) if options.dataset else None
    print(f"drawing {options.num_spectra} spectra")
    spectra = draw_star_agn(options.num_spectra, options.seed)
    is_test = np.arange(len(spectra)) >= round(0.7 * len(spectra))
    print(f"training on {(~is_test).sum()}")
    classifier = StarAgnClassifier.fit(
        spectra.counts[~is_test],
        spectra.background[~is_test],
        spectra.is_agn[~is_test],
        max_epochs=options.max_epochs,
        seed=options.seed,
    )

    def judged(counts: Any, background: Any, is_agn: Any, truth: Any, names: Any) -> list[dict[str, Any]]:
        predicted = classifier.predict(counts, background)
        return accuracy_records(predicted, is_agn, truth, names, options.num_resamples, options.seed)

    test = {name: values[is_test] for name, values in spectra.truth.items()}
    results = {
        "simulated": judged(
            spectra.counts[is_test],
            spectra.background[is_test],
            spectra.is_agn[is_test],
            test,
            np.flatnonzero(is_test),
        )
    }
    if rows is not None:
        results["dataset"] = judged(*rows)

    text = ""
    for title, records in results.items():
        cells = [
            {
                **{key: record[key] for key in ("quantity", "range", "num_spectra")},
                **{
                    name: f"{number(record[name])} [{number(record[f'{name}_low'])}, {number(record[f'{name}_high'])}]"
                    for name in (NETWORK, HARDNESS)
                },
                "larger class": record["chance"],
            }
            for record in records
        ]
        source = options.dataset if title == "dataset" else "simulated test spectra"
        text += f"\naccuracy, {source}\n\n{markdown_table(cells)}\n"
    print(text)

    headline = []
    for title, records in results.items():
        for record in records:
            moderate = record["quantity"] == "moderate brightness"
            if moderate or record["quantity"] in ("all", "net_counts"):
                headline.append(
                    Headline(
                        f"star or AGN, accuracy, {title}, {record['quantity']} {record['range']}".strip(),
                        value=record[NETWORK],
                        low=record[f"{NETWORK}_low"],
                        high=record[f"{NETWORK}_high"],
                        chance=record["chance"],
                        baseline=record[HARDNESS],
                        baseline_name=HARDNESS,
                        published=PUBLISHED_ACCURACY if moderate and title == "simulated" else None,
                        comparable=False if moderate and title == "simulated" else None,
                    )
                )
    plot_accuracy(results["simulated"], options.output / "star_agn.png")
    facts = {"num_spectra": len(spectra), "seed": options.seed, "dataset": options.dataset, "split": options.split}
    path = write_simulated_metrics(options.output, "star_agn", facts, headline, results)
    write_text(options.output / "star_agn.md", text.lstrip())
    print(f"wrote {path}, {options.output / 'star_agn.md'}, {options.output / 'star_agn.png'}")
    now_try(["scripts/report.py", options.output])


def dataset_rows(dataset: str, split: str) -> tuple[Any, ...]:
    """Counts, background, class, net counts and background share, and names of a dataset's AGN, LM-STAR and YSO."""
    import numpy as np
    import pyarrow as pa

    from chandraclip.catalog.ragged import Ragged
    from chandraclip.catalog.resampling import scaled_background
    from chandraclip.data.keys import with_keys
    from chandraclip.data.loading import load_splits
    from chandraclip.data.row_checks import usable_columns, without_bad_modalities
    from chandraclip.data.schema import MODALITY_COLUMNS, SOURCE_CLASSES
    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.count_spectra import BandSpectra

    splits = load_splits(dataset, "pairs")
    if split not in splits:
        raise InputFileError(dataset, f"there is no split {split!r}, only {list(splits)}")
    part, columns = splits[split], MODALITY_COLUMNS["spectrum"]
    usable_columns(dataset, part.features.arrow_schema, {"spectrum": columns}, optional=columns[1:])
    read = {"name", "source_class", *columns}
    rows = with_keys(dataset, part.select_columns([name for name in part.column_names if name in read])[:], split)
    classes = rows["source_class"].fill_null(-1).to_numpy()
    wanted = [SOURCE_CLASSES.index(name) for name in ("AGN", *STARS)]
    rows = without_bad_modalities(rows)
    kept = np.isin(classes, wanted) & rows["spectrum_counts"].is_valid().to_numpy()
    if len(set(classes[kept] == wanted[0])) < 2:
        reason = f"split {split!r} has no spectra of both AGN and {' or '.join(STARS)}"
        raise InputFileError(dataset, reason, "source_class")
    rows, is_agn = rows.filter(pa.array(kept)), classes[kept] == wanted[0]
    band = BandSpectra.of(rows)
    counts = band.binned(Ragged.from_arrow(rows["spectrum_counts"]).values[band.channels].astype(np.float64))
    known = {name for name in rows.column_names if not pa.types.is_null(rows[name].type)}
    scaled = None
    if {"spectrum_background", "background_scale"} <= known:
        scale = rows["background_scale"].cast(pa.float64()).to_numpy()
        lists = Ragged.from_arrow(rows["spectrum_background"])
        scaled = scaled_background(Ragged.from_arrow(rows["spectrum_counts"]), lists, scale)
    background = np.zeros_like(counts) if scaled is None else band.binned(scaled[band.channels])
    total = counts.sum(axis=1)
    kept = total > 0
    truth = {
        "net_counts": np.maximum(total - background.sum(axis=1), 0.0)[kept],
        "background_share": np.clip(background.sum(axis=1) / np.maximum(total, 1.0), 0.0, 1.0)[kept],
    }
    return counts[kept], background[kept], is_agn[kept], truth, rows["name"].to_numpy().astype(str)[kept]


if __name__ == "__main__":
    run_program(main)
