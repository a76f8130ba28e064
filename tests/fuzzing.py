"""Seeded damage to good mission files: every reader gives a result that makes sense, or `InputFileError`.

    python tests/fuzzing.py N [--seed S] [--only NUMBER] [--data DIR]      (make fuzz N=10000)

Case k of seed S is one file of a small good set (made, or real where DIR has them) with one to three faults: bytes
flipped, cards edited, removed or doubled, bytes lost or added, blocks dropped, doubled or swapped, columns exchanged,
gzip cut off. Prints a table of outcomes, the slowest case, the peak of memory, and the numbers of the cases that fail,
each of which `--seed S --only NUMBER` makes again. Ends with 1 if any fails.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import os
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.io import fits

from chandraclip.data.build_from_files import _read_files
from chandraclip.data.files import find_detections
from chandraclip.data.problems import UNEXPECTED
from chandraclip.errors import InputFileError
from chandraclip.ogip.events import EventList, read_events
from chandraclip.ogip.hdus import find_hdus
from chandraclip.ogip.response import Response
from chandraclip.ogip.response_reader import read_response
from chandraclip.ogip.spectrum import Spectrum, read_spectrum
from ogip_files import OgipFiles

MAX_SECONDS = 10.0
MAX_BYTES = 1 << 30
CARD, BLOCK = 80, 2880
MAX_REAL_BYTES = 500_000  # of the real files that are damaged, so that ten thousand cases take minutes


@dataclass(frozen=True)
class Sample:
    """A good set: the file to damage and what reads it."""

    name: str
    path: Path
    read: Callable[[], Any]


def made_samples(folder: Path) -> list[Sample]:
    """Small sets of every kind the readers know, each in a folder of its own."""
    samples = []

    def add(name: str, path: Path, read: Callable[[], Any]) -> None:
        samples.append(Sample(name, path, read))

    def ogip(name: str) -> OgipFiles:
        (folder / name).mkdir(parents=True)
        return OgipFiles(folder / name)

    files = ogip("type_one")
    names = {"ANCRFILE": "source.arf", "RESPFILE": "source.rmf", "BACKFILE": "back.pi"}
    flags = [fits.Column("GROUPING", "I", array=[1, -1, 1, 1]), fits.Column("QUALITY", "I", array=[0, 0, 2, 0])]
    spectrum, arf, rmf = files.pha(extra=flags, **names), files.arf(), files.rmf()
    background = files.pha("back.pi", counts=[4, 4, 4, 4], BACKSCAL=8.0)
    for path in (spectrum, arf, rmf, background):
        add(f"type I: {path.suffix[1:]} {path.stem}", path, lambda path=spectrum: read_spectrum(path))

    files = ogip("net_rate")
    rates = [fits.Column("RATE", "E", array=np.array([3, 0, 5, 1]) / 1000.0)]
    path = files.pha(extra=rates, HDUCLAS3="RATE")
    add("type I: rates", path, lambda path=path: read_spectrum(path, require_response=False))

    files = ogip("type_two")
    columns = [
        fits.Column("SPEC_NUM", "J", array=[1, 2]),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=np.arange(8).reshape(2, 4)),
        fits.Column("BACKGROUND_UP", "4J", array=np.ones((2, 4))),
        fits.Column("BACKGROUND_DOWN", "4J", array=np.ones((2, 4))),
        fits.Column("TG_M", "I", array=[-1, 1]),
        fits.Column("TG_PART", "I", array=[1, 2]),
    ]
    facts = {
        "HDUCLAS1": "SPECTRUM",
        "DETCHANS": 4,
        "EXPOSURE": 9.0,
        "INSTRUME": "ACIS",
        "BACKSCUP": 4.0,
        "BACKSCDN": 4.0,
    }
    path = files.write("grating.pha2", files.table("SPECTRUM", columns, **facts))
    add("type II", path, lambda path=path: read_spectrum(path, spec_num=2, require_response=False))

    for layout in ("variable", "fixed", "wide"):
        files = ogip(f"rmf_{layout}")
        arf, rmf = files.arf(), files.rmf(layout=layout, descending=layout == "wide")
        add(f"rmf {layout}", rmf, lambda arf=arf, rmf=rmf: read_response(arf, rmf))

    files = ogip("events")
    photons = np.linspace(10.5, 29.5, 40)
    columns = [
        fits.Column("CCD_ID", "I", array=np.tile([7, 3], 20)),
        fits.Column("ENERGY", "E", unit="eV", array=np.linspace(500, 7000, 40)),
        fits.Column("STATUS", "32X", array=np.zeros((40, 32), bool)),
        *files.sky_columns(np.linspace(4090, 4110, 40), np.full(40, 4100.0)),
    ]
    gti = [files.gti((10.0, 20.0), name="GTI7"), files.gti((10.0, 25.0), (26.0, 30.0), name="GTI3")]
    events = files.events(time=photons, columns=columns, gti=gti, RA_PNT=10.0, DEC_PNT=41.0, DTCOR=0.99)
    region = files.write("reg3.fits", files.region_table("SRCREG", [("Ellipse", 4100, 4100, (10, 5), 0, 1)]))
    add("events", events, lambda: read_events(events, region))
    add("region: table", region, lambda: read_events(events, region))
    for number, text in enumerate(REGION_TEXTS):
        path = files.folder / f"text{number}.reg"
        path.write_text(text)
        add(f"region: text {number}", path, lambda path=path: read_events(events, path))

    files = ogip("build")
    built = [files.pha(**names), files.arf(), files.rmf(), files.pha("back.pi", counts=[4, 4, 4, 4], BACKSCAL=8.0)]
    built += [files.pha("other.pi", counts=[1, 2, 3, 4], OBI_NUM=1, **names), files.events(OBI_NUM=1, OBJECT="X")]
    for path in built:
        add(f"build: {path.name}", path, lambda root=files.folder: build(root))

    for sample in list(samples):
        if sample.name in ("type I: pi source", "rmf variable", "events"):
            samples.append(Sample(f"{sample.name}, gzip", sample.path, Packed(sample.read)))
    return samples


def build(folder: Path) -> None:
    """The rows of a folder; one bad file may neither end this nor be left out in silence, whatever is wrong with it."""
    chunk = _read_files(folder, find_detections(folder), None)
    reasons = [entry["reason"] for entry in chunk.skipped]
    assert not any(reason.startswith(UNEXPECTED) for reason in reasons), reasons
    assert chunk.table.num_rows + len(chunk.skipped) > 0


REGION_TEXTS = (
    '# Region file format: DS9 version 4.1\nglobal color=green\nfk5\ncircle(0:40:00.0,+41:00:00.0,10") # text={a b}\n'
    '-ellipse(0:40:00.0,+41:00:00.0,3",2",30)\nannulus(10.0,41.0,5",0.2\')\n',
    "ellipse(4100,4100,10,5,30)-circle(4101,4100,2)\npolygon(4090,4090,4110,4090,4100,4110)\nrotbox(4100,4100,8,4,45)\n",
    "physical\ncircle(4100,4100,9)\n-sector(4100,4100,0,45)\nrectangle(4090,4095,4110,4105)\nbox(4100,4100,9,9,10)\n\n",
)


@dataclass(frozen=True)
class Packed:
    """Marks a sample whose damage is done to its gzip stream."""

    read: Callable[[], Any]

    def __call__(self) -> Any:
        return self.read()


def real_samples(data: Path, folder: Path) -> list[Sample]:
    """Real sets, copied; those of a few hundred kB."""
    samples = []
    for source in sorted((data / "spectra").iterdir() if (data / "spectra").is_dir() else []):
        copy = folder / source.name
        copy.mkdir(parents=True)
        for path in source.iterdir():
            os.symlink(path.resolve(), copy / path.name)
        for path in sorted(copy.iterdir()):
            kind = ".pi" in path.name or "pha" in path.name
            if kind and path.stat().st_size < MAX_REAL_BYTES and _reads(lambda path=path: read_spectrum(path)):
                samples.append(Sample(f"real {source.name}", path, lambda path=path: read_spectrum(path)))
                break
    (folder / "events").mkdir(parents=True)
    for path in sorted((data / "events").rglob("*")):
        if path.is_file() and path.stat().st_size < MAX_REAL_BYTES and _reads(lambda path=path: read_events(path)):
            copy = folder / "events" / path.name
            os.symlink(path.resolve(), copy)
            samples.append(Sample(f"real {path.name}", copy, lambda path=copy: read_events(path)))
    return samples


def _reads(read: Callable[[], Any]) -> bool:
    try:
        read()
    except InputFileError:
        return False
    return True


# What a card may come to hold.
_VALUES = (
    "'unknown '", "'NaN     '", "''", "T", "F", "(2, 3)", "-1", "0", "1", "2", "3.7", "-0.0", "1E-300", "1E300",
    "1E999", "99999999999", "2147483648", "-2147483649", "9223372036854775808", "NaN", "inf", "'", "/", "''''''''",
    "'1E5     '", "'none    '", "'a/../b  '", "'[1,2]   '", "'back.pi{2}'", "'PJ(9)   '", "'4J      '", "'1PE(1)  '",
    "'0J      '", "'16A     '", "'L       '", "'M       '", "'12X     '", "'QD()    '", "'eV      '", "'keV     '",
    "'GTI     '", "'EVENTS  '", "'SPECTRUM'", "'TDIM    '", "'RATE    '", "'TIME    '", "'RA---SIN'", "'FK4     '",
)  # fmt: skip


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to three faults."""
    is_fits = content.startswith(b"SIMPLE")
    faults = (_flip, _lose, _add)
    if is_fits and rng.random() < 0.85:
        faults = (*[_edit_card] * 3, _flip_header, _drop_card, _double_card, _swap_values, *[_extreme_data] * 3)
    elif is_fits:
        faults = (_flip, _lose, _add, _drop_block, _double_block, _swap_blocks)
    for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))):
        if content:
            content = faults[int(rng.integers(len(faults)))](content, rng)
    return content


def _place(content: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(content)))


_STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "EXTEND", "CHECKSUM", "DATASUM")


def _cards(content: bytes, rng: np.random.Generator) -> list[int]:
    """Where the cards with a value begin; mostly without those that say where the data are, which hide all others."""
    every = [place for place in range(0, len(content) - CARD + 1, CARD) if content[place + 8 : place + 10] == b"= "]
    if rng.random() < 0.15:
        return every
    return [place for place in every if not content[place : place + 8].decode("latin-1").startswith(_STRUCTURE)]


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = np.frombuffer(content, np.uint8).copy()
    count = int(rng.integers(1, 6))
    damaged[rng.integers(0, damaged.size, count)] = rng.integers(0, 256, count)
    return damaged.tobytes()


def _flip_header(content: bytes, rng: np.random.Generator) -> bytes:
    places = _cards(content, rng)
    if not places:
        return content
    place = places[int(rng.integers(len(places)))] + int(rng.integers(30))
    return content[:place] + bytes([int(rng.integers(0, 256))]) + content[place + 1 :]


def _edit_card(content: bytes, rng: np.random.Generator) -> bytes:
    places = _cards(content, rng)
    if not places:
        return content
    place, value = places[int(rng.integers(len(places)))], _VALUES[int(rng.integers(len(_VALUES)))]
    return content[:place] + content[place : place + 10] + value.rjust(20).ljust(70).encode() + content[place + CARD :]


def _drop_card(content: bytes, rng: np.random.Generator) -> bytes:
    places = _cards(content, rng)
    if not places:
        return content
    place = places[int(rng.integers(len(places)))]
    return content[:place] + b"COMMENT ".ljust(CARD) + content[place + CARD :]


def _double_card(content: bytes, rng: np.random.Generator) -> bytes:
    """One card written over another."""
    places = _cards(content, rng)
    if not places:
        return content
    source, place = (places[int(rng.integers(len(places)))] for _ in range(2))
    return content[:place] + content[source : source + CARD] + content[place + CARD :]


def _swap_values(content: bytes, rng: np.random.Generator) -> bytes:
    """Two cards exchange their values: columns their names or formats."""
    kind = (b"TTYPE", b"TFORM", b"TUNIT", b"NAXIS", b"")[int(rng.integers(5))]
    places = [place for place in _cards(content, rng) if content[place : place + len(kind)] == kind]
    if len(places) < 2:
        return content
    first, second = sorted(places[int(number)] for number in rng.choice(len(places), 2, replace=False))
    parts = [content[: first + 10], content[second + 10 : second + CARD], content[first + CARD : second + 10]]
    return b"".join([*parts, content[first + 10 : first + CARD], content[second + CARD :]])


def _lose(content: bytes, rng: np.random.Generator) -> bytes:
    place, count = _place(content, rng), int(rng.integers(1, 200))
    rest = content[:place] + content[place + count :]
    return rest + b"\0" * count if rng.random() < 0.5 else rest


def _add(content: bytes, rng: np.random.Generator) -> bytes:
    place, count = _place(content, rng), int(rng.integers(1, 200))
    return content[:place] + rng.bytes(count) + content[place : len(content) - count if rng.random() < 0.5 else None]


def _block(content: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(max(1, len(content) // BLOCK))) * BLOCK


def _drop_block(content: bytes, rng: np.random.Generator) -> bytes:
    place = _block(content, rng)
    return content[:place] + content[place + BLOCK :]


def _double_block(content: bytes, rng: np.random.Generator) -> bytes:
    place = _block(content, rng)
    return content[: place + BLOCK] + content[place:]


def _swap_blocks(content: bytes, rng: np.random.Generator) -> bytes:
    first, second = sorted((_block(content, rng), _block(content, rng)))
    one, other = content[first : first + BLOCK], content[second : second + BLOCK]
    if first == second:
        return content
    return content[:first] + other + content[first + BLOCK : second] + one + content[second + BLOCK :]


def _extreme_data(content: bytes, rng: np.random.Generator) -> bytes:
    """An extreme number somewhere in a table's data."""
    written = (
        np.array([np.nan, np.inf, -np.inf, -1.0, 1e30, 1e308], ">f8"),
        np.array([np.nan, np.inf, -1.0, 1e30, 1e-30], ">f4"),
        np.array([-1, 2**31 - 1, -(2**31), 2**24, 0], ">i4"),
        np.array([-1, 2**15 - 1, -(2**15), 0, 1], ">i2"),
        np.array([2**63 - 1, -1, 2**40], ">i8"),
    )[int(rng.integers(5))]
    value = written[int(rng.integers(written.size))].tobytes()
    try:
        units = [unit for unit in find_hdus(Path("damaged"), content) if unit.data_size]
    except InputFileError:
        units = []
    if not units:
        return _flip(content, rng)
    unit = units[int(rng.integers(len(units)))]
    place = unit.data_start + int(rng.integers(unit.data_size)) // written.itemsize * written.itemsize
    return content[:place] + value + content[place + len(value) :]


def check_result(result: Any) -> None:
    """Stops at a result that no good file could give."""

    def finite(*values: Any) -> None:
        assert all(np.isfinite(value).all() for value in values)

    for part in result if isinstance(result, tuple) else (result,):
        if isinstance(part, Spectrum):
            finite(part.counts, part.exposure, part.expected_background)
            assert part.counts.min() >= 0
            assert part.exposure > 0
            assert np.min(part.expected_background) >= 0
            check_result(part.response)
        elif isinstance(part, Response):
            finite(part.matrix.data, part.arf, part.energy_lo, part.energy_hi)
            assert part.arf.min() >= 0
            assert (np.diff(part.energy_lo) > 0).all()
        elif isinstance(part, EventList):
            finite(part.time, part.energy, part.gti, part.exposure)
            assert (np.diff(part.time) >= 0).all()
            assert (part.energy > 0).all()
            assert (part.gti[:, 1] > part.gti[:, 0]).all()
            assert part.exposure > 0


@dataclass
class Outcomes:
    """What the cases came to.

    Attributes:
        counts: (sample, outcome) -> cases; outcomes are "result", "InputFileError", and what is a failure.
        failures: number of the case, sample, and what went wrong.
        slowest: s, and which case.
        peak_bytes: the most memory the process had, less what it had before the first case.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[tuple[int, str, str]] = field(default_factory=list)
    slowest: tuple[float, int, str] = (0.0, -1, "")
    peak_bytes: int = 0


class TooSlow(Exception):
    """A case beyond the limit."""


def run(samples: Sequence[Sample], seed: int, numbers: Sequence[int]) -> Outcomes:
    """Damages and reads; case k uses sample k modulo their number, and random numbers of (seed, k) alone."""
    outcomes = Outcomes()
    before = _peak()

    def stop(*_: Any) -> None:
        raise TooSlow(f"more than {MAX_SECONDS} s")

    previous = signal.signal(signal.SIGALRM, stop)
    try:
        for sample in samples:
            check_result(sample.read())
        for number in numbers:
            sample = samples[number % len(samples)]
            rng = np.random.default_rng([seed, number])
            outcome, reason, seconds = _one(sample, rng)
            outcomes.counts[sample.name, outcome] += 1
            if outcome not in ("result", "InputFileError"):
                outcomes.failures.append((number, sample.name, reason))
            outcomes.slowest = max(outcomes.slowest, (seconds, number, sample.name))
            if _peak() - before > MAX_BYTES >= outcomes.peak_bytes:
                outcomes.failures.append((number, sample.name, f"more than {MAX_BYTES} bytes of memory"))
            outcomes.peak_bytes = _peak() - before
    finally:
        signal.signal(signal.SIGALRM, previous)
    return outcomes


def _one(sample: Sample, rng: np.random.Generator) -> tuple[str, str, float]:
    """Outcome, what went wrong, and s of one case; the sample is put back."""
    path, link = sample.path, sample.path.is_symlink() and os.readlink(sample.path)
    good = path.read_bytes()
    packed = good.startswith(b"\x1f\x8b")
    if isinstance(sample.read, Packed) or (packed and rng.random() < 0.3):  # the stream itself
        stream = good if packed else gzip.compress(good, mtime=0)
        bad = stream[: _place(stream, rng)] if rng.random() < 0.3 else mutate(stream, rng)
    else:
        bad = mutate(gzip.decompress(good) if packed else good, rng)
    path.unlink()
    path.write_bytes(bad)
    begin = perf_counter()
    outcome, reason = "result", ""
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_result(sample.read())
    except InputFileError as error:
        outcome = "InputFileError"
        if str(error).count(str(path)) > 1:
            outcome, reason = "path twice", str(error)
    except Exception as error:  # all else is what this looks for
        outcome, reason = type(error).__name__, "".join(traceback.format_exception(error)[-4:])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        path.unlink()
        os.symlink(link, path) if link else path.write_bytes(good)
    return outcome, reason, perf_counter() - begin


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def all_samples(folder: Path, data: Path | None) -> list[Sample]:
    return made_samples(folder / "made") + ([] if data is None else real_samples(data, folder / "real"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("number", type=int, metavar="N", help="cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this case alone")
    parser.add_argument("--data", type=Path, help="the folder of real files (default: made files only)")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # damaged files leave much in the log
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data if arguments.data and arguments.data.is_dir() else None
        samples = all_samples(Path(folder), data)
        numbers = range(arguments.number) if arguments.only is None else [arguments.only]
        outcomes = run(samples, arguments.seed, numbers)
    kinds = sorted(
        {kind for _, kind in outcomes.counts} | {"result", "InputFileError"}, key=lambda kind: (kind != "result", kind)
    )
    width = max(len(sample.name) for sample in samples)
    print(" " * width, *(f"{kind:>15}" for kind in kinds))
    for sample in samples:
        print(sample.name.ljust(width), *(f"{outcomes.counts[sample.name, kind]:>15}" for kind in kinds))
    print(
        "all".ljust(width), *(f"{sum(n for (_, k), n in outcomes.counts.items() if k == kind):>15}" for kind in kinds)
    )
    seconds, number, name = outcomes.slowest
    print(
        f"slowest: {seconds:.2f} s, case {number} ({name}); memory: {outcomes.peak_bytes / 2**20:.0f} MiB at the peak"
    )
    for number, name, reason in outcomes.failures:
        print(f"\nFAILED --seed {arguments.seed} --only {number} ({name}):\n{reason}")
    return 1 if outcomes.failures else 0


if __name__ == "__main__":
    sys.exit(main())
