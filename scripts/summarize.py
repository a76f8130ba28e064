#!/usr/bin/env python
"""Summaries of the papers about sources, by a chat model, checked. Says what it costs first; goes on where it stopped.

    python scripts/summarize.py outputs/literature.parquet outputs/summaries.parquet --model FOLDER_OR_HUB_ID
    python scripts/summarize.py outputs/literature.parquet outputs/summaries.parquet --base_url URL --model NAME

The first runs a model of transformers here, the second asks a server that speaks OpenAI's protocol, with the token
in CHAT_API_TOKEN. Then: scripts/build_dataset.py texts DATASET outputs/summaries.parquet OUTPUT_DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from chandraclip.program import now_try, run_program
from chandraclip.ranks import add_rank_options, share_of

if TYPE_CHECKING:
    from chandraclip.summaries.chat_models import ChatModel

TOKEN = "CHAT_API_TOKEN"
PROMPT = "ab-1"
SHOWN = 5  # of the failed


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("literature", metavar="LITERATURE", type=Path, help="what scripts/literature.py wrote")
    parser.add_argument("output", metavar="OUTPUT", type=Path, help="Parquet file; beside it OUTPUT's cache")
    parser.add_argument("--model", required=True, help="folder or Hub id; with --base_url as the server calls it")
    parser.add_argument("--base_url", help="of a server that speaks OpenAI's protocol, up to /v1")
    parser.add_argument("--prompt", default=PROMPT, metavar="VERSION", help="(default: %(default)s)")
    parser.add_argument("--max_tries", type=int, default=3, help="answers to a question (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=8, help="questions asked together (default: %(default)s)")
    parser.add_argument(
        "--num_parallel", type=int, default=4, help="with --base_url: requests at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--requests_per_second", type=float, default=10.0, help="with --base_url: at most (default: %(default)s)"
    )
    parser.add_argument("--attempts", type=int, default=6, help="times that a request is made (default: %(default)s)")
    parser.add_argument("--read_timeout", type=float, default=300.0, help="s without an answer (default: %(default)s)")
    parser.add_argument("--price_input", type=float, help="of a million tokens, for the estimate of the cost")
    parser.add_argument("--price_output", type=float, help="of a million tokens, for the estimate of the cost")
    parser.add_argument("--max_cost", type=float, help="ask nothing if the estimate is higher")
    parser.add_argument("--retry_failed", action="store_true", help="ask again what was given up in an earlier run")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="of the answers (default: OUTPUT's name.cache)")
    parser.add_argument("--dry_run", action="store_true", help="write what would be asked, and ask nothing")
    add_rank_options(parser)
    options = parser.parse_args(arguments)
    options.share = share_of(parser, options)
    if options.output.suffix != ".parquet":
        parser.error(f"OUTPUT must end with .parquet, got {options.output}")
    if options.max_cost is not None and None in (options.price_input, options.price_output):
        parser.error("--max_cost needs --price_input and --price_output")
    if min(options.price_input or 0.0, options.price_output or 0.0, options.max_cost or 0.0) < 0:
        parser.error("prices and costs cannot be negative")
    if min(options.max_tries, options.batch_size, options.num_parallel, options.attempts) < 1:
        parser.error("--max_tries, --batch_size, --num_parallel and --attempts must be at least 1")
    if options.requests_per_second <= 0 or options.read_timeout <= 0:
        parser.error("--requests_per_second and --read_timeout must be positive")
    return options


def make_model(options: argparse.Namespace) -> ChatModel:
    from chandraclip.acquire.http import Manners
    from chandraclip.acquire.secrets import token_of
    from chandraclip.summaries.chat_models import Endpoint, LocalModel

    if options.base_url is None:
        return LocalModel(options.model)
    manners = Manners(
        seconds_between=1.0 / options.requests_per_second,
        attempts=options.attempts,
        read_timeout=options.read_timeout,
    )
    return Endpoint(options.base_url, options.model, token_of(TOKEN), options.num_parallel, manners)


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    # slow to import: --help is not
    from chandraclip.errors import OptionError
    from chandraclip.summaries.prompting import read_prompt
    from chandraclip.summaries.summarizing import Summarizer

    summarizer = Summarizer(
        options.literature,
        options.output,
        make_model(options),
        read_prompt(options.prompt),
        options.max_tries,
        options.batch_size,
        options.cache,
        options.retry_failed,
        share=options.share,
    )
    estimate = summarizer.estimate()
    print(
        f"{estimate.num_sources:,} sources, {estimate.num_with_papers:,} with an abstract: {estimate.num_questions:,} "
        f"questions, {estimate.num_left:,} left to ask\n"
        f"  {estimate.num_input_tokens:,} tokens in ({'counted' if estimate.is_counted else 'from their characters'}), "
        f"at most {estimate.num_output_tokens:,} out; up to {options.max_tries} times that, where answers are refused",
        flush=True,
    )
    if options.price_input is not None and options.price_output is not None:
        cost = estimate.cost(options.price_input, options.price_output)
        print(f"  at most {cost:,.2f} at these prices, each question once", flush=True)
        if options.max_cost is not None and cost > options.max_cost:
            raise OptionError(
                f"the estimate, {cost:,.2f}, is above --max_cost {options.max_cost:,.2f}; nothing was asked"
            )
    if options.dry_run:
        print(f"{summarizer.write_prompts()}: what would be asked")
        return 0
    done = summarizer.summarize()
    if done.num_asked is not None:
        share = options.share
        print(f"{summarizer.cache}: rank {share.rank} of {share.num_ranks}: {done.num_asked:,} questions asked")
        return 0
    print(f"{options.output}: {done.num_written:,} summaries")
    if done.num_failed:
        print(f"  {done.num_failed:,} without: no answer was accepted (column problems; --retry_failed asks again)")
        for name, problems in done.failed[:SHOWN]:
            print(f"    {name}: {problems}")
    now_try(["scripts/build_dataset.py", "texts", "DATASET", options.output, "OUTPUT_DIR"])
    return 0


if __name__ == "__main__":
    run_program(main)
