"""What an object prints: short, one fact a line, with units."""

from __future__ import annotations

from pathlib import Path

import pytest

import chandraclip.observation as observation
from chandraclip.ogip.facts import Described, date_of
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Shape, united

REAL = {
    "csc": ("spectra/csc_acisf04938_000N002_r0043/acisf04938_000N002_r0043_pha3.fits", {"2116", "50.45 ks", "10414"}),
    "3c273": ("spectra/3c273_obs459/3c273.pi", {"3C 273", "736", "216", "2000-01-10", "38.56 ks"}),
    "no response": ("spectra/g21.5_obs1838_noresp", {"none: no RMF"}),
    "photons": ("events/chandra_m82_obs10027/chandra_test.fits", {"M82", "4612", "945.336 s", "857.37 s", "keV"}),
}


def is_short(text: str, lines: int = 20) -> bool:
    return 1 < len(text.splitlines()) <= lines and max(map(len, text.splitlines())) <= 180 and "array(" not in text


@pytest.mark.parametrize("name", REAL)
def test_an_observation_says_in_twenty_lines_what_it_holds(name, real_data: Path):
    place, words = REAL[name]
    path = real_data / place
    if path.is_dir():
        path = next(file for file in sorted(path.iterdir()) if "pi" in file.name and "bg" not in file.name)
    source = observation.open(path)
    text = repr(source)
    assert is_short(text), text
    assert [word for word in words if word not in text] == []
    for part in (source.spectrum, source.events):
        assert part is None or is_short(repr(part), 16), part


def test_each_part_prints_its_facts(ogip):
    ogip.arf(), ogip.rmf()
    ogip.pha("bkg.pi", counts=(4, 8, 4, 2))
    spectrum = ogip.pha(ANCRFILE="source.arf", RESPFILE="source.rmf", BACKFILE="bkg.pi", OBJECT="<b>A & B")
    events = ogip.events(columns=[*ogip.sky_columns([10, 12, 900, 11], [10, 10, 900, 10]), *pi(4)])
    source = observation.open(spectrum, events, "ellipse(10,10,5,3,30)-circle(10,12,1)")
    facts = source.facts
    assert facts["object"] == "<b>A & B"
    assert facts["counts"].startswith("9 in 4 channels (1 to 4), 0.4-5 keV")
    assert facts["background"] == "18 counts, 18 expected among the source's"
    assert facts["exposure"] == "1000 s"
    assert "300 cm2 at 1.5 keV" in facts["response"]
    assert facts["photons"].startswith("2, 1.453-1.453 keV")
    assert facts["good time"] == "20 s in 1 interval over 20 s"
    assert facts["region"] == "ellipse(10,10,5,3,30)&!circle(10,12,1)"
    assert facts["left out"] == "1 outside the good times, 1 outside the region"
    assert is_short(repr(source.spectrum.response))
    assert repr(source.region).splitlines()[1].endswith("circle(10,12,1) (sky pixels)")
    table = source._repr_html_()
    assert table.startswith("<table>")
    assert "&lt;b&gt;A &amp; B" in table
    assert "<b>A" not in table


def pi(number: int) -> list:
    from astropy.io import fits

    return [fits.Column("PI", "J", array=[100] * number)]


def test_a_region_prints_as_ciao_reads_it():
    text = "ellipse(4071.25,4250.5,3,2,30)&!circle(4070,4250,1)+polygon(1,1,2,1,2,2)"
    region = read_region(text)
    assert str(region) == text
    again = read_region(str(region))
    assert again.components == region.components
    many = united(Shape("circle", (number, number, 1.0)) for number in range(100))
    assert str(many) == "+".join(f"circle({number},{number},1)" for number in range(100))
    assert is_short(repr(many), 3)
    assert "100 shapes" in repr(many)


def test_a_long_value_is_cut_in_print_alone(ogip):
    source = observation.open(ogip.pha(RESPFILE=None, OBJECT="x" * 60, OBS_ID="y" * 60))
    assert is_short(repr(source))

    class Long(Described):
        title = "Long"
        facts = {"file": "x" * 1000}  # noqa: RUF012

    assert is_short(repr(Long()))
    assert len(Long()._repr_html_()) < 400
    assert len(Long().facts["file"]) == 1000


def test_dates():
    assert date_of(51544.0) == "2000-01-01"
    assert date_of(60000.99) == "2023-02-25"
    assert date_of(float("nan")) == ""
    assert date_of(1e9) == ""


def test_a_light_curve_and_the_other_answers_are_short(ogip):
    source = observation.open(ogip.events(time=[10.0, 12, 13, 15, 18, 19, 21, 22, 25, 26, 28, 29], columns=pi(12)))
    for answer in (source.light_curve(5), source.hardness(), source.variability(), source.energy_time_map()):
        assert is_short(repr(answer), 8), answer
    assert "counts/s" in repr(source.light_curve(5))
    assert "var_index" in repr(source.variability())
