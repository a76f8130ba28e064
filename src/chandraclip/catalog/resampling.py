"""Count spectra of any instrument at common energies: net counts/s/keV, grouped and interpolated, all rows at once.

The published pipeline (Pinciroli Vago et al. 2025, arXiv:2510.14102; MultimodalUniverse scripts/chandra): keep the
channels of 0.5-8 keV that are not bad, subtract the background, group to at least 5 source counts as Sherpa's
``group_counts`` does, interpolate counts/s/keV to 400 log-spaced points. Models read them through their feature
extractors, evaluations as what a learned representation is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH
from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged, row_index

NUM_POINTS = 400
ENERGY_MIN, ENERGY_MAX = 0.5, 8.0  # keV
GROUP_COUNTS = 5
# Counts of the background region a step of its smoothed spectrum, as wide as that takes: a scatter of 22 % a step.
SMOOTHED_COUNTS = 20


@dataclass(frozen=True)
class NetChannels:
    """The channels of a band that may be used, row after row, in order of energy.

    Attributes:
        num_rows: of the table they are of.
        rows: (total,) row of each channel, non-decreasing.
        counts, background: (total,) counts, and those of the background expected in the source region.
        low, high: (total,) keV, edges of each channel.
        bad_width: (total,) keV, width of the bad channels of all rows up to each one; None where no channel is bad.
    """

    num_rows: int
    rows: np.ndarray
    counts: np.ndarray
    background: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bad_width: np.ndarray | None = None

    @cached_property
    def mask(self) -> np.ndarray:
        """(num_rows,) bool, the rows that have a channel here."""
        return np.bincount(self.rows, minlength=self.num_rows) > 0


def net_channels(
    counts: Ragged,
    edges: Ragged | None = None,
    background: Ragged | None = None,
    background_scale: np.ndarray | None = None,
    quality: Ragged | None = None,
    grouping: Ragged | None = None,
    energy_min: float = ENERGY_MIN,
    energy_max: float = ENERGY_MAX,
) -> NetChannels:
    """The channels whose middle lies in a band and that are good (`catalog.quality.good_channels`).

    Args:
        counts: spectrum_counts.
        edges: channel_energy_edges, keV, increasing or decreasing; the ACIS grid where a row has none.
        background, background_scale: spectrum_background and (B,) background_scale; nothing is subtracted where a row
            has no background or no finite scale.
        quality, grouping: OGIP's flags.
        energy_min, energy_max: keV.

    Raises:
        ValueError: a row whose edges, background or flags do not go with its counts.
    """
    if (edges is None or not len(edges.values)) and (quality is None or not len(quality.values)):
        alike = _of_one_grid(counts, background, background_scale, energy_min, energy_max)
        if alike is not None:
            return alike
    rows = row_index(counts)
    low, high = channel_edges(counts, edges)
    scaled = scaled_background(counts, background, background_scale)
    middle = 0.5 * (low + high)
    keep = (middle >= energy_min) & (middle <= energy_max)
    flat = {"rows": rows, "counts": counts.values, "background": scaled, "low": low, "high": high}
    good = good_channels(counts, quality, grouping)
    if good is not None:
        # The width of the bad channels up to each one: what a group that spans some does not cover.
        flat["bad_width"] = np.cumsum(np.where(good, 0.0, high - low))
        keep &= good
    kept = np.flatnonzero(keep)
    flat = {name: values[kept] for name, values in flat.items()}
    if len(low) and np.any((np.diff(low) < 0) & (np.diff(rows) == 0)):  # a grating's decreasing energies
        order = np.lexsort((flat["low"], flat["rows"]))
        flat = {name: values[order] for name, values in flat.items()}
    return NetChannels(num_rows=len(counts), **flat)


def _of_one_grid(
    counts: Ragged, background: Ragged | None, scale: np.ndarray | None, energy_min: float, energy_max: float
) -> NetChannels | None:
    """`net_channels` of rows that all have the ACIS grid, as many channels and a background: the common case, where
    what lies outside the band need not be touched. None where they have not."""
    lengths = np.diff(counts.offsets)
    num_channels, own = int(lengths.max(initial=0)), np.flatnonzero(lengths)
    if background is None or scale is None or not own.size or (lengths[own] != num_channels).any():
        return None
    if not np.array_equal(np.diff(background.offsets), lengths) or not np.isfinite(scale[own]).all():
        return None
    edges = ACIS_CHANNEL_WIDTH * np.arange(num_channels + 1)
    middle = 0.5 * (edges[:-1] + edges[1:])
    kept = slice(*np.searchsorted(middle, [energy_min, np.nextafter(energy_max, np.inf)]).tolist())
    own_counts, own_background = (
        np.asarray(lists.values).reshape(len(own), num_channels)[:, kept] for lists in (counts, background)
    )
    return NetChannels(
        num_rows=len(counts),
        rows=np.repeat(own, own_counts.shape[1]),
        counts=own_counts.ravel(),
        background=(own_background * scale[own, None]).ravel(),
        low=np.tile(edges[:-1][kept], len(own)),
        high=np.tile(edges[1:][kept], len(own)),
    )


def resample(
    channels: NetChannels, exposure: np.ndarray, energies: np.ndarray, group_counts: int = GROUP_COUNTS
) -> np.ndarray:
    """Net counts/s/keV of each group of channels, interpolated at its centre.

    Beyond the outermost group centres the value is that of the outermost group; a last group short of counts is kept.

    Args:
        channels: of B rows.
        exposure: (B,) s.
        energies: (P,) keV.
        group_counts: least source counts a group; 1 or less for no grouping.

    Returns:
        (rows that have a channel, P), in their order.
    """
    if not len(channels.rows):
        return np.zeros((0, len(energies)))
    starts = group_starts(channels.counts, channels.rows, group_counts)
    rows = channels.rows[starts]
    net = np.add.reduceat(channels.counts - channels.background, starts)
    last = np.append(starts[1:], len(channels.low)) - 1
    low, high = channels.low[starts], channels.high[last]
    width = high - low
    if channels.bad_width is not None:
        width = width - np.abs(channels.bad_width[last] - channels.bad_width[starts])
    rate = net / (exposure[rows] * width)
    centre = 0.5 * (low + high)
    valid = np.flatnonzero(channels.mask)[:, None]
    limits = 0.0, 2.0 * float(max(energies[-1], centre.max()))
    return interpolate_rows(rows, centre, rate, valid, energies[None], limits)


def min_max(rate: np.ndarray) -> np.ndarray:
    """(B, P) each row to [0, 1], as published; a row of one value is 0."""
    low, high = rate.min(axis=1, keepdims=True), rate.max(axis=1, keepdims=True)
    return np.divide(rate - low, high - low, out=np.zeros_like(rate), where=high > low)


def group_starts(counts: np.ndarray, rows: np.ndarray, group_counts: int) -> np.ndarray:
    """First channel of every group: a group ends with the channel where its counts reach `group_counts`.

    One step a channel, all rows at once.

    Args:
        counts: (total,) counts, row after row.
        rows: (total,) non-decreasing row of each channel.
        group_counts: least counts a group.

    Returns:
        (groups,) increasing indices into `counts`; each row begins a group.
    """
    begins = np.diff(rows, prepend=-1) > 0
    first = np.flatnonzero(begins)
    lengths = np.diff(np.append(first, len(rows)))
    alike = bool((lengths == lengths[0]).all())
    if alike:
        table = np.ascontiguousarray(counts.reshape(len(first), -1).T)
    else:
        position = np.arange(len(rows)) - np.repeat(first, lengths)
        column = np.repeat(np.arange(len(first)), lengths)
        table = np.zeros((lengths.max(), len(first)))
        table[position, column] = counts
    closed = np.zeros(table.shape, dtype=bool)
    running = np.zeros(len(first))
    for channel, row in enumerate(table):
        running += row
        np.greater_equal(running, group_counts, out=closed[channel])
        running[closed[channel]] = 0.0
    ends = closed.T.ravel() if alike else closed[position, column]
    return np.flatnonzero(begins | np.concatenate([[True], ends[:-1]]))


def interpolate_rows(
    knot_rows: np.ndarray,
    knots: np.ndarray,
    values: np.ndarray,
    query_rows: np.ndarray,
    query: np.ndarray,
    limits: tuple[float, float],
) -> np.ndarray:
    """Linear interpolation in every row's own table, all rows in one call; constant beyond a row's outermost knots.

    Args:
        knot_rows: (K,) non-decreasing row of each knot; every row of `query_rows` has one.
        knots, values: (K,) abscissae, non-decreasing within a row, and ordinates.
        query_rows, query: row and abscissa of each point wanted, shapes that broadcast.
        limits: all knots and queries lie within.

    Returns:
        Interpolated values, the shape of the queries.
    """
    # One increasing axis: a row is shifted past the one before, its outermost values repeated at its borders, so that
    # no row is interpolated with its neighbour.
    low, high = limits
    stride = 2.0 * (high - low)
    first = np.flatnonzero(np.diff(knot_rows, prepend=-1))
    last = np.append(first[1:], len(knot_rows)) - 1
    # A row's end and the next row's begin fall on one place, where insertion keeps this order: ends first.
    places = np.concatenate([last + 1, first])
    border = stride * knot_rows[first]
    x = np.insert(knots - low + stride * knot_rows, places, np.concatenate([border + (high - low), border]))
    y = np.insert(values, places, np.concatenate([values[last], values[first]]))
    return np.interp(query - low + stride * query_rows, x, y)


def channel_edges(counts: Ragged, edges: Ragged | None) -> tuple[np.ndarray, np.ndarray]:
    """(total,) keV: lower and upper edge of every channel of every row.

    Args:
        counts: spectrum_counts.
        edges: channel_energy_edges, increasing or decreasing; a row without has the ACIS grid.

    Raises:
        ValueError: a row has not one edge more than channels.
    """
    lengths = np.diff(counts.offsets)
    rows = row_index(counts)
    channel = np.arange(len(counts.values)) - np.repeat(counts.offsets[:-1], lengths)  # from 0
    low, high = ACIS_CHANNEL_WIDTH * channel, ACIS_CHANNEL_WIDTH * (channel + 1)
    if edges is None:
        return low, high
    num_edges = np.diff(edges.offsets)
    given_rows = np.ones(len(edges), dtype=bool) if edges.valid is None else np.asarray(edges.valid, dtype=bool)
    wrong = np.flatnonzero(given_rows & (lengths > 0) & (num_edges != lengths + 1))
    if wrong.size:
        raise ValueError(
            f"row {wrong[0]}: {lengths[wrong[0]]} channels need {lengths[wrong[0]] + 1} energy edges, "
            f"channel_energy_edges has {num_edges[wrong[0]]}"
        )
    given = given_rows[rows]
    first = edges.offsets[rows[given]] + channel[given]
    pair = edges.values[first], edges.values[first + 1]
    low[given], high[given] = np.minimum(*pair), np.maximum(*pair)
    return low, high


def scaled_background(counts: Ragged, background: Ragged | None, scale: np.ndarray | None) -> np.ndarray:
    """(total,) background counts expected in the source region; 0 where there is no background.

    Args:
        counts: spectrum_counts.
        background, scale: spectrum_background and (B,) background_scale.

    Raises:
        ValueError: a row of counts has a background of another length.
    """
    scaled = np.zeros(len(counts.values))
    if background is None or scale is None:
        return scaled
    lengths, num_background = np.diff(counts.offsets), np.diff(background.offsets)
    has = (num_background > 0) & (lengths > 0) & np.isfinite(scale)
    wrong = np.flatnonzero(has & (num_background != lengths))
    if wrong.size:
        raise ValueError(
            f"row {wrong[0]}: {lengths[wrong[0]]} source and {num_background[wrong[0]]} background channels, of "
            "spectrum_counts and spectrum_background"
        )
    if has.all():
        return np.asarray(background.values * np.repeat(scale, lengths))
    scaled[has[row_index(counts)]] = (background.values * np.nan_to_num(scale)[row_index(background)])[
        has[row_index(background)]
    ]
    return scaled


def smoothed_background(
    counts: Ragged,
    background: Ragged | None,
    scale: np.ndarray | None,
    width: np.ndarray,
    good: np.ndarray | None = None,
) -> np.ndarray:
    """(total,) background counts expected in the source region, without the noise of single channels.

    The counts of the background region are spread evenly in energy over groups of neighbouring channels, a group of at
    least 20 of them each, so that an expectation of total counts is nowhere zero where there is a background. A row's
    sum over good channels stays.

    Args:
        counts, background, scale: as `scaled_background`.
        width: (total,) keV of each channel.
        good: (total,) bool, channels that count; the others are 0. None for all.

    Raises:
        ValueError: as `scaled_background`.
    """
    rows = row_index(counts)
    scaled = scaled_background(counts, background, scale)
    if scale is None or not scaled.any():
        return scaled
    keep = np.arange(len(scaled)) if good is None else np.flatnonzero(good)
    smooth = np.zeros(len(scaled))
    raw = np.divide(scaled, scale[rows], out=np.zeros(len(scaled)), where=scaled > 0)
    starts = group_starts(raw[keep], rows[keep], SMOOTHED_COUNTS)
    lengths = np.diff(np.append(starts, len(keep)))
    density = np.add.reduceat(scaled[keep], starts) / np.add.reduceat(width[keep], starts)
    smooth[keep] = np.repeat(density, lengths) * width[keep]
    return smooth
