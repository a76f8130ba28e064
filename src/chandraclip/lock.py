"""One program at a time in an output folder.

The lock is one of the operating system, on ``FOLDER/.lock``: it ends with the process that holds it, however that
ends, so no folder stays locked by a program that was killed. The file says who holds it, and goes when that is done.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from chandraclip.errors import InputFileError

logger = logging.getLogger(__name__)

LOCK_FILE = ".lock"
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
        yield
    finally:
        release(folder)


def acquire(folder: Path) -> None:
    """Take the lock of a folder until `release`; see `locked`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / LOCK_FILE
    lock = _held.get(path) or FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
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
