from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from regions import (
    CircleAnnulusPixelRegion,
    CirclePixelRegion,
    EllipsePixelRegion,
    PixCoord,
    PolygonPixelRegion,
    RectanglePixelRegion,
)

from chandraclip.errors import InputFileError
from chandraclip.ogip.fits import FitsFile
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Shape
from chandraclip.ogip.sky import SkyCoordinates, sky_coordinates


def tangent_plane() -> SkyCoordinates:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [10.0, 41.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [4096.5, 4096.5], [-0.492 / 3600, 0.492 / 3600]
    return SkyCoordinates(wcs)


SKY = tangent_plane()


@pytest.mark.parametrize(
    "name, numbers, inside, outside",
    [
        ("circle", (10, 10, 2), [(10, 12), (11, 11)], [(12, 11.5)]),
        ("annulus", (10, 10, 1, 2), [(10, 11.5)], [(10, 10.5), (10, 12.5)]),
        ("ellipse", (10, 10, 4, 1, 0), [(13.9, 10)], [(10, 11.1)]),
        ("ellipse", (10, 10, 4, 1, 90), [(10, 13.9)], [(11.1, 10)]),
        ("ellipse", (10, 10, 4, 1, 45), [(12.5, 12.5)], [(12.5, 7.5)]),
        ("box", (10, 10, 4, 2), [(11.9, 10.9)], [(11.9, 11.1)]),
        ("rotbox", (10, 10, 4, 2, 90), [(10.9, 11.9)], [(11.9, 10.9)]),
        ("rectangle", (8, 9, 12, 11), [(8.1, 10.9)], [(8.1, 11.1)]),
        ("sector", (10, 10, 350, 20), [(12, 10.1)], [(12, 12)]),
        ("polygon", (0, 0, 4, 0, 4, 4, 2, 1, 0, 4), [(3.5, 2), (0.5, 2)], [(2, 2), (5, 1)]),
        ("point", (10, 10), [], [(10, 10)]),
        ("field", (), [(1e6, -1e6)], []),
    ],
)
def test_shapes(name, numbers, inside, outside):
    shape = Shape(name, numbers)
    points = np.array([*inside, *outside], dtype=float)
    expected = [True] * len(inside) + [False] * len(outside)
    np.testing.assert_array_equal(shape.contains(points[:, 0], points[:, 1]), expected)


def other_shapes():
    """(our shape, the same of astropy's `regions`), which has no sector and takes whole axes."""
    centre, angle = PixCoord(10, 9), 37 * u.deg
    yield Shape("circle", (10, 9, 3)), CirclePixelRegion(centre, 3)
    yield Shape("annulus", (10, 9, 1, 4)), CircleAnnulusPixelRegion(centre, 1, 4)
    yield Shape("ellipse", (10, 9, 5, 2, 37)), EllipsePixelRegion(centre, 10, 4, angle)
    yield Shape("box", (10, 9, 6, 3, 37)), RectanglePixelRegion(centre, 6, 3, angle)
    yield Shape("rectangle", (8, 6, 12, 12, 37)), RectanglePixelRegion(centre, 4, 6, angle)
    yield (
        Shape("polygon", (2, 2, 16, 3, 15, 15, 8, 6, 3, 17)),
        PolygonPixelRegion(PixCoord([2, 16, 15, 8, 3], [2, 3, 15, 6, 17])),
    )


@pytest.mark.parametrize("ours, other", [pytest.param(*pair, id=pair[0].name) for pair in other_shapes()])
def test_shapes_equal_those_of_another_library(ours, other):
    x, y = np.random.default_rng(0).uniform(0, 20, (2, 100_000))
    inside = ours.contains(x, y)
    assert 0.01 < inside.mean() < 0.5
    np.testing.assert_array_equal(inside, other.contains(PixCoord(x, y)))


@pytest.mark.parametrize(
    "name, numbers", [("circle", (1, 2)), ("star", (1, 2, 3)), ("polygon", (1, 2, 3, 4)), ("circle", (1, 2, np.nan))]
)
def test_bad_shapes(name, numbers):
    with pytest.raises(ValueError, match=r"needs|unknown|finite"):
        Shape(name, numbers)


def test_the_tangent_plane_by_its_definition():
    """Calabretta & Greisen 2002, A&A 395, 1077: offsets are tan of the distance, along the direction from the point."""
    x, y = np.random.default_rng(0).uniform(0, 8192, (2, 50))
    ra, dec = SKY.to_celestial(x, y)
    point = SkyCoord(10.0, 41.0, unit="deg")
    there = SkyCoord(ra, dec, unit="deg")
    offset = np.degrees(np.tan(point.separation(there).rad)) * 3600 / 0.492
    direction = point.position_angle(there).rad
    np.testing.assert_allclose(4096.5 - offset * np.sin(direction), x, atol=1e-6)  # east is left
    np.testing.assert_allclose(4096.5 + offset * np.cos(direction), y, atol=1e-6)
    np.testing.assert_allclose(SKY.to_pixels(ra, dec), [x, y], atol=1e-6)
    assert SKY.degrees_per_pixel * 3600 == pytest.approx(0.492)
    with pytest.raises(ValueError, match="90 degrees"):
        SKY.to_pixels(190.0, -41.0)


def event_sky(ogip, **keywords) -> SkyCoordinates | None:
    table = ogip.table("EVENTS", [fits.Column("Y", "E", array=[1.0]), fits.Column("X", "E", array=[1.0])])
    for keyword, value in keywords.items():
        table.header[keyword] = value
    return sky_coordinates(FitsFile(ogip.write("sky.fits", table)).tables[0])


# Column 1 is Y here.
AXES = {"TCRPX2": 100.0, "TCRPX1": 200.0, "TCRVL2": 180.0, "TCRVL1": 0.0, "TCDLT2": -1e-3, "TCDLT1": 1e-3}


def test_other_projections_than_the_tangent_plane(ogip):
    sky = event_sky(ogip, TCTYP2="RA---SIN", TCTYP1="DEC--SIN", **AXES)
    ra, dec = sky.to_celestial(100.0, 200.0 + 1500.0)
    assert (ra, dec) == pytest.approx((180.0, np.degrees(np.arcsin(np.radians(1.5)))), abs=1e-9)
    assert event_sky(ogip, **AXES).to_celestial(100.0, 1700.0)[1] == pytest.approx(
        np.degrees(np.arctan(np.radians(1.5)))
    )


@pytest.mark.parametrize("keywords", [{"TCROT1": 90.0}, {"TP2_2": 0.0, "TP2_1": 1.0, "TP1_2": -1.0, "TP1_1": 0.0}])
def test_a_turned_sky(ogip, keywords):
    sky = event_sky(ogip, TCTYP2="RA---TAN", TCTYP1="DEC--TAN", **AXES, **keywords)
    ra, dec = sky.to_celestial(110.0, 200.0)
    assert ra == pytest.approx(180.0, abs=1e-9)
    assert abs(dec) == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(
    "keywords", [{}, AXES | {"TCTYP2": "DETX"}, AXES | {"TCDLT1": 0.0}, AXES | {"TCRVL1": "north"}]
)
def test_no_sky_coordinates(ogip, keywords):
    assert event_sky(ogip, **keywords) is None


def test_reg3_source_and_background(ogip):
    path = ogip.write(
        "acisf00012_000N001_r0007_reg3.fits",
        ogip.region_table(
            "BKGREG", [("Ellipse", 4100, 4100, (40, 30), 0, 1), ("!Ellipse", 4100, 4100, (10, 5), 30, 1)]
        ),
        ogip.region_table("SRCREG", [("Ellipse", 4100, 4100, (10, 5), 30, 1), ("!Circle", 4105, 4102, (2,), 0, 1)]),
    )
    source = read_region(path)  # SRCREG, wherever it stands
    x = np.array([4100.0, 4108.0, 4092.0, 4105.0, 4130.0])
    y = np.array([4100.0, 4104.0, 4104.0, 4102.0, 4100.0])
    np.testing.assert_array_equal(source.contains(x, y), [True, True, False, False, False])
    assert (source.ra, source.dec) == pytest.approx([float(v) for v in SKY.to_celestial(4100, 4100)], abs=1e-9)
    background = read_region(path, "BKGREG")
    np.testing.assert_array_equal(background.contains(x, y), [False, False, True, False, True])
    with pytest.raises(InputFileError, match="no region table FOV"):
        read_region(path, "FOV")


def test_components_are_united_and_lone_exclusions_taken_from_all(ogip):
    shapes = [("Circle", 10, 10, (5,), 0, 1), ("Box", 30, 10, (8, 8), 0, 2), ("!Circle", 12, 10, (1,), 0, 3)]
    region = read_region(ogip.write("two.fits", ogip.region_table("REGION", shapes)))
    inside = region.contains(np.array([10.0, 33.0, 12.0, 20.0]), np.full(4, 10.0))
    np.testing.assert_array_equal(inside, [True, True, False, False])


def test_a_polygon_with_padded_vertices(ogip):
    columns = [
        fits.Column("SHAPE", "16A", array=["Polygon"]),
        fits.Column("X", "6D", array=[[0, 4, 4, 0, 0, np.nan]]),
        fits.Column("Y", "6D", array=[[0, 0, 4, 4, 0, np.nan]]),
    ]
    region = read_region(ogip.write("polygon.fits", ogip.table("REGION", columns)))
    np.testing.assert_array_equal(region.contains(np.array([1.0, 5.0]), np.array([3.0, 3.0])), [True, False])


def test_unknown_shapes_are_named(ogip):
    path = ogip.write("bad.fits", ogip.region_table("SRCREG", [("Blob", 1, 2, (3,), 0, 1)]))
    with pytest.raises(InputFileError, match="row 1: unknown shape 'blob'") as caught:
        read_region(path)
    assert caught.value.extension == "SRCREG,1"


@pytest.mark.parametrize(
    "text, inside, outside",
    [
        ("circle(10,10,2)", (11, 10), (13, 10)),
        ("# Region file format: CIAO version 1.0\nellipse(10,10,4,1,90)\n", (10, 13), (13, 10)),
        ("circle(10,10,5)-circle(10,10,2)", (14, 10), (11, 10)),
        ("circle(10,10,5)*box(12,10,4,4)", (12, 10), (8, 10)),
        ("circle(10,10,5)&!circle(10,10,2)", (14, 10), (11, 10)),
        ("circle(10,10,1)+circle(20,10,1)", (20, 10), (15, 10)),
        ("physical\n-circle(11,10,1)\ncircle(10,10,5)\nbox(30,10,2,2,0) # color=red\n", (30, 10), (11, 10)),
        ("global color=green\nimage;annulus(10,10,2,4)", (13, 10), (11, 10)),
        ("circle(10p,10p,2p)", (11, 10), (13, 10)),
        ("-circle(10,10,2)", (50, 50), (10, 10)),
    ],
)
def test_text(tmp_path, text, inside, outside):
    path = tmp_path / "region.reg"
    path.write_text(text)
    region = read_region(path)
    np.testing.assert_array_equal(region.contains(*np.transpose([inside, outside]).astype(float)), [True, False])


@pytest.mark.parametrize(
    "text",
    [
        'fk5\ncircle(0:40:00.0,+41:00:00,4.92")',
        "icrs;circle(10.0,41.0,0.0013666667)",
        "circle(0:40:00.0,41:00:00,0.082')",
        'circle(4096.5,4096.5,4.92")',
        "fk5;circle(10.0,41.0d,1.36666667e-3)",
    ],
)
def test_celestial_text(text):
    region = read_region(text, sky=SKY)
    x = 4096.5 + np.array([0.0, 9.9, 10.1, -9.9])
    np.testing.assert_array_equal(region.contains(x, np.full(4, 4096.5)), [True, True, False, True])


def test_celestial_polygon():
    ra, dec = SKY.to_celestial(np.array([4090.0, 4100.0, 4095.0]), np.array([4090.0, 4090.0, 4100.0]))
    body = ",".join(f"{a:.9f},{d:.9f}" for a, d in zip(ra, dec))
    region = read_region(f"fk5;polygon({body})", sky=SKY)
    np.testing.assert_array_equal(
        region.contains(np.array([4095.0, 4090.5]), np.array([4095.0, 4099.0])), [True, False]
    )


@pytest.mark.parametrize(
    "text, reason",
    [
        ("fk5\ncircle(10,41,5)", "need an event list with sky coordinates"),
        ("circle(1,2)", "circle needs 3 numbers"),
        ("star(1,2,3)", "unknown shape"),
        ("circle(1,2,3) nonsense", "not understood"),
        ("galactic\ncircle(1,2,3)", "need an event list with sky coordinates"),
        ("detector\ncircle(1,2,3)", "coordinates 'detector' are not supported"),
        ("circle(a,2,3)", "not a number"),
        ("# nothing\n", "no shapes"),
    ],
)
def test_bad_text(tmp_path, text, reason):
    path = tmp_path / "region.reg"
    path.write_text(text)
    with pytest.raises(InputFileError, match=reason):
        read_region(path)


def test_the_real_xmm_region_table(real_data):
    region = read_region(real_data / "spectra" / "xmm_epicpn_heacit" / "PN.pha")
    assert region.centre is not None
    assert region.contains(*np.reshape(region.centre, (2, 1)))[0]


def test_real_sky_coordinates(real_data):
    file = FitsFile(real_data / "events" / "chandra_m82_obs10027" / "chandra_test.fits")
    sky = sky_coordinates(file.tables[0])
    assert sky.degrees_per_pixel * 3600 == pytest.approx(0.492)
    ra, dec = sky.to_celestial(4096.5, 4096.5)
    assert (ra, dec) == pytest.approx((149.09885492322, 69.715351594383), abs=1e-9)
