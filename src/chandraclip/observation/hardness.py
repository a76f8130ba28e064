"""Hardness ratios of one detection, from its spectrum or its photons, as the catalogue defines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, ACIS_NUM_CHANNELS, BANDS, EFFECTIVE_ENERGY
from chandraclip.catalog.hardness import hardness_ratios
from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import Described
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import Spectrum

_BANDS = np.array([BANDS[name] for name in "smh"])


class Ratio(NamedTuple):
    """A hardness ratio in [-1, 1]: mode of its posterior and 68 % limits; NaN where neither band has a count."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "undefined: no count in either band"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, eq=False, repr=False)
class Hardness(Described):
    """(harder - softer) / (harder + softer) between CSC's bands: soft 0.5-1.2, medium 1.2-2, hard 2-7 keV.

    Attributes:
        hm, hs, ms: hard to medium, hard to soft, medium to soft.
        counts: (3,) photons in the soft, medium and hard band, background included.
        background: (3,) of them expected from the background.
        quantity: "photon flux", CSC 2's, or "counts" where no effective area is known.
        origin: "spectrum" or "events".
    """

    hm: Ratio
    hs: Ratio
    ms: Ratio
    counts: np.ndarray
    background: np.ndarray
    quantity: str
    origin: str

    @property
    def title(self) -> str:
        return f"Hardness in {self.quantity}, from the {self.origin}"

    @property
    def facts(self) -> dict[str, str]:
        bands = zip(("soft", "medium", "hard"), self.counts, self.background)
        counts = ", ".join(f"{name} {total:.6g} ({background:.3g})" for name, total, background in bands)
        ratios = {"hm": str(self.hm), "hs": str(self.hs), "ms": str(self.ms)}
        return {**ratios, "counts": f"{counts}; in brackets from the background"}


def hardness_of_spectrum(spectrum: Spectrum) -> Hardness:
    """Of the channels of good QUALITY, the background taken away.

    Raises:
        ValueError: the energies of the channels are not known.
    """
    edges = spectrum.channel_energy_edges
    if edges is None:
        if not (spectrum.header.instrument == "ACIS" and spectrum.counts.size == ACIS_NUM_CHANNELS):
            reason = spectrum.response_problem
            raise ValueError(f"{spectrum.path}: the energies of its channels are not known: {reason}")
        edges = ACIS_CHANNEL_WIDTH * np.arange(ACIS_NUM_CHANNELS + 1)
    centre, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    in_band = (centre[:, None] >= _BANDS[:, 0]) & (centre[:, None] < _BANDS[:, 1])
    used = (in_band & spectrum.good_channels[:, None]).astype(np.float64)
    with np.errstate(invalid="ignore"):  # a band without a channel: NaN
        kept = (width @ used) / (width @ in_band)
    area_scale = np.mean(spectrum.area_scale)
    area = None if spectrum.response is None else _area(spectrum.response) * area_scale * kept
    background, expected = None, spectrum.expected_background @ used
    scale = 0.0
    if spectrum.background_counts is not None:
        background = spectrum.background_counts @ used
        # One scale for all: the one that keeps the background expected in the three bands.
        scale = (
            float(expected.sum() / background.sum()) if background.sum() else float(np.mean(spectrum.background_scale))
        )
    return _hardness(spectrum.counts @ used, background, scale, expected, area, kept, "spectrum")


def hardness_of_events(events: EventList, response: Response | None = None) -> Hardness:
    """Of the photons, none of them taken for background; in photon flux where a response tells the effective area."""
    energy = events.energy.astype(np.float64)
    counts = ((energy[:, None] >= _BANDS[:, 0]) & (energy[:, None] < _BANDS[:, 1])).sum(axis=0)
    area = None if response is None else _area(response)
    return _hardness(counts.astype(np.float64), None, 0.0, np.zeros(3), area, np.ones(3), "events")


def _hardness(
    counts: np.ndarray,
    background: np.ndarray | None,
    scale: float,
    expected: np.ndarray,
    area: np.ndarray | None,
    kept: np.ndarray,
    origin: str,
) -> Hardness:
    """Args: area, kept (3,): cm2, and the share of the band's channels that are good."""
    ratios = hardness_ratios(
        counts[None],
        None if background is None else background[None],
        np.array([scale]),
        (kept if area is None else area)[None],  # the exposure is the same in all bands and drops out
    )
    hm, hs, ms = (Ratio(*(float(part[0]) for part in ratios[first : first + 3])) for first in (0, 3, 6))
    return Hardness(hm, hs, ms, counts, expected, "counts" if area is None else "photon flux", origin)


def _area(response: Response) -> np.ndarray:
    """(3,) cm2, the effective area at each band's effective energy, as CSC takes it; 0 beyond the response."""
    effective = np.array([EFFECTIVE_ENERGY[name] for name in "smh"])
    middle = (np.asarray(response.energy_lo, np.float64) + response.energy_hi) / 2
    inside = (effective >= response.energy_lo[0]) & (effective <= response.energy_hi[-1])
    return np.where(inside, np.interp(effective, middle, response.arf), 0.0)
