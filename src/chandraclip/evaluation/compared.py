"""What several embeddings folders are compared on: their common detections, and what a number of theirs stands beside.

Baselines are of every comparison, made once: the hand features of regression (`variables.HAND_FEATURES`), those of them
that are of the photons and not of the observation, and the principal components of the resampled spectra, which a
spectrum model is trained on. The components are those of the
train split, also where folds are judged: they know no class.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.decomposition import PCA
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.resampling import ENERGY_MAX, ENERGY_MIN, NUM_POINTS, min_max, net_channels, resample
from chandraclip.data.schema import CONTEXT_COLUMNS, MODALITY_COLUMNS
from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation.dataset import column_batches, join_columns
from chandraclip.evaluation.embeddings import EMBEDDINGS, LATENTS, EmbeddingTable
from chandraclip.evaluation.regression import HAND, MIN_COVERAGE, Standardizer
from chandraclip.evaluation.variables import HAND_FEATURES, hand_features

logger = logging.getLogger(__name__)

# Without the text side, which is told what kind of source it is.
XRAY_COLUMNS = ("spectrum_latents", "event_latents", "spectrum_embedding", "event_embedding", "xray_embedding")
# What is measured of the photons: no off-axis angle, good time, Galactic column or area, which latents are not told.
HAND_OF_PHOTONS = "hand_features_of_photons"
NUM_COMPONENTS = 8  # as many as the published latents; where there are spectrum latents, as many as these
_LISTS = {"spectrum_quality": np.int64, "spectrum_grouping": np.int64}


@dataclass(frozen=True)
class Representation:
    """Vectors of the common detections.

    Attributes:
        values: (N, D) float32, 0 or NaN where missing.
        mask: (N,) bool, True where the detection has it.
        is_unit: unit vectors, whose distances mean something as they are; others are standardized.
        is_baseline: made without a model.
    """

    values: np.ndarray
    mask: np.ndarray
    is_unit: bool = False
    is_baseline: bool = False

    def scaled(self, train: np.ndarray) -> np.ndarray:
        """(N, D) float64: unit vectors as they are, others in units of the scatter of the rows `train`."""
        if self.is_unit:
            return self.values.astype(np.float64)
        return Standardizer.fit(self.values[train])(self.values)


@dataclass(frozen=True)
class Compared:
    """Detections that all folders have, and what is compared on them.

    Attributes:
        table: the first folder's, of the N common detections.
        representations: name -> its vectors; of several folders "folder: column". Baselines come last.
        facts: columns of the catalogue, (N,) each.
        skipped: what was left out -> why.
        folders: name -> provenance of each folder.
    """

    table: EmbeddingTable
    representations: dict[str, Representation]
    facts: dict[str, np.ndarray]
    skipped: dict[str, str] = field(default_factory=dict)
    folders: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def complete(self) -> np.ndarray:
        """(N,) bool, the detections that have every representation, so that all are judged on the same rows."""
        return np.logical_and.reduce([one.mask for one in self.representations.values()])


def compare_folders(
    folders: Sequence[str | Path],
    dataset: str,
    columns: Sequence[str] | None = None,
    facts: Sequence[str] = (),
    num_components: int | None = None,
) -> Compared:
    """Read embeddings folders of one dataset, with the baselines beside them.

    Args:
        folders: written by `scripts/embed.py`.
        dataset: folder or Hub id.
        columns: representations of each folder; "a+b" is two side by side. Default: those of the X-ray side.
        facts: catalogue columns wanted besides the hand features'.
        num_components: of the PCA; default one PCA for each length of spectrum latents.

    Raises:
        InputFileError: as `EmbeddingTable.load` and `join_columns`; folders without a common detection, or in which a
            source is in different splits; no representation that half of the rows have.
        OptionError: a folder twice, or a column that is none.
    """
    known_columns = (*EMBEDDINGS, *LATENTS)
    if unknown := sorted({part for column in columns or () for part in column.split("+")} - set(known_columns)):
        raise OptionError(f"{', '.join(unknown)}: no column of embeddings; there are {', '.join(known_columns)}")
    names = folder_names([Path(folder) for folder in folders])
    tables = common_detections([EmbeddingTable.load(folder) for folder in folders])
    first = tables[0]
    chosen: dict[str, Representation] = {}
    skipped: dict[str, str] = {}
    for name, table in zip(names, tables):
        for column in columns or XRAY_COLUMNS:
            label = column if len(tables) == 1 else f"{name}: {column}"
            parts = column.split("+")
            thin = [part for part in parts if part not in table.masks or table.masks[part].mean() < MIN_COVERAGE]
            if thin:
                share = [
                    f"{part} in {table.masks[part].mean() if part in table.masks else 0:.0%} of the rows"
                    for part in thin
                ]
                skipped[label] = "; ".join(share)
            else:
                chosen[label] = Representation(*table.joint(parts), is_unit=all(part in EMBEDDINGS for part in parts))
    if not chosen:
        raise InputFileError(first.path, f"no representation that {MIN_COVERAGE:.0%} of the rows have: {skipped}")
    known = join_columns(dataset, "catalog", list(dict.fromkeys([*HAND_FEATURES, *facts])), first)
    train = first.split == "train"
    photons = {name: values for name, values in known.items() if name not in CONTEXT_COLUMNS}
    for label, columns_by_hand in {HAND: known, HAND_OF_PHOTONS: photons}.items():
        by_hand = hand_features({"": np.zeros(len(first)), **columns_by_hand}, "")
        by_hand = by_hand[:, np.isfinite(by_hand[train if train.any() else slice(None)]).any(axis=0)]
        if by_hand.shape[1]:
            chosen[label] = Representation(by_hand, np.isfinite(by_hand).any(axis=1), is_baseline=True)
        else:
            skipped[label] = "none of them is in the dataset"
    lengths = {table.arrays["spectrum_latents"].shape[1] for table in tables if "spectrum_latents" in table.arrays}
    sizes = [num_components] if num_components else sorted(lengths) or [NUM_COMPONENTS]
    spectra = resampled_spectra(dataset, first)
    if spectra is None or spectra[1].mean() < MIN_COVERAGE:
        skipped["PCA of spectra"] = "fewer than half of the rows have a spectrum in the dataset"
    else:
        components = spectrum_components(*spectra, train, max(sizes))
        for size in sizes:
            label = f"pca_{min(size, components.shape[1])}"
            chosen[label] = Representation(components[:, :size], spectra[1], is_baseline=True)
    provenance = {name: table.provenance or {"path": str(table.path)} for name, table in zip(names, tables)}
    return Compared(first, chosen, known, skipped, provenance)


def folder_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart.

    Raises:
        OptionError: one folder given twice.
    """
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise OptionError(f"a folder is given twice: {', '.join(map(str, folders))}")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def common_detections(tables: Sequence[EmbeddingTable]) -> list[EmbeddingTable]:
    """The tables with the rows that all of them have, in the order of the first.

    Raises:
        InputFileError: there is none, or a detection is in two splits.
    """
    import pandas as pd

    indexes = [pd.MultiIndex.from_arrays(list(table.keys.values())) for table in tables]
    common = np.logical_and.reduce([indexes[0].isin(index) for index in indexes])
    if not common.any():
        raise InputFileError(tables[-1].path, f"no detection is also in {tables[0].path}")
    if not common.all():
        logger.warning("%d of %d detections are in every folder", common.sum(), len(common))
    chosen = [table.select(index.get_indexer(indexes[0][common])) for table, index in zip(tables, indexes)]
    for table in chosen[1:]:
        if (table.split != chosen[0].split).any():
            raise InputFileError(table.path, f"detections are in other splits than in {chosen[0].path}", "split")
    return chosen


def resampled_spectra(dataset: str, table: EmbeddingTable) -> tuple[np.ndarray, np.ndarray] | None:
    """(N, 400) float32 min-max spectra as published (`catalog.resampling`), and (N,) which rows have one.

    None where the dataset has no spectra.
    """
    energies = np.geomspace(ENERGY_MIN, ENERGY_MAX, NUM_POINTS)
    values, mask = np.zeros((len(table), NUM_POINTS), np.float32), np.zeros(len(table), bool)
    names = MODALITY_COLUMNS["spectrum"]
    bar = tqdm(total=len(table), desc="spectra", unit="detection", delay=5.0)
    for rows, part in column_batches(dataset, "pairs", names, table):
        if "spectrum_counts" not in part.column_names:
            return None
        lists = {
            name: Ragged.from_arrow(part[name].cast(_list_of(_LISTS.get(name, np.float64))))
            for name in part.column_names
            if pa.types.is_list(part[name].type) or pa.types.is_large_list(part[name].type)
        }
        scale = (
            part["background_scale"].cast(pa.float64()).to_numpy() if "background_scale" in part.column_names else None
        )
        channels = net_channels(
            lists["spectrum_counts"],
            lists.get("channel_energy_edges"),
            lists.get("spectrum_background"),
            scale,
            lists.get("spectrum_quality"),
            lists.get("spectrum_grouping"),
        )
        # The scale of each row is divided out again, so the exposure does not matter.
        values[rows[channels.mask]] = min_max(resample(channels, np.ones(len(rows)), energies))
        mask[rows] = channels.mask
        bar.update(len(rows))
    bar.close()
    return values, mask


def spectrum_components(spectra: np.ndarray, mask: np.ndarray, train: np.ndarray, num_components: int) -> np.ndarray:
    """(N, num_components or fewer) leading principal components, fitted on the rows `train` that have a spectrum."""
    fitted = train & mask if (train & mask).any() else mask
    size = min(num_components, int(fitted.sum()), spectra.shape[1])
    pca = PCA(size, svd_solver="covariance_eigh").fit(spectra[fitted].astype(np.float64))
    return np.where(mask[:, None], pca.transform(spectra), 0.0).astype(np.float32)


def _list_of(kind: Any) -> pa.DataType:
    return pa.list_(pa.from_numpy_dtype(np.dtype(kind)))
