"""A saved model applied to rows of the dataset: Arrow in, Arrow out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged
from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EMBEDDINGS_SCHEMA, KEY

if TYPE_CHECKING:
    import torch


WHOLE_CONTEXT = "all"


@dataclass(frozen=True)
class EmbedConfig:
    """What a worker needs.

    Attributes:
        model: folder of the model and its processor.
        dataset: dataset folder or Hub id.
        batch_size: rows a forward pass.
        device: torch device; ``"cpu"`` runs one thread a process.
        config: the dataset's config; None: `pairs` where it has that, else its only or default one.
        without_context: columns of the model's context that are taken as not known; `(WHOLE_CONTEXT,)` for all.
        max_photons, max_hours: photon lists are cut short to so many photons, and to so much of the observation
            (`halves.cut_short`); None: they are read whole.
    """

    model: str
    dataset: str
    batch_size: int = 64
    device: str = "cpu"
    config: str | None = None
    without_context: tuple[str, ...] = ()
    max_photons: int | None = None
    max_hours: float | None = None


@dataclass(frozen=True)
class _Latents:
    latents: torch.Tensor


class Embedder:
    """A loaded model and its processor.

    Args:
        config: which.
        responses: `Response`s that the rows name, by response_id, for a model that reads them; None: the dataset's.
    """

    def __init__(self, config: EmbedConfig, responses: Mapping[str, Any] | None = None):
        import torch
        import transformers

        import chandraclip.models
        from chandraclip.models.feature_extraction import use_responses_of

        if config.device == "cpu":
            torch.set_num_threads(1)  # two processes of two threads each spin
        self.device = torch.device(config.device)
        self.batch_size = config.batch_size
        # float32 always: `from_pretrained` would take the dtype of the checkpoint.
        model = transformers.AutoModel.from_pretrained(config.model, dtype=torch.float32)
        if not hasattr(model, "embedding_outputs"):
            known = ["chandraclip", *chandraclip.models.FAMILIES]
            raise InputFileError(config.model, f"a model of type {model.config.model_type!r}; this embeds with {known}")
        self.outputs: dict[str, tuple[str, str]] = model.embedding_outputs()
        self.is_tower = isinstance(model, chandraclip.models.TowerModel)
        self.model = model.to(self.device).eval()
        kind = transformers.AutoFeatureExtractor if self.is_tower else transformers.AutoProcessor
        self.processor = kind.from_pretrained(config.model)
        if responses is None:
            use_responses_of(self.processor, config.dataset)
        elif getattr(self.processor, "reads_responses", False):
            self.processor.use_responses(responses)
        self.options: dict[str, Any] = {}
        if config.without_context:
            known = list(getattr(self.processor, "context", ()))
            names = known if config.without_context == (WHOLE_CONTEXT,) else list(config.without_context)
            if not known or (unknown := sorted(set(names) - set(known))):
                lacks = ", ".join(unknown) if known else "context"
                has = f"; its context is {', '.join(known)}" if known else ""
                raise InputFileError(config.model, f"the model has no {lacks} to leave out{has}")
            self.options["without_context"] = names

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows of the dataset with the columns of `data.keys.with_keys` -> rows of `EMBEDDINGS_SCHEMA`, in order.

        Raises:
            ValueError: an embedding is not finite, naming the detection.
        """
        batches = [self._forward(rows.slice(at, self.batch_size)) for at in range(0, rows.num_rows, self.batch_size)]
        columns: dict[str, Any] = {name: rows[name] for name in (*KEY, "split", "source_class")}
        if "summary" in rows.column_names:
            columns["text_id"] = pa.array([text_id(text) for text in rows["summary"].to_pylist()], pa.string())
        for name in self.outputs:
            present = [batch[name] for batch in batches if name in batch]
            if not present:
                continue
            values = np.concatenate([values for values, _ in present])
            mask = np.concatenate([mask for _, mask in present])
            columns[name] = list_column(values, mask, rows, name)
        arrays = [columns.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in EMBEDDINGS_SCHEMA]
        return pa.table(arrays, names=EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)

    def _forward(self, rows: pa.Table) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Column -> (B, D) values and (B,) mask of one batch, for the columns the model gives."""
        import torch

        batch: Mapping[str, torch.Tensor] = {
            name: value.to(self.device)
            for name, value in self.processor(rows, **self.options).items()
            if torch.is_tensor(value)
        }
        with torch.inference_mode():
            # A tower on its own: its decoder is not needed.
            output = _Latents(self.model.encode(**batch)) if self.is_tower else self.model(**batch)
        result = {}
        for column, (field, mask) in self.outputs.items():
            values = getattr(output, field, None)
            rows_with = batch.get(mask, getattr(output, mask, None))
            if values is not None and rows_with is not None:
                result[column] = values.float().cpu().numpy(), rows_with.cpu().numpy().astype(bool)
        return result


def text_id(text: str | None) -> str | None:
    """Content hash of a summary; None for none and for blank ones."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text and text.strip() else None


def list_column(values: np.ndarray, mask: np.ndarray, rows: pa.Table, name: str) -> pa.Array:
    """(N, D) as lists, null outside the mask."""
    bad = mask & ~np.isfinite(values).all(axis=1)
    if bad.any():
        key = {column: rows[column][int(np.flatnonzero(bad)[0])].as_py() for column in KEY}
        raise ValueError(f"{name} of {int(bad.sum())} detections is not finite, the first is {key}")
    width = values.shape[1]
    offsets = np.concatenate([[0], np.cumsum(mask * width)])
    return Ragged(values[mask].ravel(), offsets, mask).to_arrow(EMBEDDINGS_SCHEMA.field(name).type)
