"""How well event models know the count rate: the likelihood of photons that they were not shown, by decade of counts.

    python eval/rates.py outputs/reconstructions/events --dataset outputs/data/default

Of one or several folders of scripts/reconstruct.py, on the same halves of the same photon lists. Beside them: a
constant rate (0 by definition) and the Bayesian blocks of the half that models were shown. Lists that vary stand apart,
by their var_index_b of 6 or more and, where they were simulated, by what they were simulated as. Writes metrics.json,
rates.md, rates.png and light_curves.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    import numpy as np


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rates", nargs="+", help="folders written by scripts/reconstruct.py of event models")
    parser.add_argument("--dataset", required=True, help="folder or Hub id of the dataset that they are of")
    parser.add_argument("--output", type=Path, help="folder for the results; default RATES/rates")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument(
        "--min_photons", type=int, default=10, help="of a list that is judged, both halves (default: %(default)s)"
    )
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("num_resamples", "min_photons"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.errors import OptionError
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.rate_figures import choose_lists, plot_gains, plot_light_curves
    from chandraclip.evaluation.rate_tables import load_rate_tables
    from chandraclip.evaluation.rates import BLOCKS, CONSTANT, model_likelihoods, simple_likelihoods, summarize_rates
    from chandraclip.evaluation.results import Headline, markdown_table, number, write_metrics
    from chandraclip.files import write_text

    tables = load_rate_tables(options.rates, options.split)
    enough = np.flatnonzero(next(iter(tables.values())).num_photons >= options.min_photons)
    if not enough.size:
        raise OptionError(f"no list of split {options.split} has {options.min_photons} photons: --min_photons")
    tables = {label: table.select(enough) for label, table in tables.items()}
    table = next(iter(tables.values()))
    found = {label: model_likelihoods(one) for label, one in tables.items()} | simple_likelihoods(table)
    facts = join_columns(options.dataset, "catalog", ("var_index_b", "true_variability"), table)
    records = summarize_rates(found, table, groups_of(facts, len(table)), options.num_resamples, options.seed)

    def shown(record: dict[str, Any]) -> dict[str, Any]:
        low, high = record["gain_low"], record["gain_high"]
        blocks = [number(record[f"gain_over_blocks{end}"]) for end in ("", "_low", "_high")]
        cells = {name: record[name] for name in ("group", "model", "num_lists", "num_sources", "log_likelihood")}
        cells |= {"gain": f"{number(record['gain'])} [{number(low)}, {number(high)}]"}
        cells |= {"gain over blocks": f"{blocks[0]} [{blocks[1]}, {blocks[2]}]", "lists that gain": record["better"]}
        return {**cells, "own photons": record["own_gain"]}

    text = (
        "ln likelihood a photon of the half that models were not shown, and its gain over a constant rate (nats a "
        "photon, 95 % intervals over sources); of all photons, the background's too. own photons: the gain on the "
        "photons that were shown, which an "
        "autodecoder maximises and which grows with every parameter.\n\n"
        f"{markdown_table(shown(record) for record in records)}\n"
    )
    print(f"\n{text}")

    output = options.output or Path(options.rates[0]) / "rates"
    plot_gains(records, output / "rates.png")
    plot_light_curves(tables, choose_lists(found, table), output / "light_curves.png")
    cell = {(record["group"], record["model"]): record for record in records}
    headline = [
        Headline(
            f"{label}: gain of held-out photons over the constant rate, {group}, nats a photon",
            value=cell[group, label]["gain"],
            low=cell[group, label]["gain_low"],
            high=cell[group, label]["gain_high"],
            chance=cell[group, CONSTANT]["gain"],
            baseline=cell[group, BLOCKS]["gain"],
            baseline_name=BLOCKS,
        )
        for group in dict.fromkeys(record["group"] for record in records)
        for label in tables
    ]
    results = {"split": options.split, "min_photons": options.min_photons, "groups": records}
    results["models"] = [{"model": label, **one.provenance} for label, one in tables.items()]
    path = write_metrics(output, "rates", table, headline, results)
    write_text(output / "rates.md", text)
    print(f"wrote {path}, rates.md, rates.png and light_curves.png beside it")
    now_try(["scripts/report.py", output])


def groups_of(facts: dict[str, Any], num_rows: int) -> dict[str, np.ndarray]:
    """Title -> rows: all, those whose own photons vary, and those that were simulated so."""
    import numpy as np

    from chandraclip.catalog.variability import VARIABLE_INDEX

    groups = {"all": np.ones(num_rows, dtype=bool)}
    if "var_index_b" in facts:
        groups[f"var_index_b >= {VARIABLE_INDEX}"] = facts["var_index_b"].astype(float) >= VARIABLE_INDEX
    kinds = facts.get("true_variability", np.full(num_rows, None))
    for kind in sorted({kind for kind in kinds if isinstance(kind, str)}):
        groups[f"simulated: {kind}"] = np.array([one == kind for one in kinds])
    return groups


if __name__ == "__main__":
    run_program(main)
