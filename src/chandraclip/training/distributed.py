"""The accelerator every loop uses, and how several processes agree and end."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import datasets
import torch
import torch.distributed as dist
import transformers
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs

from chandraclip.errors import OptionError
from chandraclip.program import OtherProcessError, at_end
from chandraclip.training.arguments import RunArguments


def make_accelerator(arguments: RunArguments, find_unused_parameters: bool = False) -> Accelerator:
    """For one CPU, one GPU, or what torchrun or accelerate launch set up; also logs on stdout, and an orderly end.

    Args:
        arguments: of the run. Where they say nothing of gradient_accumulation_steps, accelerate's number is put there
            (its launcher's, of ACCELERATE_GRADIENT_ACCUMULATION_STEPS). The loops cut their batches themselves, so
            the accelerator, which would divide the loss of each part by that number, is told of none.
        find_unused_parameters: for models of others, which may hold parameters that the loss does not depend on.

    Raises:
        OptionError: batch_size does not divide into that many equal parts, or fp16 is asked for on a CPU.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_memory_flat()
    at_end(shut_down)
    handlers = [
        DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters),
        InitProcessGroupKwargs(timeout=timedelta(hours=3)),  # all wait while one simulates the data
    ]
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=handlers)
    if not accelerator.is_main_process:  # it speaks for all
        logging.getLogger().setLevel(logging.WARNING)
        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
    if accelerator.num_processes == 1 and accelerator.device.type == "cpu":
        undo_one_thread()
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise OptionError("mixed precision fp16 needs a GPU (accelerate would train in fp32); on a CPU take bf16")
    parts = arguments.gradient_accumulation_steps or accelerator.gradient_accumulation_steps
    accelerator.gradient_accumulation_steps = 1
    if arguments.batch_size % (accelerator.num_processes * parts):
        raise OptionError(
            f"batch_size {arguments.batch_size} does not divide into {accelerator.num_processes} process(es) x "
            f"{parts} gradient_accumulation_steps; take a multiple of {accelerator.num_processes * parts}"
        )
    arguments.gradient_accumulation_steps = parts
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


T = TypeVar("T")


def on_main_process(accelerator: Accelerator, action: Callable[[], T]) -> T | None:
    """Have the main process do something while the others wait; where it fails, every process ends.

    Returns:
        What the action gives; None in the other processes.

    Raises:
        Exception: in the main process, the action's.
        OtherProcessError: in the others, which then end without a word.
    """
    result, error = None, None
    if accelerator.is_main_process:
        try:
            result = action()
        except Exception as found:
            error = found
    failed = torch.tensor(float(error is not None), device=accelerator.device)
    failed = accelerator.reduce(failed, reduction="sum")
    if error is not None:
        raise error
    if failed.item():
        raise OtherProcessError("the main process has failed")
    return result
