"""A row of the dataset as the objects it was made of, and as OGIP files: the way back from `rows`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.events import EventList
from chandraclip.ogip.header import SECONDS_PER_DAY, ObservationHeader
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import Spectrum
from chandraclip.ogip.writer import to_ogip

CHANDRA_MJD_REFERENCE = 50814.0  # d, zero of mission elapsed time


def row_to_ogip(
    folder: str | Path,
    row: Mapping[str, Any],
    responses: Mapping[str, Response] | None = None,
    *,
    name: str | None = None,
    compress: bool = False,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Write a detection of a dataset as OGIP files.

    Args:
        folder, compress, overwrite: see `to_ogip`, and what it returns and raises; it raises as `spectrum_of_row`, too.
        row: of a dataset, e.g. ``dataset[0]``.
        responses: of the dataset, by response_id (`response_table.read_responses`); without its own a spectrum is
            written without ARF and RMF.
        name: how the files' names begin; default the source's, blanks as underscores, with ObsID and region.
    """
    if name is None:
        words = "_".join(str(row["name"]).split())
        name = f"{words}_{row['obsid']}_{row['region_id']}".replace("/", "_")
    spectrum, events = spectrum_of_row(row, responses), events_of_row(row)
    return to_ogip(folder, spectrum, events, name=name, compress=compress, overwrite=overwrite)


def spectrum_of_row(row: Mapping[str, Any], responses: Mapping[str, Response] | None = None) -> Spectrum | None:
    """The spectrum of a row; None where it has none.

    Its response is the RMF of `responses` that the row names, with the row's own area. AREASCAL is in that area (see
    `rows`), so that `area_scale` is 1.

    Raises:
        InputFileError: exposure, or the scale of a background, is null.
    """
    if row.get("spectrum_counts") is None:
        return None
    counts = np.asarray(row["spectrum_counts"], np.int64)
    background = row.get("spectrum_background")
    if background is not None:
        background = np.asarray(background)
        whole = background.astype(np.int64)
        background = whole if np.array_equal(whole, background) else background
    arf, response_id = row.get("arf"), row.get("response_id")
    redistribution = None if responses is None or arf is None else responses.get(str(response_id))
    response, problem = None, None
    if redistribution is None:
        problem = f"response {response_id} is not at hand" if response_id else "the row has no response"
    else:
        response = replace(redistribution, arf=np.asarray(arf, np.float32))
    return Spectrum(
        counts=counts,
        channel=np.arange(counts.size) + (1 if response is None else response.first_channel),
        exposure=_known(row, "exposure"),
        background_counts=background,
        background_scale=1.0 if background is None else _known(row, "background_scale"),
        area_scale=1.0,
        response=response,
        response_problem=problem,
        grouping=_flags(row.get("spectrum_grouping")),
        quality=_flags(row.get("spectrum_quality")),
        header=header_of_row(row),
        path=Path(f"{row['name']}"),
    )


def _known(row: Mapping[str, Any], column: str) -> float:
    value = row.get(column)
    if value is None:
        raise InputFileError(f"{row['name']}", "is null, and a spectrum cannot be made without it", column)
    return float(value)


def _flags(values: Any) -> np.ndarray | None:
    return None if values is None else np.asarray(values, np.int16)


def events_of_row(row: Mapping[str, Any]) -> EventList | None:
    """The photons of a row; None where it has none."""
    if row.get("event_time") is None:
        return None
    gti = np.column_stack([np.asarray(row[name], np.float64) for name in ("gti_start", "gti_stop")])
    livetime = row.get("livetime")
    return EventList(
        time=np.asarray(row["event_time"], np.float64),
        energy=np.asarray(row["event_energy"], np.float32),
        gti=gti,
        exposure=float(np.diff(gti).sum() if livetime is None else livetime),
        tstart=float(row.get("tstart") or 0.0),
        header=header_of_row(row),
        path=Path(f"{row['name']}"),
    )


def header_of_row(row: Mapping[str, Any]) -> ObservationHeader:
    """Header facts of a row. ``ACIS-S`` is DETNAM; INSTRUME is ACIS, and CHANDRA its telescope."""
    instrument = str(row.get("instrument") or "").upper()
    chandra = instrument.startswith(("ACIS", "HRC"))
    mjd, tstart = row.get("mjd_obs"), row.get("tstart")
    reference = CHANDRA_MJD_REFERENCE if chandra else None
    if reference is None and mjd is not None and tstart is not None:
        reference = mjd - tstart / SECONDS_PER_DAY
    return ObservationHeader(
        telescope="CHANDRA" if chandra else "",
        instrument=instrument.split("-")[0] if chandra else instrument,
        detector=instrument if "-" in instrument else "",
        obs_id=str(row["obsid"]) if row.get("obsid", -1) >= 0 else "",
        obi=row.get("obi"),
        object_name=row.get("name"),
        mjd_obs=mjd,
        mjd_reference=reference,
    )
