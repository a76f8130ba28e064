"""The accelerator every loop uses, and how a run of several processes ends."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

from chandraclip.errors import InputFileError


def make_accelerator() -> Accelerator:
    """For one CPU, one GPU, or what torchrun or accelerate launch set up.

    A tower that no row of a local batch needs has no gradient there, hence `find_unused_parameters`; the other
    processes wait for the main one while it simulates data, hence the long timeout.
    """
    handlers = [
        DistributedDataParallelKwargs(find_unused_parameters=True),
        InitProcessGroupKwargs(timeout=timedelta(hours=3)),
    ]
    return Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=handlers)


def shut_down() -> None:
    """Last act of a program, after models are out of scope: without it about 1 run in 5 on gloo aborts at exit."""
    gc.collect()
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def run_program(main: Callable[[], None]) -> None:
    """Run the `main` of a loop: logs on stdout, bad input as one line, and an orderly end of all processes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main()
    except InputFileError as error:
        sys.exit(f"error: {error}")
    shut_down()
