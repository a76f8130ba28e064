"""Regions and apertures as the archives hold them: shapes, texts, frames, and which photons a spectrum counts."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from regions import EllipseAnnulusPixelRegion, PixCoord, RectangleAnnulusPixelRegion

from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Shape
from chandraclip.ogip.sky import sky_coordinates


def inside(region, *points):
    x, y = np.transpose(points).astype(float)
    return region.contains(x, y).tolist()


def region_file(ogip, shapes, units=("pixel", "pixel", "deg"), name="region.fits", columns=("X", "Y"), **header):
    """A table of (shape, x, y, radii, angles): every cell as wide as the widest, padded with zeros."""

    def padded(cells):
        width = max(1, *map(len, cells))
        return np.array([(*cell, *[0.0] * (width - len(cell))) for cell in cells]), width

    (x, wide), (y, _), (r, radii), (a, angles) = (padded([row[i] for row in shapes]) for i in (1, 2, 3, 4))
    table = ogip.table(
        "REGION",
        [
            fits.Column(columns[0], f"{wide}D", unit=units[0], array=x),
            fits.Column(columns[1], f"{wide}D", unit=units[0], array=y),
            fits.Column("SHAPE", "16A", array=[row[0] for row in shapes]),
            fits.Column("R", f"{radii}D", unit=units[1], array=r),
            fits.Column("ROTANG", f"{angles}D", unit=units[2], array=a),
        ],
        **{"HDUCLASS": "ASC", "HDUCLAS1": "REGION", "MFORM1": ",".join(columns), "MTYPE1": "sky"} | header,
    )
    return ogip.write(name, table)


def test_the_shared_shapes(traps):
    pie = read_region(traps / "R01_pie_table" / "pie.fits")
    assert inside(pie, (107, 101), (103, 101), (112, 101), (93, 101)) == [True, False, False, False]
    assert inside(read_region(traps / "R08_rectangle" / "r.fits"), (91, 96), (100, 100), (111, 100)) == [1, 0, 0]
    assert inside(read_region(traps / "R08_rectangle" / "rr.fits"), (96, 91), (91, 96)) == [True, False]
    assert inside(read_region(traps / "R05_semicolon_in_text" / "t.reg"), (11, 10), (16, 10)) == [True, False]
    assert inside(read_region(traps / "R06_exclusion_first" / "t.reg"), (11, 10), (14, 10)) == [False, True]


@pytest.mark.parametrize(
    "row, points, expected",
    [
        (("PIE", [10], [10], [2, 5], [350, 20]), [(14, 10), (11, 10), (14, 14), (16, 10)], [1, 0, 0, 0]),
        (("Pie", [10], [10], [2, 5], [0, 360]), [(6, 10), (10, 6), (10, 11)], [1, 1, 0]),
        (("Pie", [10], [10], [], [0, 90]), [(90, 90), (5, 10)], [1, 0]),
        (("Sector", [10], [10], [], [-90, 0]), [(12, 8), (12, 12)], [1, 0]),
        (("ElliptAnnulus", [10], [10], [2, 1, 6, 3], [0, 90]),
         [(10, 15), (12.5, 10), (11, 10), (14, 10)], [1, 1, 0, 0]),
        (("BOXANNULUS", [10], [10], [2, 2, 8, 4], [0, 0]), [(13, 10), (10.5, 10.5), (10, 12.5)], [1, 0, 0]),
        (("Annulus", [10], [10], [2, 4], []), [(13, 10), (11, 10)], [1, 0]),
        (("Box", [10], [10], [8, 2], [90]), [(10, 13), (13, 10)], [1, 0]),
        (("ROTBOX", [10], [10], [8, 2], [90]), [(10, 13), (13, 10)], [1, 0]),
        (("Diamond", [10], [10], [8, 4], [0]), [(13, 10), (12, 11.5), (10, 11.9)], [1, 0, 1]),
        (("RotRhombus", [10], [10], [8, 4], [90]), [(10, 13), (13, 10)], [1, 0]),
        (("Rectangle", [8, 12], [9, 11], [], []), [(8.1, 10.9), (8.1, 11.1)], [1, 0]),
        (("Polygon", [8, 12, 12, 8], [8, 8, 12, 12], [], []), [(11, 11), (4, 4)], [1, 0]),
    ],
)  # fmt: skip
def test_every_shape_of_the_table_standard(ogip, row, points, expected):
    """ASC-FITS-REGION-1.2, beside a polygon that makes every cell wider and is padded with zeros."""
    wide = ("!Polygon", [50, 52, 54, 53, 50], [50, 49, 51, 53, 52], [1, 1, 1, 1], [1, 1])
    region = read_region(region_file(ogip, [row, wide, ("", [0], [0], [], [])]))
    assert inside(region, *points) == [bool(value) for value in expected]
    excluded = read_region(region_file(ogip, [("!" + row[0], *row[1:])]))
    assert inside(excluded, *points) == [not value for value in expected]


def test_annuli_equal_those_of_another_library():
    x, y = np.random.default_rng(0).uniform(0, 20, (2, 50_000))
    centre, angle = PixCoord(10, 9), 37 * u.deg
    for ours, other in (
        (Shape("elliptannulus", (10, 9, 2, 1, 6, 3, 37)), EllipseAnnulusPixelRegion(centre, 4, 12, 2, 6, angle)),
        (Shape("boxannulus", (10, 9, 2, 1, 9, 5, 37)), RectangleAnnulusPixelRegion(centre, 2, 9, 1, 5, angle)),
    ):
        np.testing.assert_array_equal(ours.contains(x, y), other.contains(PixCoord(x, y)))


@pytest.mark.parametrize(
    "row, reason",
    [
        (("Annulus", [10], [10], [5, 2], []), "larger inside than outside"),
        (("Circle", [10], [10], [-3], []), "negative size"),
        (("Rectangle", [8], [9], [], []), "needs 2 positions"),
        (("ElliptAnnulus", [8], [9], [3, 2], [0]), "needs 4 in R, and has 2"),
        (("Blob", [8], [9], [3], [0]), "unknown shape 'blob'"),
    ],
)
def test_bad_rows_are_named(ogip, row, reason):
    with pytest.raises(InputFileError, match=f"row 1: .*{reason}"):
        read_region(region_file(ogip, [row]))


def test_points_are_no_region(ogip, caplog):
    point, circle = ("POINT", [20], [10], [0], [0]), ("CIRCLE", [10], [10], [2], [0])
    assert inside(read_region(region_file(ogip, [point, circle])), (10, 11), (20, 10)) == [True, False]
    assert "1 point(s) in it hold nothing" in caplog.text
    with pytest.raises(InputFileError, match="no shapes with an area"):
        read_region(region_file(ogip, [point]))


def test_a_photon_without_a_position_is_in_no_region():
    assert inside(read_region("!circle(10,10,2)"), (20, 10), (np.nan, 10), (20, np.nan)) == [True, False, False]


def test_units_and_systems_of_a_table(ogip):
    sky = read_events(ogip.events(columns=photon_columns(ogip, [4096.5], [4096.5]), time=[12.0])).sky
    row = ("Circle", [10.0], [41.0], [4.92], [0])
    path = region_file(ogip, [row], ("deg", "arcsec", "deg"), columns=("RA", "DEC"))
    circle = read_region(path, sky=sky)
    assert inside(circle, (4096.5, 4106.4), (4096.5, 4106.6)) == [True, False]
    assert (circle.ra, circle.dec) == pytest.approx((10.0, 41.0))
    with pytest.raises(InputFileError, match="need an event list with sky coordinates"):
        read_region(path)
    same = read_region(region_file(ogip, [row], ("deg", "arcsec", "deg")), sky=sky)
    assert same.components == circle.components
    pixels = read_region(region_file(ogip, [("Circle", [10], [10], [0.082], [0])], ("pixel", "arcmin", "deg")), sky=sky)
    assert inside(pixels, (19.9, 10), (20.1, 10)) == [True, False]
    with pytest.raises(InputFileError, match=r"regions in detector coordinates \(MTYPE1\)"):
        read_region(region_file(ogip, [row], MTYPE1="detector"))
    with pytest.raises(InputFileError, match="column X is in 'mm'"):
        read_region(region_file(ogip, [row], ("mm", "mm", "deg")))


def test_a_table_with_another_projection_is_transformed(ogip):
    """Twice the pixel, another reference point, turned by 90 degrees and mirrored."""
    sky = read_events(ogip.events(columns=photon_columns(ogip, [1.0], [1.0]), time=[12.0])).sky
    table = ogip.region_table("SRCREG", [("Ellipse", 110.0, 100.0, (10.0, 2.0), 30.0, 1)])
    for number, value, step in ((2, 10.0, 2 * 0.492 / 3600), (3, 41.0, 2 * 0.492 / 3600)):
        table.header[f"TCRPX{number}"], table.header[f"TCRVL{number}"], table.header[f"TCDLT{number}"] = (
            100.0,
            value,
            step,
        )
    table.header["TCROT3"] = 90.0
    path = ogip.write("other.fits", table)
    own = read_region(path)
    there = read_region(path, sky=sky)
    x, y = np.random.default_rng(0).uniform(90, 130, (2, 4000))
    own_sky = sky_coordinates(FitsFile(path).tables[0])
    np.testing.assert_array_equal(there.contains(*sky.to_pixels(*own_sky.to_celestial(x, y))), own.contains(x, y))
    assert (there.ra, there.dec) == pytest.approx((own.ra, own.dec), abs=1e-9)


def photon_columns(ogip, x, y, pi=None, energy=None):
    pi = np.full(len(x), 100) if pi is None else np.asarray(pi)
    energy = np.full(len(x), 1460.0) if energy is None else energy
    return [
        fits.Column("PI", "J", array=pi),
        fits.Column("ENERGY", "E", unit="eV", array=energy),
        *ogip.sky_columns(x, y),
    ]


@pytest.mark.parametrize(
    "text, points, expected",
    [
        ('physical\ncircle(10,10,5) # text="a;b" color=red\n', [(11, 10), (16, 10)], [1, 0]),
        ("circle(10,10,5) # text={circle(50,50,9); -box(1,1,1,1)}; circle(30,10,1)", [(11, 10), (50, 50), (30, 10)],
         [1, 0, 1]),
        ("circle(10,10,5) # Bob's source; a bright one\n", [(11, 10)], [1]),
        ("# a comment; with a semicolon\ncircle(10,10,5)", [(11, 10)], [1]),
        ('global color=green font="helvetica 10; bold"\r\nPHYSICAL\r\nCIRCLE(10,10,5)\r\n', [(11, 10)], [1]),
        ("\ufeffphysical;circle 10 10 5 # text={x}", [(11, 10), (16, 10)], [1, 0]),
        ("annulus(10,10,2,4,6)", [(11, 10), (13, 10), (15, 10), (17, 10)], [0, 1, 1, 0]),
        ("annulus(10,10,2,6,n=2)", [(11, 10), (13, 10), (15, 10)], [0, 1, 1]),
        ("ellipse(10,10,2,1,4,2,6,3,90)", [(10, 15), (10, 11), (15, 10)], [1, 0, 0]),
        ("box(10,10,2,2,8,4,0)", [(13, 10), (10.5, 10), (10, 12.5)], [1, 0, 0]),
        ("pie(10,10,2,5,0,90)", [(13, 12), (11, 10), (8, 10)], [1, 0, 0]),
        ("panda(10,10,0,90,3,2,5,1)", [(13, 12), (11, 10), (8, 10)], [1, 0, 0]),
        ("epanda(10,10,0,90,1,2,1,6,3,1,90)", [(9, 14), (14, 9), (11, 14)], [1, 0, 0]),
        ("bpanda(10,10,0,90,1,2,2,8,4,1,0)", [(13, 11), (13, 9), (10.5, 10.5)], [1, 0, 0]),
        ("rotrectangle(8,9,12,11,90)", [(10.9, 11.9), (11.9, 10.9)], [1, 0]),
        ("diamond(10,10,8,4)", [(13, 10), (12, 11.5)], [1, 0]),
        ("# composite(10,10,0) || composite=1\ncircle(10,10,2) || # color=red\nbox(30,10,2,2,0) ||\n",
         [(11, 10), (30, 10)], [1, 1]),
        ("circle(10,10,5)\ncircle(30,10,5) # background\n", [(11, 10), (30, 10)], [1, 0]),
        ("circle(10,10,5)\npoint(1,2) # point=x\nline(1,2,3,4)\n", [(11, 10), (1, 2)], [1, 0]),
        ("box(10,10,8,2,90d)", [(10, 13), (13, 10)], [1, 0]),
        ("!circle(10,10,2)&circle(10,10,5)|circle(10,10,1)", [(10, 10), (11.5, 10), (14, 10)], [1, 0, 1]),
        ("((X,Y) IN circle(10,10,5)) && !((X,Y) IN CIRCLE(10,10,2)) || ((X, Y) in box(30,10,2,2,0))",
         [(10, 10), (14, 10), (30, 10)], [0, 1, 1]),
        ("circle(10,10,2) # include=0\ncircle(10,10,5) # color=red include=1", [(10, 10), (14, 10)], [0, 1]),
        ("circle(10,10,5) # source=1\ncircle(30,10,5) # source=0\n", [(11, 10), (30, 10)], [1, 0]),
        ("box(10,10,8,2,1.5707963r)", [(10, 13), (13, 10)], [1, 0]),
    ],
)  # fmt: skip
def test_texts_of_ds9_and_ciao(tmp_path, text, points, expected):
    path = tmp_path / "region.reg"
    path.write_bytes(text.encode())
    assert inside(read_region(path), *points) == [bool(value) for value in expected]


def test_what_a_text_leaves_out_is_said(tmp_path, caplog):
    path = tmp_path / "region.reg"
    path.write_text(
        "image\ncircle(10,10,5)\nruler(1,2,3,4)\n# text(5,5) text={circle(9,9,9);}\ncircle(30,10,5) # background\n"
    )
    region = read_region(path)
    assert "image coordinates were taken as sky pixels" in caplog.text
    assert "left out, since it has no area: ruler, text" in caplog.text
    assert "1 shape(s) marked as background" in caplog.text
    assert len(region.notes) == 3
    path.write_text("line(1,2,3,4)")
    with pytest.raises(InputFileError, match=r"no shapes with an area \(line\)"):
        read_region(path)


@pytest.mark.parametrize("system", ["detector", "amplifier", "linear", "wcsa"])
def test_systems_that_are_not_the_sky_are_refused(tmp_path, system):
    path = tmp_path / "region.reg"
    path.write_text(f"{system}\ncircle(10,10,5)\n")
    with pytest.raises(InputFileError, match=f"coordinates '{system}' are not supported"):
        read_region(path)


def test_a_long_text_is_no_file_name():
    text = "+".join(f"circle({i},10,0.4)" for i in range(1000))
    assert inside(read_region(text), (999, 10), (999.5, 10)) == [True, False]


CENTRE = SkyCoord(10.01, 41.01, unit="deg")


@pytest.mark.parametrize(
    "text",
    [
        f"icrs;circle({CENTRE.ra.deg:.9f},{CENTRE.dec.deg:.9f},2\")",
        f"fk5;circle({CENTRE.fk5.ra.deg:.9f}d,{CENTRE.fk5.dec.deg:.9f}d,0.0333333333')",
        f"fk4;circle({CENTRE.fk4.ra.deg:.9f},{CENTRE.fk4.dec.deg:.9f},2\")",
        f"B1950\ncircle({CENTRE.fk4.ra.to_string('hourangle', sep=':', precision=6)},"
        f"{CENTRE.fk4.dec.to_string(sep=':', precision=5)},2\")",
        f"galactic;circle({CENTRE.galactic.l.deg:.9f},{CENTRE.galactic.b.deg:.9f},2\")",
        f"ecliptic;circle({CENTRE.barycentricmeanecliptic.lon.deg:.9f},{CENTRE.barycentricmeanecliptic.lat.deg:.9f},2\")",
        f"icrs;circle({CENTRE.ra.to_string('hourangle', precision=6)},{CENTRE.dec.to_string(precision=5)},2\")",
        f"circle({CENTRE.ra.rad:.12f}r,{CENTRE.dec.rad:.12f}r,9.69627362e-06r)",
        f"wcs;circle({CENTRE.ra.deg:.9f},{CENTRE.dec.deg:.9f},5.5555556e-4)",
    ],
)  # fmt: skip
def test_frames_and_forms_of_a_position(ogip, text):
    sky = read_events(ogip.events(columns=photon_columns(ogip, [1.0], [1.0]), time=[12.0])).sky
    region = read_region(text, sky=sky)
    (shape,) = region.components[0]
    x, y = map(float, sky.to_pixels(CENTRE.ra.deg, CENTRE.dec.deg))
    assert shape.numbers == pytest.approx((x, y, 2 / 0.492), abs=2e-3)


def test_angles_follow_the_frame(ogip):
    """An ellipse along galactic longitude, and one in ICRS on a turned sky: ds9's angles count from west to north."""
    sky = read_events(ogip.events(columns=photon_columns(ogip, [1.0], [1.0]), time=[12.0])).sky
    middle = SkyCoord(10.0, 41.0, unit="deg").galactic
    along = SkyCoord(middle.l - 3 / 3600 / np.cos(middle.b) * middle.l.unit, middle.b, frame="galactic").icrs
    text = f'galactic;ellipse({middle.l.deg:.8f},{middle.b.deg:.8f},4",1",0)'
    assert inside(read_region(text, sky=sky), sky.to_pixels(along.ra.deg, along.dec.deg)) == [True]
    turned = ogip.table("EVENTS", [*ogip.sky_columns([1.0], [1.0])], TCROT2=90.0)
    sky = sky_coordinates(FitsFile(ogip.write("turned.fits", turned)).tables[0])
    west = sky.to_pixels(10.0 - 3 / 3600 / np.cos(np.radians(41)), 41.0)
    north = sky.to_pixels(10.0, 41.0 + 3 / 3600)
    assert inside(read_region('icrs;ellipse(10,41,4",1",0)', sky=sky), west, north) == [True, False]
    assert inside(read_region('icrs;box(10,41,2",8",0)', sky=sky), west, north) == [False, True]


def test_the_shared_rotated_and_sin_skies(traps):
    rotated = traps / "R10_rotated_sky" / "a.fits"
    events = read_events(rotated)
    for x, y in ((4196.5, 4096.5), (4096.5, 4196.5)):
        ra, dec = events.sky.to_celestial(x, y)
        assert len(read_events(rotated, f'circle({float(ra)}d,{float(dec)}d,1")')) == 1
    sin = traps / "E07_sin_projection" / "sin.fits"
    events = read_events(sin)
    assert len(events) > 0
    x = FitsFile(sin).tables[0].column("X")[0]
    y = FitsFile(sin).tables[0].column("Y")[0]
    ra, dec = events.sky.to_celestial(x, y)
    assert len(read_events(sin, f'icrs;circle({float(ra):.9f},{float(dec):.9f},1")')) >= 1


def test_the_shared_fk4_list_is_converted(traps):
    path = traps / "R11_fk4_event_list" / "a.fits"
    expected = SkyCoord(10.0, 41.0, unit="deg", frame="fk4").icrs
    ra, dec = read_events(path).sky.to_celestial(4096.5, 4096.5)
    assert (float(ra), float(dec)) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-9)
    assert len(read_events(path, f'icrs;circle({expected.ra.deg:.9f},{expected.dec.deg:.9f},1")')) == 1
    assert len(read_events(path, 'fk4;circle(10,41,1")')) == 1
    assert len(read_events(path, 'icrs;circle(10,41,1")')) == 0


def test_a_pointing_in_fk4_is_converted_with_the_sky(ogip):
    columns = photon_columns(ogip, [4096.5], [4096.5])
    path = ogip.events(columns=columns, time=[12.0], EQUINOX=1950.0, RA_PNT=10.0, DEC_PNT=41.0)
    header = read_events(path).header
    expected = SkyCoord(10.0, 41.0, unit="deg", frame="fk4").icrs
    assert (header.ra_pointing, header.dec_pointing) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-9)


@pytest.mark.parametrize(
    "keywords, frame",
    [
        ({"EQUINOX": 1950.0}, "fk4"),  # FITS 4.0, 8.3: no RADESYS, EQUINOX before 1984
        ({"RADESYS": "FK4"}, "fk4"),
        ({"RADESYS": "FK5", "EQUINOX": 2000.0}, "fk5"),
        ({"EQUINOX": 2000.0}, "fk5"),
        ({"EPOCH": 1950.0}, "fk4"),
        ({"EQUINOX": "B1950"}, "fk4"),
        ({"EQUINOX": "unknown", "RADESYS": "FK5"}, "fk5"),
        ({"EQUINOX": 0.0}, "icrs"),
        ({}, "icrs"),
        ({"RADE2": "FK4", "RADESYS": "ICRS"}, "fk4"),
    ],
)
def test_radesys_and_equinox(ogip, keywords, frame):
    table = ogip.table("EVENTS", [fits.Column("TIME", "D", array=[1.0]), *ogip.sky_columns([1.0], [1.0])], **keywords)
    sky = sky_coordinates(FitsFile(ogip.write("sky.fits", table)).tables[0])
    expected = SkyCoord(10.0, 41.0, unit="deg", frame=frame).icrs
    ra, dec = sky.to_celestial(4096.5, 4096.5)
    assert (float(ra), float(dec)) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-9)
    assert sky.to_pixels(ra, dec) == pytest.approx((4096.5, 4096.5), abs=1e-6)


def test_galactic_columns_and_a_system_that_is_not_known(ogip, caplog):
    columns = ogip.sky_columns([1.0], [1.0])
    columns[0].coord_type, columns[1].coord_type = "GLON-TAN", "GLAT-TAN"
    table = ogip.table("EVENTS", columns)
    sky = sky_coordinates(FitsFile(ogip.write("sky.fits", table)).tables[0])
    expected = SkyCoord(10.0, 41.0, unit="deg", frame="galactic").icrs
    ra, dec = sky.to_celestial(4096.5, 4096.5)
    assert (float(ra), float(dec)) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-9)
    table = ogip.table("EVENTS", ogip.sky_columns([1.0], [1.0]), RADESYS="GAPPT")
    assert sky_coordinates(FitsFile(ogip.write("sky.fits", table)).tables[0]) is None
    assert "sky coordinates in GAPPT are not used" in caplog.text


@pytest.mark.parametrize("keywords", [{"TCROT2": "north"}, {"TCTYP1": 3.0}, {"TP1_1": "one"}, {"TC1_2": True}])
def test_a_projection_of_the_wrong_type_is_named(ogip, keywords):
    plain = [fits.Column("X", "E", array=[1.0]), fits.Column("Y", "E", array=[1.0])]
    numbers = {f"{key}{n}": 1.0 for n in (1, 2) for key in ("TCRPX", "TCRVL", "TCDLT")}
    path = ogip.write("sky.fits", ogip.table("EVENTS", plain, **numbers | keywords))
    with pytest.raises(InputFileError, match=f"{next(iter(keywords))} is"):
        sky_coordinates(FitsFile(path).tables[0])
