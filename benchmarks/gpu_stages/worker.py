"""A process that runs the stages one after another, and is replaced when one of them hangs or breaks the device."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from gpu_stages.job import Job, Unavailable


def _serve(connection: Connection) -> None:
    os.setsid()  # so that what a stage starts can be ended with it
    while True:
        try:
            module, function, job = connection.recv()
        except EOFError:
            return
        answer: tuple[str, Any]
        try:
            answer = "rows", getattr(import_module(module), function)(job)
        except Unavailable as error:
            answer = "unavailable", str(error)
        except ModuleNotFoundError as error:
            missing = (error.name or "?").split(".")[0]
            answer = ("failed", str(error)) if missing == "chandraclip" else ("unavailable", f"needs {missing}")
        except BaseException as error:
            traceback.print_exc()
            answer = "failed", f"{type(error).__name__}: {error}".strip().splitlines()[0]
        connection.send(answer)


class Worker:
    """Starts when it is first needed. After a failure, a fresh one takes its place: CUDA errors outlive their cause."""

    def __init__(self) -> None:
        self._process: Any = None
        self._busy = False
        self._connection: Connection | None = None

    def run(self, module: str, function: str, job: Job, timeout_s: float) -> tuple[str, Any]:
        """Call a function of a module with the job, for at most `timeout_s`.

        Returns:
            ("rows", the stage's rows), ("unavailable", reason) or ("failed", reason).
        """
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs,))
            self._process.start()
            theirs.close()
        assert self._connection is not None
        self._connection.send((module, function, job))
        self._busy = True
        try:
            if not self._connection.poll(timeout_s):
                answer: tuple[str, Any] = "failed", f"not done after {timeout_s:.0f} s"
            else:
                answer = self._connection.recv()
                self._busy = False
        except (EOFError, ConnectionError):
            self._process.join(5)
            answer = "failed", f"the process died, exit code {self._process.exitcode}"
        if answer[0] == "failed":
            self.stop()
        return answer

    def stop(self) -> None:
        """End the process and all that its stages started."""
        if self._process is None or self._connection is None:
            return
        self._connection.close()  # an idle one ends by itself
        self._process.join(0 if self._busy else 5)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self._process = self._connection = None
