"""`Observation`: the spectrum and the photons of one source in one observation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import Described, header_facts
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.regions import Region
from chandraclip.ogip.spectrum import Spectrum


@dataclass(frozen=True, eq=False, repr=False)
class Observation(Described):
    """One source in one observation: a spectrum, photons, or both. `chandraclip.open` makes it from files.

    Attributes:
        spectrum: counts, background and response, or None.
        events: photons inside `region`, or None.
        region: that the photons were cut with, or None.
        files: role ("spectrum", "background", "arf", "rmf", "events", "region") -> the file that was read for it.
        notes: how files were found and what was left out, one sentence each.

    Raises:
        ValueError: neither a spectrum nor events.
    """

    spectrum: Spectrum | None = None
    events: EventList | None = None
    region: Region | None = None
    files: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.spectrum is None and self.events is None:
            raise ValueError("an observation needs a spectrum or events")

    @property
    def header(self) -> ObservationHeader:
        """The spectrum's facts, the event list's where it is silent."""
        headers = [part.header for part in (self.spectrum, self.events) if part is not None]
        return headers[0] if len(headers) == 1 else headers[0].filled(headers[1])

    @property
    def title(self) -> str:
        return f"Observation of {self.header.object_name or 'a source'}"

    @property
    def facts(self) -> dict[str, str]:
        facts = header_facts(self.header)
        if self.spectrum is not None:
            facts |= {"spectrum": self.spectrum.path.name, **_own(self.spectrum.facts)}
        if self.events is not None:
            facts |= {"events": self.events.path.name, **_own(self.events.facts)}
        if self.notes:
            facts["notes"] = f"{len(self.notes)} (see .notes)"
        return facts


def _own(facts: dict[str, str]) -> dict[str, str]:
    """Without what the observation says once for both."""
    return {
        name: value for name, value in facts.items() if name not in ("instrument", "observation", "object", "notes")
    }
