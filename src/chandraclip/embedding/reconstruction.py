"""A dataset reconstructed by a spectrum model: what it expects every detector channel to have counted."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.keys import KEY, KEY_COLUMNS, with_keys
from chandraclip.data.loading import dataset_id, load_splits
from chandraclip.data.provenance import num_simulated
from chandraclip.data.row_checks import find_bad_rows, usable_columns, without_bad_modalities
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.errors import InputFileError
from chandraclip.evaluation.reconstructions import (
    RECONSTRUCTIONS_FILE,
    RECONSTRUCTIONS_PROVENANCE,
    RECONSTRUCTIONS_SCHEMA,
    TRAIN_POINTS_FILE,
)
from chandraclip.files import atomic_path, write_json
from chandraclip.lock import locked
from chandraclip.model_folder import model_folder, model_id
from chandraclip.models import SpectrumFeatureExtractor, TowerModel, load_reconstructing
from chandraclip.models.feature_extraction import ResponseFeatureExtractor, use_responses_of
from chandraclip.versions import installed_versions

ROWS_A_CHUNK = 1024  # also what one draw of the halves is for: they do not depend on the batch size
MIN_TRAIN_ROWS = 50


def thin_to_halves(rows: pa.Table, generator: np.random.Generator) -> tuple[pa.Table, Ragged]:
    """Rows whose spectra keep each photon with probability 1/2, as if exposed half as long, and what was left.

    The two halves of a Poisson spectrum are independent: a model that copies noise from the first gains nothing in the
    second.

    Args:
        rows: with spectrum_counts, and exposure and background_scale if they have them.
        generator: of the draw, one for all rows.

    Returns:
        The rows with half the counts, exposure and background scale, and the counts of the other half.
    """
    counts = Ragged.from_arrow(rows["spectrum_counts"])
    kept = generator.binomial(np.asarray(counts.values, dtype=np.int64), 0.5)
    changed: dict[str, Any] = {
        "spectrum_counts": Ragged(kept, counts.offsets, counts.valid).to_arrow(rows["spectrum_counts"].type)
    }
    for name in ("exposure", "background_scale"):
        if name in rows.column_names and not pa.types.is_null(rows[name].type):
            values = rows[name].cast(pa.float64()).to_numpy()
            changed[name] = pa.array(values / 2, mask=~np.isfinite(values) & np.asarray(rows[name].is_null()))
    for name, column in changed.items():
        rows = rows.set_column(rows.column_names.index(name), name, column)
    return rows, Ragged(counts.values - kept, counts.offsets, counts.valid)


class Reconstructor:
    """A loaded spectrum model, its feature extractor, and the published features that all models are compared on.

    Args:
        source: folder of the model.
        batch_size: rows a forward pass.
        device: torch device; ``"cpu"`` runs one thread.
        fit_steps: the latents are fitted to each spectrum, and to each half of one; 0: the encoder's own.

    Raises:
        InputFileError: as `load_reconstructing`; steps for a family that does not fit latents.
    """

    def __init__(self, source: str | Path, batch_size: int = 64, device: str = "cpu", fit_steps: int = 0):
        if device == "cpu":
            torch.set_num_threads(1)
        model, self.extractor = load_reconstructing(source)
        self.model: TowerModel = nn.Module.to(model, torch.device(device)).eval()
        self.batch_size = batch_size
        if fit_steps and not model.fits_latents:
            raise InputFileError(source, f"a {model.config.model_type} does not fit its latents to counts (fit_steps)")
        self.fitting = {"fit_steps": fit_steps} if fit_steps else {}
        self.published = SpectrumFeatureExtractor()
        # An autoencoder of just these features is judged by what it gives, not by a way over channels and back.
        self.has_points = (
            isinstance(self.extractor, SpectrumFeatureExtractor)
            and self.extractor.to_dict() == self.published.to_dict()
        )

    def expected_counts(self, rows: pa.Table) -> Ragged:
        """Expected counts a channel of every row (`TowerModel.expected_counts`)."""
        parts = []
        for at in range(0, rows.num_rows, self.batch_size):
            part: Any = rows.slice(at, self.batch_size)
            if isinstance(self.extractor, ResponseFeatureExtractor):
                part = self.extractor.resolve(part)
            batch = {name: value.to(self.model.device) for name, value in self.extractor(part).items()}
            parts.append(self.model.expected_counts(part, batch, **self.fitting))
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        values = np.concatenate([part.values for part in parts])
        return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))

    @torch.no_grad()
    def points(
        self, rows: pa.Table, expected: Ragged, mask: np.ndarray, features: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """(B, 400) reconstructions on the scale of the published `features`; 0 outside the (B,) mask."""
        if not self.has_points:
            lengths = np.diff(expected.offsets)[mask]
            inside = Ragged(expected.values[mask[row_index(expected)]], np.concatenate([[0], np.cumsum(lengths)]))
            result = np.zeros((len(mask), self.published.num_points))
            if mask.any():
                result[mask] = self.published.values_of(rows.filter(pa.array(mask)), inside)
            return result
        parts = []
        for at in range(0, rows.num_rows, self.batch_size):
            own = {name: torch.as_tensor(value[at : at + self.batch_size]) for name, value in features.items()}
            inputs = {name: value.to(self.model.device) for name, value in own.items()}
            parts.append(self.model(**inputs).reconstruction.float().cpu().numpy())
        return np.concatenate(parts)

    def __call__(self, rows: pa.Table, generator: np.random.Generator) -> pa.Table:
        """Rows of the dataset with the columns of `with_keys` -> rows of `RECONSTRUCTIONS_SCHEMA`, in order."""
        half, held_out = thin_to_halves(rows, generator)
        expected, half_expected = self.expected_counts(rows), self.expected_counts(half)
        batch = self.published(rows, return_tensors="np")
        # A model that needs the row's response expects nothing where there is none.
        lengths = [np.diff(lists.offsets) for lists in (held_out, expected, half_expected)]
        mask = np.asarray(batch["spectrum_mask"]) & (lengths[0] == lengths[1]) & (lengths[0] == lengths[2])
        columns: dict[str, Any] = {name: rows[name] for name in (*KEY, "split")}
        for name, ragged in {
            "expected_counts": expected,
            "half_expected_counts": half_expected,
            "held_out_counts": held_out,
            "points": _dense(batch["spectrum_values"]),
            "reconstruction": _dense(self.points(rows, expected, mask, batch)),
        }.items():
            kept = Ragged(ragged.values, ragged.offsets, None).to_arrow(RECONSTRUCTIONS_SCHEMA.field(name).type)
            columns[name] = kept.take(pa.array(np.arange(len(mask)), mask=~mask))
        return pa.table(columns).select(RECONSTRUCTIONS_SCHEMA.names).cast(RECONSTRUCTIONS_SCHEMA)


def _dense(values: np.ndarray) -> Ragged:
    return Ragged(values.reshape(-1), np.arange(len(values) + 1) * values.shape[1])


def reconstruct_dataset(
    model: str,
    dataset: str,
    output: Path,
    *,
    split: str = "test",
    batch_size: int = 64,
    device: str = "cpu",
    seed: int = 0,
    config: str | None = None,
    revision: str | None = None,
    fit_steps: int = 0,
) -> dict[str, Any]:
    """Write ``OUTPUT/reconstructions.parquet``, its provenance, and mean and covariance of the points of train.

    Args:
        model: folder or Hub id of a spectrum model that has a decoder.
        dataset: folder or Hub id.
        output: folder; made if missing.
        split: one split, or ``"all"``.
        batch_size: rows a forward pass.
        device: torch device.
        seed: of the halves.
        config: of the dataset; None: `pairs` where it has that, else its only or default one.
        revision: of a model on the Hub.
        fit_steps: of a fit of the latents to each spectrum's counts; 0: those of the encoder.

    Returns:
        The provenance.

    Raises:
        InputFileError: model or dataset do not load, the family has no decoder of spectra, the dataset lacks the split
            or a column, or another process writes to `output`.
    """
    folder = model_folder(model, revision)
    reconstructor = Reconstructor(folder, batch_size, device, fit_steps)
    splits = load_splits(dataset, "pairs", config)
    if split != "all" and split not in splits:
        raise InputFileError(dataset, f"there is no split {split!r}, only {list(splits)}")
    chosen = {name: rows for name, rows in splits.items() if split in ("all", name)}
    extractor = reconstructor.extractor
    use_responses_of(extractor, dataset)
    schema = next(iter(splits.values())).features.arrow_schema
    usable_columns(dataset, schema, {"spectrum": extractor.columns}, optional=extractor.optional_columns)
    read = {*KEY_COLUMNS, *extractor.columns, *MODALITY_COLUMNS["spectrum"]}
    provenance = {
        "model": model,
        "model_id": model_id(folder),
        "model_type": reconstructor.model.config.model_type,
        "num_latents": reconstructor.model.config.latent_size,
        "num_parameters": reconstructor.model.num_parameters(),
        "dataset": dataset,
        "dataset_id": dataset_id(dataset, splits),
        "dataset_config": config,
        "split": split,
        "seed": seed,
        "fit_steps": fit_steps,
        "rows": {name: len(rows) for name, rows in chosen.items()},
        "simulated_rows": sum(num_simulated(rows) for rows in chosen.values()),
        "bad_rows": {name: find_bad_rows(rows, ["spectrum"]).counts for name, rows in chosen.items()},
        "versions": installed_versions("chandraclip", "torch", "transformers", "datasets", "pyarrow")
        | {"python": platform.python_version()},
    }
    total = sum(len(rows) for rows in chosen.values())
    with locked(output), tqdm(total=total, desc="reconstruct", unit="detection", unit_scale=True) as progress:
        with (
            atomic_path(output / RECONSTRUCTIONS_FILE) as temporary,
            pq.ParquetWriter(temporary, RECONSTRUCTIONS_SCHEMA, compression="zstd") as writer,
        ):
            for name, rows in chosen.items():
                view = rows.select_columns([column for column in rows.column_names if column in read])
                for start in range(0, len(view), ROWS_A_CHUNK):
                    chunk = without_bad_modalities(view[start : start + ROWS_A_CHUNK])
                    generator = np.random.default_rng([seed, start])
                    writer.write_table(reconstructor(with_keys(dataset, chunk, name, start), generator))
                    progress.update(len(chunk))
        _write_train_points(splits, output / TRAIN_POINTS_FILE)
        write_json(output / RECONSTRUCTIONS_PROVENANCE, provenance)
    return provenance


def _write_train_points(splits: dict[str, Any], path: Path) -> None:
    """Mean and covariance of the published features of train: what the mean spectrum and PCA of any size need."""
    path.unlink(missing_ok=True)
    if "train" not in splits:
        return
    train, extractor = splits["train"], SpectrumFeatureExtractor()
    view = train.select_columns([name for name in train.column_names if name in MODALITY_COLUMNS["spectrum"]])
    count, total, products = 0, np.zeros(extractor.num_points), np.zeros((extractor.num_points,) * 2)
    for start in tqdm(range(0, len(view), ROWS_A_CHUNK), desc="points of train", unit="chunk"):
        batch = extractor(without_bad_modalities(view[start : start + ROWS_A_CHUNK]), return_tensors="np")
        points = batch["spectrum_values"][batch["spectrum_mask"]].astype(np.float64)
        count, total, products = count + len(points), total + points.sum(axis=0), products + points.T @ points
    if count < MIN_TRAIN_ROWS:
        return
    mean = total / count
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, mean=mean, covariance=products / count - np.outer(mean, mean), num_rows=count)
