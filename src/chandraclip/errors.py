"""The errors that are the user's to mend: of every reader for bad input, of an option, of a question."""

from __future__ import annotations

from pathlib import Path


class InputFileError(ValueError):
    """A file, extension or row that cannot be used, and why.

    Args:
        path: the file at fault.
        reason: what is wrong, in one sentence a user can act on.
        extension: the FITS extension (name or number), table row or column at fault, where one is.
    """

    def __init__(self, path: str | Path, reason: str, extension: str | int | None = None):
        self.path = str(path)
        self.reason = reason
        self.extension = extension
        super().__init__(path, reason, extension)  # all three, so that it survives a process pool

    def __str__(self) -> str:
        place = self.path if self.extension is None else f"{self.path}[{self.extension}]"
        return f"{place}: {self.reason}"


class OptionError(ValueError):
    """An option that cannot be honoured with this dataset, model, machine or number of processes."""


class QueryError(ValueError):
    """A question without an answer: an unknown key, an empty text, a file without photons. Programs end with 2."""
