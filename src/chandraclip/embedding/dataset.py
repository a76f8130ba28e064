"""Embeds a dataset with a model: batched, in several processes, resumable, one Parquet file at the end.

The work is cut into parts of consecutive rows. A part is a pure function of model, dataset and rows, is written whole
or not at all under ``OUTPUT/.parts``, and is kept if the run dies; parts of another model or dataset are thrown away.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from chandraclip.data.keys import with_keys
from chandraclip.data.loading import dataset_id, load_splits
from chandraclip.data.provenance import num_simulated
from chandraclip.data.row_checks import find_bad_rows, usable_columns, without_bad_modalities
from chandraclip.data.schema import MODALITY_COLUMNS, SCHEMA_VERSION, TABLE_SCHEMA
from chandraclip.embedding.embedder import EmbedConfig, Embedder
from chandraclip.embedding.halves import cut_short
from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EMBEDDINGS, EMBEDDINGS_FILE, EMBEDDINGS_SCHEMA, LATENTS, PROVENANCE_FILE
from chandraclip.files import atomic_path, write_json
from chandraclip.lock import locked, refuse_others, shared
from chandraclip.model_folder import model_folder, model_id
from chandraclip.processes import task_runner
from chandraclip.program import goes_on_from
from chandraclip.ranks import WHOLE, Share
from chandraclip.versions import installed_versions

logger = logging.getLogger(__name__)

ROWS_PER_PART = 1024
ROWS_WORTH_A_PROCESS = 2000  # embedded in the time that a process takes to import transformers and to load the model
# Of a model whose latents are fitted, a second or so each: a part is then half a minute's work, too.
FITTED_ROWS_PER_PART = 32
FITTED_ROWS_WORTH_A_PROCESS = 16
_PARTS = ".parts"


@dataclass(frozen=True)
class Part:
    """Rows ``start:stop`` of a split."""

    split: str
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        return f"{self.split}-{self.start:09d}-{self.stop:09d}.parquet"


_embedder: Embedder | None = None
_splits: dict[str, Any] = {}
_cut: tuple[int | None, float | None] = None, None  # what is read of a photon list: photons, hours


def _start_worker(config: EmbedConfig) -> None:
    """Load model and dataset once a process."""
    import transformers

    global _embedder, _splits, _cut
    transformers.utils.logging.disable_progress_bar()  # of the weights: one a worker, across the bar of the run
    if multiprocessing.parent_process() is not None:  # a worker: what is odd in the dataset has been said
        logging.getLogger("chandraclip.data").setLevel(logging.ERROR)
    _embedder, _splits = Embedder(config), load_splits(config.dataset, "pairs", config.config)
    _cut = config.max_photons, config.max_hours


def _embed_part(part: Part, folder: Path, dataset: str) -> int:
    assert _embedder is not None
    rows = without_bad_modalities(_splits[part.split][part.start : part.stop])
    rows = cut_short(rows, *_cut)
    try:
        table = _embedder(with_keys(dataset, rows, part.split, part.start))
    except InputFileError:
        raise
    except (KeyError, ValueError) as error:
        where = f"rows {part.start} to {part.stop - 1} of split {part.split} do not embed"
        raise InputFileError(dataset, f"{where}: {error.args[0] if error.args else error}") from error
    with atomic_path(folder / part.file_name) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table.num_rows


def embed_dataset(
    config: EmbedConfig,
    output: Path,
    *,
    split: str = "all",
    num_processes: int | None = 1,
    rows_per_part: int | None = None,
    revision: str | None = None,
    share: Share = WHOLE,
) -> dict[str, Any]:
    """Write ``OUTPUT/embeddings.parquet`` and its provenance ``OUTPUT/embeddings.json``.

    Args:
        config: model, dataset, batch size, device.
        output: folder; made if missing.
        split: one split, or ``"all"``.
        num_processes: workers; 1 runs in this process. None: the CPUs, as far as each has rows enough to be worth its
            start; 1 on a GPU.
        rows_per_part: rows a resumable part; None: `ROWS_PER_PART`, or `FITTED_ROWS_PER_PART` of a model without an
            encoder.
        revision: of a model on the Hub.
        share: a rank embeds its parts and leaves them in `output`; merging embeds none, and joins what ranks have made.

    Returns:
        The provenance, with ``resumed_rows``: how many were found done. Of a rank, ``staged_rows`` too: how many are
        its share; nothing is joined yet.

    Raises:
        InputFileError: model or dataset do not load, or the dataset lacks the split or has columns that cannot be used;
            another process writes to `output`; ranks have not embedded all that is to be merged.
        ValueError: an embedding is not finite.
    """
    folder = model_folder(config.model, revision)
    local = EmbedConfig(**{**asdict(config), "model": str(folder)})
    is_fitted = _is_fitted(folder)
    rows_per_part = rows_per_part or (FITTED_ROWS_PER_PART if is_fitted else ROWS_PER_PART)
    splits = load_splits(config.dataset, "pairs", config.config)
    if split != "all":
        if split not in splits:
            raise InputFileError(config.dataset, f"there is no split {split!r}, only {list(splits)}")
        splits = {split: splits[split]}
    identity = {
        "model_id": model_id(folder),
        "dataset_id": dataset_id(config.dataset, splits),
        "dataset_config": config.config,
        "without_context": list(config.without_context),
        "max_photons": config.max_photons,
        "max_hours": config.max_hours,
        "split": split,
        "rows_per_part": rows_per_part,
        "schema_version": SCHEMA_VERSION,
    }
    provenance: dict[str, Any] = {
        **identity,
        "model": config.model,
        "dataset": config.dataset,
        "rows": {name: len(rows) for name, rows in splits.items()},
        "simulated_rows": sum(num_simulated(rows) for rows in splits.values()),
        "device": config.device,
        "dtype": "float32",
        "versions": installed_versions("chandraclip", "torch", "transformers", "datasets", "pyarrow")
        | {"python": platform.python_version()},
    }
    total = sum(len(rows) for rows in splits.values())
    if _finished(output, identity):
        return {**json.loads((output / PROVENANCE_FILE).read_text()), "resumed_rows": total}
    columns = _modalities(config.dataset, splits)
    if not share.is_rank:
        provenance["bad_rows"] = _bad_rows(config.dataset, splits, columns)
    parts = [
        Part(name, start, min(start + rows_per_part, len(rows)))
        for name, rows in splits.items()
        for start in range(0, len(rows), rows_per_part)
    ]
    parts = [parts[index] for index in share.of(len(parts))]
    total = sum(part.stop - part.start for part in parts)
    with (
        _held(output, identity, share) as folder,
        goes_on_from(output, lambda: f"detection {_num_done(parts, output / _PARTS) + 1} of {total}"),
    ):
        todo = [part for part in parts if not _is_whole(folder / part.file_name, part.stop - part.start)]
        resumed = total - sum(part.stop - part.start for part in todo)
        if todo and share.only_merge:
            reason = f"{len(todo)} of {len(parts)} parts are missing or damaged, the first is {todo[0].file_name}"
            raise InputFileError(output, f"{reason}: run their ranks again, or this command without --merge")
        if todo:
            if num_processes is None:
                num_processes = _worthwhile_processes(total - resumed, is_fitted) if config.device == "cpu" else 1
            with (
                task_runner(min(num_processes, len(todo)), _start_worker, (local,)) as run,
                tqdm(total=total, initial=resumed, desc="embed", unit="detection", unit_scale=True) as progress,
            ):
                for num_rows in run([partial(_embed_part, part, folder, config.dataset) for part in todo]):
                    progress.update(num_rows)
        if share.is_rank:
            return {**provenance, "resumed_rows": resumed, "staged_rows": total}
        provenance["missing"] = _merge([folder / part.file_name for part in parts], output / EMBEDDINGS_FILE)
        write_json(output / PROVENANCE_FILE, provenance)
        shutil.rmtree(folder)
    return {**provenance, "resumed_rows": resumed}


def _is_fitted(folder: Path) -> bool:
    """Whether the model has no encoder, so that its latents are fitted, row by row."""
    from chandraclip.models import FAMILIES

    try:
        model_type = json.loads((folder / "config.json").read_text())["model_type"]
    except (ValueError, KeyError, TypeError):
        return False  # what is wrong with it is said where the model is loaded
    return model_type in FAMILIES and FAMILIES[model_type].encoder_class is None


def _worthwhile_processes(num_rows: int, is_fitted: bool) -> int:
    worth = FITTED_ROWS_WORTH_A_PROCESS if is_fitted else ROWS_WORTH_A_PROCESS
    return max(1, min(len(os.sched_getaffinity(0)), num_rows // worth))


@contextmanager
def _held(output: Path, identity: dict[str, Any], share: Share) -> Iterator[Path]:
    """The folder of parts, while `output` is held by this process, or by the ranks together."""
    if share.is_rank:
        with shared(output, "embed", share.name, lambda: _parts_folder(output, identity)) as folder:
            yield folder
    else:
        with locked(output):
            yield _parts_folder(output, identity)


def _num_done(parts: list[Part], folder: Path) -> int:
    return sum(part.stop - part.start for part in parts if (folder / part.file_name).exists())


def _modalities(dataset: str, splits: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Modality -> its columns, of those that the dataset has; their types are checked."""
    schema = next(iter(splits.values())).features.arrow_schema
    columns = {kind: names for kind, names in MODALITY_COLUMNS.items() if names[0] in schema.names}
    if not columns:
        needed = [names[0] for names in MODALITY_COLUMNS.values()]
        raise InputFileError(dataset, f"there is nothing to embed: none of the columns {needed}, only {schema.names}")
    usable_columns(dataset, schema, columns, optional=TABLE_SCHEMA.names)  # types only: the model says what it needs
    return columns


def _bad_rows(dataset: str, splits: dict[str, Any], columns: dict[str, tuple[str, ...]]) -> dict[str, dict[str, int]]:
    """Split -> "column: reason" -> rows whose modality is left out for it; the log names the first."""
    result = {}
    for name, rows in splits.items():
        found = find_bad_rows(rows, list(columns))
        if found.counts:
            result[name] = found.counts
            logger.warning(
                "%s, split %s: %d rows have a modality that cannot be used and go without it: %s, the first: %s",
                *(dataset, name, int(found.mask.sum()), found.counts, "; ".join(found.examples)),
            )
    return result


def _parts_folder(output: Path, identity: dict[str, Any]) -> Path:
    """The folder of finished parts, emptied where they were made from something else."""
    folder = output / _PARTS
    record = folder / "identity.json"
    if folder.exists() and not (record.is_file() and json.loads(record.read_text()) == identity):
        refuse_others(output)  # ranks that make them
        print(f"{folder}: parts of another model, dataset or split are discarded")
        shutil.rmtree(folder)
    write_json(record, identity)
    return folder


def _is_whole(file: Path, num_rows: int) -> bool:
    try:
        return pq.read_metadata(file).num_rows == num_rows
    except (OSError, pa.ArrowInvalid):
        return False


def _finished(output: Path, identity: dict[str, Any]) -> bool:
    """Whether `output` already holds exactly this."""
    record = output / PROVENANCE_FILE
    if not (record.is_file() and (output / EMBEDDINGS_FILE).is_file()) or (output / _PARTS).exists():
        return False
    known = json.loads(record.read_text())
    return all(known.get(name) == value for name, value in identity.items())


def _merge(parts: list[Path], file: Path) -> dict[str, int]:
    """Join parts in order into one Parquet file, a row group each; returns the nulls of each representation."""
    missing = dict.fromkeys((*EMBEDDINGS, *LATENTS), 0)
    with atomic_path(file) as temporary, pq.ParquetWriter(temporary, EMBEDDINGS_SCHEMA, compression="zstd") as writer:
        for part in parts:
            table = pq.read_table(part)
            writer.write_table(table)
            for name in missing:
                missing[name] += table[name].null_count
    return missing
