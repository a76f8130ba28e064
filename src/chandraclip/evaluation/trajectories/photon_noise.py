"""What photon noise alone makes of a source that does not change: its photons dealt anew to its observations.

If a source emits the same spectrum S(E) whenever it is observed, a photon of channel c belongs to observation i with
probability

    p_i(c) = (T_i A_i(c) S(c) + B_i(c)) / sum_j (T_j A_j(c) S(c) + B_j(c))

with exposure T, effective area A behind the redistribution (and the aperture's share of the PSF) and background B. All
photons of the source, channel by channel, are a sufficient statistic of S, so dealing them anew by p_i is an exact draw
under that hypothesis given what was seen in all: without background S drops out, and no spectral model is fitted. With
background S enters by its ratio to B alone, and is the smoothed net spectrum of all observations together.

Within an observation photons arrive evenly over the good time, in its readout frames. The background region is drawn
anew too. An observation keeps its exposure, good time, off-axis angle, area and background rate, so that none of these
moves a constant source; `calibration_scatter` is what is allowed for the area.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.ndimage import gaussian_filter1d

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import TABLE_SCHEMA

# Of a constant source, dex from one observation to another: contamination, PSF share, vignetting (ACIS: about 5 %).
CALIBRATION_SCATTER = 0.02
SMOOTHING = 10.0  # channels, sigma: of the net spectrum and of the background, about the resolution of ACIS
# Photon indices; areas are folded with the one that is most like the source. Only their ratios matter, and these only
# where redistribution does: in the softest and in the most absorbed spectra.
SLOPES = (-2.0, 0.0, 1.7, 4.0, 8.0, 12.0)
_FIT_STEPS = 100
_KEPT = 0.3, 10.0  # keV, where ACIS is calibrated; beyond, some lists have no photons and their backgrounds do
_DRAWN = ("spectrum_counts", "spectrum_background", "event_time", "event_energy")
# What no model reads, and only makes the redrawn rows heavy.
_LEFT_OUT = ("arf", "summary", "bibcodes", "summary_model", "prompt_version")


def channel_areas(rows: pa.Table, responses: Mapping[str, Any], source: np.ndarray) -> np.ndarray:
    """Exposure times effective area of each channel, by which the counts of a constant source compare.

    Args:
        rows: N detections with `arf`, `response_id`, `exposure`, of C channels each.
        responses: of the dataset by response_id, as `data.response_table.read_responses` gives them.
        source: (N,) int, non-decreasing from 0: the source of each.

    Returns:
        (N, C) float64: counts a channel of a power law, of `SLOPES` the one by which the counts of all observations of
        the source are likeliest; NaN where a row has no response.
    """
    num_channels = len(rows["spectrum_counts"][0])
    first = np.flatnonzero(np.diff(source, prepend=-1))
    pooled = np.add.reduceat(_dense(rows, "spectrum_counts", num_channels), first, axis=0)
    best = np.full(len(first), -np.inf)
    areas = np.full((rows.num_rows, num_channels), np.nan)
    for slope in SLOPES:
        folded = _folded(rows, responses, slope, num_channels)
        shape = np.add.reduceat(np.nan_to_num(folded), first, axis=0)
        seen = shape > 0
        shape = np.divide(shape, shape.sum(axis=1, keepdims=True), out=np.ones_like(shape), where=seen)
        # Channels that a spectrum of this slope hardly reaches hold background, which must not decide.
        likelihood = (pooled * np.log(np.maximum(shape, 1e-5))).sum(axis=1)
        better = likelihood > best
        best[better] = likelihood[better]
        areas[better[source]] = folded[better[source]]
    return areas


def _folded(rows: pa.Table, responses: Mapping[str, Any], slope: float, num_channels: int) -> np.ndarray:
    """(N, C) counts of a power law, 1 photon/s/cm2/keV at 1 keV; NaN where a row has no response."""
    areas = np.full((rows.num_rows, num_channels), np.nan)
    ids = np.array([str(value) for value in rows["response_id"].to_pylist()])
    area = Ragged.from_arrow(rows["arf"])
    size = np.diff(area.offsets)
    exposure = _numbers(rows, "exposure", np.nan) * _numbers(rows, "psf_frac_aper_b", 1.0)
    for response_id in np.unique(ids):
        response = responses.get(response_id)
        if response is None or response.num_channels != num_channels:
            continue
        of_it = np.flatnonzero((ids == response_id) & (size == response.arf.size))
        if of_it.size == 0:
            continue
        arf = area.values[area.offsets[of_it][:, None] + np.arange(response.arf.size)].astype(np.float64)
        energy = 0.5 * (response.energy_lo + response.energy_hi)
        flux = np.maximum(energy, 0.1) ** -slope * (response.energy_hi - response.energy_lo)
        areas[of_it] = np.maximum((arf * flux) @ response.matrix, 0.0) * exposure[of_it, None]
    return areas


@dataclass(frozen=True, eq=False)
class PhotonNoise:
    """N observations of S sources that can be drawn anew.

    Attributes:
        rows: N detections with spectra of C channels, by source.
        source: (N,) int, non-decreasing from 0: the source of each.
        areas: (N, C) of `channel_areas`.
        calibration_scatter: dex, of each observation's area in each draw.
        flux_free: each observation keeps the flux that it was seen with, and only the spectrum is the same in all.
    """

    rows: pa.Table
    source: np.ndarray
    areas: np.ndarray
    calibration_scatter: float = CALIBRATION_SCATTER
    flux_free: bool = False

    @cached_property
    def counts(self) -> np.ndarray:
        """(N, C) as observed."""
        return _dense(self.rows, "spectrum_counts", self.areas.shape[1]).astype(np.int64)

    @cached_property
    def first(self) -> np.ndarray:
        """(S,) row of each source's first observation."""
        return np.flatnonzero(np.diff(self.source, prepend=-1))

    @cached_property
    def background(self) -> np.ndarray:
        """(N, C) counts expected in the source aperture, smooth: each one's own number, the source's pooled shape."""
        region = _dense(self.rows, "spectrum_background", self.areas.shape[1])
        scale = _numbers(self.rows, "background_scale", 0.0)
        shape = _smooth(np.add.reduceat(region, self.first, axis=0))[self.source]
        total = shape.sum(axis=1, keepdims=True)
        shape = np.divide(shape, total, out=np.full_like(shape, 1.0 / shape.shape[1]), where=total > 0)
        return shape * (region.sum(axis=1) * scale)[:, None]

    @cached_property
    def expected(self) -> np.ndarray:
        """(N, C) source counts, smooth, of a source that is the same in all observations (but for `flux`)."""
        pooled = np.add.reduceat(self.counts, self.first, axis=0)
        raw = pooled - np.add.reduceat(self.background, self.first, axis=0)
        # Where the background is all there is, a trace stays, so that what is seen there can be dealt.
        net = np.maximum(_smooth(raw), 1e-3 * np.maximum(_smooth(pooled.astype(np.float64)), 1e-9))
        # Noise below zero is cut off, so what is above is too much: where photons are kept it has its number again.
        low, high = self._channel_edges
        broad = ((low >= _KEPT[0]) & (high <= _KEPT[1]))[self.first]
        number = np.maximum((raw * broad).sum(axis=1), 0.5)
        cut = (net * broad).sum(axis=1)
        net *= np.divide(number, cut, out=np.ones_like(cut), where=cut > number)[:, None]
        area = self.areas * self.flux[:, None] if self.flux_free else self.areas
        together = np.add.reduceat(area, self.first, axis=0)[self.source]
        share = np.divide(area, together, out=np.zeros_like(area), where=together > 0)
        return share * net[self.source]

    @cached_property
    def flux(self) -> np.ndarray:
        """(N,) relative flux of each observation at one and the same spectrum, by the counts of each."""
        total = self.counts.sum(axis=1)
        net = np.maximum(total - self.background.sum(axis=1), 0.5)
        pooled = np.add.reduceat(self.counts, self.first, axis=0)[self.source].astype(np.float64)
        flux = np.ones(len(self.source))
        for _ in range(_FIT_STEPS):
            area = self.areas * flux[:, None]
            together = np.add.reduceat(area, self.first, axis=0)[self.source]
            expected = np.divide(area * pooled, together, out=np.zeros_like(area), where=together > 0).sum(axis=1)
            whole = np.add.reduceat(net, self.first)[self.source] / np.add.reduceat(expected, self.first)[self.source]
            step = net / np.maximum(expected * whole, 1e-9)
            flux *= step
            if np.abs(step - 1.0).max() < 1e-4:
                break
        return flux

    @cached_property
    def frames(self) -> np.ndarray:
        """(N,) s, readout frame of each photon list; 0 where its times lie on no grid."""
        return frame_times(Ragged.from_arrow(self.rows["event_time"]))

    def draw_counts(self, rng: np.random.Generator, num_draws: int) -> np.ndarray:
        """(num_draws, N, C) int: photons of each source, channel by channel, dealt to its observations."""
        pooled = np.add.reduceat(self.counts, self.first, axis=0)
        of_cell, channel = np.nonzero(pooled)
        rank = np.arange(len(self.source)) - self.first[self.source]
        size = np.diff(np.append(self.first, len(self.source)))
        factor = 10.0 ** (self.calibration_scatter * rng.standard_normal((num_draws, len(self.source))))
        shares = []  # of each cell's photons, (num_draws, cells) for each place in the order of observations
        for place in range(int(rank.max()) + 1):
            has = place < size[of_cell]
            row = np.where(has, self.first[of_cell] + np.minimum(place, size[of_cell] - 1), 0)
            share = factor[:, row] * self.expected[row, channel] + self.background[row, channel]
            shares.append(np.where(has, np.maximum(share, 1e-30), 0.0))
        # What each place and those after it have together: of the last place all, without rounding.
        rest = np.cumsum(shares[::-1], axis=0)[::-1]
        left = np.broadcast_to(pooled[of_cell, channel], (num_draws, of_cell.size))
        drawn = np.zeros((num_draws, *self.counts.shape), dtype=np.int32)
        for place, share in enumerate(shares):
            probability = np.divide(share, rest[place], out=np.zeros_like(share), where=rest[place] > 0)
            taken = rng.binomial(left, np.minimum(probability, 1.0))
            cells = np.flatnonzero(place < size[of_cell])
            drawn[:, self.first[of_cell[cells]] + place, channel[cells]] = taken[:, cells]
            left = left - taken
        return drawn

    def draw(self, rng: np.random.Generator, num_draws: int) -> pa.Table:
        """`num_draws` times the rows, draw after draw, with photons drawn anew and every other column as it was.

        Texts are left out; a photon list or background that is null stays so.
        """
        drawn = self.draw_counts(rng, num_draws).reshape(-1, self.areas.shape[1])
        row = np.tile(np.arange(len(self.source)), num_draws)
        kept = [name for name in self.rows.column_names if name not in (*_DRAWN, *_LEFT_OUT)]
        columns = {name: self.rows[name].take(pa.array(row)) for name in kept}
        width = drawn.shape[1]
        offsets = width * np.arange(len(row) + 1)
        columns["spectrum_counts"] = _column("spectrum_counts", Ragged(drawn.ravel(), offsets))
        scale = _numbers(self.rows, "background_scale", 0.0)
        known = _valid(self.rows, "spectrum_background") & (scale > 0)
        region = np.divide(self.background, scale[:, None], out=np.zeros_like(self.background), where=known[:, None])
        region = rng.poisson(region[row]).astype(np.float64)
        if not known.all():  # one of scale 0 says nothing of the aperture, and stays
            own = _dense(self.rows, "spectrum_background", width)
            region[~known[row]] = own[row[~known[row]]]
        valid = _valid(self.rows, "spectrum_background")[row]
        columns["spectrum_background"] = _column(
            "spectrum_background",
            Ragged(region[valid].ravel(), np.concatenate([[0], np.cumsum(valid * width)]), valid),
        )
        time, energy = self._photons(rng, drawn, row)
        columns["event_time"], columns["event_energy"] = _column("event_time", time), _column("event_energy", energy)
        return pa.table(columns)

    def _photons(self, rng: np.random.Generator, drawn: np.ndarray, row: np.ndarray) -> tuple[Ragged, Ragged]:
        """Times (s) and energies (keV) of the drawn counts, in order of time; none where the list is null."""
        valid = _valid(self.rows, "event_time")[row]
        counts = np.where(valid[:, None], drawn, 0)
        place, channel = np.nonzero(counts)
        number = counts[place, channel]
        place, channel = np.repeat(place, number), np.repeat(channel, number)
        low, high = self._channel_edges
        # 0.02 to 0.98 of the channel: float32 keeps it inside
        inside = 0.02 + 0.96 * rng.random(place.size)
        of_row = row[place]
        energy = low[of_row, channel] + inside * (high - low)[of_row, channel]
        time = self._times(rng, of_row)
        order = np.argsort(place * (1.0 + time.max(initial=0.0) - time.min(initial=0.0)) + time)
        offsets = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        return Ragged(time[order], offsets, valid), Ragged(energy[order].astype(np.float32), offsets, valid)

    def _times(self, rng: np.random.Generator, row: np.ndarray) -> np.ndarray:
        """Even over the good time, in the middle of a frame of the list's own grid."""
        start, stop = (Ragged.from_arrow(self.rows[name]) for name in ("gti_start", "gti_stop"))
        length = np.maximum(stop.values - start.values, 0.0)
        ends = np.cumsum(length)
        before = np.concatenate([[0.0], ends])
        base, total = before[start.offsets[:-1]], np.diff(before[start.offsets])
        without = total[row] <= 0
        position = base[row] + total[row] * rng.random(row.size)
        interval = np.minimum(np.searchsorted(ends, position, side="right"), max(len(ends) - 1, 0))
        if without.any():  # a list without good time lasts until its last photon, as the feature extractor has it
            photons = Ragged.from_arrow(self.rows["event_time"])
            last = np.zeros(len(photons))
            np.maximum.at(last, np.repeat(np.arange(len(last)), np.diff(photons.offsets)), photons.values)
        time = np.where(without, 0.0, start.values[interval] + position - before[interval]) if len(ends) else 0.0 * row
        if without.any():
            time[without] = (last[row] * rng.random(row.size))[without]
        frame = self.frames[row]
        phase = self._phase[row]
        gridded = np.maximum(np.round((time - phase) / np.where(frame > 0, frame, 1.0)), 0.0) * frame + phase
        return np.where(frame > 0, gridded, time)

    @cached_property
    def _phase(self) -> np.ndarray:
        """(N,) s, where a list's grid of frames begins."""
        time = Ragged.from_arrow(self.rows["event_time"])
        first = np.zeros(len(time))
        has = np.diff(time.offsets) > 0
        first[has] = time.values[time.offsets[:-1][has]]
        return np.where(self.frames > 0, np.mod(first, np.where(self.frames > 0, self.frames, 1.0)), 0.0)

    @cached_property
    def _channel_edges(self) -> tuple[np.ndarray, np.ndarray]:
        """(N, C) keV each: lower and upper edges; the ACIS grid where a row has none."""
        width = self.areas.shape[1]
        edges = np.tile(ACIS_CHANNEL_WIDTH * np.arange(width + 1), (len(self.source), 1))
        if "channel_energy_edges" in self.rows.column_names:
            own = Ragged.from_arrow(self.rows["channel_energy_edges"])
            given = np.flatnonzero(np.diff(own.offsets) == width + 1)
            edges[given] = own.values[own.offsets[given][:, None] + np.arange(width + 1)]
        return np.minimum(edges[:, :-1], edges[:, 1:]), np.maximum(edges[:, :-1], edges[:, 1:])


def frame_times(time: Ragged, tolerance: float = 0.02) -> np.ndarray:
    """The readout frame of photon lists whose times lie on a grid, as those of CCDs do.

    Args:
        time: N lists, s, sorted.
        tolerance: of a frame, how far an interval may be from a whole number of frames.

    Returns:
        (N,) s; 0 where intervals are not multiples of the shortest, or there are fewer than three different times.
    """
    row = np.repeat(np.arange(len(time)), np.diff(time.offsets))
    interval = np.diff(time.values.astype(np.float64))
    used = (row[1:] == row[:-1]) & (interval > 0)
    row, interval = row[1:][used], interval[used]
    frame = np.full(len(time), np.inf)
    np.minimum.at(frame, row, interval)
    frame = np.where(np.isfinite(frame), frame, 0.0)
    for _ in range(2):  # the shortest is rounded: the mean over all is the frame
        steps = np.round(interval / frame[row])
        total = np.bincount(row, interval, len(time))
        number = np.bincount(row, steps, len(time))
        frame = np.divide(total, number, out=np.zeros(len(time)), where=number > 0)
    error = np.zeros(len(time))
    np.maximum.at(error, row, np.abs(interval / frame[row] - np.round(interval / frame[row])))
    many = np.bincount(row, minlength=len(time)) >= 2
    return np.where(many & (error < tolerance), frame, 0.0)


def _smooth(spectra: np.ndarray) -> np.ndarray:
    return gaussian_filter1d(spectra.astype(np.float64), SMOOTHING, axis=-1, mode="nearest")


def _numbers(rows: pa.Table, name: str, empty: float) -> np.ndarray:
    if name not in rows.column_names:
        return np.full(rows.num_rows, empty)
    return np.asarray(rows[name].cast(pa.float64()).fill_null(empty))


def _valid(rows: pa.Table, name: str) -> np.ndarray:
    return np.asarray(rows[name].is_valid()) if name in rows.column_names else np.zeros(rows.num_rows, bool)


def _dense(rows: pa.Table, name: str, width: int) -> np.ndarray:
    """(N, width) of a list column, 0 where null."""
    dense = np.zeros((rows.num_rows, width))
    if name in rows.column_names:
        lists = Ragged.from_arrow(rows[name])
        given = np.flatnonzero(np.diff(lists.offsets) == width)
        dense[given] = lists.values[lists.offsets[given][:, None] + np.arange(width)]
    return dense


def _column(name: str, lists: Ragged) -> pa.Array:
    return lists.to_arrow(TABLE_SCHEMA.field(name).type)
