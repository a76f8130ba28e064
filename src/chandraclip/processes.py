"""Worker processes that end with the program: silently on Ctrl-C, and also when the program is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Read when a worker imports numpy, torch or tokenizers: their threads would fight for the cores.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
PATIENCE = 5.0  # s, until a worker that was asked to end is killed

Tasks = Sequence[Callable[[], Any]]


@contextmanager
def task_runner(
    num_processes: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
) -> Iterator[Callable[[Tasks], Iterator[Any]]]:
    """A function that calls each task and yields the results as they come, here or in spawned processes.

    Args:
        num_processes: 1 calls the tasks here, one after the other; more take picklable ones.
        initializer, initargs: called once in each process before its first task.
    """
    if num_processes <= 1:
        if initializer is not None:
            initializer(*initargs)
        yield lambda tasks: (task() for task in tasks)
        return
    saved = {name: os.environ.get(name) for name in _ENVIRONMENT}
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, context, _start_worker, (initializer, initargs))

    def run(tasks: Tasks) -> Iterator[Any]:
        # The workers that start here inherit the mask: Ctrl-C reaches the whole group, and this process ends them.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = [pool.submit(_call, task) for task in tasks]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for future in as_completed(futures):
            yield future.result()

    os.environ.update(_ENVIRONMENT)
    try:
        yield run
    except BaseException:
        # No future is cancelled: a broken pool stumbles over those.
        workers = set(multiprocessing.active_children()) - others
        for worker in workers:
            worker.terminate()
        end = time.monotonic() + PATIENCE
        for worker in workers:
            worker.join(max(0.0, end - time.monotonic()))
            worker.kill()
        raise
    finally:
        pool.shutdown()
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Terminated(BaseException):
    """SIGTERM came during a task, which removes what it has half written."""


_in_task = False


def _call(task: Callable[[], Any]) -> Any:
    """A task in a worker, which SIGTERM ends after the `finally` blocks of the task, and without a word."""
    global _in_task
    _in_task = True
    try:
        return task()
    except _Terminated:
        os._exit(1)
    finally:
        _in_task = False


def _terminate(number: int, frame: FrameType | None) -> None:
    if _in_task:
        raise _Terminated
    os._exit(1)


def _start_worker(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: a pool's workers else wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)
