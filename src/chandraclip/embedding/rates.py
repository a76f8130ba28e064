"""Photon lists of a dataset and the count rates that a model of them gives, one half unseen."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn
from tqdm.auto import tqdm

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.good_lists import NO_BAND, GoodLists
from chandraclip.data.keys import KEY_COLUMNS, with_keys
from chandraclip.data.loading import dataset_id, load_splits
from chandraclip.data.provenance import num_simulated
from chandraclip.data.row_checks import find_bad_rows, usable_columns, without_bad_modalities
from chandraclip.data.schema import KEY_FIELDS, MODALITY_COLUMNS
from chandraclip.embedding.halves import seen_half
from chandraclip.errors import InputFileError
from chandraclip.evaluation.rate_tables import (
    NUM_CURVE_CELLS,
    RATES_FILE,
    RATES_PROVENANCE,
    RATES_SCHEMA,
    RateTable,
)
from chandraclip.files import atomic_path, write_json
from chandraclip.lock import locked
from chandraclip.model_folder import model_folder, model_id
from chandraclip.models.contract import load_rates
from chandraclip.versions import installed_versions

ROWS_A_CHUNK = 1024
TIMES_A_PASS = 2**17  # rates that are decoded together


class Rates:
    """A loaded model of photon lists that decodes count rates: of all photons, those of the background among them.

    A model may know the background (`use_background` of `poisson_autodecoder`), from the spectrum of a row. It is then
    a part of the rate that the latents are not asked for, and half of it is expected in half of the photons.

    Args:
        source: folder of the model.
        batch_size: lists a forward pass.
        device: torch device; ``"cpu"`` runs one thread.

    Raises:
        InputFileError: as `load_rates`.
    """

    def __init__(self, source: str | Path, batch_size: int = 64, device: str = "cpu"):
        if device == "cpu":
            torch.set_num_threads(1)
        model, self.extractor = load_rates(source)
        self.model = nn.Module.to(model, torch.device(device)).eval()
        self.batch_size = batch_size

    @property
    def background_columns(self) -> tuple[str, ...]:
        """Columns of the spectrum that a known background is read from; none where the model knows of none."""
        return tuple(name for name in self.extractor.columns if name not in MODALITY_COLUMNS["event"])

    def __call__(self, rows: pa.Table, seed: int = 0) -> pa.Table:
        """Rows of the dataset with the columns of `with_keys` -> rows of `RATES_SCHEMA`, in order."""
        background = rows.select([name for name in self.background_columns if name in rows.column_names])
        lists = GoodLists.of(rows)
        is_seen = seen_half(rows, lists.time, seed)
        seen, held_out = lists.select(is_seen), lists.select(~is_seen)
        curve = _cells(lists)
        both = _joined(seen, held_out)
        none = np.full(len(curve.values), NO_BAND, dtype=np.int8)
        shown = self.rates(seen, [(held_out.time, held_out.band)], _scaled(background, 0.5))
        whole = self.rates(lists, [both, (curve, none)], background)
        known = lists.mask & shown[2] & whole[2]
        columns: dict[str, Any] = {
            "seen_time": seen.time,
            "seen_band": Ragged(seen.band, seen.time.offsets),
            "held_out_time": held_out.time,
            "held_out_band": Ragged(held_out.band, held_out.time.offsets),
            "gti_start": lists.gti_start,
            "gti_stop": lists.gti_stop,
            "held_out_log_rate": Ragged(shown[0][0], held_out.time.offsets),
            "held_out_expected": _dense(shown[1]),
            "own_log_rate": Ragged(whole[0][0], both[0].offsets),
            "own_expected": _dense(whole[1]),
            "curve_time": curve,
            "curve_log_rate": Ragged(whole[0][1], curve.offsets),
        }
        mask = pa.array(np.arange(len(rows)), mask=~known)
        arrays: dict[str, Any] = {field.name: rows[field.name] for field in KEY_FIELDS}
        for name, column in columns.items():
            arrays[name] = Ragged(column.values, column.offsets).to_arrow(RATES_SCHEMA.field(name).type).take(mask)
        return pa.table(arrays).select(RATES_SCHEMA.names).cast(RATES_SCHEMA)

    @torch.no_grad()
    def rates(
        self, lists: GoodLists, asked: list[tuple[Ragged, np.ndarray]], background: pa.Table | None = None
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """The rates that the latents of lists stand for.

        Args:
            lists: N, what the model is shown.
            asked: N lists of times each, s, and their bands.
            background: N rows of `background_columns`, of as large a share of the photons as `lists`.

        Returns:
            For each of `asked` (T,) ln of photons/s in the band of each time, or in all; (N, 3) photons expected; and
            (N,) bool, the lists that the model can read: one may need energies.
        """
        rows = lists.columns()
        if background is not None:
            for name in background.column_names:
                rows = rows.append_column(name, background[name])
        found = [np.zeros(len(times.values)) for times, _ in asked]
        expected, known = np.zeros((len(rows), 3)), np.zeros(len(rows), dtype=bool)
        for begin in range(0, len(rows), self.batch_size):
            end = min(begin + self.batch_size, len(rows))
            batch = {
                name: value.to(self.model.device) if torch.is_tensor(value) else value
                for name, value in self.extractor(rows.slice(begin, end - begin)).items()
            }
            known[begin:end] = batch["event_mask"].cpu().numpy()
            latents = self.model.encode(**batch)
            expected[begin:end] = self.model.expected_photons(latents, batch).double().cpu().numpy()
            for (times, bands), result in zip(asked, found):
                row, first = row_index(times), int(times.offsets[begin])
                for start in range(first, int(times.offsets[end]), TIMES_A_PASS):
                    part = slice(start, min(start + TIMES_A_PASS, int(times.offsets[end])))
                    log_rate = self.model.log_rate(
                        latents,
                        batch,
                        torch.as_tensor(times.values[part], dtype=torch.float64, device=self.model.device),
                        torch.as_tensor(row[part] - begin, device=self.model.device),
                    )
                    log_rate = log_rate.double()
                    band = torch.as_tensor(bands[part].astype(np.int64), device=self.model.device)
                    own = log_rate.gather(1, band.clamp(min=0)[:, None])[:, 0]
                    result[part] = torch.where(band < 0, log_rate.logsumexp(dim=1), own).cpu().numpy()
        return found, expected, known


def _scaled(background: pa.Table, share: float) -> pa.Table:
    """The background of a share of the photons."""
    name = "background_scale"
    if name not in background.column_names:
        return background
    scale = pc.multiply(background[name].cast(pa.float64()), share)
    return background.set_column(background.column_names.index(name), name, scale)


def _joined(first: GoodLists, second: GoodLists) -> tuple[Ragged, np.ndarray]:
    """The times of two halves, the first's before the second's in each list, and their bands."""
    row = np.concatenate([row_index(first.time), row_index(second.time)])
    order = np.argsort(row, kind="stable")
    times = np.concatenate([first.time.values, second.time.values])[order]
    return Ragged(times, first.time.offsets + second.time.offsets), np.concatenate([first.band, second.band])[order]


def _cells(lists: GoodLists) -> Ragged:
    """The middle of equal cells of each list's good time, s on the clock of its photons."""
    start, stop, offsets = lists.gti_start.values, lists.gti_stop.values, lists.gti_start.offsets
    before = np.concatenate([[0.0], np.cumsum(stop - start)])  # good time of all rows, end to end
    first, total = before[offsets[:-1]], np.diff(before[offsets])
    share = (np.arange(NUM_CURVE_CELLS) + 0.5) / NUM_CURVE_CELLS
    elapsed = first[:, None] + total[:, None] * share
    interval = np.searchsorted(before, elapsed, side="right") - 1
    interval = np.clip(interval, offsets[:-1, None], offsets[1:, None] - 1)
    return _dense(start[interval] + elapsed - before[interval])


def _dense(values: np.ndarray) -> Ragged:
    return Ragged(values.reshape(-1), np.arange(len(values) + 1) * values.shape[1])


def rate_dataset(
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
) -> dict[str, Any]:
    """Write ``OUTPUT/rates.parquet`` and its provenance.

    Args:
        model: folder or Hub id of an event model that decodes count rates.
        dataset: folder or Hub id.
        output: folder; made if missing.
        split: one split, or ``"all"``.
        batch_size: lists a forward pass.
        device: torch device.
        seed: of the halves.
        config: of the dataset; None: `pairs` where it has that, else its only or default one.
        revision: of a model on the Hub.

    Returns:
        The provenance.

    Raises:
        InputFileError: model or dataset do not load, the family has no decoder of rates or one whose expected photons
            are not the integral of its rate (nothing is published then), the dataset lacks the split or a column, or
            another process writes to `output`.
    """
    folder = model_folder(model, revision)
    rates = Rates(folder, batch_size, device)
    splits = load_splits(dataset, "pairs", config)
    if split != "all" and split not in splits:
        raise InputFileError(dataset, f"there is no split {split!r}, only {list(splits)}")
    chosen = {name: rows for name, rows in splits.items() if split in ("all", name)}
    schema = next(iter(splits.values())).features.arrow_schema
    wanted = {"event": MODALITY_COLUMNS["event"], "a known background": rates.background_columns}
    usable_columns(dataset, schema, wanted, {*MODALITY_COLUMNS["event"][1:], "channel_energy_edges"})
    read = {*KEY_COLUMNS, *MODALITY_COLUMNS["event"], *rates.background_columns}
    judged = ["event", "spectrum"] if rates.background_columns else ["event"]
    provenance = {
        "model": model,
        "model_id": model_id(folder),
        "model_type": rates.model.config.model_type,
        "num_latents": rates.model.config.latent_size,
        "num_parameters": rates.model.num_parameters(),
        "dataset": dataset,
        "dataset_id": dataset_id(dataset, splits),
        "dataset_config": config,
        "split": split,
        "seed": seed,
        "rows": {name: len(rows) for name, rows in chosen.items()},
        "simulated_rows": sum(num_simulated(rows) for rows in chosen.values()),
        "bad_rows": {name: find_bad_rows(rows, judged).counts for name, rows in chosen.items()},
        "rate_of": "source and background",
        "known_background": bool(rates.background_columns),
        "versions": installed_versions("chandraclip", "torch", "transformers", "datasets", "pyarrow")
        | {"python": platform.python_version()},
    }
    total = sum(len(rows) for rows in chosen.values())
    with locked(output), tqdm(total=total, desc="rates", unit="detection", unit_scale=True) as progress:
        with atomic_path(output / RATES_FILE) as temporary:
            with pq.ParquetWriter(temporary, RATES_SCHEMA, compression="zstd") as writer:
                for name, rows in chosen.items():
                    view = rows.select_columns([column for column in rows.column_names if column in read])
                    for start in range(0, len(view), ROWS_A_CHUNK):
                        chunk = without_bad_modalities(view[start : start + ROWS_A_CHUNK])
                        writer.write_table(rates(with_keys(dataset, chunk, name, start), seed))
                        progress.update(len(chunk))
            # Whatever a model says of its rate, a likelihood of photons takes its integral: else nothing is published.
            table = RateTable.of_file(temporary, path=output)
            provenance["expected_over_integral"] = table.check_integrals()
            (output / RATES_PROVENANCE).unlink(missing_ok=True)  # that of an earlier table
        write_json(output / RATES_PROVENANCE, provenance)
    return provenance
