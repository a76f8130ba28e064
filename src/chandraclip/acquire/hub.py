"""Data sets of the Hugging Face Hub, fetched once and packaged; local copies of the same form, too.

What is fetched lies in the Hub's own cache (`HF_HOME`), by its commit: a build that was killed fetches nothing again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chandraclip.data.foreign.build import build_from_tables
from chandraclip.data.foreign.files import KINDS
from chandraclip.data.packaging import BuildResult
from chandraclip.errors import InputFileError

# Tables, and what says how they are to be read; not the pictures, weights and indexes that may lie beside them.
WANTED = [f"*{ending}" for endings in KINDS.values() for ending in endings]
WANTED += ["README.md", "manifest.json", "SHA256SUMS", "sha256sums*", "*.sha256", "*properties"]


def build_from_hub(
    dataset: str, output: str | Path, mapping: str | Path | None = None, *, revision: str | None = None, **options: Any
) -> BuildResult:
    """Packages a data set that is named as on the Hub, or a local file or folder.

    Args:
        dataset: what exists here is a path; else it is an id, ``USER/NAME``.
        output, mapping, options: see `data.foreign.build.build_from_tables`.
        revision: of the Hub: a branch, tag or commit; None: the newest.

    Raises:
        InputFileError: as `build_from_tables`; or the Hub does not have it, or does not answer.
    """
    if Path(dataset).exists():
        if revision is not None:
            raise InputFileError(dataset, "is a local path, which has no revision")
        return build_from_tables(dataset, output, mapping, **options)
    folder, commit = fetch(dataset, revision)
    return build_from_tables(folder, output, mapping, dataset_id=dataset, revision=commit, **options)


def fetch(dataset_id: str, revision: str | None = None) -> tuple[Path, str]:
    """The folder that holds a data set's files, and their commit.

    Raises:
        InputFileError: there is no such data set, or the Hub does not answer and nothing was fetched before.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(dataset_id, repo_type="dataset", revision=revision, allow_patterns=WANTED))
    except HFValidationError as error:
        raise InputFileError(dataset_id, f"is no local path, and no id of the Hub ({error})") from error
    except LocalEntryNotFoundError as error:
        reason = "is no local path; the Hub does not answer, and nothing of it was fetched before"
        raise InputFileError(dataset_id, f"{reason} ({error.__cause__ or error})") from error
    except (HfHubHTTPError, OSError) as error:
        raise InputFileError(dataset_id, f"is no local path; the Hub says: {' '.join(str(error).split())}") from error
    return folder, folder.name
