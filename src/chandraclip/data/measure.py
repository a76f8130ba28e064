"""CSC's catalogue quantities, measured from the photons and spectra of a table; simulated and real rows alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.data.hardness import hardness_ratios
from chandraclip.data.response import Response
from chandraclip.data.schema import ACIS_CHANNEL_WIDTH, BANDS, Ragged
from chandraclip.data.variability import gregory_loredo

KEV_TO_ERG = 1.602176634e-9
FLUX_QUANTITIES = ("flux_aper_b", "flux_aper_h", "flux_aper_m", "flux_aper_s")
SPECTRUM_QUANTITIES = (
    "src_cnts_aper_b",
    *FLUX_QUANTITIES,
    "flux_significance_b",
    "hard_hm",
    "hard_hs",
    "hard_ms",
)
EVENT_QUANTITIES = ("var_prob_b", "var_index_b")


def measure_catalog(columns: Mapping[str, Any], responses: Mapping[str, Response]) -> dict[str, np.ndarray]:
    """Catalogue columns of N detections from their spectra and events.

    Args:
        columns: columns of the schema, lists as `Ragged`. The spectrum needs spectrum_counts and exposure, and uses
            spectrum_background, background_scale, arf, response_id and channel_energy_edges; the events need
            event_time, event_energy, gti_start and gti_stop. A modality left out is missing in every row.
        responses: response_id -> `Response`; its energy grid is that of `arf`.

    Returns:
        (N,) float64 a column, NaN where the row lacks what it needs:

        - src_cnts_aper_b: counts less scaled background in 0.5-7 keV.
        - flux_significance_b: that over its error, (counts + background_scale^2 background)^(1/2), and not below 0.
        - flux_aper_b, flux_aper_h, flux_aper_m, flux_aper_s: erg/s/cm2 in the band, sum of channel energy / ARF over net counts, over the exposure.
        - hard_hm, hard_hs, hard_ms: `hardness_ratios`, with the band's mean ARF times the exposure.
        - var_prob_b, var_index_b: `gregory_loredo` of the events in 0.5-7 keV.

    Raises:
        ValueError: an arf or channel_energy_edges does not fit its response or spectrum, or lists differ in length.
    """
    num_rows = len(next(iter(columns.values())))
    result = {name: np.full(num_rows, np.nan) for name in (*SPECTRUM_QUANTITIES, *EVENT_QUANTITIES)}
    if columns.get("spectrum_counts") is not None:
        result |= _measure_spectra(columns, responses, num_rows)
    if columns.get("event_time") is not None:
        energy = columns["event_energy"]
        low, high = BANDS["b"]
        kept = (energy.values >= low) & (energy.values < high)
        variability = gregory_loredo(_select(columns["event_time"], kept), columns["gti_start"], columns["gti_stop"])
        result["var_prob_b"], result["var_index_b"] = variability.var_prob, variability.var_index
    return result


def fill_measured(table: pa.Table, responses: Mapping[str, Response]) -> pa.Table:
    """The table with every null catalogue quantity measured from the row itself; what the catalogue gave stays.

    Args:
        table: rows of `schema.TABLE_SCHEMA`.
        responses: response_id -> `Response`, for the rows that have an arf.
    """
    columns: dict[str, Any] = {}
    for field in table.schema:
        if field.name in _INPUT_COLUMNS:
            column = table.column(field.name)
            if pa.types.is_list(field.type):
                columns[field.name] = Ragged.from_arrow(column)
            elif pa.types.is_string(field.type):
                columns[field.name] = column.to_pylist()
            else:
                columns[field.name] = column.to_numpy()
    for name, measured in measure_catalog(columns, responses).items():
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        given = table.column(index).to_numpy()
        values = np.where(np.isnan(given), measured, given)
        table = table.set_column(index, field, pa.array(values, from_pandas=True).cast(field.type))
    return table


_INPUT_COLUMNS = frozenset(
    {
        "spectrum_counts",
        "spectrum_background",
        "background_scale",
        "exposure",
        "arf",
        "response_id",
        "channel_energy_edges",
        "event_time",
        "event_energy",
        "gti_start",
        "gti_stop",
    }
)


def _measure_spectra(
    columns: Mapping[str, Any], responses: Mapping[str, Response], num_rows: int
) -> dict[str, np.ndarray]:
    counts: Ragged = columns["spectrum_counts"]
    has_spectrum = np.diff(counts.offsets) > 0
    row = np.repeat(np.arange(num_rows), np.diff(counts.offsets))
    energy = _channel_energy(counts, columns.get("channel_energy_edges"))
    scale = np.nan_to_num(np.asarray(columns.get("background_scale", np.zeros(num_rows)), dtype=np.float64))
    background = _background_counts(counts, columns.get("spectrum_background"))
    exposure = np.asarray(columns["exposure"], dtype=np.float64)

    def band_sum(values: np.ndarray, band: str) -> np.ndarray:
        low, high = BANDS[band]
        return np.bincount(row, np.where((energy >= low) & (energy < high), values, 0.0), minlength=num_rows)

    band_area, channel_area = _effective_area(columns, responses, row, energy)
    ratios = hardness_ratios(
        np.stack([band_sum(counts.values, band) for band in "smh"], axis=1),
        np.stack([band_sum(background, band) for band in "smh"], axis=1),
        scale,
        band_area * exposure[:, None],
    )
    source_counts, background_counts = band_sum(counts.values, "b"), band_sum(background, "b")
    net = source_counts - scale * background_counts
    error = np.sqrt(np.maximum(source_counts + scale**2 * background_counts, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        energy_per_area = (counts.values - scale[row] * background) * energy / channel_area
        fluxes = {name: KEV_TO_ERG * band_sum(energy_per_area, name[-1]) / exposure for name in FLUX_QUANTITIES}
    result = {
        "src_cnts_aper_b": net,
        **{name: np.where(np.isfinite(flux) & (exposure > 0), flux, np.nan) for name, flux in fluxes.items()},
        "flux_significance_b": np.maximum(net / error, 0.0),
        "hard_hm": ratios.hard_hm,
        "hard_hs": ratios.hard_hs,
        "hard_ms": ratios.hard_ms,
    }
    return {name: np.where(has_spectrum, values, np.nan) for name, values in result.items()}


def _channel_energy(counts: Ragged, edges: Ragged | None) -> np.ndarray:
    """(total channels,) keV, the middle of every channel of every row."""
    lengths = np.diff(counts.offsets)
    position = np.arange(counts.offsets[-1]) - np.repeat(counts.offsets[:-1], lengths)
    energy = ACIS_CHANNEL_WIDTH * (position + 0.5)
    if edges is None or edges.values.size == 0:
        return energy
    num_edges = np.diff(edges.offsets)
    given = num_edges > 0
    if (num_edges[given] != lengths[given] + 1).any():
        raise ValueError(
            "channel_energy_edges must have one value more than spectrum_counts in every row that has them"
        )
    middle = 0.5 * (edges.values[1:] + edges.values[:-1])
    inside = np.ones(middle.size, dtype=bool)
    inside[edges.offsets[1:-1][(edges.offsets[1:-1] > 0) & (edges.offsets[1:-1] < edges.values.size)] - 1] = False
    energy[np.repeat(given, lengths)] = middle[inside]
    return energy


def _background_counts(counts: Ragged, background: Ragged | None) -> np.ndarray:
    """(total channels,) background counts, 0 in the rows that have none."""
    result = np.zeros(counts.offsets[-1])
    if background is None or background.values.size == 0:
        return result
    lengths, given = np.diff(counts.offsets), np.diff(background.offsets) > 0
    if (np.diff(background.offsets)[given] != lengths[given]).any():
        raise ValueError("spectrum_background must have as many channels as spectrum_counts in every row that has it")
    result[np.repeat(given, lengths)] = background.values
    return result


def _effective_area(
    columns: Mapping[str, Any], responses: Mapping[str, Response], row: np.ndarray, energy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean ARF over the bands s, m, h (N, 3) and the ARF at each channel (total channels,), cm2; NaN where unknown."""
    num_rows = len(columns["exposure"])
    band_area, channel_area = np.full((num_rows, 3), np.nan), np.full(energy.size, np.nan)
    arf: Ragged | None = columns.get("arf")
    if arf is None or not responses:
        return band_area, channel_area
    names = {name: index for index, name in enumerate(responses)}
    grid = np.array([names.get(name, -1) if name else -1 for name in columns["response_id"]], dtype=np.int64)
    known = (grid >= 0) & (np.diff(arf.offsets) > 0)
    lows = [np.asarray(response.energy_lo, np.float64) for response in responses.values()]
    highs = [np.asarray(response.energy_hi, np.float64) for response in responses.values()]
    sizes = np.array([low.size for low in lows])
    if (np.diff(arf.offsets)[known] != sizes[grid[known]]).any():
        raise ValueError("arf must have one value an energy bin of its response in every row that has both")
    grid_start = np.concatenate([[0], np.cumsum(sizes)])

    # Bin of the response grid under every value of `arf`, then sums over the rows.
    arf_row = np.repeat(np.arange(num_rows), np.diff(arf.offsets))
    arf_known = known[arf_row]
    arf_row, area = arf_row[arf_known], np.asarray(arf.values, np.float64)[arf_known]
    bins = np.flatnonzero(arf_known) - np.asarray(arf.offsets)[arf_row] + grid_start[grid[arf_row]]
    low, high = np.concatenate(lows)[bins], np.concatenate(highs)[bins]
    for column, band in enumerate("smh"):
        overlap = np.clip(np.minimum(high, BANDS[band][1]) - np.maximum(low, BANDS[band][0]), 0.0, None)
        total = np.bincount(arf_row, overlap, minlength=num_rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            band_area[:, column] = np.bincount(arf_row, area * overlap, minlength=num_rows) / total
    band_area[~known] = np.nan

    # One increasing axis for all grids, so that one search serves every channel of every row.
    width = 2.0 * max(float(high.max()) for high in highs)
    axis = np.concatenate([low + width * index for index, low in enumerate(lows)])
    has_area = known[row] & (energy < width)
    channel_grid = grid[row[has_area]]
    found = np.searchsorted(axis, energy[has_area] + width * channel_grid, side="right") - 1
    found = np.clip(found, grid_start[channel_grid], grid_start[channel_grid + 1] - 1) - grid_start[channel_grid]
    at_channel = np.asarray(arf.values, np.float64)[np.asarray(arf.offsets)[row[has_area]] + found]
    channel_area[has_area] = np.where(at_channel > 0, at_channel, np.nan)
    return band_area, channel_area


def _select(lists: Ragged, kept: np.ndarray) -> Ragged:
    """The lists with only the values where `kept` is true."""
    if kept.shape != np.shape(lists.values):
        raise ValueError(f"{len(kept)} energies for {len(lists.values)} times")
    before = np.concatenate([[0], np.cumsum(kept)])
    return Ragged(np.asarray(lists.values)[kept], before[lists.offsets], lists.valid)
