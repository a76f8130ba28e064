"""Opening files in any order, and what an observation answers."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import chandraclip.observation as observation
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.errors import InputFileError
from chandraclip.observation import Observation
from chandraclip.observation.sample import sample as chandraclip_sample
from chandraclip.ogip import read_events, read_spectrum


@pytest.fixture
def files(ogip):
    """A spectrum that names nothing, and all that belongs to it."""
    return {
        "spectrum": ogip.pha("a.pi", ANCRFILE=None, RESPFILE=None, BACKFILE="old_bg.pi"),
        "background": ogip.pha("old_bg.pi", counts=(4, 8, 4, 2), HDUCLAS2="TOTAL"),
        "arf": ogip.arf("x1.fits"),
        "rmf": ogip.rmf("x2.fits"),
        "events": events_with_sky(ogip, "list.fits"),
        "region": ogip.write("x3.fits", ogip.region_table("REGION", [("circle", 10, 10, (5,), 0, 1)])),
    }


def events_with_sky(ogip, name: str) -> Path:
    columns = [*ogip.sky_columns([10, 12, 900, 11], [10, 10, 900, 10]), fits.Column("PI", "J", array=[100] * 4)]
    return ogip.events(name, time=(12.0, 10.5, 18.0, 25.0), columns=columns)


def test_files_are_told_apart_by_content_whatever_their_order(files):
    for order in list(itertools.permutations(files))[::97]:
        source = observation.open(*(files[name] for name in order))
        assert source.files == files
        assert source.spectrum.counts.sum() == 9
        assert source.spectrum.background_counts.sum() == 18
        assert source.spectrum.response is not None
        assert len(source.events) == 3
        assert source.events.num_outside_region == 1
        assert source.region.contains(np.array([10.0]), np.array([12.0])).all()


def test_the_responses_of_the_background_are_told_from_the_sources(files, ogip):
    spectrum = ogip.pha("c.pi", ANCRFILE="x1.fits", RESPFILE="x2.fits")
    others = ogip.arf("bkg.arf", area=[1, 1, 1]), ogip.rmf("bkg.rmf")
    source = observation.open(others[0], spectrum, files["arf"], others[1], files["rmf"])
    assert (source.files["arf"], source.files["rmf"]) == (files["arf"], files["rmf"])
    with pytest.raises(ValueError, match="2 files for one arf"):
        observation.open(ogip.pha("d.pi"), others[0], files["arf"])


def test_any_part_may_be_alone_or_given_by_name(files, ogip):
    only = observation.open(files["spectrum"])
    assert only.events is None
    assert only.region is None
    only = observation.open(events=files["events"])
    assert only.spectrum is None
    assert len(only.events) == 4
    text = ogip.folder / "src.reg"
    text.write_text("# Region file\nphysical\ncircle(10,10,5)\n")
    assert len(observation.open(files["events"], text).events) == 3
    assert len(observation.open(files["events"], "circle(10,10,1.5)").events) == 2
    assert len(observation.open(files["events"], region="circle(10,10,1.5)").events) == 2
    loaded = observation.open(spectrum=read_spectrum(files["spectrum"]), events=read_events(files["events"]))
    assert (loaded.spectrum.counts.sum(), len(loaded.events)) == (9, 4)
    assert loaded.files["spectrum"] == files["spectrum"]
    without = observation.open(files["spectrum"], background=False)
    assert without.spectrum.background_counts is None


def test_what_does_not_go_together_is_said(files, ogip, tmp_path):
    with pytest.raises(ValueError, match=rf"region \({files['region']}\): no spectrum or events were given"):
        observation.open(files["region"])
    with pytest.raises(ValueError, match=rf"arf \({files['arf']}\): goes with the file of a spectrum"):
        observation.open(files["events"], files["arf"])
    with pytest.raises(ValueError, match="2 files for one spectrum"):
        observation.open(files["spectrum"], ogip.pha("b.pi"))
    for wrong in ([files["spectrum"], files["events"]], None, 3):
        with pytest.raises(ValueError, match="one by one"):
            observation.open(wrong)
    for options in ({"region": True}, {"rmf": False}, {"events": [files["events"]]}):
        with pytest.raises(ValueError, match="is the name of a file"):
            observation.open(files["spectrum"], **options)
    with pytest.raises(ValueError, match="given twice"):
        observation.open(files["spectrum"], spectrum=files["spectrum"])
    with pytest.raises(InputFileError, match="no such file"):
        observation.open(tmp_path / "nowhere.pi")
    (tmp_path / "notes.txt").write_text("nothing of the kind (nor a region)")
    with pytest.raises(InputFileError, match="neither a FITS file nor a region"):
        observation.open(tmp_path / "notes.txt")
    with pytest.raises(InputFileError, match="a folder"):
        observation.open(tmp_path)
    with pytest.raises(InputFileError, match="no spectrum, event list, region or response"):
        observation.open(ogip.write("gti.fits", ogip.gti((0.0, 1.0))))
    with pytest.raises(ValueError, match="needs a spectrum or events"):
        Observation()


@pytest.fixture
def csc(ogip):
    """The CSC products of one detection, an older version of its list, and the products of a neighbour."""
    stem = "acisf01234_000N0{}_r0007_{}.fits"
    region = ogip.region_table("SRCREG", [("Ellipse", 10, 10, (5, 4), 0, 1)])
    neighbour = ogip.region_table("SRCREG", [("Ellipse", 900, 900, (5, 4), 0, 1)])
    ogip.write("acisf01234_000N022_r0008_reg3.fits", neighbour)
    events_with_sky(ogip, "acisf01234_000N022_r0008_regevt3.fits")
    ogip.events(stem.format(20, "regevt3"), time=(11.0,), columns=[fits.Column("PI", "J", array=[100])])
    ogip.arf(stem.format(22, "arf3")), ogip.rmf(stem.format(22, "rmf3"))
    return {
        "spectrum": ogip.pha(stem.format(23, "pha3"), ANCRFILE=None, RESPFILE=None, BACKFILE=None),
        "events": events_with_sky(ogip, stem.format(22, "regevt3")),
        "region": ogip.write(stem.format(22, "reg3"), region),
    }


@pytest.mark.parametrize("role", ["spectrum", "events", "region"])
def test_the_products_of_a_catalogue_detection_are_found_from_any_of_them(role, csc):
    source = observation.open(csc[role])
    assert {name: source.files[name] for name in csc} == csc
    assert source.spectrum.response is not None
    assert len(source.events) == 3
    found = [note for note in source.notes if "same ObsID, OBI and region" in note]
    assert len(found) >= 2


def test_photons_are_cut_with_the_aperture_that_the_spectrum_tells(ogip):
    """A CSC 2 set: the reg3 has no SRCREG, the pha3's data subspace has the ellipse and the neighbour cut out."""
    stem = "acisf01234_000N020_r0007_{}.fits"
    subspace = {"DSTYP1": "SKY", "DSVAL1": "Ellipse(10,10,5,4,0)&!Circle(11,10,0.5)"}
    spectrum = ogip.pha(stem.format("pha3"), counts=(0, 1, 1, 0), CHANTYPE="PI", **subspace)
    columns = [*ogip.sky_columns([10, 12, 11, 900], [10, 10, 10, 900]), fits.Column("PI", "J", array=[2, 3, 2, 2])]
    ogip.events(stem.format("regevt3"), time=(12.0, 10.5, 18.0, 25.0), columns=columns)
    ogip.write(stem.format("reg3"), ogip.region_table("ECF90REGB", [("Ellipse", 10, 10, (5, 4), 0, 1)]))
    source = observation.open(spectrum)
    assert len(source.events) == source.spectrum.counts.sum() == 2
    assert "Circle(11,10,0.5)".lower() in str(source.region)
    assert not any("the photon list is not" in note for note in source.notes)
    assert len(observation.open(spectrum, "circle(10,10,5)").events) == 3  # a region that is asked for holds
    assert len(observation.open(spectrum, region=False).events) == 4


def test_a_region_without_a_photon_is_an_observation_of_none(files):
    source = observation.open(files["events"], region="circle(-500,-500,1)")
    assert len(source.events) == 0
    curve = source.light_curve(5)
    assert (curve.counts == 0).all()
    assert (curve.rate_high > 0).all()
    assert "left out" in repr(source)
    assert "fewer than 10" in repr(source.variability())


def test_a_part_that_is_not_wanted_is_not_looked_for(csc):
    source = observation.open(csc["spectrum"], events=False)
    assert source.events is None
    assert source.spectrum is not None


def test_a_catalogue_list_without_a_region_says_what_it_holds(csc, caplog):
    csc["region"].unlink()
    csc["spectrum"].unlink()
    with caplog.at_level(logging.WARNING):
        source = observation.open(csc["events"])
    assert len(source.events) == 4
    assert "all photons of the box around the source" in " ".join(source.notes)
    assert "all photons of the box" in caplog.text


def test_the_header_is_the_spectrums_filled_from_the_events(files, ogip):
    bare = ogip.pha("bare.pi", OBJECT=None, OBS_ID="99")
    source = observation.open(bare, files["events"])
    assert source.header.obs_id == "99"
    assert source.header.mjd_reference == 50814.0
    assert "the spectrum is of OBS_ID 99, the photons of 12" in source.notes
    assert not any("photons of" in note for note in observation.open(files["spectrum"], files["events"]).notes)


def test_every_real_set_opens_as_read_spectrum_reads_it(real_data: Path):
    for folder in sorted((real_data / "spectra").iterdir()):
        for path in sorted(folder.glob("*pha3*")):
            source, spectrum = observation.open(*sorted(folder.iterdir())), read_spectrum(path, require_response=False)
            np.testing.assert_array_equal(source.spectrum.counts, spectrum.counts)
            assert source.spectrum.background_scale == spectrum.background_scale
            if spectrum.response is not None:
                assert source.spectrum.response.response_id == spectrum.response.response_id


def test_a_named_response_that_is_missing_is_said_and_the_counts_are_there(ogip, caplog):
    with caplog.at_level(logging.WARNING):
        source = observation.open(ogip.pha(RESPFILE="gone.rmf"))
    assert source.spectrum.counts.sum() == 9
    assert "gone.rmf" in " ".join(source.notes)
    assert "gone.rmf" in caplog.text
    assert "gone.rmf" in repr(source)
    with pytest.raises(ValueError, match=r"gone\.rmf"):
        source.plot()


def test_variability_is_the_catalogues(real_data: Path):
    source = observation.open(real_data / "events" / "chandra_m82_obs10027" / "chandra_test.fits")
    events = source.events
    kept = (events.energy >= 0.5) & (events.energy < 7)
    time = events.time[kept]
    lists = [Ragged(values, np.array([0, len(values)])) for values in (time, events.gti[:, 0], events.gti[:, 1])]
    expected = gregory_loredo(*lists)
    found = source.variability()
    assert found.var_prob == expected.var_prob[0]
    assert found.var_index == expected.var_index[0] == 0
    assert found.num_photons == time.size
    assert source.variability(energy=None).num_photons == len(events)
    assert source.variability(energy=(2, 7)).num_photons < found.num_photons
    curve = found.light_curve
    assert np.nansum(curve.rate * curve.exposure) == pytest.approx(time.size, rel=1e-2)


def test_questions_that_the_files_cannot_answer(files):
    spectrum, events = observation.open(files["spectrum"]), observation.open(files["events"])
    for question in (spectrum.light_curve, spectrum.variability, spectrum.energy_time_map, spectrum.plot_light_curve):
        with pytest.raises(ValueError, match=r"needs events, .*a\.pi"):
            question()
    for question in (events.plot, events.fit):
        with pytest.raises(ValueError, match=r"needs a spectrum, .*list\.fits"):
            question()


def test_the_package_offers_it_by_name(files):
    import chandraclip

    assert chandraclip.Observation is Observation
    assert chandraclip.open(files["spectrum"]).spectrum.counts.sum() == 9


def test_fit_is_fit_spectrum_and_is_drawn(real_data: Path):
    from chandraclip.observation.fitting import fit_spectrum

    source = observation.open(next((real_data / "spectra" / "csc_acisf07867_000N001_r0002").glob("*pha3*")))
    fit, expected = source.fit("powerlaw", fixed={"nH": 0.02}), fit_spectrum(source.spectrum, fixed={"nH": 0.02})
    assert fit.statistic == expected.statistic
    assert fit.parameters == expected.parameters
    axes = source.plot(model=fit)
    assert "tbabs * powerlaw" in [line.get_label() for line in axes.lines]
    assert axes.get_xlim() == pytest.approx((0.5, 7), abs=0.02)  # the band of the fit
    assert len(axes.figure.axes) == 2
    assert "blackbody" in [line.get_label() for line in source.plot(model="blackbody").lines][-1]


def test_photons_that_are_read_already_are_not_cut_again(files):
    events = observation.open(files["events"]).events
    with pytest.raises(ValueError, match="cut them when reading"):
        observation.open(events=events, region="circle(1,1,3)")


def test_a_fit_of_another_spectrum_is_not_drawn():
    first, second = (observation.open(chandraclip_sample()) for _ in range(2))
    with pytest.raises(ValueError, match="of another spectrum"):
        second.plot(model=first.fit("powerlaw"))


def test_norms_are_in_units_in_which_they_read_like_the_column():
    """3e-5 times 1e14 cm-5 is the emission measure over 4 pi D^2, as nH times 1e22 cm-2 is the column."""
    source = observation.open(chandraclip_sample())
    assert source.fit("apec").parameters["norm"].unit == "1e14 cm-5"
    assert source.fit("bremss", statistic="cstat").model == source.fit("bremsstrahlung", statistic="cash").model


def test_bins_may_have_units():
    import astropy.units as u

    source = observation.open(chandraclip_sample())
    plain = source.energy_time_map([0.5, 1.0, 7.0], [0.0, 5e4, 1.8e5])
    quantities = source.energy_time_map([500, 1000, 7000] * u.eV, [0, 50, 180] * u.ks)
    np.testing.assert_array_equal(plain.counts, quantities.counts)
    assert plain.counts.sum() > 500
    with pytest.raises(ValueError, match="eV need their unit"):
        source.light_curve(energy=(500, 7000))


def test_what_is_written_has_the_observations_region(tmp_path):
    source = observation.open(chandraclip_sample(), events=False)
    assert source.region is not None
    assert "region" in source.to_ogip(tmp_path)
