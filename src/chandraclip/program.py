"""How a program ends: one line that says what happened and how to go on, and no traceback unless it is asked for."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from chandraclip import lock
from chandraclip.errors import InputFileError, OptionError, QueryError

DEBUG = "CHANDRACLIP_DEBUG"
_AGAIN = "run the same command again"
# Errors of the disk, wherever a library wraps them, and the remedy.
_DISK = {
    errno.ENOSPC: ("the disk is full", "make room"),
    errno.EDQUOT: ("the disk quota is used up", "make room"),
    errno.EFBIG: ("a file grew larger than is allowed here", "raise the limit (ulimit -f)"),
}
_PLACE = {
    errno.EACCES: ("permission denied", "change its permissions or choose another folder"),
    errno.EPERM: ("permission denied", "change its permissions or choose another folder"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another folder"),
    errno.EEXIST: ("a file stands where a folder is needed", "choose another folder"),
}


class OtherProcessError(RuntimeError):
    """Another process of this run has failed, and says why."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: as a batch system ends a job."""


_last_acts: list[Callable[[], None]] = []
_next: list[Sequence[object]] = []


def at_end(act: Callable[[], None]) -> None:
    """Have `run_program` call `act` when `main` has returned, its variables out of scope; not after an error."""
    if act not in _last_acts:
        _last_acts.append(act)


def run_program(main: Callable[[], int | None]) -> NoReturn:
    """Run a program's `main` and end the process with its status: 130 for Ctrl-C, 1 for an error, 2 for a question that
    has no answer, as for a command line that does not parse.

    An error that the user can mend, a full disk, Ctrl-C and SIGTERM end in one line on stderr; in a traceback with
    CHANDRACLIP_DEBUG=1 in the environment. Of a run of several processes only the one at fault speaks, or the first.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and background jobs of a shell have it
            signal.signal(number, _stop)
    threading.excepthook = _thread_hook
    try:
        status = main() or 0
        for act in _last_acts:
            act()
        if not status:
            _print_next()
    except Exception as error:
        status = 2 if isinstance(error, QueryError) else 1
        line = explain(error)
        if os.environ.get(DEBUG) or (line is None and not _is_hearsay(error)):
            traceback.print_exc()
        elif line is not None:
            _say(f"error: {line}")
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        status = 1 if terminated else 130
        if os.environ.get(DEBUG):
            traceback.print_exc()
        elif _rank() == 0:
            _say(f"stopped by {'SIGTERM' if terminated else 'Ctrl-C'}; {_how_to_go_on(error)}")
    finally:
        lock.release_all()
    if status and "RANK" in os.environ:  # the others are gone or going: an orderly end would wait for them
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


@contextmanager
def goes_on_from(folder: Path, place: Callable[[], str]) -> Iterator[None]:
    """Adds to whatever ends the block early where the same command will go on.

    Args:
        folder: of the output.
        place: says where, e.g. "step 40"; called when the block ends early.
    """
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError):
            error.add_note(f"{_AGAIN}: {folder} goes on from {place()}")
        raise


def explain(error: BaseException) -> str | None:
    """One line for an error that is the user's to mend, None for a fault of the program."""
    for cause in _chain(error):
        number = _errno(cause)
        if number in _DISK:
            reason, remedy = _DISK[number]
            return f"{_place(cause)}{reason}; {remedy}, then {_how_to_go_on(error)}"
        if number == errno.EROFS:
            return f"{_place(cause)}the file system is read-only; choose another output folder"
    if isinstance(error, (InputFileError, OptionError, QueryError)):
        return str(error)
    if isinstance(error, OSError):
        if error.errno in _PLACE:
            reason, remedy = _PLACE[error.errno]
            return f"{_place(error)}{reason}; {remedy}"
        return f"{_place(error)}{error.strerror}" if error.strerror else " ".join(str(error).split())
    if isinstance(error, BrokenProcessPool):
        return (
            f"a worker process was killed, often for want of memory; use fewer processes, then {_how_to_go_on(error)}"
        )
    if isinstance(error, MemoryError):
        return f"out of memory; {_how_to_go_on(error)}"
    if isinstance(error, (ValueError, FloatingPointError)):
        return f"{' '.join(str(error).split())} ({DEBUG}=1 shows where)"
    return None


def now_try(*commands: Sequence[object]) -> None:
    """What comes next; printed, to be pasted, when the program ends well. A later call takes the place of this one.

    Args:
        commands: each the script, from the repository's root (``"eval/retrieval.py"``), and its arguments.
    """
    _next[:] = commands


def _print_next() -> None:
    if _rank() == 0 and _next:
        print("now try:")
        for script, *arguments in _next:
            print("  " + shlex.join([_python(), _script(str(script)), *map(str, arguments)]), flush=True)


def _python() -> str:
    """What starts this interpreter from here."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and os.path.abspath(found) == os.path.abspath(sys.executable):
            return name
    return _from_here(sys.executable)


def _script(script: str) -> str:
    """The path of a script of the repository in which the running one lies."""
    return _from_here(str(Path(os.path.abspath(sys.argv[0])).parents[1] / script))


def _from_here(path: str) -> str:
    """Relative to the working folder where it lies under it."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _thread_hook(arguments: threading.ExceptHookArgs) -> None:
    """Silent on what a thread's owner meets too and `run_program` says, as tensorboard's writer on a full disk."""
    error = arguments.exc_value
    if os.environ.get(DEBUG) or error is None or _errno(error) not in _DISK:
        threading.__excepthook__(arguments)


_stopped: tuple[int, float] | None = None


def _stop(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds the program. The same one again, a second later or more, ends it at once.

    Not sooner: launchers and `timeout` send it to the process and again to its group.
    """
    global _stopped
    if _stopped is None:
        _stopped = number, time.monotonic()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
    if number == _stopped[0] and time.monotonic() - _stopped[1] > 1:
        os._exit(1 if number == signal.SIGTERM else 130)


def _how_to_go_on(error: BaseException) -> str:
    notes = [note for cause in _chain(error) for note in getattr(cause, "__notes__", ()) if note.startswith(_AGAIN)]
    return notes[0] if notes else f"{_AGAIN}: what was finished is kept, and nothing is half written"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, the outermost first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _errno(error: BaseException) -> int | None:
    """The number of an error of the operating system; libraries written in Rust give it in words."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _place(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    # Of a file that `files.atomic_path` writes, the one it was to become.
    return re.sub(r"\.([^/]+)\.\d+\.tmp: $", r"\1: ", f"{name}: ") if name else ""


def _is_hearsay(error: BaseException) -> bool:
    """Whether it only says that another process of the run is gone, which has said why."""
    lost = re.search("connection (was )?(closed|reset)|broken pipe", str(error), re.IGNORECASE)
    return isinstance(error, OtherProcessError) or ("RANK" in os.environ and _rank() > 0 and lost is not None)
