"""What an object says of itself: one fact a line, as text and as a table of a notebook."""

from __future__ import annotations

import html
from datetime import timedelta

from chandraclip.ogip.header import MJD_EPOCH, ObservationHeader

LONGEST_VALUE = 150  # characters; a damaged header's numbers and a long path are cut in print, never in `facts`


class Described:
    """Gives `repr` and the table of a notebook from `title` and `facts`."""

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        raise NotImplementedError

    @property
    def facts(self) -> dict[str, str]:
        """Name -> value with its unit, in the order in which they are shown."""
        raise NotImplementedError

    def __repr__(self) -> str:
        facts = self.facts
        width = max(map(len, facts), default=0)
        return "\n".join([self.title, *(f"  {name:<{width}}  {_cut(value)}" for name, value in facts.items())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(_cut(value))}</td></tr>"
            for name, value in self.facts.items()
        )
        return f"<table><caption><b>{html.escape(self.title)}</b></caption>{rows}</table>"


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 4]} ..."


def header_facts(header: ObservationHeader) -> dict[str, str]:
    """Instrument, observation and target, as far as a header tells them."""
    instrument = " ".join(dict.fromkeys(filter(None, (header.telescope, header.instrument, header.detector))))
    obs_id = header.obs_id if len(header.obs_id) <= 40 else f"{header.obs_id[:32]}... ({len(header.obs_id.split(','))})"
    observation = f"OBS_ID {obs_id}" if obs_id else ""
    if header.obi is not None:
        observation += f", OBI {header.obi}"
    if header.mjd_obs is not None:
        observation += f"{', ' if observation else ''}{date_of(header.mjd_obs)} (MJD {header.mjd_obs:.3f})"
    facts = {"instrument": instrument, "observation": observation, "object": header.object_name or ""}
    return {name: value for name, value in facts.items() if value}


def title_of(header: ObservationHeader) -> str:
    """Target, instrument and observation for the head of a picture, e.g. ``"M82, ACIS, ObsID 10027"``."""
    obs_id = f"ObsID {header.obs_id}" if 0 < len(header.obs_id) <= 20 else ""  # some are lists
    return ", ".join(filter(None, (header.object_name, header.instrument, obs_id)))


def date_of(mjd: float, form: str = "%Y-%m-%d") -> str:
    """Day of a Modified Julian Date, e.g. ``"2000-01-10"``; '' for what is none of the years 1 to 9999."""
    try:
        return (MJD_EPOCH + timedelta(days=mjd)).strftime(form)
    except (OverflowError, ValueError):
        return ""


def duration(time: float) -> str:
    """A time with its unit: s, and ks from 10 ks on."""
    return f"{time / 1e3:.2f} ks" if 1e4 <= time < 1e9 else f"{time:.6g} s"


def range_of(low: float, high: float, unit: str) -> str:
    """``"0.5-7 keV"``."""
    return f"{low:.4g}-{high:.4g} {unit}"
