"""Screens one's own event files for transients: ranked alerts with time, duration, significance, colour and a picture.

    python scripts/screen.py FILES_OR_FOLDERS... --output outputs/screen
    python scripts/screen.py FILES... --embeddings outputs/embeddings/events/planted --dataset outputs/data/planted

Every event list is scanned for a burst, a dip or an eclipse of any width, and for pulses of any period. Its chance is
that of a constant rate to look as unlikely, after all windows, widths and periods that were tried; an alert is a list
with a chance of --threshold at most, and "false alarms" says how many constant lists, of as many as were screened,
would be as unlikely.
Writes alerts.md, alerts.csv, alerts.json and a picture an alert. What was screened is not screened again.
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

OUTPUT = Path("outputs/screen")
KINDS = ("true_variability", "true_class", "source_class")  # what a known case is; the first that it has is told
NUMBERS = (
    *("file", "kind", "chance", "false_alarms", "start", "mjd", "duration", "num_inside", "num_expected", "period"),
    *("hardness_inside", "hardness_outside", "hardness_of_excess", "colour_chance", "doubt", "num_photons"),
    *("good_time", "frame", "log10_chance", "window_log10_chance", "period_log10_chance", "picture"),
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", metavar="FILES", nargs="+", help="event lists, or folders of them")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the alerts (default: %(default)s)")
    parser.add_argument(
        "--threshold", type=float, default=0.01, help="chance of a constant list to be an alert (default: %(default)s)"
    )
    parser.add_argument("--max_pictures", type=int, default=50, help="of the first alerts (default: %(default)s)")
    parser.add_argument("--embeddings", help="folder of scripts/embed.py: the nearest known cases of each alert")
    parser.add_argument("--dataset", help="what was embedded: tells what the known cases are")
    parser.add_argument("--model", help="that made the embeddings; default: the one that they name")
    parser.add_argument("--num_cases", type=int, default=5, help="known cases of each alert (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not 0 < options.threshold <= 1:
        parser.error(f"--threshold is a chance, above 0 and 1 at most, not {options.threshold:g}")
    if options.num_cases < 1 or options.max_pictures < 0:
        parser.error("--num_cases must be at least 1, --max_pictures at least 0")
    if (options.dataset or options.model) and not options.embeddings:
        parser.error("--dataset and --model go with --embeddings")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.errors import InputFileError
    from chandraclip.files import write_json, write_text
    from chandraclip.lock import locked
    from chandraclip.observation.alert_lists import photon_files, screen_files
    from chandraclip.observation.screening import false_alarms
    from chandraclip.program import goes_on_from

    logging.getLogger("chandraclip").setLevel(logging.ERROR)  # what readers remark is in the notes of each list
    catalog = None
    if options.embeddings:
        from chandraclip.search import Catalog

        catalog = Catalog.from_pretrained(options.embeddings, options.dataset, model=options.model)
        check_kinds(catalog, options)
    lists, bad, num_others = photon_files(options.files)
    if not lists:
        first = next(iter(bad.items()), (options.files[0], "no event list in it"))
        raise InputFileError(*first)
    output = options.output
    with locked(output), goes_on_from(output, lambda: "the next list"):
        results = screen_files(lists, output)
        bad |= {one.path: one.reason or "" for one in results if one.found is None}
        screened = sorted(
            ((one.path, one.found) for one in results if one.found is not None), key=lambda pair: pair[1].log10_chance
        )
        alerts = [pair for pair in screened if 10.0 ** pair[1].log10_chance <= options.threshold]
        records = []
        for rank, (path, event) in enumerate(alerts, start=1):
            found = event.as_dict()
            record: dict[str, Any] = {"file": str(path), **found}
            record["chance"] = 10.0 ** found["log10_chance"]
            record["false_alarms"] = false_alarms(found["log10_chance"], len(screened))
            colour = found["colour_log10_chance"]
            record["colour_chance"] = None if colour is None else 10.0**colour
            record["picture"] = f"alert_{rank:03d}.png" if rank <= options.max_pictures else None
            record["known_cases"] = known_cases(catalog, path, options.num_cases)
            records.append(record)
        write_pictures(output, alerts, records)
        expected = options.threshold * len(screened)
        summary = {
            "screened": len(screened),
            "alerts": len(alerts),
            "threshold": options.threshold,
            "false_alarms_expected": expected,
            "trials": "of a list: every window of good time, every width, up and down, and every period (two tests)",
        }
        unusable = [{"file": str(path), "reason": reason} for path, reason in bad.items()]
        chances = [event.log10_chance for _, event in screened]
        rest = [{"file": str(path), **event.as_dict()} for path, event in screened[len(alerts) :]]
        content = {**summary, "alerts": records, "without_alert": rest, "unusable": unusable}
        content["num_alerts"] = len(alerts)
        write_json(output / "alerts.json", content)
        write_csv(output / "alerts.csv", records)
        text = page(summary, records, unusable, num_others)
        write_text(output / "alerts.md", text)
    print(text)
    median = f"; median chance {10.0 ** float(np.median(chances)):.2g}" if chances else ""
    print(f"wrote {output / 'alerts.md'}, alerts.csv, alerts.json and {sum(1 for _ in output.glob('alert_*.png'))}"
          f" picture(s){median}")  # fmt: skip
    if records:
        now_try(["scripts/inspect.py", records[0]["file"]])


def check_kinds(catalog: Any, options: argparse.Namespace) -> None:
    """Refuses a catalogue of which nothing is known: its detections are no cases.

    Raises:
        InputFileError: no detection has a kind.
    """
    from chandraclip.errors import InputFileError

    if not any(catalog.facts[name].notna().any() for name in KINDS if name in catalog.facts):
        path, hint = (options.dataset, "") if options.dataset else (catalog.table.path, "; --dataset may tell them")
        raise InputFileError(path, f"no detection has a kind ({', '.join(KINDS)}), so none is a known case{hint}")


def known_cases(catalog: Any, path: Path, number: int) -> list[dict[str, Any]]:
    """The nearest detections of the catalogue to the photons of a file, with what they are; or why there are none."""
    if catalog is None:
        return []
    from chandraclip.errors import InputFileError, QueryError
    from chandraclip.observation import Observation
    from chandraclip.observation.alert_lists import read_list

    try:
        found = catalog.search(files=Observation(events=read_list(path)), k=number, any_instrument=True)
    except (QueryError, InputFileError, ValueError) as error:
        return [{"reason": " ".join(str(error).split())}]
    wanted = ("similarity", "name", "obsid", *KINDS, "var_prob_b")
    rows = found[[name for name in wanted if name in found]].to_dict("records")
    return [{name: value for name, value in row.items() if value is not None and value == value} for row in rows]


def write_pictures(output: Path, alerts: Any, records: Any) -> None:
    """A picture of each alert that has one; those of runs before are removed."""
    from tqdm.auto import tqdm

    from chandraclip.files import atomic_path
    from chandraclip.observation.alert_lists import read_list
    from chandraclip.observation.alert_picture import draw_alert

    pairs = [(one, record) for one, record in zip(alerts, records) if record["picture"]]
    for (path, event), record in tqdm(pairs, desc="pictures", unit="alert", delay=5.0):
        title = f"{path.name}: {in_words(record)}, chance {power(record['log10_chance'])} of a constant rate"
        figure = draw_alert(read_list(path), event, title)
        with atomic_path(output / record["picture"]) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    kept = {record["picture"] for _, record in pairs}
    for old in output.glob("alert_*.png"):
        if old.name not in kept:
            old.unlink()


def in_words(record: dict[str, Any]) -> str:
    if record["kind"] == "pulsation":
        words = f"pulsation of {record['period']:.6g} s"
    else:
        words = f"{record['kind']} of {record['duration']:.4g} s"
    return f"{words} ({record['doubt']}?)" if record["doubt"] else words


def power(log10: float) -> str:
    """A chance, from its logarithm: those of clear events are below the smallest number that a computer has."""
    exponent = math.floor(log10)
    return f"{10.0**log10:.2g}" if exponent > -4 else f"{10.0 ** (log10 - exponent):.1f}e{exponent}"


def write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    import csv

    from chandraclip.files import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, NUMBERS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)


def page(summary: Any, records: Any, unusable: Any, num_others: int) -> str:
    """alerts.md: the ranked table, what the chances mean, what could not be read."""
    from chandraclip.evaluation.results import markdown_table

    lines = [
        "# Alerts",
        "",
        f"{summary['alerts']} of {summary['screened']} event list(s) have a chance of {summary['threshold']:g} at most "
        f"to come from a constant rate. Of as many constant ones, {summary['false_alarms_expected']:.3g} or fewer are "
        "alerts. A chance has paid for every window, width and period tried in its list; false alarms are those of "
        "all lists together.",
        "",
    ]
    rows = []
    for rank, record in enumerate(records, start=1):
        when = "-" if record["mjd"] is None else f"{record['mjd']:.5f}"
        rows.append(
            {
                "rank": rank,
                "file": Path(record["file"]).name,
                "event": in_words(record),
                "MJD": when,
                "after (s)": f"{record['start']:.6g}",
                "photons": record["num_inside"],
                "expected": "-" if record["kind"] == "pulsation" else record["num_expected"],
                "chance": power(record["log10_chance"]),
                "false alarms": power(record["log10_chance"] + math.log10(summary["screened"])),
                "hardness (of the excess, outside)": colours(record),
                "known cases": cases(record["known_cases"]),
            }
        )
    if rows:
        lines += [markdown_table(rows), ""]
    lines += [f"![{Path(one['file']).name}]({one['picture']})" for one in records if one["picture"]]
    if unusable:
        lines += ["", f"{len(unusable)} file(s) could not be screened:", ""]
        lines += [f"- {one['file']}: {one['reason']}" for one in unusable]
    if num_others:
        lines += ["", f"{num_others} other file(s) of the folders hold no photon list."]
    return "\n".join(lines) + "\n"


def colours(record: dict[str, Any]) -> str:
    if record["hardness_of_excess"] is None or record["hardness_outside"] is None:
        return "-"
    sure = "" if record["colour_chance"] is None else f" (chance {record['colour_chance']:.2g})"
    return f"{record['hardness_of_excess']:+.2f}, {record['hardness_outside']:+.2f}{sure}"


def cases(found: list[dict[str, Any]]) -> str:
    if not found:
        return "-"
    if "reason" in found[0]:
        return found[0]["reason"]
    what = [str(next((one[name] for name in (*KINDS, "name") if one.get(name)), "?")) for one in found]
    return ", ".join(f"{kind} x {what.count(kind)}" if what.count(kind) > 1 else kind for kind in dict.fromkeys(what))


if __name__ == "__main__":
    run_program(main)
