"""What was asked for once, by key, in one SQLite file: what is kept survives a kill, what is not was never there."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chandraclip.errors import InputFileError

_KEYS_PER_QUERY = 500  # SQLite takes 32,766 at least; older ones 999


def today() -> str:
    """The date of a retrieval, UTC; that of SOURCE_DATE_EPOCH where it is set, so that a run can be repeated."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    return moment.date().isoformat()


class Store:
    """JSON records by kind and key.

    Args:
        path: of the file; made with its folder where it is missing.

    Raises:
        InputFileError: the file is none of these.
        OSError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with self._explained():
            self._base = sqlite3.connect(path)
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS records"
                " (kind TEXT, key TEXT, content TEXT NOT NULL, PRIMARY KEY (kind, key))"
            )
            self._base.commit()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self._base.close()

    def get(self, kind: str, keys: Iterable[str]) -> dict[str, Any]:
        """The records that there are."""
        wanted, found = list(keys), dict[str, str]()
        with self._explained():
            for begin in range(0, len(wanted), _KEYS_PER_QUERY):
                part = wanted[begin : begin + _KEYS_PER_QUERY]
                query = f"SELECT key, content FROM records WHERE kind = ? AND key IN ({', '.join('?' * len(part))})"
                found.update(self._base.execute(query, [kind, *part]).fetchall())
        return {key: json.loads(content) for key, content in found.items()}

    def missing(self, kind: str, keys: Iterable[str]) -> list[str]:
        """The keys without a record, each once, in their order."""
        with self._explained():
            there = {key for (key,) in self._base.execute("SELECT key FROM records WHERE kind = ?", [kind])}
        return [key for key in dict.fromkeys(keys) if key not in there]

    def put(self, kind: str, records: Mapping[str, Any]) -> None:
        """Keeps records: all of them or, should the program be killed, none."""
        rows = [(kind, key, json.dumps(content, ensure_ascii=False)) for key, content in records.items()]
        with self._explained(), self._base:
            self._base.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", rows)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from None
            reason = (
                f"cannot be used as a cache ({error}); if nothing else uses it, remove it: what it held is asked anew"
            )
            raise InputFileError(self.path, reason) from None
