"""Synthetic OGIP files for what the real samples lack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits


class OgipFiles:
    """Writes small PHA, ARF, RMF, event and region files into one folder.

    Four channels, three photon-energy bins; `MATRIX` is the dense matrix that `rmf` writes.
    """

    ENERGY = np.array([0.5, 1.0, 2.0, 4.0])
    AREA = np.array([100.0, 300.0, 50.0])
    MATRIX = np.array([[0.75, 0.25, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.25, 0.125]])
    # (first channel counted from 0, number) of each row's groups; the middle row has none, the last has two.
    GROUPS: tuple[tuple[tuple[int, int], ...], ...] = (((0, 2),), (), ((0, 1), (2, 2)))

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, name: str, *tables: fits.BinTableHDU, primary: dict[str, Any] | None = None) -> Path:
        first = fits.PrimaryHDU()
        first.header.update(primary or {})
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.HDUList([first, *tables]).writeto(path, overwrite=True)
        return path

    @staticmethod
    def table(name: str, columns: Sequence[fits.Column], **header: Any) -> fits.BinTableHDU:
        hdu = fits.BinTableHDU.from_columns(columns, name=name)
        for key, value in header.items():
            if value is None:
                hdu.header.pop(key, None)
            elif key.startswith("TUNIT"):  # astropy writes the column's own
                hdu.columns[int(key[5:]) - 1].unit = value or None
            else:
                hdu.header[key] = value
        return hdu

    def spectrum(
        self, counts: Any = (3, 0, 5, 1), channel: Any = (1, 2, 3, 4), extra: Sequence[fits.Column] = (), **header: Any
    ) -> fits.BinTableHDU:
        """A type I SPECTRUM table; a header value of None takes a keyword away."""
        facts = {
            "HDUCLASS": "OGIP",
            "HDUCLAS1": "SPECTRUM",
            "HDUCLAS2": "TOTAL",
            "TELESCOP": "CHANDRA",
            "INSTRUME": "ACIS",
            "DETCHANS": 4,
            "EXPOSURE": 1000.0,
            "BACKSCAL": 1.0,
            "AREASCAL": 1.0,
            "ANCRFILE": "none",
            "RESPFILE": "none",
            "BACKFILE": "none",
            "OBS_ID": "12",
            "OBJECT": "Test source",
        }
        counts = np.asarray(counts)
        columns = [fits.Column("CHANNEL", "J", array=np.asarray(channel)), *extra]
        if not any(column.name == "RATE" for column in extra):
            columns.insert(1, fits.Column("COUNTS", "J" if counts.dtype.kind == "i" else "D", array=counts))
        return self.table("SPECTRUM", columns, **facts | header)

    def pha(self, name: str = "source.pi", **options: Any) -> Path:
        return self.write(name, self.spectrum(**options))

    def arf(
        self, name: str = "source.arf", energy: Any = None, area: Any = None, unit: str = "keV", **header: Any
    ) -> Path:
        energy = self.ENERGY if energy is None else np.asarray(energy)
        area = self.AREA if area is None else np.asarray(area)
        columns = [
            fits.Column("ENERG_LO", "E", unit=unit, array=energy[:-1]),
            fits.Column("ENERG_HI", "E", unit=unit, array=energy[1:]),
            fits.Column("SPECRESP", "E", unit="cm**2", array=area),
        ]
        facts = {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP"}
        return self.write(name, self.table("SPECRESP", columns, **facts | header))

    def rmf(
        self,
        name: str = "source.rmf",
        first: int = 1,
        tlmin: bool = True,
        layout: str = "variable",
        extname: str = "MATRIX",
        scale: float = 1.0,
        descending: bool = False,
        **header: Any,
    ) -> Path:
        """`MATRIX` times `scale` as an RMF; layout "variable" (heap), "fixed" (padded arrays) or "wide" (Q heap)."""
        rows = len(self.GROUPS)
        values = [
            np.concatenate([self.MATRIX[row, start : start + size] for start, size in groups] or [np.zeros(0)]) * scale
            for row, groups in enumerate(self.GROUPS)
        ]
        starts = [np.array([start + first for start, _ in groups], dtype=np.int32) for groups in self.GROUPS]
        sizes = [np.array([size for _, size in groups], dtype=np.int32) for groups in self.GROUPS]
        if layout == "fixed":

            def padded(lists: list[np.ndarray], width: int) -> np.ndarray:
                return np.array([np.pad(values, (0, width - len(values))) for values in lists])

            arrays = [
                fits.Column("F_CHAN", "2I", array=padded(starts, 2)),
                fits.Column("N_CHAN", "2I", array=padded(sizes, 2)),
                fits.Column("MATRIX", "4E", array=padded(values, 4)),
            ]
        else:
            letter = "Q" if layout == "wide" else "P"

            def ragged(lists: list[np.ndarray]) -> np.ndarray:
                result = np.empty(rows, dtype=object)
                result[:] = lists
                return result

            arrays = [
                fits.Column("F_CHAN", f"{letter}J()", array=ragged(starts)),
                fits.Column("N_CHAN", f"{letter}J()", array=ragged(sizes)),
                fits.Column("MATRIX", f"{letter}E()", array=ragged([v.astype(np.float32) for v in values])),
            ]
        columns = [
            fits.Column("ENERG_LO", "E", unit="keV", array=self.ENERGY[:-1]),
            fits.Column("ENERG_HI", "E", unit="keV", array=self.ENERGY[1:]),
            fits.Column("N_GRP", "I", array=[len(groups) for groups in self.GROUPS]),
            *arrays,
        ]
        facts = {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX", "HDUCLAS3": "REDIST"}
        facts |= {"TLMIN4": first} if tlmin else {}
        matrix = self.table(extname, columns, **facts | header)
        edges = np.array([0.4, 0.9, 1.8, 3.0, 5.0])
        low, high = edges[:-1], edges[1:]
        if descending:
            low, high = low[::-1], high[::-1]
        bounds = self.table(
            "EBOUNDS",
            [
                fits.Column("CHANNEL", "J", array=np.arange(4) + first),
                fits.Column("E_MIN", "E", unit="keV", array=low),
                fits.Column("E_MAX", "E", unit="keV", array=high),
            ],
            HDUCLAS1="RESPONSE",
            HDUCLAS2="EBOUNDS",
        )
        return self.write(name, matrix, bounds)

    def events(
        self,
        name: str = "events.fits",
        time: Any = (12.0, 10.5, 18.0, 31.0),
        columns: Sequence[fits.Column] | None = None,
        gti: Sequence[fits.BinTableHDU] | None = None,
        **header: Any,
    ) -> Path:
        """An event list; by default ACIS with PI 100 and one GTI from 10 to 30 s."""
        if columns is None:
            columns = [fits.Column("PI", "J", array=np.full(len(time), 100))]
        facts = {
            "HDUCLASS": "OGIP",
            "HDUCLAS1": "EVENTS",
            "TELESCOP": "CHANDRA",
            "INSTRUME": "ACIS",
            "MJDREF": 50814.0,
            "OBS_ID": "12",
        }
        table = self.table(
            "EVENTS", [fits.Column("TIME", "D", unit="s", array=np.asarray(time)), *columns], **facts | header
        )
        return self.write(name, table, *([self.gti((10.0, 30.0))] if gti is None else gti))

    def gti(self, *intervals: tuple[float, float], name: str = "GTI", **header: Any) -> fits.BinTableHDU:
        columns = [
            fits.Column("START", "D", unit="s", array=[start for start, _ in intervals]),
            fits.Column("STOP", "D", unit="s", array=[stop for _, stop in intervals]),
        ]
        return self.table(name, columns, **{"HDUCLAS1": "GTI"} | header)

    @staticmethod
    def sky_columns(x: Any, y: Any) -> list[fits.Column]:
        """X and Y in ACIS sky pixels around RA 10, Dec 41 (pixel 4096.5, 0.492 arcsec)."""
        step = 0.492 / 3600
        return [
            fits.Column("X", "E", unit="pixel", array=np.asarray(x), coord_type="RA---TAN", coord_ref_point=4096.5,
                        coord_ref_value=10.0, coord_inc=-step),
            fits.Column("Y", "E", unit="pixel", array=np.asarray(y), coord_type="DEC--TAN", coord_ref_point=4096.5,
                        coord_ref_value=41.0, coord_inc=step),
        ]  # fmt: skip

    def region_table(
        self, extname: str, shapes: Sequence[tuple[str, float, float, tuple, float, int]]
    ) -> fits.BinTableHDU:
        """A region extension of (shape, x, y, radii, angle, component), as CSC's reg3 has it."""
        radii = np.array([(*row[3], 0.0)[:2] for row in shapes])
        return self.table(
            extname,
            [
                fits.Column("SHAPE", "16A", array=[row[0] for row in shapes]),
                *self.sky_columns([row[1] for row in shapes], [row[2] for row in shapes]),
                fits.Column("R", "2E", unit="pixel", array=radii),
                fits.Column("ROTANG", "E", unit="deg", array=[row[4] for row in shapes]),
                fits.Column("COMPONENT", "I", array=[row[5] for row in shapes]),
            ],
            HDUCLASS="ASC",
            HDUCLAS1="REGION",
            HDUCLAS2="STANDARD",
        )


@pytest.fixture
def ogip(tmp_path: Path) -> OgipFiles:
    """Writes synthetic OGIP files into the test's folder."""
    return OgipFiles(tmp_path)


_KEPT = ("HDUCLA", "TELES", "INSTR", "DETCH", "EXPOS", "BACK", "AREA", "ANCR", "RESP", "OBS", "OBJ", "POISS", "QUAL")


def counts_table(ogip, counts, form="D", unit=None, extra=(), **header):
    """A type I spectrum whose COUNTS have the given TFORM and TUNIT."""
    table = ogip.spectrum(**header)
    columns = [
        fits.Column("CHANNEL", "J", array=[1, 2, 3, 4]),
        fits.Column("COUNTS", form, unit=unit, array=np.asarray(counts)),
        *extra,
    ]
    facts = {key: table.header[key] for key in table.header if key.startswith(_KEPT)}
    return ogip.table("SPECTRUM", columns, **facts)


EPIC = {"TELESCOP": "XMM", "INSTRUME": "EPN"}


def photons(number: int, **columns: np.ndarray) -> list[fits.Column]:
    """PI 1000 and columns of whole numbers."""
    pi = fits.Column("PI", "J", array=np.full(number, 1000))
    return [pi, *(fits.Column(name, "J", array=np.asarray(values)) for name, values in columns.items())]
