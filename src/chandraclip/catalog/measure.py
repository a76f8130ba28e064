"""CSC's catalogue quantities, measured from the photons and spectra of a table; simulated and real rows alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, BANDS, EFFECTIVE_ENERGY
from chandraclip.catalog.hardness import hardness_ratios
from chandraclip.catalog.photometry import aperture_photometry, is_upper_limit
from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.ogip.response import Response

BAND_NAMES = "smhb"
ROWS_PER_BLOCK = 128  # 445 channels of ACIS in 0.5-7 keV: half a MB a temporary
KEV_TO_ERG = 1.602176634e-9
FLUX_QUANTITIES = ("flux_aper_b", "flux_aper_h", "flux_aper_m", "flux_aper_s")
AREA_QUANTITIES = ("effective_area_s", "effective_area_m", "effective_area_h")
SPECTRUM_QUANTITIES = (
    *AREA_QUANTITIES,
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
            spectrum_background, background_scale, arf, psf_frac_aper_b, response_id, channel_energy_edges,
            spectrum_quality and spectrum_grouping; the events need event_time, event_energy, gti_start and gti_stop. A
            modality left out is missing in every row.
        responses: response_id -> `Response`; its energy grid is that of `arf`.

    Returns:
        (N,) float64 a column, NaN where the row lacks what it needs. Bad channels (`quality.good_channels`) count for
        nothing: fluxes and the ARF of hardness ratios are scaled by the share of the band's width that is good, and a
        band without a good channel is NaN.

        - effective_area_s, effective_area_m, effective_area_h: cm2, ARF at the band's effective energy times
          psf_frac_aper_b, which is 1 where it is not known. These alone do not count bad channels off.
        - src_cnts_aper_b: counts less scaled background in 0.5-7 keV, over psf_frac_aper_b; 0 where
          `aperture_photometry` gives an upper limit.
        - flux_significance_b: `aperture_photometry` in 0.5-7 keV: source counts over half of their interval.
        - flux_aper_b, flux_aper_h, flux_aper_m, flux_aper_s: erg/s/cm2 in the band, sum of channel energy / ARF over
          net counts, over the exposure and psf_frac_aper_b. As in CSC never negative, and 0 where the band's counts
          are an upper limit (`is_upper_limit`).
        - hard_hm, hard_hs, hard_ms: `hardness_ratios`, with the ARF at the band's effective energy times the exposure.
        - var_prob_b, var_index_b: `gregory_loredo` of the events in 0.5-7 keV, or of all where they have no energies.

    Raises:
        ValueError: an arf, channel_energy_edges or flags do not fit their response or spectrum, lists differ in
            length, or psf_frac_aper_b is no share.
    """
    num_rows = len(next(iter(columns.values())))
    result = {name: np.full(num_rows, np.nan) for name in (*SPECTRUM_QUANTITIES, *EVENT_QUANTITIES)}
    if columns.get("spectrum_counts") is not None:
        result |= _measure_spectra(columns, responses, num_rows)
    if columns.get("event_time") is not None:
        kept = in_band_b(columns["event_time"], columns["event_energy"])
        variability = gregory_loredo(_select(columns["event_time"], kept), columns["gti_start"], columns["gti_stop"])
        result["var_prob_b"], result["var_index_b"] = variability.var_prob, variability.var_index
    return result


def in_band_b(time: Ragged, energy: Ragged) -> np.ndarray:
    """(photons,) bool, those of 0.5-7 keV; of a list without energies all, since it was cut to some band already.

    Args:
        time, energy: N photon lists, event_time and event_energy; a list without energies is null or empty.

    Raises:
        ValueError: a list has another number of energies than of times.
    """
    lengths, num_energies = np.diff(time.offsets), np.diff(energy.offsets)
    has_energy = num_energies > 0
    if (lengths != num_energies)[has_energy].any():
        row = int(np.argmax(has_energy & (lengths != num_energies)))
        raise ValueError(f"row {row}: {lengths[row]} photons and {num_energies[row]} energies")
    low, high = BANDS["b"]
    kept = np.ones(len(time.values), dtype=bool)
    kept[np.repeat(has_energy, lengths)] = (energy.values >= low) & (energy.values < high)
    return kept


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
        "psf_frac_aper_b",
        "response_id",
        "channel_energy_edges",
        "spectrum_quality",
        "spectrum_grouping",
        "event_time",
        "event_energy",
        "gti_start",
        "gti_stop",
    }
)


def _measure_spectra(
    columns: Mapping[str, Any], responses: Mapping[str, Response], num_rows: int
) -> dict[str, np.ndarray]:
    scale = np.nan_to_num(np.asarray(columns.get("background_scale", np.zeros(num_rows)), dtype=np.float64))
    exposure = np.asarray(columns["exposure"], dtype=np.float64)
    psf_share = np.asarray(columns.get("psf_frac_aper_b", np.full(num_rows, np.nan)), dtype=np.float64)
    psf_share = np.where(np.isnan(psf_share), 1.0, psf_share)
    if not ((psf_share > 0) & (psf_share <= 1)).all():
        row = int(np.argmax(~((psf_share > 0) & (psf_share <= 1))))
        raise ValueError(f"row {row}: psf_frac_aper_b is {psf_share[row]}, and a share is above 0 and at most 1")
    sums = _BandSums(*(np.full((num_rows, len(BAND_NAMES)), value) for value in (0.0, 0.0, np.nan, np.nan, 1.0)))
    counts = columns["spectrum_counts"]
    good = good_channels(counts, columns.get("spectrum_quality"), columns.get("spectrum_grouping"))
    if good is not None:
        columns = {**columns, "good_channels": Ragged(good, counts.offsets)}
    has_spectrum = np.diff(counts.offsets) > 0
    for layout in _layouts(columns, responses, num_rows):
        for begin in range(0, layout.rows.size, ROWS_PER_BLOCK):
            layout.add_up(columns, scale, layout.rows[begin : begin + ROWS_PER_BLOCK], sums)

    narrow = [BAND_NAMES.index(band) for band in "smh"]
    ratios = hardness_ratios(
        sums.counts[:, narrow],
        sums.background[:, narrow],
        scale,
        sums.area[:, narrow] * sums.good_share[:, narrow] * exposure[:, None],
    )
    broad = BAND_NAMES.index("b")
    source_counts, background_counts = sums.counts[:, broad], sums.background[:, broad]
    photometry = aperture_photometry(source_counts, background_counts, scale)
    net = np.where(photometry.net_counts == 0, 0.0, (source_counts - scale * background_counts) / psf_share)
    limit = is_upper_limit(sums.counts, sums.background, scale[:, None])
    limit[:, broad] = photometry.net_counts == 0  # as the counts
    with np.errstate(divide="ignore", invalid="ignore"):
        flux = KEV_TO_ERG * sums.energy_per_area / (sums.good_share * (exposure * psf_share)[:, None])
    flux = np.where((limit | (flux < 0)) & ~np.isnan(flux), 0.0, flux)
    flux[~(np.isfinite(flux) & (exposure > 0)[:, None])] = np.nan
    area = sums.area[:, narrow] * psf_share[:, None]
    result = {
        **dict(zip(AREA_QUANTITIES, area.T)),
        "src_cnts_aper_b": net,
        **{name: flux[:, BAND_NAMES.index(name[-1])] for name in FLUX_QUANTITIES},
        "flux_significance_b": photometry.significance,
        "hard_hm": ratios.hard_hm,
        "hard_hs": ratios.hard_hs,
        "hard_ms": ratios.hard_ms,
    }
    for name in ("src_cnts_aper_b", "flux_significance_b"):
        result[name] = np.where(sums.good_share[:, broad] > 0, result[name], np.nan)
    return {name: np.where(has_spectrum, values, np.nan) for name, values in result.items()}


def effective_areas(arf: np.ndarray, response: Response, psf_share: float | None = None) -> dict[str, float]:
    """`AREA_QUANTITIES` of one spectrum, cm2, as `measure_catalog` gives them.

    Args:
        arf: (bins,) cm2, on the response's energy grid.
        psf_share: psf_frac_aper_b, where it is known.
    """
    areas = _at_effective_energies(np.asarray(arf, np.float64)[None], response, "smh")[0]
    return dict(zip(AREA_QUANTITIES, ((1.0 if psf_share is None else psf_share) * areas).tolist()))


def _at_effective_energies(arfs: np.ndarray, response: Response, bands: str) -> np.ndarray:
    """(R, bands) the ARFs (R, bins) at each band's effective energy: straight lines between the middles of the bins,
    0 beyond the grid."""
    low, high = np.asarray(response.energy_lo, np.float64), np.asarray(response.energy_hi, np.float64)
    effective = np.array([EFFECTIVE_ENERGY[band] for band in bands])
    middle = 0.5 * (low + high)
    areas = np.stack([np.interp(effective, middle, arf) for arf in arfs])
    areas[:, (effective < low[0]) | (effective > high[-1])] = 0.0
    return areas


class _BandSums(NamedTuple):
    """(N, bands) each, in the order of `BAND_NAMES`."""

    counts: np.ndarray
    background: np.ndarray
    energy_per_area: np.ndarray  # keV/cm2, sum of net counts x channel energy / ARF; NaN where an ARF is not known
    area: np.ndarray  # cm2, ARF at the band's effective energy; NaN where not known
    good_share: np.ndarray  # of the band's width


class _Layout:
    """Rows whose spectra share their channels, and their ARFs a grid: sums over channels are matrix products."""

    def __init__(self, rows: np.ndarray, energy: np.ndarray, width: np.ndarray, response: Response | None):
        """Of `rows` (R,), in order; (C,) keV each: energy of a channel's middle and width; no response where no ARF is
        known."""
        in_band = np.stack([(energy >= BANDS[band][0]) & (energy < BANDS[band][1]) for band in BAND_NAMES], axis=1)
        used = np.flatnonzero(in_band.any(axis=1))
        self.rows, self.num_channels = rows, energy.size
        self.used = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 0)
        self.energy, self.in_band = energy[self.used], in_band[self.used].astype(np.float64)
        self.width_in_band = width[self.used, None] * self.in_band
        self.has_area = response is not None
        if response is not None:
            low = np.asarray(response.energy_lo, np.float64)
            self.grid_size = low.size
            self.area_bin = np.clip(np.searchsorted(low, self.energy, side="right") - 1, 0, low.size - 1)
            self.at_effective = _at_effective_energies(np.eye(low.size), response, BAND_NAMES)

    def add_up(self, columns: Mapping[str, Any], scale: np.ndarray, rows: np.ndarray, sums: _BandSums) -> None:
        """Set the sums of some of the rows."""
        counts = _matrix(columns["spectrum_counts"], rows, self.num_channels, self.used)
        good: np.ndarray | float = 1.0
        if "good_channels" in columns:
            good = _matrix(columns["good_channels"], rows, self.num_channels, self.used)
            counts *= good
            # From the bad, so that it is 1 to the last digit where there are none; rounded, so that 0 is 0.
            bad_share = ((1.0 - good) @ self.width_in_band) / np.maximum(self.width_in_band.sum(axis=0), 1e-12)
            sums.good_share[rows] = np.round(1.0 - bad_share, 12)
        net = counts
        sums.counts[rows] = counts @ self.in_band
        given = _present(columns.get("spectrum_background"), rows)
        if given.any():
            background = np.zeros_like(counts)
            background[given] = _matrix(columns["spectrum_background"], rows[given], self.num_channels, self.used)
            background *= good
            sums.background[rows] = background @ self.in_band
            net = counts - scale[rows, None] * background
        if not self.has_area:
            return
        area = _matrix(columns["arf"], rows, self.grid_size)
        with np.errstate(divide="ignore", invalid="ignore"):
            sums.area[rows] = area @ self.at_effective
            inverse = np.where(area > 0, 1.0 / area, 0.0)[:, self.area_bin]
        total = (net * (self.energy * inverse)) @ self.in_band
        sums.energy_per_area[rows] = np.where((inverse == 0) @ self.in_band > 0, np.nan, total)


def _layouts(columns: Mapping[str, Any], responses: Mapping[str, Response], num_rows: int) -> Iterator[_Layout]:
    """The spectra by their channels and the grid of their ARFs: one layout for all the detections of one detector."""
    num_channels = np.diff(columns["spectrum_counts"].offsets)
    given = _present(columns.get("spectrum_background"), np.arange(num_rows))
    if given.any() and (np.diff(columns["spectrum_background"].offsets) != num_channels)[given].any():
        raise ValueError("spectrum_background must have as many channels as spectrum_counts in every row that has it")
    grid = _response_number(columns, responses, num_rows)
    edge_set, edge_sets = _edge_sets(columns.get("channel_energy_edges"), num_channels)
    keys = np.stack([num_channels, grid, edge_set], axis=1)
    kinds, kind = np.unique(keys, axis=0, return_inverse=True)
    kind = kind.ravel()
    order = np.split(np.argsort(kind, kind="stable"), np.cumsum(np.bincount(kind))[:-1])
    named = list(responses.values())
    for (size, response, edges), rows in zip(kinds.tolist(), order):
        if size > 0:
            energy, width = ACIS_CHANNEL_WIDTH * (np.arange(size) + 0.5), np.full(size, ACIS_CHANNEL_WIDTH)
            if edges >= 0:
                energy = 0.5 * (edge_sets[edges][1:] + edge_sets[edges][:-1])
                width = np.abs(np.diff(edge_sets[edges]))
            yield _Layout(rows, energy, width, named[response] if response >= 0 else None)


def _response_number(columns: Mapping[str, Any], responses: Mapping[str, Response], num_rows: int) -> np.ndarray:
    """(N,) which response the ARF of each row belongs to; -1 where there is no ARF or its response is unknown."""
    arf: Ragged | None = columns.get("arf")
    if arf is None or not responses:
        return np.full(num_rows, -1)
    names = {name: index for index, name in enumerate(responses)}
    grid = np.array([names.get(name, -1) if name else -1 for name in columns["response_id"]], dtype=np.int64)
    grid[~_present(arf, np.arange(num_rows))] = -1
    sizes = np.array([np.size(response.energy_lo) for response in responses.values()])
    if (np.diff(arf.offsets) != sizes[grid])[grid >= 0].any():
        raise ValueError("arf must have one value an energy bin of its response in every row that has both")
    return grid


def _edge_sets(edges: Ragged | None, num_channels: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """(N,) which of the distinct sets of channel edges each row has, -1 for ACIS's own channels; and these sets."""
    which, sets = np.full(num_channels.size, -1), list[np.ndarray]()
    if edges is None:
        return which, sets
    num_edges = np.diff(edges.offsets)
    if (num_edges != num_channels + 1)[num_edges > 0].any():
        raise ValueError(
            "channel_energy_edges must have one value more than spectrum_counts in every row that has them"
        )
    for size in np.unique(num_edges[num_edges > 0]).tolist():
        rows = np.flatnonzero(num_edges == size)
        distinct, which_distinct = np.unique(_matrix(edges, rows, size), axis=0, return_inverse=True)
        which[rows] = len(sets) + which_distinct.ravel()  # numpy 2.0 has it as a column
        sets.extend(distinct)
    return which, sets


def _present(lists: Ragged | None, rows: np.ndarray) -> np.ndarray:
    """(len(rows),) bool, whether the row has a list with anything in it."""
    return np.zeros(rows.size, dtype=bool) if lists is None else lists.offsets[rows + 1] > lists.offsets[rows]


def _matrix(lists: Ragged, rows: np.ndarray, size: int, columns: slice = slice(None)) -> np.ndarray:
    """float64 (len(rows), ...): those rows of a column of lists, all of one size, and some columns of them."""
    offsets = np.asarray(lists.offsets)
    begin = offsets[rows]
    if (np.diff(begin) == size).all():
        flat = np.asarray(lists.values[begin[0] : begin[0] + size * rows.size])
        return flat.reshape(rows.size, size)[:, columns].astype(np.float64)
    return np.asarray(lists.values)[begin[:, None] + np.arange(size)[columns]].astype(np.float64)


def _select(lists: Ragged, kept: np.ndarray) -> Ragged:
    """The lists with only the values where `kept` is true."""
    if kept.shape != np.shape(lists.values):
        raise ValueError(f"{len(kept)} energies for {len(lists.values)} times")
    before = np.concatenate([[0], np.cumsum(kept)])
    return Ragged(np.asarray(lists.values)[kept], before[lists.offsets], lists.valid)
