"""Embeds a dataset with a model: batched, in several processes, resumable, one Parquet file at the end.

The work is cut into parts of consecutive rows. A part is a pure function of model, dataset and rows, is written whole or
not at all under ``OUTPUT/.parts``, and is kept if the run dies; parts of another model or dataset are thrown away.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from chandraclip.data.schema import SCHEMA_VERSION, Ragged
from chandraclip.errors import InputFileError
from chandraclip.evaluation.dataset import dataset_id, load_splits
from chandraclip.evaluation.embeddings import EMBEDDINGS_FILE, EMBEDDINGS_SCHEMA, KEY, PROVENANCE_FILE
from chandraclip.evaluation.files import atomic_path, content_hash, write_json

if TYPE_CHECKING:
    import torch

ROWS_PER_PART = 1024
_PARTS = ".parts"
# What defines a model on disk; logs, cards and checkpoints of a run do not.
_MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
_NOT_MODEL = ("metrics.json", "trainer_state.json", "train_config.json", "all_results.json")
# Column of the embeddings file -> (field of the model's output, mask in its batch), by the model's type.
OUTPUTS: dict[str, dict[str, tuple[str, str]]] = {
    "chandraclip": {
        "spectrum_embedding": ("spectrum_embeds", "spectrum_mask"),
        "event_embedding": ("event_embeds", "event_mask"),
        "text_embedding": ("text_embeds", "text_mask"),
        "spectrum_latents": ("spectrum_latents", "spectrum_mask"),
        "event_latents": ("event_latents", "event_mask"),
        "text_features": ("text_features", "text_mask"),
    },
    "spectrum_autoencoder": {"spectrum_latents": ("latents", "spectrum_mask")},
    "event_transformer": {"event_latents": ("latents", "event_mask")},
}


@dataclass(frozen=True)
class EmbedConfig:
    """What a worker needs.

    Attributes:
        model: folder of the model and its processor.
        dataset: dataset folder or Hub id.
        batch_size: rows a forward pass.
        device: torch device; ``"cpu"`` runs one thread a process.
        config: the dataset's config.
    """

    model: str
    dataset: str
    batch_size: int = 64
    device: str = "cpu"
    config: str = "pairs"


@dataclass(frozen=True)
class Part:
    """Rows ``start:stop`` of a split."""

    split: str
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        return f"{self.split}-{self.start:09d}-{self.stop:09d}.parquet"


class Embedder:
    """A loaded model and its processor."""

    def __init__(self, config: EmbedConfig):
        import torch
        import transformers

        import chandraclip.models  # noqa: F401  (registers the Auto classes)

        if config.device == "cpu":
            torch.set_num_threads(1)  # two processes of two threads each spin
        self.device = torch.device(config.device)
        self.batch_size = config.batch_size
        # float32 always: `from_pretrained` would take the dtype of the checkpoint.
        model = transformers.AutoModel.from_pretrained(config.model, dtype=torch.float32)
        if model.config.model_type not in OUTPUTS:
            known = sorted(OUTPUTS)
            raise InputFileError(config.model, f"a model of type {model.config.model_type!r}; this embeds with {known}")
        self.outputs = OUTPUTS[model.config.model_type]
        self.model = model.to(self.device).eval()
        kind = transformers.AutoProcessor if len(self.outputs) > 1 else transformers.AutoFeatureExtractor
        self.processor = kind.from_pretrained(config.model)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows of the dataset's config ``pairs`` -> rows of `EMBEDDINGS_SCHEMA`, in order.

        Raises:
            ValueError: an embedding is not finite, naming the detection.
        """
        batches = [self._forward(rows.slice(at, self.batch_size)) for at in range(0, rows.num_rows, self.batch_size)]
        columns: dict[str, Any] = {name: rows[name] for name in (*KEY, "split", "source_class")}
        columns["text_id"] = pa.array([_text_id(text) for text in rows["summary"].to_pylist()], pa.string())
        for name in self.outputs:
            present = [batch[name] for batch in batches if name in batch]
            if not present:
                continue
            values = np.concatenate([values for values, _ in present])
            mask = np.concatenate([mask for _, mask in present])
            columns[name] = _list_column(values, mask, rows, name)
        arrays = [columns.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in EMBEDDINGS_SCHEMA]
        return pa.table(arrays, names=EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)

    def _forward(self, rows: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Column -> (B, D) values and (B,) mask of one batch, for the columns the model gives."""
        import torch

        batch: Mapping[str, torch.Tensor] = {
            name: value.to(self.device) for name, value in self.processor(rows).items() if torch.is_tensor(value)
        }
        with torch.inference_mode():
            output = self.model(**batch)
        result = {}
        for column, (field, mask) in self.outputs.items():
            values = getattr(output, field, None)
            if values is not None and mask in batch:
                result[column] = values.float().cpu().numpy(), batch[mask].cpu().numpy().astype(bool)
        return result


def _text_id(text: str | None) -> str | None:
    """Content hash of a summary; None for none and for blank ones."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text and text.strip() else None


def _list_column(values: np.ndarray, mask: np.ndarray, rows: pa.Table, name: str) -> pa.Array:
    """(N, D) as lists, null outside the mask."""
    bad = mask & ~np.isfinite(values).all(axis=1)
    if bad.any():
        key = {column: rows[column][int(np.flatnonzero(bad)[0])].as_py() for column in KEY}
        raise ValueError(f"{name} of {int(bad.sum())} detections is not finite, the first is {key}")
    width = values.shape[1]
    offsets = np.concatenate([[0], np.cumsum(mask * width)])
    return Ragged(values[mask].ravel(), offsets, mask).to_arrow(EMBEDDINGS_SCHEMA.field(name).type)


_embedder: Embedder | None = None
_splits: dict[str, Any] = {}


def _start_worker(config: EmbedConfig) -> None:
    """Load model and dataset once a process."""
    global _embedder, _splits
    _embedder, _splits = Embedder(config), load_splits(config.dataset, config.config)


def _embed_part(part: Part, folder: Path) -> int:
    assert _embedder is not None
    table = _embedder(_splits[part.split][part.start : part.stop])
    with atomic_path(folder / part.file_name) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return table.num_rows


def model_folder(model: str, revision: str | None = None) -> Path:
    """The folder of a model: itself, or the snapshot of a Hub id.

    Raises:
        InputFileError: neither holds a `config.json`.
    """
    folder = Path(model)
    if not folder.is_dir():
        import huggingface_hub

        try:
            patterns = list(_MODEL_FILES)
            folder = Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=patterns))
        except (OSError, ValueError) as error:
            raise InputFileError(model, f"no such folder, and the Hub does not give it ({error})") from error
    if not (folder / "config.json").is_file():
        raise InputFileError(model, "there is no config.json, so this is not a saved model")
    return folder


def model_id(folder: Path) -> str:
    """Content hash of a model's configuration, weights, processor and tokenizer."""
    files = {file for pattern in _MODEL_FILES for file in folder.glob(pattern) if file.name not in _NOT_MODEL}
    return content_hash(files, folder)


def embed_dataset(
    config: EmbedConfig,
    output: Path,
    *,
    split: str = "all",
    num_processes: int = 1,
    rows_per_part: int = ROWS_PER_PART,
    revision: str | None = None,
) -> dict[str, Any]:
    """Write ``OUTPUT/embeddings.parquet`` and its provenance ``OUTPUT/embeddings.json``.

    Args:
        config: model, dataset, batch size, device.
        output: folder; made if missing.
        split: one split, or ``"all"``.
        num_processes: workers; 1 runs in this process.
        rows_per_part: rows a resumable part.
        revision: of a model on the Hub.

    Returns:
        The provenance, with ``resumed_rows``: how many were found done.

    Raises:
        InputFileError: model or dataset do not load, or the dataset lacks the split.
        ValueError: an embedding is not finite.
    """
    folder = model_folder(config.model, revision)
    local = EmbedConfig(**{**asdict(config), "model": str(folder)})
    splits = load_splits(config.dataset, config.config)
    if split != "all":
        if split not in splits:
            raise InputFileError(config.dataset, f"there is no split {split!r}, only {list(splits)}")
        splits = {split: splits[split]}
    identity = {
        "model_id": model_id(folder),
        "dataset_id": dataset_id(config.dataset, splits),
        "split": split,
        "rows_per_part": rows_per_part,
        "schema_version": SCHEMA_VERSION,
    }
    provenance = {
        **identity,
        "model": config.model,
        "dataset": config.dataset,
        "rows": {name: len(rows) for name, rows in splits.items()},
        "device": config.device,
        "dtype": "float32",
        "versions": {name: version(name) for name in ("chandraclip", "torch", "transformers", "datasets", "pyarrow")}
        | {"python": platform.python_version()},
    }
    total = sum(provenance["rows"].values())
    if _finished(output, identity):
        return {**json.loads((output / PROVENANCE_FILE).read_text()), "resumed_rows": total}

    parts = [
        Part(name, start, min(start + rows_per_part, len(rows)))
        for name, rows in splits.items()
        for start in range(0, len(rows), rows_per_part)
    ]
    folder = _parts_folder(output, identity)
    todo = [part for part in parts if not _is_whole(folder / part.file_name, part.stop - part.start)]
    resumed = total - sum(part.stop - part.start for part in todo)
    with tqdm(total=total, initial=resumed, desc="embed", unit=" detections") as progress:
        for num_rows in _run(todo, local, folder, num_processes):
            progress.update(num_rows)

    provenance["missing"] = _merge([folder / part.file_name for part in parts], output / EMBEDDINGS_FILE)
    write_json(output / PROVENANCE_FILE, provenance)
    shutil.rmtree(folder)
    return {**provenance, "resumed_rows": resumed}


def _run(parts: list[Part], config: EmbedConfig, folder: Path, num_processes: int) -> Iterator[int]:
    """Embed parts, here or in spawned workers; gives the number of rows of each as it is done."""
    num_processes = min(num_processes, len(parts))
    if num_processes <= 1:
        if parts:
            _start_worker(config)
        for part in parts:
            yield _embed_part(part, folder)
        return
    for variable, value in {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}.items():
        os.environ.setdefault(variable, value)  # workers inherit them before they import torch
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=_start_worker, initargs=(config,)) as pool:
        futures = [pool.submit(_embed_part, part, folder) for part in parts]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _parts_folder(output: Path, identity: dict[str, Any]) -> Path:
    """The folder of finished parts, emptied where they were made from something else."""
    folder = output / _PARTS
    record = folder / "identity.json"
    if folder.exists() and not (record.is_file() and json.loads(record.read_text()) == identity):
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
    missing = dict.fromkeys(EMBEDDINGS_SCHEMA.names[-6:], 0)
    with atomic_path(file) as temporary:
        with pq.ParquetWriter(temporary, EMBEDDINGS_SCHEMA, compression="zstd") as writer:
            for part in parts:
                table = pq.read_table(part)
                writer.write_table(table)
                for name in missing:
                    missing[name] += table[name].null_count
    return missing
