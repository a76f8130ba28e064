"""Copies of one spectrum or event list, told by their photons and not by their bytes.

A folder often holds a spectrum twice: grouped and not, packed and not, in two folders, under two names, with EXPOSURE
rounded or the header's date changed. As two detections of two names they could fall into two splits, and a model would
be tested on what it was trained on.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from chandraclip.ogip.events import event_table
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.header import ObservationHeader, observation_header
from chandraclip.ogip.pha import PhaRecord

# By how much EXPOSURE and BACKSCAL of copies may differ: they are rounded, or with and without dead time.
_TOLERANCE = 0.01
_CHANCE = 1e-6  # of running sums that agree though the spectra are not one
# With fewer counts two sources of one observation may have the same ones by chance, so BACKSCAL must agree too, or the
# places of photons: on the chip, which nothing moves, or else in the sky; not in time, which a barycentre correction
# moves.
_FEW_COUNTS = 5
_PLACES = (("CHIPX", "CHIPY"), ("X", "Y"))
# A copy rebinned into fewer channels is told by its running sum, from this many channels with counts. No two sources of
# one observation agree in so many either, so EXPOSURE (or ONTIME, or LIVETIME: 1 to 50 % apart) does not matter then.
_MIN_STEPS = 10

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Content:
    """What copies have in common.

    Attributes:
        total: counts, or photons.
        running_sum: (n,) counts up to and with each channel that has any, in channel order; None for events.
        digest: of the channels, in order, and counts, or of the photons' energies.
        obs_id, instrument, object_name: '' where the file does not say.
        exposure, backscal: None where they do not tell copies apart.
        places: digest of where the few photons of a list fell; '' for many, and for spectra.
    """

    total: int
    running_sum: np.ndarray | None
    digest: str
    obs_id: str
    instrument: str
    object_name: str
    exposure: float | None = None
    backscal: float | None = None
    places: str = ""


def spectrum_content(record: PhaRecord) -> Content:
    """The content of a spectrum, whatever its grouping; counts that are not whole numbers are rounded."""
    counts = np.rint(np.asarray(record.counts, np.float64))
    used = np.flatnonzero(counts)
    digest = hashlib.sha256(np.concatenate([used, counts[used]]).tobytes()).hexdigest()
    running_sum = np.cumsum(counts[used])
    total = int(running_sum[-1]) if used.size else 0
    return Content(total, running_sum, digest, *_facts(record.header), record.exposure, float(np.mean(record.backscal)))


def events_content(file: FitsFile) -> Content | None:
    """The content of an event list by its energies in any form, which a barycentre correction leaves; None without any.

    Raises:
        InputFileError: the column cannot be read.
    """
    table = event_table(file)
    column = None if table is None else next((name for name in ("PI", "PHA", "ENERGY") if table.has(name)), None)
    if table is None or column is None:
        return None
    _, values = table.ragged(column)
    digest = hashlib.sha256(np.sort(values.astype(np.float64)).tobytes()).hexdigest()
    places = ""
    names = next((names for names in _PLACES if all(table.has(name) for name in names)), ())
    if names and table.num_rows < _FEW_COUNTS:
        points = np.stack([table.ragged(name)[1].astype(np.float64) for name in names], axis=1)
        places = f"{'+'.join(names)} {hashlib.sha256(points[np.lexsort(points.T)].tobytes()).hexdigest()}"
    return Content(table.num_rows, None, f"{column} {digest}", *_facts(observation_header(table)), places=places)


def same_content(one: Content, other: Content) -> bool:
    """Whether two files are copies: the same counts or photons, and nothing in their headers that says otherwise."""
    if one.total != other.total or not one.total or (one.running_sum is None) != (other.running_sum is None):
        return False
    pairs = [(one.obs_id, other.obs_id), (one.instrument, other.instrument)]
    if one.total < _FEW_COUNTS:
        pairs.append((one.object_name, other.object_name))
        if one.places.split()[:1] == other.places.split()[:1]:
            pairs.append((one.places, other.places))
        if not _close(one.backscal, other.backscal):
            return False
    if any(mine and theirs and mine != theirs for mine, theirs in pairs):
        return False
    many = min(part.running_sum.size if part.running_sum is not None else 0 for part in (one, other)) >= _MIN_STEPS
    same_observation = bool(one.obs_id and other.obs_id)
    if not (many and same_observation) and not _close(one.exposure, other.exposure):
        return False
    return one.digest == other.digest or _is_rebinned(one.running_sum, other.running_sum)


def clusters(contents: Iterable[tuple[T, Content]]) -> list[list[T]]:
    """The things given, in order, with all copies of one thing in one list."""
    found: list[list[T]] = []
    known: dict[Hashable, list[tuple[Content, list[T]]]] = defaultdict(list)
    for thing, content in contents:
        # Those of one observation, and those that do not say which.
        total = (content.running_sum is None, content.total)
        keys = [(total, content.obs_id), (total, "")] if content.obs_id else [(total, None)]
        near = (entry for key in dict.fromkeys(keys) for entry in known[key])
        copies = next((members for other, members in near if same_content(content, other)), None)
        if copies is None:
            copies = []
            found.append(copies)
            known[total, content.obs_id].append((content, copies))
            known[total, None].append((content, copies))
        copies.append(thing)
    return found


def _facts(header: ObservationHeader) -> tuple[str, str, str]:
    obs_id = str(int(header.obs_id)) if header.obs_id.isdecimal() else header.obs_id.strip().lower()
    return obs_id, header.instrument, header.object_name or ""


def _close(one: float | None, other: float | None) -> bool:
    return one is None or other is None or abs(one - other) <= _TOLERANCE * max(abs(one), abs(other))


def _is_rebinned(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether the bins of one spectrum are sums of the other's: each running sum of it is one of the other's.

    Of a faint spectrum every number up to its total is a running sum, and so are those of any other of that total: a
    spectrum is told from it only by sums that would seldom agree by chance.
    """
    if one is None or other is None:
        return False
    coarse, fine = (one, other) if one.size <= other.size else (other, one)
    if not _MIN_STEPS <= coarse.size < fine.size:
        return False
    chance = (fine.size / float(fine[-1])) ** coarse.size  # a sum falls on one of the other's so often
    return chance < _CHANCE and bool(np.isin(coarse, fine).all())
