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


def make_accelerator(find_unused_parameters: bool = False) -> Accelerator:
    """For one CPU, one GPU, or what torchrun or accelerate launch set up.

    Args:
        find_unused_parameters: for models of others, which may hold parameters that the loss does not depend on.
    """
    handlers = [
        DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters),
        InitProcessGroupKwargs(timeout=timedelta(hours=3)),  # all wait while one simulates the data
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
