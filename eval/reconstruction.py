"""How well spectrum models reconstruct: Cash a bin in 0.5-7 keV by decade of counts, seen and held out, and the MAE.

    python eval/reconstruction.py outputs/reconstructions/spectrum --dataset outputs/data/default

Of one or several folders of scripts/reconstruct.py, on the same rows. Beside them: a constant, the mean spectrum and
PCA of train, absorbed power laws fitted to some of the spectra, and what each would score if it were the truth. Writes
metrics.json, reconstruction.md, spectra.csv and pictures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    import numpy as np

POWER_LAW = "power-law fit"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reconstructions", nargs="+", help="folders written by scripts/reconstruct.py")
    parser.add_argument("--dataset", required=True, help="folder or Hub id of the dataset that was reconstructed")
    parser.add_argument("--train", help="dataset of whose train split mean and PCA are; default: the same")
    parser.add_argument("--output", type=Path, help="folder for the results; default RECONSTRUCTIONS/reconstruction")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument("--num_fits", type=int, default=10, help="power laws fitted a decade (default: %(default)s)")
    parser.add_argument(
        "--fits", type=Path, help="JSON of fits made elsewhere: objects of counts, exposure_s, cstat, nbins"
    )
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of bootstrap and choice of fits (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.num_resamples < 1:
        parser.error("--num_resamples must be at least 1")
    if options.num_fits < 0:
        parser.error("--num_fits must be at least 0")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.count_spectra import ShapeModel
    from chandraclip.evaluation.reconstruction import (
        CONSTANT,
        differences,
        observed_counts,
        pca_name,
        score_models,
        summarize,
    )
    from chandraclip.evaluation.reconstruction_figures import (
        choose_examples,
        plot_by_decade,
        plot_examples,
        plot_residuals,
    )
    from chandraclip.evaluation.reconstructions import load_tables
    from chandraclip.evaluation.results import Headline, markdown_table, number, write_metrics
    from chandraclip.files import write_text

    tables = load_tables(options.reconstructions, options.split)
    first = next(iter(tables))
    table = tables[first]
    rows = spectra_of(options.dataset, table)
    try:
        observed = observed_counts(rows, table)
    except ValueError as error:
        raise InputFileError(options.dataset, f"is not what {table.path} was made of: {error}") from error
    given = read_fits(options.fits, rows) if options.fits else {}
    config = None if options.train else table.provenance.get("dataset_config")
    shapes = ShapeModel.fit(train_spectra(options.train or options.dataset, config))
    scores, expected = score_models(tables, observed, shapes)
    totals, names = observed.totals, table.name
    records = summarize(scores, totals, names, options.num_resamples, options.seed)
    others = [name for name in scores if name != first]
    compared = differences(scores, first, others, totals, names, options.num_resamples, options.seed)

    if shapes is None:
        print(f"{options.train or options.dataset}: train has too few spectra; the mean and PCA are left out")
    elif table.train_points is None:
        print(f"{table.path}: train has too few spectra; the MAE of mean and PCA is left out")
    fitted, fits = fit_power_laws(options, rows, observed, table)
    beside_fits = summarize(
        {POWER_LAW: fitted, **{name: _part(values, fits) for name, values in scores.items()}},
        totals[fits],
        names[fits],
        options.num_resamples,
        options.seed,
    ) if fitted else []  # fmt: skip

    def shown(items: list[dict[str, Any]]) -> str:
        cells = []
        for item in items:
            cell: dict[str, Any] = {key: item[key] for key in ("counts", "model", "num_rows") if key in item}
            for key in ("cash", "held_out_cash", "mae"):
                low, high = item.get(f"{key}_low"), item.get(f"{key}_high")
                if key in item:
                    cell[key] = f"{number(item[key])} [{number(low)}, {number(high)}]"
                if key != "mae" and key in item and "perfect" in item:
                    perfect = item["perfect" if key == "cash" else "held_out_perfect"]
                    cell[f"{key} if it were true"] = number(perfect)
            cells.append(cell)
        return markdown_table(cells)

    text = f"Cash a bin, 0.5-7 keV, and MAE of the points, by counts\n\n{shown(records)}\n"
    text += f"\nheld-out Cash a bin less that of {first}: above 0, {first} is better\n\n{shown(compared)}\n"
    if beside_fits:
        text += f"\nthe {len(fits)} spectra that were fitted\n\n{shown(beside_fits)}\n"
    spectra = table_of_spectra(table, totals, scores, given)
    if given:
        text += f"\nbeside the fits of {options.fits}\n\n{markdown_table(spectra)}\n"
    print(f"\n{text}")

    output = options.output or Path(options.reconstructions[0]) / "reconstruction"
    drawn = {name: values for name, values in expected.items() if name != CONSTANT}
    titles = [f"{name}, {total:.0f}" for name, total in zip(names, totals)]
    plot_by_decade(records, output / "reconstruction.png")
    examples = choose_examples(totals, scores[first].held_out_cash)
    plot_examples(observed, drawn, titles, examples, output / "reconstruction_examples.png")
    plot_residuals(observed, drawn, output / "reconstruction_residuals.png")

    by_place = {(record["counts"], record["model"]): record for record in records}
    headline = []
    for decade in dict.fromkeys(record["counts"] for record in records):
        for label, one in tables.items():
            record = by_place[decade, label]
            pca = by_place.get((decade, pca_name(int(one.provenance.get("num_latents", 8)))))
            headline.append(
                Headline(
                    f"{label}: held-out Cash a bin, {decade} counts",
                    value=record["held_out_cash"],
                    low=record["held_out_cash_low"],
                    high=record["held_out_cash_high"],
                    chance=by_place[decade, CONSTANT]["held_out_cash"],
                    baseline=pca["held_out_cash"] if pca else None,
                    baseline_name=pca["model"] if pca else None,
                )
            )
    results = {"by_counts": records, "differences": compared, "power_law_fits": beside_fits}
    results["models"] = [{"model": label, **one.provenance} for label, one in tables.items()]
    path = write_metrics(output, "reconstruction", table, headline, results)
    write_text(output / "reconstruction.md", text)
    write_text(output / "spectra.csv", csv_of(spectra))
    print(f"wrote {path}, reconstruction.md, spectra.csv and three pictures beside it")
    now_try(["scripts/report.py", output])


def spectra_of(dataset: str, table: Any) -> Any:
    """Arrow columns of the spectra of a table's detections, in its order."""
    import numpy as np
    import pyarrow as pa

    from chandraclip.data.schema import SPECTRUM_FIELDS
    from chandraclip.evaluation.dataset import column_batches

    names = [field.name for field in SPECTRUM_FIELDS]
    places, parts = zip(*column_batches(dataset, "pairs", [*names, "instrument"], table))
    return pa.concat_tables(parts).take(np.argsort(np.concatenate(places)))


def train_spectra(dataset: str, config: str | None = None) -> Iterator[tuple[Any, np.ndarray]]:
    """Channels and counts of the train split, some rows at a time."""
    import numpy as np
    from tqdm.auto import tqdm

    from chandraclip.catalog.ragged import Ragged
    from chandraclip.data.loading import load_splits
    from chandraclip.data.row_checks import without_bad_modalities
    from chandraclip.data.schema import MODALITY_COLUMNS
    from chandraclip.evaluation.count_spectra import BandSpectra

    splits = load_splits(dataset, "pairs", config)
    if "train" not in splits or "spectrum_counts" not in splits["train"].column_names:
        return
    train = splits["train"]
    view = train.select_columns([name for name in train.column_names if name in MODALITY_COLUMNS["spectrum"]])
    for start in tqdm(range(0, len(view), 4096), desc="spectra of train", unit="chunk"):
        rows = without_bad_modalities(view[start : start + 4096])
        band = BandSpectra.of(rows)
        yield band, np.asarray(Ragged.from_arrow(rows["spectrum_counts"]).values[band.channels], dtype=np.float64)


def fit_power_laws(options: argparse.Namespace, rows: Any, observed: Any, table: Any) -> tuple[Any, np.ndarray]:
    """Scores of absorbed power laws fitted to some spectra of each decade, and which rows these are.

    Each is fitted twice: to the spectrum, and to the half that models saw.
    """
    import numpy as np
    from tqdm.auto import tqdm

    from chandraclip.data.response_table import load_responses
    from chandraclip.data.row_objects import spectrum_of_row
    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.reconstruction import Observed, decade_of
    from chandraclip.observation.fitting import fit_spectrum

    totals, generator = observed.totals, np.random.default_rng(options.seed)
    chosen: list[int] = []
    for decade in np.unique(decade_of(totals)):
        own = np.flatnonzero((decade_of(totals) == decade) & (totals > 0))
        chosen += generator.permutation(own)[: options.num_fits].tolist()
    if not chosen:
        return None, np.zeros(0, dtype=np.int64)
    try:
        responses = load_responses(options.dataset)
    except InputFileError as error:
        print(f"no power law is fitted: {error}")
        return None, np.zeros(0, dtype=np.int64)
    held_out = table.held_out
    expected = {"full": np.zeros(len(observed.counts)), "half": np.zeros(len(observed.counts))}
    done = []
    for number in tqdm(sorted(chosen), desc="power laws", unit="spectrum"):
        row = {name: rows[name][number].as_py() for name in rows.column_names}
        row |= {name: values[number].item() for name, values in table.keys.items()}
        exposure, scale = row.get("exposure"), row.get("background_scale")
        half = {**row, "exposure": exposure / 2 if exposure else None}
        first, last = held_out.offsets[number : number + 2]
        half["spectrum_counts"] = np.asarray(row["spectrum_counts"]) - held_out.values[first:last]
        half["background_scale"] = None if scale is None else scale / 2
        band = slice(*np.searchsorted(observed.band.rows, [number, number + 1]))
        places = observed.band.channels[band] - first
        try:
            for kind, one in (("full", row), ("half", half)):
                spectrum = spectrum_of_row(one, responses)
                assert spectrum is not None
                fit = fit_spectrum(spectrum, statistic="cash")
                expected[kind][band] = (fit.expected_counts + fit.expected_background)[places]
        except (ValueError, InputFileError):  # no response, no counts in a half
            continue
        done.append(number)
    fits = np.array(done, dtype=np.int64)
    if not len(fits):
        print("no power law is fitted: none of the spectra chosen has a response and counts in both halves")
        return None, fits
    whole = Observed(observed.band, observed.counts, observed.held_out).score(expected["full"], expected["half"])
    return _part(whole, fits), fits


def _part(scores: Any, rows: np.ndarray) -> Any:
    from dataclasses import fields

    return type(scores)(**{field.name: getattr(scores, field.name)[rows] for field in fields(scores)})


def read_fits(path: Path, rows: Any) -> dict[int, dict[str, Any]]:
    """Row -> the fit made elsewhere of the spectrum with its counts and exposure."""
    from chandraclip.catalog.ragged import Ragged
    from chandraclip.errors import InputFileError

    needed = ("counts", "exposure_s", "cstat", "nbins")
    try:
        fits = [one for one in json.loads(path.read_text()).values() if set(needed) <= set(one)]  # others have no fit
        known = {(int(one["counts"]), round(float(one["exposure_s"]))): one for one in fits}
        for one in known.values():
            one["cash"] = float(one["cstat"]) / float(one["nbins"])
    except (OSError, ValueError, TypeError, AttributeError, ZeroDivisionError) as error:
        reason = f"no JSON of fits: objects with {', '.join(needed)} ({type(error).__name__}: {error})"
        raise InputFileError(path, reason) from error
    counts = Ragged.from_arrow(rows["spectrum_counts"])
    exposure = rows["exposure"].to_pylist() if "exposure" in rows.column_names else [None] * len(counts)
    result = {}
    for row in range(len(counts)):
        total = int(counts.values[counts.offsets[row] : counts.offsets[row + 1]].sum())
        fit = known.get((total, round(exposure[row] or 0)))
        if fit:
            result[row] = fit
    if not result:
        raise InputFileError(path, "none of these fits is of a spectrum reconstructed, by its counts and exposure")
    return result


def table_of_spectra(
    table: Any, totals: np.ndarray, scores: dict[str, Any], given: dict[int, dict[str, Any]]
) -> list[dict[str, Any]]:
    """One record a spectrum: counts, each model's Cash a bin, and the fit made elsewhere."""
    records: list[dict[str, Any]] = []
    for row in range(len(table)):
        record: dict[str, Any] = {"name": table.name[row], "obsid": int(table.keys["obsid"][row])}
        record["counts"] = int(totals[row])
        for model, values in scores.items():
            record[f"{model}"] = float(values.cash[row])
        if given:
            record[POWER_LAW] = float(given[row]["cash"]) if row in given else float("nan")
        first = next(iter(scores.values()))
        record["if it were true"] = float(first.perfect[row])
        record["sigma above"] = float(first.excess[row])
        record["held out"] = float(first.held_out_cash[row])
        records.append(record)
    return records


def csv_of(records: list[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


if __name__ == "__main__":
    run_program(main)
