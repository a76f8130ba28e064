"""Why a file cannot be used, in words for the list of what a build left out."""

from __future__ import annotations

import logging
from pathlib import Path

from chandraclip.errors import InputFileError

logger = logging.getLogger(__name__)

UNEXPECTED = "unexpected"


def reason_of(error: Exception, path: str | Path, place: str) -> tuple[str, str | None]:
    """What an error says of a file, for a list that names the file itself.

    One bad file never ends a build. So what no reader foresaw is listed as well, but never in silence: the log has its
    traceback and asks for a report, and the reason begins with "unexpected".

    Args:
        error: raised while the file was used.
        path: the file.
        place: how the list calls the file.

    Returns:
        The reason, and the extension at fault, if the fault is in this file. A companion's fault names the companion.
    """
    if isinstance(error, InputFileError):
        if Path(error.path) == Path(path) or error.path == place:
            return error.reason, None if error.extension is None else str(error.extension)
        return str(error), None
    logger.error("%s: %s %s; please report it", path, UNEXPECTED, type(error).__name__, exc_info=error)
    return f"{UNEXPECTED} {type(error).__name__}: {error}; please report it", None


def sentence_of(error: Exception, path: str | Path, place: str) -> str:
    """`reason_of` in one piece."""
    reason, extension = reason_of(error, path, place)
    return reason if extension is None else f"extension {extension}: {reason}"
