"""Do longer lists help? A model of photon lists that reads 512, 2,048 or all photons, 8 hours or all: its scores.

    python scripts/compare_photons_read.py outputs/events outputs/csc_mock --output outputs/photons_read

Embeds the dataset once for each length, cut to its first photons or hours (scripts/embed.py --max_photons,
--max_hours), and asks eval/event_tasks.py of all of them: what is asked for, hardness and variability, is always of the
whole list, and those are judged that are longer than the shortest cut. Writes comparison.md and comparison.json. What
is finished is not repeated.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chandraclip.program import run_program

REPOSITORY = Path(__file__).resolve().parents[1]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder or Hub id of a model that reads photon lists")
    parser.add_argument("dataset", help="folder or Hub id of the dataset")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/photons_read"), help="for everything (default %(default)s)"
    )
    parser.add_argument(
        "--photons", type=int, nargs="*", default=[512, 2048], help="read of a list, beside all (default: %(default)s)"
    )
    parser.add_argument(
        "--hours", type=float, nargs="*", default=[8.0], help="read of an observation, beside all (default %(default)s)"
    )
    parser.add_argument("--min_photons", type=int, help="of a list that is judged; default: the fewest of --photons")
    parser.add_argument("--num_resamples", type=int, default=1000, help="bootstrap resamples of sources (default 1000)")
    options = parser.parse_args(arguments)
    if any(number <= 0 for number in (*options.photons, *options.hours)):
        parser.error("--photons and --hours must be above 0")
    if options.num_resamples < 1:
        parser.error("--num_resamples must be at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.comparison import (
        check_settings,
        contents_of,
        headlines,
        over_seeds,
        place_of,
        run_steps,
        write_comparison,
    )

    names = ("photons", "hours", "min_photons", "num_resamples")
    settings = {name: getattr(options, name) for name in names}
    settings |= {"model": place_of(options.model), "dataset": place_of(options.dataset)}
    contents = contents_of(options.dataset)
    settings["dataset_id"] = contents[settings["dataset"]]
    check_settings(options.output, settings)
    run_steps(commands(options), REPOSITORY, options.output, contents)
    found = {("event_tasks", item["metric"]): [item] for item in headlines(options.output / "event_tasks")}
    heading = (
        f"{options.model} on {options.dataset}: lists of {fewest(options)} photons or more, cut short as each row "
        "says; what is asked for is of the whole list."
    )
    write_comparison(options.output, settings, over_seeds(found), heading)


def lengths(options: argparse.Namespace) -> dict[str, list[str]]:
    """Name of a folder -> options of scripts/embed.py."""
    found: dict[str, list[str]] = {}
    for number in options.photons:
        found[f"{number}_photons"] = ["--max_photons", str(number)]
    for number in options.hours:
        found[f"{number:g}_hours"] = ["--max_hours", str(number)]
    return {**found, "all": []}


def fewest(options: argparse.Namespace) -> int:
    return int(options.min_photons or min(options.photons, default=10))


def commands(options: argparse.Namespace) -> Iterator[tuple[list[str], Path]]:
    """The programs in order, each with the file that it writes last."""
    from chandraclip.evaluation.comparison import place_of

    folder, dataset, model = options.output.resolve(), place_of(options.dataset), place_of(options.model)
    embedded = []
    for name, cut in lengths(options).items():
        output = folder / "embeddings" / name
        yield ["scripts/embed.py", model, dataset, str(output), *cut], output / "embeddings.json"
        embedded.append(str(output))
    output = folder / "event_tasks"
    asked: list[Any] = ["--min_photons", str(fewest(options)), "--num_resamples", str(options.num_resamples)]
    yield ["eval/event_tasks.py", *embedded, dataset, "--output", str(output), *asked], output / "metrics.json"


if __name__ == "__main__":
    run_program(main)
