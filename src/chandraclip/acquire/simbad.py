"""SIMBAD by TAP: which objects lie around positions, what they are called, and which papers mention them.

Tables and columns of its TAP schema: ``basic`` (oid, main_id, otype, ra, dec), ``ident`` (oidref, id), ``has_ref``
(oidref, oidbibref), ``ref`` (oidbib, bibcode, year, nbobject: the objects that the paper has).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from astropy.coordinates import angular_separation
from astropy.table import Table

from chandraclip.acquire.http import Manners, PoliteSession, TransientError, check_base_url, patiently, shown
from chandraclip.acquire.tap import RefusedError, RowLimitError, ask_tap
from chandraclip.errors import InputFileError

BASE_URL = "https://simbad.cds.unistra.fr/simbad/sim-tap"
MOST_ROWS = 2_000_000  # of an answer: SIMBAD's own limit, which it keeps at 50,000 unless it is asked for more
KEPT_PAPERS = 200  # of an object
ARCSEC = 3600.0

NEAR = (
    "SELECT p.row_id, b.oid, b.main_id, b.otype, b.ra AS object_ra, b.dec AS object_dec FROM TAP_UPLOAD.positions AS p"
    " JOIN basic AS b ON 1 = CONTAINS(POINT('ICRS', b.ra, b.dec), CIRCLE('ICRS', p.ra, p.dec, p.radius))"
)
NAMES = "SELECT i.oidref, i.id FROM TAP_UPLOAD.objects AS o JOIN ident AS i ON i.oidref = o.oid"
PAPERS = (
    'SELECT h.oidref, r.bibcode, r."year" AS pub_year, r.nbobject FROM TAP_UPLOAD.objects AS o'
    " JOIN has_ref AS h ON h.oidref = o.oid JOIN ref AS r ON r.oidbib = h.oidbibref"
)


class SimbadClient:
    """Asks SIMBAD about many positions at a time.

    Args:
        base_url: of its TAP service or a mirror's, without ``/sync``.
        manners: how it is asked; it blocks who asks more than a few times a second.
    """

    def __init__(self, base_url: str = BASE_URL, manners: Manners | None = None):
        self.base_url = check_base_url(base_url)
        self.manners = manners or Manners(seconds_between=1.0)
        self.session = PoliteSession(self.manners)

    def objects_near(self, ra: Sequence[float], dec: Sequence[float], radius: Sequence[float]) -> list[list[dict]]:
        """The objects around each of N positions, the nearest first.

        Args:
            ra, dec: (N,) deg, ICRS.
            radius: (N,) arcsec.

        Returns:
            N lists of dicts: main_id, object_type, separation (arcsec), identifiers, num_bibcodes, and papers, at most
            `KEPT_PAPERS` of (bibcode, year, objects in it): those with the fewest objects, then the newest.

        Raises:
            InputFileError: SIMBAD does not answer in any attempt, or not as it should.
        """
        try:
            return self._objects_near(np.asarray(ra, float), np.asarray(dec, float), np.asarray(radius, float))
        except RowLimitError:
            if len(ra) == 1:
                raise InputFileError(
                    shown(self.base_url), f"more than {MOST_ROWS:,} rows around one position"
                ) from None
        half = len(ra) // 2
        return [
            *self.objects_near(ra[:half], dec[:half], radius[:half]),
            *self.objects_near(ra[half:], dec[half:], radius[half:]),
        ]

    def _objects_near(self, ra: np.ndarray, dec: np.ndarray, radius: np.ndarray) -> list[list[dict]]:
        positions = {"row_id": np.arange(len(ra)), "ra": ra, "dec": dec, "radius": radius / ARCSEC}
        near = self._ask(NEAR, "positions", positions, ("row_id", "oid", "main_id", "otype", "object_ra", "object_dec"))
        if near.empty:
            return [[] for _ in ra]
        row = near["row_id"].to_numpy(np.int64)
        if ((row < 0) | (row >= len(ra))).any():
            raise InputFileError(shown(self.base_url), "the answer has rows of positions that were not asked for")
        degrees = [near[name].to_numpy(float) for name in ("object_ra", "object_dec")]
        places = [np.radians(values) for values in (ra[row], dec[row], *degrees)]
        near["separation"] = np.degrees(angular_separation(*places)) * ARCSEC
        near = near.drop_duplicates(["row_id", "oid"]).sort_values(["row_id", "separation", "main_id"])
        objects = {"oid": np.unique(near["oid"].to_numpy(np.int64))}
        names = self._ask(NAMES, "objects", objects, ("oidref", "id"))
        papers = self._ask(PAPERS, "objects", objects, ("oidref", "bibcode", "pub_year", "nbobject"))
        identifiers = _grouped(names.assign(id=_words(names["id"])).drop_duplicates().sort_values("id"), ["id"])
        papers = papers.assign(bibcode=papers["bibcode"].astype(str).str.strip()).drop_duplicates(["oidref", "bibcode"])
        for name in ("pub_year", "nbobject"):
            papers[name] = pd.to_numeric(papers[name], errors="coerce").astype(float)
        papers = papers.sort_values(
            ["nbobject", "pub_year", "bibcode"], ascending=[True, False, True], na_position="last"
        )
        bibliographies = _grouped(papers, ["bibcode", "pub_year", "nbobject"])
        result: list[list[dict]] = [[] for _ in ra]
        found = zip(near["row_id"], near["oid"], _words(near["main_id"]), _words(near["otype"]), near["separation"])
        for number, oid, main_id, kind, separation in found:
            bibliography = bibliographies.get(int(oid), [])
            result[int(number)].append(
                {
                    "main_id": main_id,
                    "object_type": kind,
                    "separation": round(float(separation), 4),
                    "identifiers": [name for (name,) in identifiers.get(int(oid), [])],
                    "num_bibcodes": len(bibliography),
                    "papers": [
                        [code, None if np.isnan(year) else int(year), None if np.isnan(size) else int(size)]
                        for code, year, size in bibliography[:KEPT_PAPERS]
                    ],
                }
            )
        return result

    def _ask(self, query: str, name: str, columns: dict[str, Any], expected: Sequence[str]) -> pd.DataFrame:
        def attempt() -> pd.DataFrame:
            try:
                # Built anew each time: pyvo reads it to its end.
                frame = ask_tap(self.session, self.base_url, query, {name: Table(columns)}, MOST_ROWS)
            except RefusedError as error:  # the queries are ours and right: it is the service that is not well
                raise TransientError(f"SIMBAD says: {error}") from None
            if list(frame.columns) != list(expected):
                raise TransientError(f"an answer with the columns {', '.join(map(str, frame.columns)) or 'none'}")
            return frame

        try:
            return patiently(self.manners, f"SIMBAD, {name}", attempt)
        except TransientError as error:
            reason = f"{error.reason}; run the same command again, it goes on from here"
            raise InputFileError(shown(self.base_url), reason) from None


def _words(column: pd.Series) -> list[str] | pd.Series:
    """Names as one writes them: SIMBAD fills them up with spaces ("V* AM  Her")."""
    return column.where(column.notna(), "").astype(str).str.split().str.join(" ")


def _grouped(frame: pd.DataFrame, columns: list[str]) -> dict[int, list[tuple]]:
    """oidref -> tuples of some columns, in the order of the rows."""
    result: dict[int, list[tuple]] = {}
    for oid, *values in frame[["oidref", *columns]].itertuples(index=False):
        result.setdefault(int(oid), []).append(tuple(values))
    return result
