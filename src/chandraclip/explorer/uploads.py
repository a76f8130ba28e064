"""Files from a browser: few, small, of FITS or region text, by themselves in a folder, and read as data only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from chandraclip.errors import QueryError
from chandraclip.observation import Observation
from chandraclip.search.query_model import open_files

MAX_FILES, MAX_FILE_BYTES = 6, 64 << 20
# What a spectrum, an event list, a response or a region may be named.
SUFFIXES = (".fits", ".fit", ".ftz", ".fts", ".pha", ".pha2", ".pi", ".arf", ".rmf", ".rsp", ".evt", ".reg", ".gz")
_UNUSUAL = re.compile(r"[^\w.+-]")


@contextmanager
def opened_uploads(files: Sequence[str | Path], instruments: Sequence[str] = ()) -> Iterator[Observation]:
    """The observation in some uploaded files, which are side by side in a folder of their own while the block runs.

    Args:
        files: where the server put them; each keeps its own name, so that the headers that name it find it.
        instruments: of the catalogue; see `open_files`.

    Raises:
        QueryError: too many, too large, of another kind, damaged, or with a header that names a file of the server.
    """
    names = [Path(file) for file in files]
    if not names:
        raise QueryError("there is no file to ask about")
    if len(names) > MAX_FILES:
        raise QueryError(
            f"{len(names)} files; a spectrum, an event list and what goes with them are at most {MAX_FILES}"
        )
    with TemporaryDirectory(prefix="chandraclip-") as folder:
        copies = [_copy(name, Path(folder)) for name in names]
        try:
            observation = open_files(copies, instruments)
        except QueryError as error:
            raise QueryError(str(error).replace(f"{folder}/", "")) from error  # the place is nothing to a visitor
        for role, path in observation.files.items():
            if Path(path).resolve().parent != Path(folder).resolve():
                raise QueryError(f"the {role} named in a header is none of the uploaded files: upload it too")
        yield observation


def _copy(file: Path, folder: Path) -> Path:
    size = file.stat().st_size
    if file.suffix.lower() not in SUFFIXES:
        raise QueryError(f"{file.name}: no name of a spectrum, an event list or a region ({', '.join(SUFFIXES)})")
    if size > MAX_FILE_BYTES:
        raise QueryError(f"{file.name}: {size} bytes, and at most {MAX_FILE_BYTES} are taken")
    copy = folder / _UNUSUAL.sub("_", file.name).lstrip(".-")
    if copy.exists():
        raise QueryError(f"two files are named {copy.name}")
    shutil.copyfile(file, copy)
    return copy
