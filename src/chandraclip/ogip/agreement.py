"""Whether a photon list and a spectrum are the same photons, and the aperture with which they are."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.ogip.aperture import aperture_of
from chandraclip.ogip.fits import FitsFile, FitsTable
from chandraclip.ogip.pha import PhaRecord, choose_table, read_pha
from chandraclip.ogip.region_reader import load_region
from chandraclip.ogip.regions import Region
from chandraclip.ogip.sky import SkyCoordinates

logger = logging.getLogger(__name__)

_SAME_PLACE = 1.0  # pixel: two regions of one source have centres closer than this


@dataclass(frozen=True, eq=False)
class SpectrumCounts:
    """What a spectrum says of the photons that it counts.

    Attributes:
        path: the PHA file.
        record: its counts.
        column: column of the event list that its channels count: CHANTYPE, PI or PHA.
        step: event channels in one of the spectrum's (SAS: SPECDELT).
        aperture: of its header, or None.
        problem: why the header's aperture cannot be used, or None.
    """

    path: Path
    record: PhaRecord
    column: str
    step: int
    aperture: Region | None
    problem: str | None

    def difference(self, table: FitsTable, keep: np.ndarray) -> tuple[int, str | None]:
        """How far photons are from the counts.

        Args:
            table: the event list.
            keep: (N,) bool, the photons.

        Returns:
            (photons too many or too few, summed over the channels; None, or in words what differs).
        """
        counts, first = self.record.counts, self.record.first_channel
        channel = np.floor_divide(table.numbers(self.column)[keep], self.step) - first
        channel = channel[(channel >= 0) & (channel < counts.size)].astype(np.int64)
        photons = np.bincount(channel, minlength=counts.size)
        wrong = photons != counts
        if not wrong.any():
            return 0, None
        words = (
            f"the photon list is not the spectrum's: {photons.sum()} photons in its channels, {counts.sum():g} counts "
            f"in {self.path.name}; {int(wrong.sum())} channels differ"
        )
        return int(np.abs(photons - counts).sum()), words


def spectrum_counts(path: Path, spec_num: int | None = None, sky: SkyCoordinates | None = None) -> SpectrumCounts:
    """The counts and the aperture of a spectrum.

    Raises:
        InputFileError: as `read_pha` and `choose_table`: no spectrum in the file, or several.
    """
    file = FitsFile(path)
    table = choose_table(file, None, spec_num)
    aperture, problem = None, None
    try:
        aperture = aperture_of(file, table, sky)
    except InputFileError as error:
        problem = error.reason
    column = str(table.key("CHANTYPE") or "PI").strip().upper()
    step = table.number("SPECDELT") or 1.0
    whole = int(step) if step == round(step) and step >= 1 else 1
    return SpectrumCounts(path, read_pha(table, spec_num), column, whole, aperture, problem)


def choose_aperture(
    table: FitsTable,
    good: np.ndarray,
    region: str | Path | Region | None,
    spectrum: Path,
    spec_num: int | None,
    sky: SkyCoordinates | None,
) -> tuple[Region, tuple[str, ...]]:
    """The region in which an event list holds a spectrum's photons.

    The aperture of the spectrum's header comes first, then `region`: header values are rounded, and old files have
    none. The first that gives the spectrum channel by channel is taken, else the one that comes nearest.

    Args:
        table: the event list.
        good: (N,) bool, photons within the good times and with an energy.
        region: as in `read_events`, or None.
        spectrum, spec_num: the PHA file and the row of a type II.
        sky: of the event list.

    Returns:
        (region, why the photons in it are not the spectrum's; empty where they are).

    Raises:
        InputFileError: neither the spectrum tells an aperture nor is a region given.
    """
    target = spectrum_counts(spectrum, spec_num, sky)
    # The region itself stands for its spectrum's aperture, which is here: the pha3 beside it is not looked for.
    given = load_region(region, sky=sky, beside=False) if isinstance(region, (str, Path)) else region
    candidates = [one for one in (target.aperture, given) if one is not None]
    if not candidates:
        why = f": {target.problem}" if target.problem else " (DSVALn)"
        raise InputFileError(spectrum, f"its header does not tell the aperture{why}, and no region was given")
    notes: tuple[str, ...] = ()
    if target.problem is not None:
        notes += (f"the aperture of {spectrum.name} cannot be used: {target.problem}",)
    chosen, words = candidates[0], None
    if not table.has("X", "Y"):
        return chosen, notes  # `read_events` refuses
    if table.has(target.column):
        x, y = table.numbers("X"), table.numbers("Y")
        found = [target.difference(table, good & one.contains(x, y)) for one in candidates]
        best = min(range(len(found)), key=lambda index: found[index][0])  # the first of equals
        chosen, (_, words) = candidates[best], found[best]
        if words is not None:
            notes += (words,)
    else:
        notes += (f"cannot be compared with {spectrum.name}: the photon list has no column {target.column}",)
    notes += chosen.notes
    if chosen is not given and given is not None and given.centre is not None and chosen.centre is not None:
        near = np.hypot(*np.subtract(given.centre, chosen.centre)) < _SAME_PLACE
        if near and given.ra is not None:
            chosen = replace(chosen, ra=given.ra, dec=given.dec)  # a table has all digits, DSVALn six
    for note in notes:
        logger.warning("%s: %s", table.path, note)
    return chosen, notes
