"""What a spectrum's or an event list's header says about its observation."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime

from chandraclip.ogip.fits import FitsTable
from chandraclip.ogip.sky import icrs_position

SECONDS_PER_DAY = 86400.0
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
# OBJECT as CSC release 1 writes it, and other ways to say nothing.
_NO_OBJECT = {"", "csc", "none", "unknown", "n/a", "merged"}
_NO_OBI = {"", "none", "n/a", "merged"}
_MAX_OBI = 2**15 - 1  # the dataset's int16; Chandra's are below 10


@dataclass(frozen=True)
class ObservationHeader:
    """Header facts; '' or None where the file does not say.

    Attributes:
        telescope, instrument, detector: TELESCOP, INSTRUME, DETNAM.
        obs_id: OBS_ID as written; may be ``"Merged"`` or a list.
        obi: OBI_NUM.
        object_name: OBJECT, None where it names nothing (``"CSC"``). In CSC products it is never the source.
        mjd_obs: MJD of the start of the observation, d.
        mjd_reference: MJD of the zero of the file's times, d.
        ra_pointing, dec_pointing: deg, ICRS (FK5 positions as they are: 0.02 arcsec).
    """

    telescope: str = ""
    instrument: str = ""
    detector: str = ""
    obs_id: str = ""
    obi: int | None = None
    object_name: str | None = None
    mjd_obs: float | None = None
    mjd_reference: float | None = None
    ra_pointing: float | None = None
    dec_pointing: float | None = None

    @property
    def obsid_number(self) -> int | None:
        """OBS_ID as an int32, None where it is not one (a list, ``"Merged"``, or too long)."""
        if not re.fullmatch(r"\d+", self.obs_id):
            return None
        number = int(self.obs_id)
        return number if number < 2**31 else None

    def filled(self, other: ObservationHeader) -> ObservationHeader:
        """These facts, with those of `other` where they are silent."""
        silent = {field.name for field in fields(self) if getattr(self, field.name) in (None, "")}
        return replace(self, **{name: getattr(other, name) for name in silent})


def observation_header(table: FitsTable) -> ObservationHeader:
    """The facts of an extension's header, the primary header's where it is silent."""

    def text(name: str) -> str:
        value = table.key(name)
        return "" if value is None else str(value).strip()

    ra, dec = icrs_position(table, table.number("RA_PNT", "RA_NOM"), table.number("DEC_PNT", "DEC_NOM"))
    object_name = " ".join(text("OBJECT").split())
    return ObservationHeader(
        telescope=text("TELESCOP").upper(),
        instrument=text("INSTRUME").upper(),
        detector=text("DETNAM").upper(),
        obs_id=text("OBS_ID"),
        obi=_observation_interval(table),
        object_name=None if object_name.lower() in _NO_OBJECT else object_name,
        mjd_obs=_mjd_obs(table),
        mjd_reference=mjd_reference(table),
        ra_pointing=ra,
        dec_pointing=dec,
    )


def _observation_interval(table: FitsTable) -> int | None:
    """OBI_NUM, a small whole number; None where it says nothing or that several were merged."""
    value = table.key("OBI_NUM")
    if isinstance(value, str):
        if value.lower() in _NO_OBI:
            return None
        value = int(value) if re.fullmatch(r"\d{1,9}", value) else value
    if value is None:
        return None
    number = table.as_number("OBI_NUM", value)
    if number != round(number) or abs(number) > _MAX_OBI:
        raise table.error(f"OBI_NUM is {value}, not the number of an observation interval")
    return int(number)


def mjd_reference(table: FitsTable) -> float | None:
    """MJDREF, or MJDREFI + MJDREFF where it is split in two to keep its digits (OGIP 93-003)."""
    whole = table.number("MJDREFI")
    if whole is not None:
        return whole + (table.number("MJDREFF") or 0.0)
    return table.number("MJDREF")


def _mjd_obs(table: FitsTable) -> float | None:
    mjd = table.number("MJD-OBS", "MJD_OBS")
    if mjd is not None:
        return mjd
    reference, start = mjd_reference(table), table.number("TSTART")
    if reference is not None and start is not None:
        return reference + start / SECONDS_PER_DAY
    date = table.key("DATE-OBS")
    try:
        moment = datetime.fromisoformat(str(date)).replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - MJD_EPOCH).total_seconds() / SECONDS_PER_DAY
