"""What evaluations wrote as one page: every number beside its published figure, every table, every picture.

    python scripts/report.py outputs/results/align

Writes index.html, which holds its pictures and needs no network, and the same as report.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="folders that evaluations wrote, or folders above them")
    parser.add_argument("--output", type=Path, help="folder for the report; default RESULTS/report, of the first")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.report import (
        MARKDOWN_FILE,
        PAGE_FILE,
        REPORT_FOLDER,
        find_evaluations,
        headline_rows,
        report_text,
    )
    from chandraclip.evaluation.report_page import report_page
    from chandraclip.evaluation.results import markdown_table
    from chandraclip.files import write_text

    evaluations = find_evaluations(options.results)
    output = options.output or options.results[0] / REPORT_FOLDER
    text = report_text(evaluations, output)
    page = report_page(text, output)
    write_text(output / MARKDOWN_FILE, text)
    write_text(output / PAGE_FILE, page)
    if rows := headline_rows(evaluations):
        print(markdown_table(rows))
    print(f"wrote {output / PAGE_FILE}, {output / MARKDOWN_FILE}")


if __name__ == "__main__":
    run_program(main)
