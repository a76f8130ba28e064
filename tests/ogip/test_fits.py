from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
from astropy.io import fits

from chandraclip.errors import InputFileError
from chandraclip.ogip.events import read_events
from chandraclip.ogip.fits import FitsFile, file_name
from chandraclip.ogip.response_reader import read_rmf
from chandraclip.ogip.spectrum import read_spectrum


def test_gzip_is_told_by_content_not_by_name(ogip, tmp_path):
    path = ogip.pha()
    packed = tmp_path / "packed.pi"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    plain = shutil.copy(path, tmp_path / "plain.pi.gz")
    for other in (packed, plain):
        np.testing.assert_array_equal(read_spectrum(other).counts, [3, 0, 5, 1])


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "empty"),
        (b"x,y,t\n1,2,3\n", "not a FITS file"),
        (gzip.compress(b"x,y,t\n1,2,3\n"), "not a FITS file"),
        (gzip.compress(b"SIMPLE  =" + b" " * 5000)[:-20], "gzip"),
        (b"SIMPLE  =" + b" " * 5000, "FITS"),
    ],
    # Named: gzip writes the time into its header, and pytest-xdist wants the same ids from every worker.
    ids=["empty", "text", "gzipped text", "gzip cut off", "header without end"],
)
def test_what_is_not_fits_is_refused(tmp_path, content, reason):
    path = tmp_path / "file.pi"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=reason) as caught:
        read_spectrum(path)
    assert caught.value.path == str(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputFileError, match="no such file"):
        read_spectrum(tmp_path / "nothing.pi")


def test_a_file_cut_off_anywhere_is_refused(ogip, tmp_path):
    path = ogip.rmf()
    content = path.read_bytes()
    starts = [position for position in range(0, len(content), 2880) if content[position : position + 8] == b"XTENSION"]
    # Inside the second table's data, inside its header, inside the first table's heap and header.
    for size in (len(content) - 2880, starts[1] + 2000, starts[1] + 4, starts[1] - 2880, starts[0] + 1000):
        cut = tmp_path / "cut.rmf"
        cut.write_bytes(content[:size])
        with pytest.raises(InputFileError):
            read_rmf(cut)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_real_file_cut_off_is_refused(real_data, tmp_path, share):
    source = real_data / "spectra" / "csc_acisf07867_000N001_r0002" / "acisf07867_000N001_r0002_pha3.fits"
    content = source.read_bytes()
    cut = tmp_path / "cut.fits"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputFileError, match=r"cut off|damaged|no spectrum"):
        read_spectrum(cut, require_response=False)


def test_ragged_columns_equal_astropys_rows(real_data):
    path = real_data / "spectra" / "4c19.44_obs6903" / "obs1.rmf.gz"
    table = next(table for table in FitsFile(path) if table.has("F_CHAN"))
    with fits.open(path) as hdus:
        data = hdus["MATRIX"].data
        for name in ("F_CHAN", "N_CHAN", "MATRIX"):
            lengths, values = table.ragged(name)
            np.testing.assert_array_equal(lengths, [len(row) for row in data[name]])
            np.testing.assert_array_equal(values, np.concatenate(list(data[name])))


def test_ragged_columns_apply_tzero(ogip):
    column = fits.Column("VALUES", "2I", array=np.array([[40000, 1], [2, 3]], dtype=np.uint16), bzero=32768)
    path = ogip.write("unsigned.fits", ogip.table("T", [column]))
    lengths, values = FitsFile(path).tables[0].ragged("VALUES")
    np.testing.assert_array_equal(lengths, [2, 2])
    np.testing.assert_array_equal(values, [40000, 1, 2, 3])


def test_a_heap_pointer_outside_the_file_is_refused(ogip):
    path = ogip.rmf()
    content = bytearray(path.read_bytes())
    table = FitsFile(path).tables[0]
    start = content.index(b"XTENSION")
    data = start + 2880 * -(-(len(table.header) + 1) * 80 // 2880)
    offset = next(column.offset for column in table.columns if column.name == "MATRIX")
    content[data + offset + 4 : data + offset + 8] = (10**6).to_bytes(4, "big")
    path.write_bytes(bytes(content))
    with pytest.raises(InputFileError, match="heap") as caught:
        read_rmf(path)
    assert caught.value.extension == "MATRIX,1"


def test_names_that_mean_no_file():
    assert file_name(None) is None
    assert file_name(" NONE ") == file_name("") == ""
    assert file_name("source.arf ") == "source.arf"


def test_damaged_bytes_are_refused_or_read_and_nothing_else(ogip, tmp_path):
    """Random damage to headers and data: an InputFileError, or a result, and no other exception."""
    rng = np.random.default_rng(0)
    refused = 0
    for path, read in ((ogip.pha(), read_spectrum), (ogip.rmf(), read_rmf), (ogip.events(), read_events)):
        content = path.read_bytes()
        for _ in range(60):
            damaged = np.frombuffer(content, np.uint8).copy()
            places = 2880 + rng.integers(0, 2880, 3)  # the first extension's header
            damaged[places] = rng.integers(32, 127, 3)
            damaged[rng.integers(0, damaged.size, 3)] = rng.integers(0, 256, 3)
            bad = tmp_path / "damaged.fits"
            bad.write_bytes(damaged.tobytes())
            try:
                read(bad)
            except InputFileError:
                refused += 1
    assert 0 < refused < 180
