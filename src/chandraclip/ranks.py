"""One job as any number of independent processes, which need to know nothing of each other but their number.

The tasks of a job are numbered, and a task's result does not depend on who does it. Rank R of N does the tasks R,
R + N, R + 2 N and so on, and leaves them in the job's output folder; `--merge` verifies that all are there and joins
them. A rank that died is run again, and goes on; N may change in between. Without options one process does all of it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """What of a job a process does.

    Attributes:
        rank: it does the tasks of this rank, and leaves the joining to another; None: all of them.
        num_ranks: so many share the tasks.
        only_merge: it does no task, and joins what ranks have done.
    """

    rank: int | None = None
    num_ranks: int = 1
    only_merge: bool = False

    @property
    def is_rank(self) -> bool:
        return self.rank is not None

    @property
    def name(self) -> str:
        """For its lock: of N, since of another N a rank has other tasks."""
        return f"{self.rank}-of-{self.num_ranks}"

    def of(self, num_tasks: int) -> range:
        """The numbers of its tasks."""
        return range(num_tasks) if self.rank is None else range(self.rank, num_tasks, self.num_ranks)


WHOLE = Share()


def add_rank_options(parser: argparse.ArgumentParser) -> None:
    """`--rank R --num_ranks N` and `--merge`, as `scripts/run_ranks.py` gives them to any program that has them."""
    parser.add_argument("--rank", type=int, metavar="R", help="do the tasks of this rank alone, 0 to N - 1")
    parser.add_argument("--num_ranks", type=int, metavar="N", help="with --rank: so many share the tasks")
    parser.add_argument("--merge", action="store_true", help="do no task: verify and join what the ranks have made")


def share_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Share:
    """The share that the options name; ends the program where they do not go together."""
    if (options.rank is None) != (options.num_ranks is None):
        parser.error("--rank and --num_ranks go together")
    if options.merge and options.rank is not None:
        parser.error("--merge does no rank's tasks: leave --rank out")
    if options.rank is None:
        return Share(only_merge=options.merge)
    if not 0 <= options.rank < options.num_ranks:
        parser.error(f"--rank {options.rank} is none of 0 to {options.num_ranks - 1}")
    return Share(options.rank, options.num_ranks)
