"""The accelerator every loop uses, and how a run of several processes ends."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
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
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=handlers)
    if accelerator.num_processes == 1 and accelerator.device.type == "cpu":
        undo_one_thread()
    return accelerator


def undo_one_thread() -> None:
    """Let one process use all cores where it was `accelerate launch` that set OMP_NUM_THREADS to 1.

    It does so wherever the user sets nothing, for one process too; its other variables tell that it did. A number that
    the user chose, and several processes, keep theirs: more threads than cores spin and run 7 to 10 times slower.
    """
    if os.environ.get("OMP_NUM_THREADS") == "1" and "ACCELERATE_DYNAMO_BACKEND" in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))


def shut_down() -> None:
    """Last act of a program, after models are out of scope: without it about 1 run in 5 on gloo aborts at exit."""
    gc.collect()
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def keep_memory_flat() -> None:
    """Have glibc give large blocks back when they are freed.

    Photon lists make every step's tensors another size. By default glibc learns to keep ever larger blocks, and memory
    grows by gigabytes over a run: 1.5 GB in 80 steps of the event pre-training, against 0.6 GB so. It costs a tenth of
    the speed.
    """
    with contextlib.suppress(OSError, AttributeError):  # other C libraries have no need or no such function
        ctypes.CDLL("libc.so.6").mallopt(-3, 4 * 2**20)  # M_MMAP_THRESHOLD, bytes


def run_program(main: Callable[[], None]) -> None:
    """Run the `main` of a loop: logs on stdout, bad input as one line, and an orderly end of all processes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_memory_flat()
    try:
        main()
    except InputFileError as error:
        sys.exit(f"error: {error}")
    shut_down()
