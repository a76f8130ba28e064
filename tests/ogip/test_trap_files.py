"""Files that are damaged, or whose headers lie: refused at once, in little memory, with the place and the reason."""

from __future__ import annotations

import gzip
import logging
import os
import time
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip import fits as reader
from chandraclip.ogip.events import read_events
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.response_reader import read_rmf
from chandraclip.ogip.spectrum import read_spectrum

BLOCK = 2880


def card(keyword, value):
    return f"{keyword:<8}= {value:>20}".ljust(80).encode()


def with_card(content, keyword, value, occurrence=0):
    """The file's bytes with one card's value replaced; occurrence: of the keyword in the file, from 0."""
    places = [place for place in range(0, len(content), 80) if content[place : place + 8] == keyword.ljust(8).encode()]
    place = places[occurrence]
    field = value.ljust(20) if value.startswith("'") else value.rjust(20)
    return (
        content[:place]
        + (f"{keyword:<8}= {field}".encode() + content[place + 30 : place + 80])[:80]
        + content[place + 80 :]
    )


def refused(path, read=FitsFile, match="."):
    """Reads a file that must be refused, within 10 s and 256 MiB; the error."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        with pytest.raises(InputFileError, match=match) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 256 * 2**20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - begin < 10
    assert str(caught.value).count(str(path)) == 1
    return caught.value


def test_bytes_lost_inside_a_table(traps):
    folder = traps / "X02_bytes_lost_inside_a_table"
    assert len(read_events(folder / "a.fits")) == len(read_events(folder / "sum.fits")) == 2000
    refused(folder / "lost.fits", read_events, "multiple of 2880")


def test_a_column_number_beyond_reason(traps):
    refused(traps / "X03_tfields_huge" / "a.fits", read_events, "TFIELDS is 1000000000")


def summed(ogip, **header):
    """An event list with DATASUM and CHECKSUM in every unit."""
    path = ogip.events(time=np.linspace(10.0, 29.0, 500), **header)
    with fits.open(path) as hdus:
        hdus.writeto(path, checksum=True, overwrite=True)
    return path, path.read_bytes()


def test_shifted_bytes_are_refused_whatever_the_size(ogip):
    path, good = summed(ogip)
    begin = 3 * BLOCK  # the events' data
    for lost in (1, 7, 12):
        for bad in (
            good[: begin + 100] + good[begin + 100 + lost :] + b"\0" * lost,  # made up for at the end
            good[: begin + 100] + b"\1" * lost + good[begin + 100 :] + b"\0" * (BLOCK - lost),
        ):
            path.write_bytes(bad)
            refused(path, read_events)
    # Without sums too: the next extension, or the fill of the last block, is not where it must be.
    path = ogip.events(gti=[], time=np.linspace(10.0, 29.0, 500), TSTART=10.0, TSTOP=30.0)
    good = path.read_bytes()
    size = 12 * 500
    for added in (1, 7, 12):
        path.write_bytes(good[:6000] + b"\1" * added + good[6000:-added])
        assert len(good) - added > 2 * BLOCK + size
        refused(path, read_events, "filled with zeros")


def test_trailing_bytes_must_be_fill(ogip):
    path = ogip.pha()
    good = path.read_bytes()
    for fill in (b"\0", b" "):
        path.write_bytes(good + fill * BLOCK * 2)
        assert read_spectrum(path).counts.tolist() == [3, 0, 5, 1]
    path.write_bytes(good + b"garbage ".ljust(BLOCK))
    refused(path, read_spectrum, "no extension")
    path.write_bytes(good + b"\0" * 7)
    refused(path, read_spectrum, "multiple of 2880")


def test_data_that_miss_their_datasum(ogip, caplog):
    path, good = summed(ogip)
    table = FitsFile(path).tables[0]
    place = good.index(np.array(10.0, ">f8").tobytes())
    flipped = good[: place + 3] + bytes([good[place + 3] ^ 4]) + good[place + 4 :]
    path.write_bytes(flipped)
    assert refused(path, read_events, "data are damaged: their sum is").extension == "EVENTS,1"
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(flipped))
    refused(packed, read_events, "DATASUM")
    # DATASUM itself is wrong; without a CHECKSUM it alone decides.
    stated = table.header.get("DATASUM")
    path.write_bytes(with_card(good, "DATASUM", f"'{'1':<{len(stated)}}'", 1))
    refused(path, read_events, "DATASUM says 1")
    path.write_bytes(with_card(good, "DATASUM", "'many'", 1))
    refused(path, read_events, "not a number")
    path.write_bytes(with_card(good.replace(b"CHECKSUM=", b"COMMENT  "), "DATASUM", "'12345   '", 1))
    refused(path, read_events, "DATASUM says 12345")
    assert not caplog.records


def test_what_checksum_says_of_the_header(ogip, caplog):
    """An edited header is noted; rows and header both rewritten under old sums cannot be told from good ones."""
    path, good = summed(ogip)
    path.write_bytes(good.replace(b"Test source", b"Best source").replace(b"'12      '", b"'13      '"))
    with caplog.at_level(logging.INFO):
        assert read_events(path).header.obs_id == "13"
    assert "edited after its CHECKSUM" in caplog.text
    edited = with_card(good, "OBS_ID", "'14      '")
    place = edited.index(np.array(10.0, ">f8").tobytes())
    path.write_bytes(edited[:place] + np.array(10.5, ">f8").tobytes() + edited[place + 8 :])
    caplog.clear()
    assert read_events(path).time[0] == pytest.approx(0.038076, abs=1e-5)
    assert "cannot vouch" in caplog.text


def test_real_sums_are_right(real_data, caplog):
    """Every real file opens, those that a program rewrote without summing again with a warning."""
    paths = [path for path in sorted(real_data.rglob("*")) if path.is_file() and reader.looks_like_fits(path)]
    with caplog.at_level(logging.INFO):
        tables = sum(len(FitsFile(path).tables) for path in paths)
    assert tables >= 130
    assert caplog.text.count("cannot vouch") == 5
    assert caplog.text.count("edited after its CHECKSUM") == 2


@pytest.mark.parametrize(
    "keyword, value, reason",
    [
        ("TFIELDS", "1000000000", "TFIELDS is 1000000000"),
        ("TFIELDS", "-1", "TFIELDS is -1"),
        ("TFIELDS", "1", "columns take 4 bytes a row"),
        ("TFIELDS", "3", "TFORM3"),
        ("NAXIS1", "1000000000000", "cut off"),
        ("NAXIS1", "-8", "NAXIS1 is -8"),
        ("NAXIS1", "0", "rows of no bytes"),
        ("NAXIS1", "7", "filled with zeros"),
        ("NAXIS2", "999999999999999999999", "cut off"),
        ("NAXIS2", "-4", "NAXIS2 is -4"),
        ("NAXIS2", "4.5", "not a whole number"),
        ("NAXIS2", "'4       '", "not a whole number"),
        ("NAXIS2", "", "no NAXIS2"),
        ("NAXIS", "999", "no NAXIS3"),
        ("NAXIS", "100000000", "999 is the most"),
        ("PCOUNT", "9223372036854775807", "cut off"),
        ("PCOUNT", "-60", "PCOUNT is -60"),
        ("GCOUNT", "1000000", "GCOUNT 1, not 8, 2, 1000000"),
        ("BITPIX", "-64", "BITPIX 8"),
        ("BITPIX", "7", "BITPIX is 7"),
        ("TFORM1", "'999999999J'", "columns take 4000000000 bytes a row"),
        ("TFORM1", "'99999999999999999999J'", "no column format"),
        ("TFORM1", "'QQ      '", "no column format"),
        ("TFORM1", "5", "no column format"),
        ("TFORM2", "'2PJ(4)  '", "no column format"),
        ("TFORM2", "'J", "TFORM2 is damaged"),
    ],
)
def test_headers_that_lie_are_refused_at_once(ogip, keyword, value, reason):
    path = ogip.pha()
    good = path.read_bytes()
    occurrence = 1 if keyword in ("NAXIS", "BITPIX") else 0
    path.write_bytes(with_card(good, keyword, value, occurrence))
    refused(path, read_spectrum, reason)


def test_the_word_end_within_a_card_ends_no_header(ogip):
    path = ogip.pha()
    expected = read_spectrum(path).counts
    good = path.read_bytes()
    place = next(place for place in range(0, len(good), 80) if good[place : place + 8] == b"END     ")
    block = (place // 2880 + 1) * 2880
    for text in (b"COMMENT END     END     ", b"HISTORYEND      ", b"   END     "):
        path.write_bytes(good[:place] + text.ljust(80) + good[place : block - 80] + good[block:])
        assert (read_spectrum(path).counts == expected).all(), text


def test_headers_without_end(ogip):
    path = ogip.pha()
    good = path.read_bytes()
    for occurrence in (0, 1):
        places = [place for place in range(0, len(good), 80) if good[place : place + 8] == b"END     "]
        place = places[occurrence]
        path.write_bytes(good[:place] + b"COMMENT " + good[place + 8 :])
        refused(path, read_spectrum, "no END")
    path.write_bytes(card("SIMPLE", "T") + b"COMMENT ".ljust(80) * (36 * 50_000 - 1))  # 144 MB of comments
    refused(path, read_spectrum, "no END")


def test_a_file_that_says_it_is_not_standard(ogip):
    path = ogip.pha()
    path.write_bytes(with_card(path.read_bytes(), "SIMPLE", "F"))
    refused(path, read_spectrum, "SIMPLE is False")


def test_gzip_bombs_are_not_unpacked(ogip, tmp_path, monkeypatch):
    good = ogip.pha().read_bytes()
    member = gzip.compress(b"\0" * (32 << 20))
    path = tmp_path / "bomb.pi.gz"
    path.write_bytes(gzip.compress(good) + member * 40)  # 1.3 MB that stand for 1.3 GB
    refused(path, read_spectrum, "grow beyond")
    path.write_bytes(gzip.compress(good) + b"\0" * 100)  # zeros after the end mark are allowed
    assert read_spectrum(path).counts.sum() == 9
    for tail in (b"more", gzip.compress(good)[:40]):
        path.write_bytes(gzip.compress(good) + tail)
        refused(path, read_spectrum, "gzip stream")
    path.write_bytes(gzip.compress(good[:5000]) + gzip.compress(good[5000:]))  # two members are one file
    assert read_spectrum(path).counts.sum() == 9
    monkeypatch.setattr(reader, "MAX_FILE_BYTES", 5000)
    path.write_bytes(good)
    refused(path, read_spectrum, "8640 bytes are more than the 5000")


def test_what_is_no_file(tmp_path):
    refused(tmp_path, read_spectrum, "a folder")
    pipe = tmp_path / "pipe.pi"
    os.mkfifo(pipe)
    refused(pipe, read_spectrum, "not a file")
    with pytest.raises(InputFileError, match="no such file"):
        read_spectrum("a\0b.pi")


def test_rows_that_claim_the_same_heap_over_and_over(ogip):
    """A million rows of 4 bytes each may name one stretch of the heap: terabytes that are not there."""
    rows, heap = 1_000_000, np.ones(250_000, ">f4")
    column = fits.Column("MATRIX", "PE()", array=np.array([np.zeros(1)], dtype=object))
    path = ogip.write("claims.rmf", ogip.table("MATRIX", [column]))
    content = path.read_bytes()
    head = with_card(with_card(content, "NAXIS2", str(rows)), "PCOUNT", str(heap.nbytes))[: 2 * BLOCK]
    data = np.tile(np.array([heap.size, 0], ">i4"), rows).tobytes() + heap.tobytes()
    path.write_bytes(head + data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0"))
    table = FitsFile(path).tables[0]
    refused(
        path, lambda path: FitsFile(path).tables[0].ragged("MATRIX"), "claim 1000000000000 bytes of a heap of 1000000"
    )
    with pytest.raises(InputFileError, match="variable length"):
        table.column("MATRIX")


@pytest.mark.parametrize("heap", ["-1", "999999999999", "1.5", "'far'", "2"])
def test_a_heap_that_begins_elsewhere_is_refused(ogip, heap):
    path = ogip.rmf(THEAP=180)
    path.write_bytes(with_card(path.read_bytes(), "THEAP", heap))
    assert refused(path, read_rmf, "THEAP is").extension == "MATRIX,1"


def test_pointers_whose_bytes_overflow_are_refused(ogip):
    path = ogip.rmf(layout="wide")
    content = bytearray(path.read_bytes())
    offset = next(column.offset for column in FitsFile(path).tables[0].columns if column.name == "MATRIX")
    place = FitsFile(path).tables[0]._hdu.data_start + offset
    for length, start in ((2**62, 0), (1, 2**63 - 1), (2**61 + 1, 2**61)):
        content[place : place + 16] = np.array([length, start], ">i8").tobytes()
        path.write_bytes(bytes(content))
        refused(path, read_rmf, "outside the heap")


@pytest.mark.parametrize(
    "form, values, what",
    [
        ("4A", ["1", "2"], "text"),
        ("L", [True, False], "logical values"),
        ("8X", np.ones((2, 8), bool), "bits"),
        ("M", [1 + 1j, 2], "complex numbers"),
        ("3J", np.ones((2, 3)), "arrays of 3 numbers"),
        ("PJ()", np.array([np.ones(1), np.ones(2)], dtype=object), "variable length"),
    ],
)
def test_a_column_of_something_else_than_numbers(ogip, form, values, what):
    path = ogip.write("table.fits", ogip.table("T", [fits.Column("A", form, array=values)]))
    table = FitsFile(path).tables[0]
    with pytest.raises(InputFileError, match=f"column A holds {what}|column A holds arrays of {what}") as caught:
        table.numbers("A")
    assert caught.value.extension == "T,1"
    if form not in ("3J", "PJ()"):
        with pytest.raises(InputFileError, match="cannot be read as numbers"):
            table.ragged("A")


@pytest.mark.parametrize(
    "keyword, value", [("TSCAL1", "0.0"), ("TSCAL1", "1E999"), ("TZERO1", "'a'"), ("TNULL1", "1.5")]
)
def test_scales_and_nulls_that_are_none(ogip, keyword, value):
    path = ogip.pha(**{keyword: 3})
    path.write_bytes(with_card(path.read_bytes(), keyword, value))
    refused(path, read_spectrum, keyword)


def test_columns_are_scaled_as_astropy_scales_them(ogip):
    rng = np.random.default_rng(1)
    columns = [
        fits.Column("U2", "2I", bzero=2**15, array=rng.integers(0, 2**16, (5, 2)).astype(np.uint16)),
        fits.Column("U4", "J", bzero=2**31, array=rng.integers(0, 2**32, 5).astype(np.uint32)),
        fits.Column("U8", "K", bzero=2**63, array=rng.integers(0, 2**63, 5).astype(np.uint64) * 2 + 1),
        fits.Column("S1", "B", bzero=-128, array=rng.integers(-128, 128, 5).astype(np.int8)),
        fits.Column("REAL", "I", array=rng.integers(-9, 9, 5)),
        fits.Column("FLOAT", "E", array=rng.normal(size=5)),
        fits.Column("BITS", "11X", array=rng.integers(0, 2, (5, 11)).astype(bool)),
        fits.Column("FLAG", "L", array=rng.integers(0, 2, 5).astype(bool)),
        fits.Column("TEXT", "6A", array=["a", "bc ", "", "sixsix", " d"]),
        fits.Column("PAIR", "C", array=rng.normal(size=5) + 1j),
    ]
    path = ogip.write("kinds.fits", ogip.table("T", columns, TSCAL5=0.25, TZERO5=3.0))
    table = FitsFile(path).tables[0]
    with fits.open(path) as hdus:
        for name in table.names:
            values, wanted = table.column(name), np.asarray(hdus[1].data[name])
            np.testing.assert_array_equal(values, wanted)
            assert values.dtype.kind == wanted.dtype.kind or name == "S1"  # astropy makes real numbers of those


def test_null_integers_are_no_numbers(ogip):
    path = ogip.write("null.fits", ogip.table("T", [fits.Column("A", "I", null=-99, array=[1, -99, 3])]))
    np.testing.assert_array_equal(FitsFile(path).tables[0].column("A"), [1, np.nan, 3])
    path = ogip.pha(TNULL2=5)
    with pytest.raises(InputFileError, match="not a number in channel 3"):
        read_spectrum(path)


def test_a_column_twice_is_ambiguous_where_it_is_read(ogip):
    path = ogip.pha(extra=[fits.Column("OTHER", "J", array=[9, 9, 9, 9])])
    path.write_bytes(with_card(path.read_bytes(), "TTYPE3", "'COUNTS  '"))
    refused(path, read_spectrum, "2 columns are named COUNTS")
    path.write_bytes(with_card(path.read_bytes(), "TTYPE3", "'Other   '"))
    assert read_spectrum(path).counts.sum() == 9


def test_a_keyword_twice_with_two_values_is_refused(ogip):
    path = ogip.pha(OBJECT="x", DATE_OLD=1.0)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"DATE_OLD=                  1.0", b"EXPOSURE=                  1.0"))
    refused(path, read_spectrum, "EXPOSURE is damaged: it is given 2 times")
    path.write_bytes(good.replace(b"DATE_OLD=                  1.0", b"EXPOSURE=               1000.0"))
    assert read_spectrum(path).exposure == 1000


def test_other_kinds_of_extension(ogip):
    """Images, compressed images, ASCII tables and random groups hold no spectrum, and the error names what is there."""
    image = fits.ImageHDU(np.ones((3, 4), np.int16), name="SKY")
    compressed = fits.CompImageHDU(np.ones((30, 40), np.int16), name="PACKED")
    ascii_table = fits.TableHDU.from_columns([fits.Column("COUNTS", "I4", array=[1, 2])], name="SPECTRUM")
    path = ogip.folder / "others.fits"
    fits.HDUList([fits.PrimaryHDU(np.ones((5, 5))), image, compressed, ascii_table]).writeto(path)
    refused(path, read_spectrum, r"SKY \(IMAGE\), PACKED \(COMPRESSED IMAGE\), SPECTRUM \(TABLE\)")
    fits.HDUList([fits.PrimaryHDU(np.ones((5, 5))), image, compressed, ascii_table, ogip.spectrum()]).writeto(
        path, overwrite=True
    )
    assert read_spectrum(path).counts.sum() == 9
    groups = fits.GroupData(np.ones((4, 1, 2)), bitpix=-32, parnames=["u"], pardata=[np.arange(4.0)])
    fits.HDUList([fits.GroupsHDU(groups), ogip.spectrum()]).writeto(path, overwrite=True)
    assert read_spectrum(path).counts.sum() == 9
    path = ogip.pha(ZTABLE=True)
    refused(path, read_spectrum, "funpack")
