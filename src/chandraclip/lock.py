"""One program at a time in an output folder, or the ranks of one job (`ranks`) together.

The lock is one of the operating system, on ``FOLDER/.lock``: it ends with the process that holds it, however that
ends, so no folder stays locked by a program that was killed. The file says who holds it, and goes when that is done.
A rank holds that lock while it prepares its work, and ``FOLDER/.ranks/JOB.RANK/.lock`` while it works.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, SoftFileLock, Timeout

from chandraclip.errors import InputFileError

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
RANKS = ".ranks"
PATIENCE = 600.0  # s, while other ranks prepare their work, one of them with a query of the archive
T = TypeVar("T")
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of network file systems mounted without them
_held: dict[Path, FileLock] = {}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if it is missing, while the block runs.

    A process may hold a folder more than once. Where the file system knows no locks, a warning says so and the block
    runs without.

    Raises:
        InputFileError: another process holds it; the message says which.
        OSError: the folder cannot be made or written.
    """
    acquire(folder)
    try:
        if (folder / RANKS).exists():
            refuse_others(folder)
            shutil.rmtree(folder / RANKS, ignore_errors=True)
        yield
    finally:
        release(folder)


@contextmanager
def shared(folder: Path, job: str, rank: str, prepare: Callable[[], T], patience: float = PATIENCE) -> Iterator[T]:
    """Hold a folder together with other ranks of a job while the block runs, which gets what `prepare` gives.

    Args:
        folder: made if it is missing.
        job: another job is refused while ranks of this one work, and a program that wants the folder to itself, too.
        rank: one process a rank.
        prepare: called while this process has the folder to itself, but for ranks at work (see `refuse_others`).
        patience: s to wait for another process that has it to itself.

    Raises:
        InputFileError: another job, or another process of this rank, works there.
        OSError: as `locked`.
    """
    member = folder / RANKS / f"{job}.{rank}"
    acquire(folder, patience)
    try:
        refuse_others(folder, but_of=job)
        acquire(member)
        try:
            prepared = prepare()
        except BaseException:
            release(member)
            raise
    finally:
        release(folder)
    try:
        yield prepared
    finally:
        release(member)


def refuse_others(folder: Path, but_of: str | None = None) -> None:
    """Raises InputFileError where ranks of other processes work in a folder whose lock this one holds.

    Args:
        folder: see `shared`.
        but_of: ranks of this job may.
    """
    for member in sorted((folder / RANKS).glob("*/")):
        if but_of is not None and member.name.startswith(f"{but_of}."):
            continue
        try:
            acquire(member)
        except InputFileError:
            reason = f"rank {member.name.split('.')[-1]} of a job, {_holder(member / LOCK_FILE)}, works there"
            raise InputFileError(folder, f"{reason}; wait until it is done, or end it") from None
        release(member)


def acquire(folder: Path, patience: float = 0.0) -> None:
    """Take the lock of a folder until `release`; see `locked`.

    Args:
        folder: made if it is missing.
        patience: s to wait for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / LOCK_FILE
    lock = _held.get(path) or FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire(timeout=patience, poll_interval=0.2)
    except Timeout:
        advice = "wait until that is done, end it, or choose another output folder"
        raise InputFileError(folder, f"is being written by {_holder(path)}; {advice}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        with contextlib.suppress(OSError):
            path.unlink()
        return _warn(folder)
    if isinstance(lock, SoftFileLock):  # what filelock makes of itself there: a file, which would outlive a kill
        lock.release()
        return _warn(folder)
    if path not in _held:
        _held[path] = lock
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(" ", "seconds")}
        with contextlib.suppress(OSError):  # a full disk is reported by what has to be written
            path.write_text(json.dumps(facts) + "\n")


def _warn(folder: Path) -> None:
    logger.warning("%s: this file system has no locks; see that no other program writes there", folder)


def release(folder: Path) -> None:
    """Give the lock of a folder back; nothing happens where this process does not hold it."""
    _release(folder.resolve() / LOCK_FILE)


def release_all() -> None:
    """Give every lock of this process back, as the last act of a program."""
    for path in list(_held):
        while path in _held:
            _release(path)


def _release(path: Path) -> None:
    lock = _held.get(path)
    if lock is None:
        return
    if lock.lock_counter == 1:
        del _held[path]
        # While it is held: who opened this file and waits finds it gone, and makes another (filelock sees to that).
        with contextlib.suppress(OSError):
            path.unlink()
    lock.release()


def _holder(path: Path) -> str:
    """The process that holds a lock, in words."""
    try:
        facts = json.loads(path.read_text())
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
