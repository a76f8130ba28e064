"""Join the metrics.json of several evaluations into one table.

python scripts/report.py outputs/results --output outputs/results/report.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, help="folders that evaluations wrote, or folders above them")
    parser.add_argument("--output", type=Path, help="Markdown file to write as well")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.results import join_metrics, markdown_table
    from chandraclip.files import atomic_path

    frame = join_metrics(options.results).drop(columns="file")
    text = markdown_table(frame.astype(object).where(frame.notna(), None).to_dict("records")) + "\n"
    print(text, end="")
    if options.output:
        with atomic_path(options.output) as temporary:
            temporary.write_text(text)
        print(f"wrote {options.output}")


if __name__ == "__main__":
    run_program(main)
