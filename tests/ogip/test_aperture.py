"""Which photons a spectrum counts: the aperture of its header, CSC 2's regions, and whether list and spectrum agree."""

from __future__ import annotations

import json
import logging

import datasets
import numpy as np
import pytest
from astropy.io import fits

from chandraclip.data.build_from_files import build_from_files
from chandraclip.data.files import find_detections, read_detection
from chandraclip.errors import InputFileError
from chandraclip.observation import open as open_observation
from chandraclip.ogip import read_events
from chandraclip.ogip.aperture import read_aperture
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.region_reader import read_region

STEM = "acisf00012_000N020_r0007"
APERTURE = "Ellipse(4100,4100,20,12,30)&!Ellipse(4110,4104,6,5,0)"
BACKGROUND = "Ellipse(4100,4100,60,40,30)&!Ellipse(4100,4100,20,12,30)"


def photons(seed=0, size=800):
    """(x, y, pi) in a box around (4100, 4100)."""
    rng = np.random.default_rng(seed)
    return rng.uniform(4040, 4160, size), rng.uniform(4040, 4160, size), rng.integers(1, 5, size)


def in_aperture(x, y):
    """The same by hand."""
    along = (x - 4100) * np.cos(np.radians(30)) + (y - 4100) * np.sin(np.radians(30))
    across = (y - 4100) * np.cos(np.radians(30)) - (x - 4100) * np.sin(np.radians(30))
    source = (along / 20) ** 2 + (across / 12) ** 2 <= 1
    return source & ~(((x - 4110) / 6) ** 2 + ((y - 4104) / 5) ** 2 <= 1)


def csc2_set(ogip, folder="in", aperture=APERTURE, counts=None, header=None, mask=None, reg3=True):
    """A CSC 2 detection: pha3 with two spectra and their data subspaces, regevt3 of a box, reg3 of the bands."""
    x, y, pi = photons()
    keep = in_aperture(x, y)
    if counts is None:
        counts = np.bincount(pi[keep], minlength=5)[1:]
    subspace = {"CHANTYPE": "PI", "DSTYP1": "time", "DSVAL1": "TABLE", "DSREF1": ":GTI7", "DSTYP2": "sky(x,y)"}
    facts = subspace | ({} if aperture is None else {"DSVAL2": aperture}) | (header or {})
    names = {"ANCRFILE": f"{STEM}_arf3.fits", "RESPFILE": f"{STEM}_rmf3.fits", "BACKFILE": f"{STEM}_pha3.fits"}
    source = ogip.spectrum(counts=np.asarray(counts, int), **names, **facts)
    back = ogip.spectrum(counts=[9, 9, 9, 9], HDUCLAS2="BKG", BACKSCAL=8.0, **subspace | {"DSVAL2": BACKGROUND})
    ogip.write(f"{folder}/{STEM}_pha3.fits", source, *([] if mask is None else [mask]), back)
    ogip.arf(f"{folder}/{STEM}_arf3.fits"), ogip.rmf(f"{folder}/{STEM}_rmf3.fits")
    columns = [
        fits.Column("CCD_ID", "I", array=np.full(x.size, 7)),
        fits.Column("PI", "J", array=pi),
        fits.Column("ENERGY", "E", unit="eV", array=14.6 * pi),
        *ogip.sky_columns(x.astype(np.float32), y.astype(np.float32)),
    ]
    time = np.linspace(10.0, 30.0, x.size)
    ogip.events(f"{folder}/{STEM}_regevt3.fits", time=time, columns=columns, gti=[ogip.gti((10.0, 30.0), name="GTI7")])
    if reg3:
        bands = [("H", 14.0, 9.0), ("B", 10.0, 6.0), ("S", 9.0, 5.0)]
        tables = [
            ogip.region_table(f"ECF90REG{band}", [("Ellipse", 4100, 4100, radii, 30, 1)]) for band, *radii in bands
        ]
        ogip.write(f"{folder}/{STEM}_reg3.fits", *tables)
    return int(np.sum(counts))


def test_list_and_spectrum_of_a_csc2_row_are_the_same_photons(ogip, tmp_path):
    total = csc2_set(ogip)
    (item,) = find_detections(ogip.folder / "in")
    row, _ = read_detection(item)
    assert row["event_time"].size == row["spectrum_counts"].sum() == total
    histogram = np.bincount(np.rint(row["event_energy"] / 0.0146).astype(int), minlength=5)[1:]
    np.testing.assert_array_equal(histogram, row["spectrum_counts"])
    assert row["events_note"] is None
    assert row["name"] == "CXO J003959.8+410001"  # of the reg3's centre
    result = build_from_files(ogip.folder / "in", tmp_path / "out", progress=False)
    assert result.manifest["notes"] == []
    assert sum(result.manifest["num_rows"].values()) == 1


def test_without_an_aperture_the_broad_ellipse_is_taken_and_the_row_says_so(ogip, tmp_path, caplog):
    csc2_set(ogip, aperture=None)
    result = build_from_files(ogip.folder / "in", tmp_path / "out", progress=False)
    assert "ECF90REGB, the 90 % PSF ellipse, was taken" in caplog.text
    (entry,) = result.manifest["notes"]
    assert entry["file"] == f"{STEM}_pha3.fits"
    assert "the photon list is not the spectrum's" in entry["note"]
    assert "4 channels differ" in entry["note"]
    assert "ECF90REGB" in entry["note"]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["notes"] == [entry]
    rows = datasets.load_dataset(str(tmp_path / "out"), "events", cache_dir=str(tmp_path / "cache"))
    ((row,),) = rows.values()
    assert row["events_note"] == entry["note"]
    x, y, _ = photons()
    ellipse = read_region("ellipse(4100,4100,10,6,30)")
    assert len(row["event_time"]) == ellipse.contains(x, y).sum()


def test_a_reg3_alone_finds_the_spectrum_beside_it(ogip, caplog):
    total = csc2_set(ogip)
    folder = ogip.folder / "in"
    assert len(read_events(folder / f"{STEM}_regevt3.fits", folder / f"{STEM}_reg3.fits")) == total
    assert "ECF90" not in caplog.text
    assert len(read_events(folder / f"{STEM}_regevt3.fits", folder / f"{STEM}_pha3.fits")) == total
    (folder / f"{STEM}_pha3.fits").rename(folder / "elsewhere.fits")
    assert len(read_events(folder / f"{STEM}_regevt3.fits", folder / f"{STEM}_reg3.fits")) < total
    assert "ECF90REGB" in caplog.text


def test_open_takes_the_reg3_of_a_detection_for_its_spectrums_aperture(ogip):
    """Given by name, and in another folder than the spectrum."""
    total = csc2_set(ogip)
    folder = ogip.folder / "in"
    region = ogip.folder / "regions" / f"{STEM}_reg3.fits"
    region.parent.mkdir()
    (folder / region.name).rename(region)
    observation = open_observation(folder / f"{STEM}_pha3.fits", folder / f"{STEM}_regevt3.fits", region)
    assert len(observation.events) == observation.spectrum.counts.sum() == total
    other = open_observation(folder / f"{STEM}_pha3.fits", folder / f"{STEM}_regevt3.fits", "circle(4100,4100,3)")
    assert len(other.events) < total


def test_without_a_reg3_the_aperture_of_the_spectrum_serves(ogip):
    total = csc2_set(ogip, reg3=False)
    row, _ = read_detection(*find_detections(ogip.folder / "in"))
    assert row["event_time"].size == total
    assert row["name"].startswith("CXO J")


def test_the_region_file_wins_where_it_alone_gives_the_counts(ogip):
    """Old headers hold an aperture that is rounded, or not the one that was used."""
    csc2_set(ogip, aperture="Ellipse(4100,4100,20,12,30)")
    folder = ogip.folder / "in"
    shapes = [("Ellipse", 4100, 4100, (20, 12), 30, 1), ("!Ellipse", 4110, 4104, (6, 5), 0, 1)]
    ogip.write(f"in/{STEM}_reg3.fits", ogip.region_table("SRCREG", shapes))
    events = read_events(
        folder / f"{STEM}_regevt3.fits", folder / f"{STEM}_reg3.fits", spectrum=folder / f"{STEM}_pha3.fits"
    )
    assert events.aperture_notes == ()
    assert "SRCREG" in events.region.source


def test_a_list_that_is_not_the_spectrums_is_said(ogip, caplog):
    csc2_set(ogip, counts=[3, 0, 5, 1])
    folder = ogip.folder / "in"
    events = read_events(folder / f"{STEM}_regevt3.fits", spectrum=folder / f"{STEM}_pha3.fits")
    assert "9 counts in" in events.aperture_notes[0]
    assert events.aperture_notes[0] in caplog.text


def test_photons_of_the_spectrum_without_an_energy_are_said(ogip):
    csc2_set(ogip)
    folder = ogip.folder / "in"
    with fits.open(folder / f"{STEM}_regevt3.fits", mode="update") as hdus:
        hdus["EVENTS"].data["ENERGY"][in_aperture(*photons()[:2])] *= -1
    events = read_events(folder / f"{STEM}_regevt3.fits", spectrum=folder / f"{STEM}_pha3.fits")
    assert len(events) == 0
    assert "the photon list is not the spectrum's: 0 photons" in events.aperture_notes[0]


LONG = "&!".join(
    ["Ellipse(4100,4100,20,12,30)", "Ellipse(4110,4104,6,5,0)", *(f"Circle({5000 + i},4000,3)" for i in range(9))]
)


@pytest.mark.parametrize(
    "header",
    [
        {"DSTYP2": "POS(X,Y)"},
        {"DSTYP2": "sky", "DSVAL2": f"region({APERTURE})"},
        {"DSTYP2": "SKY(X,Y)", "DSVAL2": LONG},  # written with CONTINUE
        {"DSTYP3": "x", "DSVAL3": "4080.4:4119.6", "DSTYP4": "y", "DSVAL4": "4085:4115"},
        {"2DSREF1": ":GTI6", "DSTYP3": "ccd_id", "DSVAL3": "7:7", "2DSVAL3": "6:6"},
        {"2DSVAL2": APERTURE},
        {"DSVAL2": "Ellipse(4100,4100,20,12,30)&!Ellipse(4110,4104,6,5,0)&Rectangle(4000,4000,4100,4200)",
         "2DSVAL2": "Ellipse(4100,4100,20,12,30)&!Ellipse(4110,4104,6,5,0)&Rectangle(4100,4000,4200,4200)"},
    ],
)  # fmt: skip
def test_forms_of_a_data_subspace(ogip, header):
    csc2_set(ogip, header=header)
    folder = ogip.folder / "in"
    events = read_events(folder / f"{STEM}_regevt3.fits", spectrum=folder / f"{STEM}_pha3.fits")
    assert events.aperture_notes == ()
    assert len(events) == in_aperture(*photons()[:2]).sum()


def test_a_region_table_named_by_the_subspace(ogip):
    """SAS: DSVALn TABLE and DSREFn; source and background in one file have tables of one name."""
    subspace = {"DSTYP1": "POS(X,Y)", "DSVAL1": "TABLE", "DSREF1": ":REG00108"}
    path = ogip.write(
        "pn.fits",
        ogip.spectrum(**subspace),
        ogip.region_table("REG00108", [("CIRCLE", 100, 100, (8,), 0, 1)]),
        ogip.spectrum(HDUCLAS2="BKG", **subspace),
        ogip.region_table("REG00108", [("CIRCLE", 300, 300, (20,), 0, 1)]),
    )
    region = read_aperture(FitsFile(path))
    assert region.contains(np.array([101.0, 301.0]), np.array([100.0, 300.0])).tolist() == [True, False]
    missing = ogip.write("missing.fits", ogip.spectrum(**subspace))
    with pytest.raises(InputFileError, match="DSREF1 names ':REG00108', and no such region table"):
        read_aperture(FitsFile(missing))


def mask_image(name="MASK", version=1):
    """Everything but x above 4105."""
    image = np.ones((60, 60), dtype=np.uint8)
    image[:, 33:] = 0  # from 4040 + 2 * 33 - 0.5
    hdu = fits.ImageHDU(image, name=name)
    hdu.header["HDUNAME"] = name if version == 1 else f"{name}{version}"
    for axis in (1, 2):
        hdu.header[f"CRVAL{axis}P"], hdu.header[f"CRPIX{axis}P"], hdu.header[f"CDELT{axis}P"] = 4039.5, 0.5, 2.0
    return hdu


def test_pixel_masks_of_csc_2_1(ogip):
    x, y, pi = photons()
    keep = in_aperture(x, y) & (x.astype(np.float32) < 4105.5)
    counts = np.bincount(pi[keep], minlength=5)[1:]
    csc2_set(ogip, aperture=f"MASK&{APERTURE}", header={"DSREF2": ":MASK"}, mask=mask_image(), counts=counts)
    folder = ogip.folder / "in"
    events = read_events(folder / f"{STEM}_regevt3.fits", spectrum=folder / f"{STEM}_pha3.fits")
    assert events.aperture_notes == ()
    assert len(events) == keep.sum()
    csc2_set(ogip, aperture=f"MASK2&{APERTURE}", mask=mask_image())
    with pytest.raises(InputFileError, match="DSVAL2 is not a region: no pixel mask 'mask2'"):
        read_region(folder / f"{STEM}_pha3.fits")


@pytest.mark.parametrize("value", ["Ellipse(4100,4100,20,12,30", "Ellipse(4100,4100,20)", "Blob(1,2,3)"])
def test_an_aperture_that_cannot_be_read_is_said_and_the_region_serves(ogip, caplog, value):
    csc2_set(ogip, aperture=value)
    with pytest.raises(InputFileError, match="DSVAL2 is not a region"):
        read_aperture(FitsFile(ogip.folder / "in" / f"{STEM}_pha3.fits"))
    with caplog.at_level(logging.WARNING):
        row, _ = read_detection(*find_detections(ogip.folder / "in"))
    assert "DSVAL2 is not a region" in row["events_note"]
    assert "ECF90REGB" in row["events_note"]
    (ogip.folder / "in" / f"{STEM}_reg3.fits").unlink()
    row, _ = read_detection(*find_detections(ogip.folder / "in"))  # the spectrum is not lost for its photons
    assert (row["spectrum_counts"].sum() > 0, row.get("event_time")) == (True, None)


def test_the_shared_reg3_without_srcreg(traps, caplog):
    folder = traps / "R09_csc2_reg3_without_srcreg"
    for name, axis in (("reg3", 10), ("b", 10), ("h", 14)):
        region = read_region(folder / f"{name}.fits")
        assert region.components[0][0].numbers[2] == axis
        assert "not known" in region.notes[0]
    assert caplog.text.count("the 90 % PSF ellipse, was taken") == 3


def test_the_background_is_no_source(ogip):
    path = ogip.write("b.fits", ogip.region_table("BKGREG", [("Circle", 10, 10, (5,), 0, 1)]))
    with pytest.raises(InputFileError, match="no region table of a source"):
        read_region(path)
    two = [ogip.region_table(name, [("Circle", 10, 10, (5,), 0, 1)]) for name in ("FIRST", "SECOND")]
    assert "also has the regions SECOND" in read_region(ogip.write("two.fits", *two)).notes[0]


def test_a_spectrum_without_an_aperture_needs_a_region(ogip):
    with pytest.raises(InputFileError, match="does not tell the aperture"):
        read_events(ogip.events(), spectrum=ogip.pha())


@pytest.mark.parametrize(
    "name, text",
    [
        ("csc_acisf01575_001N001_r0085/acisf01575_001N001_r0085_pha3.fits.gz", "ellipse(4306.12,4451.68,8.6,5.5,68.7)"),
        ("xmm_epicpn_heacit/PN.pha", "circle(24783.5,28244.9,799)"),
        ("hrci_arlac_obs24564/hrcf24564_000N030_r0001_pha3.fits.gz", "ellipse(13935.4,15332.2,53,41,117.868)"),
        ("pks1127_obs5708/q1127_src1.pi.gz", "circle(4082.25,4165,4.9)"),
    ],
)
def test_apertures_of_real_spectra(real_data, name, text):
    region = read_aperture(FitsFile(real_data / "spectra" / name))
    inner = read_region(text)
    centre = np.array(inner.centre)
    x, y = centre[:, None] + np.random.default_rng(0).uniform(-900, 900, (2, 50_000)) * (1 if "PN" in name else 0.1)
    mine, theirs = region.contains(x, y), inner.contains(x, y)
    assert theirs.sum() > 20
    assert not (theirs & ~mine).any()
    assert mine.sum() < 1.1 * theirs.sum()
