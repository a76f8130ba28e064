"""What `to_ogip` writes reads back equal, by our readers and by Sherpa, and is a standard file to astropy."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from chandraclip.data.files import find_detections, read_detection
from chandraclip.data.response_table import read_responses
from chandraclip.data.row_objects import row_to_ogip
from chandraclip.errors import InputFileError
from chandraclip.ogip import EventList, Response, Spectrum, read_events, read_spectrum, to_ogip
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.region_reader import read_region
from chandraclip.ogip.regions import Region, Shape
from chandraclip.ogip.sky import SkyCoordinates
from chandraclip.ogip.writer import backscals, written_beside

HEADER = ObservationHeader("CHANDRA", "ACIS", "ACIS-7", "12", 3, "Test source", 55000.123456789, 50814.0, 10.0, -41.0)


def same(first, second) -> bool:
    """Equal to the last bit, arrays, matrices and objects of them."""
    if dataclasses.is_dataclass(first):
        names = {field.name for field in dataclasses.fields(first)}
        names -= {"path", "companions", "notes", "source", "keywords"}
        return all(same(getattr(first, name), getattr(second, name)) for name in names)
    if hasattr(first, "is_equivalent_frame"):
        return first.is_equivalent_frame(second)
    if isinstance(first, WCS):  # read through a header, where astropy keeps 20 characters of a number
        first, second = first.wcs, second.wcs
        numbers = all(
            np.allclose(getattr(first, name), getattr(second, name), rtol=1e-13, atol=0)
            for name in ("crpix", "crval", "cdelt", "pc")
        )
        return numbers and list(first.ctype) == list(second.ctype)
    if sparse.issparse(first):
        first, second = first.sorted_indices(), second.sorted_indices()
        return all(
            np.array_equal(getattr(first, name), getattr(second, name)) for name in ("data", "indices", "indptr")
        )
    if isinstance(first, np.ndarray):
        return isinstance(second, np.ndarray) and first.shape == second.shape and np.array_equal(first, second)
    return first == second


def make_response(seed: int = 0, num_energies: int = 7, num_channels: int = 9, first: int = 1) -> Response:
    """A matrix with empty rows, several runs a row, and numbers that float32 does not hold."""
    rng = np.random.default_rng(seed)
    dense = rng.random((num_energies, num_channels)) * (rng.random((num_energies, num_channels)) < 0.5)
    dense[2] = 0
    dense /= np.maximum(dense.sum(axis=1, keepdims=True), 1.0)
    edges = np.cumsum(rng.random(num_energies + 1))
    channels = np.cumsum(rng.random(num_channels + 1))
    area = 100 * rng.random(num_energies)
    return Response(edges[:-1], edges[1:], area, sparse.csr_array(dense), channels[:-1], channels[1:], first)


def make_spectrum(seed: int = 0, first: int = 1, **changes) -> Spectrum:
    rng = np.random.default_rng(seed)
    response = make_response(seed, first=first)
    spectrum = Spectrum(
        counts=rng.poisson(3.0, 9),
        channel=np.arange(9) + first,
        exposure=1234.567890123,
        background_counts=rng.poisson(2.0, 9),
        background_scale=0.1 / 3,
        area_scale=1.0,
        response=response,
        response_problem=None,
        grouping=None,
        quality=None,
        header=HEADER,
        path=Path("made up.pha"),
    )
    return dataclasses.replace(spectrum, **changes)


def make_events(seed: int = 0, number: int = 50, **changes) -> EventList:
    rng = np.random.default_rng(seed)
    gti = np.array([[0.0, 100.5], [200.25, 400.0]])
    time = np.sort(np.append(rng.uniform(0, 100, number // 2), rng.uniform(201, 399, number - number // 2)))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cunit = ["RA---TAN", "DEC--TAN"], ["deg", "deg"]
    wcs.wcs.crpix, wcs.wcs.crval, wcs.wcs.cdelt = [4096.5, 4096.5], [10.1, -41.3], [-0.492 / 3600, 0.492 / 3600]
    wcs.wcs.set()
    events = EventList(
        time=np.round(time * 2**20) / 2**20,  # as mission elapsed time in float64 has it
        energy=rng.uniform(0.3, 10, number).astype(np.float32),
        gti=gti,
        exposure=290.1,
        tstart=5.5e8 + 0.125,
        header=HEADER,
        path=Path("made up.evt"),
        sky=SkyCoordinates(wcs),
        x=rng.uniform(4000, 4100, number).astype(np.float32),
        y=rng.uniform(4000, 4100, number),
    )
    return dataclasses.replace(events, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"background_counts": None, "background_scale": 1.0},
        {"response": None, "response_problem": "no RMF: RESPFILE is none and no file in {folder} matches"},
        {"grouping": np.array([1, -1, 1, 1, -1, -1, 1, 0, 1], np.int16)},
        {"quality": np.array([0, 0, 5, 2, 0, 0, 1, 0, 0], np.int16)},
        {"area_scale": 0.3, "background_scale": 7.7},
        {"area_scale": np.linspace(0, 2, 9) / 3, "background_scale": np.linspace(0, 9, 9) / 7},
        {"background_scale": np.append(0.0, np.geomspace(1e-6, 10, 8))},
        {"exposure": 1.2345678901234567e-5},  # 22 characters, of which astropy would keep 20
        {"counts": np.array([0, 2**40, 0, 0, 0, 0, 0, 0, 1])},
        {"header": dataclasses.replace(HEADER, obs_id=", ".join(map(str, range(52))), obi=None, object_name=None)},
        {
            "header": ObservationHeader(
                "XMM", "EPN", "", "0123456789", None, "A 'quoted' name", None, 50814.000742, None
            )
        },
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_a_spectrum_reads_back_equal(tmp_path, changes):
    spectrum = make_spectrum(**changes)
    written = to_ogip(tmp_path, spectrum, name="it")
    read = read_spectrum(written["spectrum"])
    if spectrum.response is None:
        assert set(written) == {"spectrum", "background"}
        spectrum = dataclasses.replace(spectrum, response_problem=read.response_problem)
        assert "none" in read.response_problem
    assert same(spectrum, read)
    assert written["spectrum"] == tmp_path / "it_pha.fits"


@pytest.mark.parametrize("first", [0, 1, 20])
def test_channels_that_run_down_in_energy(tmp_path, first):
    """A grating's: `Spectrum` turns them round, and the file has them as the detector counts."""
    spectrum = make_spectrum(first=first)
    spectrum = dataclasses.replace(
        spectrum, channel=spectrum.channel[::-1].copy(), quality=np.arange(9, dtype=np.int16)
    )
    written = to_ogip(tmp_path, spectrum)
    assert same(spectrum, read_spectrum(written["spectrum"]))
    with fits.open(written["rmf"]) as hdus:
        assert np.all(np.diff(hdus["EBOUNDS"].data["E_MIN"]) < 0)
        assert (hdus["MATRIX"].header["TLMIN4"], hdus["EBOUNDS"].data["CHANNEL"][0]) == (first, first)


def test_groups_of_channels_that_run_down_begin_in_the_files_order(tmp_path):
    grouping = np.array([1, -1, 1, 1, -1, -1, 0, 1, -1], np.int16)
    spectrum = make_spectrum(grouping=grouping)
    spectrum = dataclasses.replace(spectrum, channel=spectrum.channel[::-1].copy())
    written = to_ogip(tmp_path, spectrum)
    with fits.open(written["spectrum"]) as hdus:
        assert hdus["SPECTRUM"].data["GROUPING"].tolist() == [1, -1, 0, 1, -1, -1, 1, 1, -1]


@settings(max_examples=200, deadline=None)
@given(scale=st.floats(1e-8, 1e4), area=st.floats(1e-3, 1e3), exposure=st.floats(1e-3, 1e8), seed=st.integers(0, 1000))
def test_backscal_gives_the_scale_back_to_the_last_bit(scale, area, exposure, seed):
    source, background = backscals(scale, area, exposure)
    assert source * area * exposure / (background * 1.0 * exposure) == scale
    several = scale * np.random.default_rng(seed).random(64)
    source, background = backscals(several, area, exposure)
    back = source * area * exposure / (background * 1.0 * exposure)
    np.testing.assert_allclose(back, several, rtol=3e-16, atol=0)
    assert np.mean(back == several) > 0.95


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"x": None, "y": None, "sky": None},
        {"time": np.zeros(0), "energy": np.zeros(0, np.float32), "x": np.zeros(0), "y": np.zeros(0)},
        {"header": ObservationHeader("NICER", "XTI", "", "1", None, None, None, 56658.000777592593)},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_events_read_back_equal(tmp_path, changes):
    events = make_events(**changes)
    read = read_events(to_ogip(tmp_path, events=events, name="it")["events"])
    if events.header.mjd_obs is None:
        events = dataclasses.replace(events, header=dataclasses.replace(events.header, mjd_obs=read.header.mjd_obs))
    assert same(dataclasses.replace(events, notes=read.notes) if hasattr(events, "notes") else events, read)


def test_pi_follows_the_mission(tmp_path):
    written = to_ogip(tmp_path, events=make_events())
    with fits.open(written["events"]) as hdus:
        data = hdus["EVENTS"].data
        np.testing.assert_array_equal(data["PI"], np.floor(data["ENERGY"].astype(float) / 0.0146) + 1)
        assert [column.unit for column in data.columns] == ["s", "chan", "keV", "pixel", "pixel"]
    other = make_events(header=dataclasses.replace(HEADER, telescope="EINSTEIN", instrument="IPC"))
    with fits.open(to_ogip(tmp_path / "other", events=other)["events"]) as hdus:
        assert "PI" not in hdus["EVENTS"].columns.names


SHAPES = (
    Shape("circle", (10.1, 20.2, 3.3)),
    Shape("annulus", (10, 20, 3, 5)),
    Shape("ellipse", (10, 20, 5, 3, 33.3)),
    Shape("box", (10, 20, 5, 3, 12)),
    Shape("rotbox", (10, 20, 5, 3, 12)),
    Shape("rectangle", (1, 2, 5, 7, 30)),
    Shape("sector", (10, 20, 10, 80)),
    Shape("polygon", (1, 1, 5, 1, 5, 5, 1, 5)),
    Shape("polygon", (1, 1, 5, 1, 3, 6)),
    Shape("point", (10, 20)),
    Shape("field", ()),
)


@pytest.mark.parametrize("excluded", SHAPES[:9], ids=lambda shape: shape.name)
def test_regions_read_back_equal(tmp_path, excluded):
    region = Region(
        (*((shape,) for shape in SHAPES), (SHAPES[2], dataclasses.replace(excluded, include=False))), source="made up"
    )
    written = to_ogip(tmp_path, make_spectrum(), region=region)
    assert read_region(written["region"]).components == region.components


def test_a_region_comes_with_the_events_it_cut(tmp_path):
    """And with the list of a whole box, of which it holds a part."""
    box, region = make_events(), Region(((Shape("circle", (4050.0, 4050.0, 40.0)),),))
    written = to_ogip(tmp_path, events=box, region=region, name="box")
    cut = read_events(written["events"], written["region"])
    assert 0 < len(cut) < len(box)
    assert cut.region.ra == pytest.approx(box.sky.to_celestial(4050.0, 4050.0)[0])
    again = to_ogip(tmp_path, events=cut, name="cut")
    assert same(read_events(again["events"], again["region"]), dataclasses.replace(cut, num_outside_region=0))
    with pytest.raises(ValueError, match="sky pixels"):
        to_ogip(tmp_path, events=dataclasses.replace(box, x=None, y=None), region=region, name="third")


def test_a_region_with_a_mask_is_left_out(tmp_path, caplog):
    """CSC 2 cuts chip edges out by pixels."""

    class Mask:
        include = True

    events = make_events(region=Region(((Mask(),),)))
    written = to_ogip(tmp_path, events=events)
    assert set(written) == {"events"}
    assert "a mask of pixels is no table of shapes" in caplog.text
    with pytest.raises(ValueError, match="mask of pixels"):
        to_ogip(tmp_path, events=make_events(), region=events.region, name="other")


def test_files_are_standard(tmp_path):
    """Keywords, units and limits of OGIP/92-007, CAL/GEN/92-002 and OGIP 93-003; sums that astropy checks."""
    region = Region(((SHAPES[2],),))
    written = to_ogip(tmp_path, make_spectrum(), make_events(), region)
    classes = {
        "spectrum": [("SPECTRUM", "TOTAL", "COUNT")],
        "background": [("SPECTRUM", "BKG", "COUNT")],
        "arf": [("RESPONSE", "SPECRESP", "")],
        "rmf": [("RESPONSE", "RSP_MATRIX", "REDIST"), ("RESPONSE", "EBOUNDS", "")],
        "events": [("EVENTS", "ACCEPTED", ""), ("GTI", "STANDARD", "")],
        "region": [("REGION", "STANDARD", "")],
    }
    assert set(written) == set(classes)
    for kind, path in written.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a wrong sum is a warning
            with fits.open(path, checksum=True) as hdus:
                hdus.verify("exception")
                found = [tuple(hdu.header.get(f"HDUCLAS{level}", "") for level in (1, 2, 3)) for hdu in hdus[1:]]
                assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus)
                assert all((hdu.header["TELESCOP"], hdu.header["MJDREF"]) == ("CHANDRA", 50814) for hdu in hdus[1:])
        assert found == classes[kind]
    header = fits.getheader(written["spectrum"], "SPECTRUM")
    assert [header[name] for name in ("ANCRFILE", "RESPFILE", "BACKFILE", "CORRFILE", "CHANTYPE")] == [
        *(written[kind].name for kind in ("arf", "rmf", "background")), "none", "PI",
    ]  # fmt: skip
    assert (header["DETCHANS"], header["TLMIN1"], header["TLMAX1"], header["POISSERR"]) == (9, 1, 9, True)
    assert header["DATE-OBS"] == "2009-06-18T02:57:46"
    matrix = fits.getheader(written["rmf"], "MATRIX")
    assert (matrix["TTYPE4"], matrix["TLMIN4"], matrix["TUNIT1"], matrix["DETCHANS"]) == ("F_CHAN", 1, "keV", 9)
    assert fits.getheader(written["arf"], 1)["TUNIT3"] == "cm**2"
    events = fits.getheader(written["events"], "EVENTS")
    assert (events["TSTART"], events["TSTOP"], events["ONTIME"]) == (5.5e8 + 0.125, 5.5e8 + 400.125, 300.25)


def test_equal_input_gives_equal_bytes(tmp_path):
    first = to_ogip(tmp_path / "a", make_spectrum(), make_events(), compress=True)
    second = to_ogip(tmp_path / "b", make_spectrum(), make_events(), compress=True)
    assert [path.read_bytes() for path in first.values()] == [path.read_bytes() for path in second.values()]
    assert {path.suffix for path in first.values()} == {".gz"}
    assert same(read_spectrum(first["spectrum"]), make_spectrum())


def test_nothing_is_overwritten_unless_told(tmp_path):
    written = to_ogip(tmp_path, make_spectrum(), name="it")
    before = {path: path.read_bytes() for path in written.values()}
    for path in written.values():
        if path != written["arf"]:
            path.unlink()
    with pytest.raises(FileExistsError, match=r"it_arf\.fits is there already"):
        to_ogip(tmp_path, make_spectrum(1), name="it")
    assert [path.name for path in tmp_path.iterdir()] == ["it_arf.fits"]
    assert written["arf"].read_bytes() == before[written["arf"]]
    to_ogip(tmp_path, make_spectrum(1), name="it", overwrite=True)
    assert same(read_spectrum(written["spectrum"]), make_spectrum(1))


def test_all_files_are_written_or_none(tmp_path, monkeypatch):
    replaced = []

    def full(source, target):
        replaced.append(target)
        raise OSError(28, "No space left on device", str(target))

    original = Path.write_bytes

    def write(path, content):
        if "_evt" in path.name:
            full(path, path)
        return original(path, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match="No space"):
        to_ogip(tmp_path, make_spectrum(), make_events())
    assert list(tmp_path.iterdir()) == []
    assert len(replaced) == 1
    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        to_ogip(tmp_path, make_spectrum(), make_events())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options, reason", [({"name": "a/b"}, "cannot be 'a/b'"), ({"name": ""}, "cannot be ''")])
def test_a_name_that_is_none(tmp_path, options, reason):
    with pytest.raises(ValueError, match=reason):
        to_ogip(tmp_path, make_spectrum(), **options)
    with pytest.raises(ValueError, match="neither a spectrum nor events"):
        to_ogip(tmp_path)


def test_what_was_written_together_is_found_together(tmp_path, ogip):
    written = to_ogip(tmp_path, make_spectrum(), make_events(), name="it")
    assert all(written_beside(path) == written for path in written.values())
    other = ogip.events("other_evt.fits")
    assert written_beside(other) == {}
    written["events"].unlink()
    other.rename(written["events"])  # of the name, but of another hand
    assert "events" not in written_beside(written["spectrum"])


def test_a_folder_of_written_files_holds_one_detection_each(tmp_path):
    spectrum, events = make_spectrum(), make_events()
    to_ogip(tmp_path / "in", spectrum, events, name="one")
    to_ogip(tmp_path / "in", make_spectrum(1), name="spectrum")
    to_ogip(tmp_path / "in", events=make_events(1), name="photons")
    found = {item.label: item for item in find_detections(tmp_path / "in")}
    assert not [item.problem for item in found.values() if item.problem]
    assert sorted(found) == ["one_pha.fits", "photons_evt.fits", "spectrum_pha.fits"]
    row, _ = read_detection(found["one_pha.fits"])
    np.testing.assert_array_equal(row["spectrum_counts"], spectrum.counts)
    np.testing.assert_array_equal(row["event_energy"], events.energy)
    assert found["spectrum_pha.fits"].events is None


def test_copies_of_written_files_are_no_rows_of_their_own(tmp_path):
    folder = tmp_path / "in"
    to_ogip(folder / "b", make_spectrum(), make_events(), name="one")
    to_ogip(folder / "a", events=make_events(), name="photons")  # a copy, and first by its label
    to_ogip(folder / "c", make_spectrum(), make_events(2), name="two")  # other photons, as of another region
    used = [item for item in find_detections(folder) if not item.problem]
    assert [(item.label, item.events.name) for item in used] == [("b/one_pha.fits", "one_evt.fits")]
    problems = {item.label: item.problem for item in find_detections(folder) if item.problem}
    assert "written with two_pha.fits" in problems["c/two_evt.fits"]
    assert "the same photons" in problems["a/photons_evt.fits"]


def test_every_real_file_reads_back_equal(real_data, tmp_path):
    num_spectra = num_lists = 0
    for number, item in enumerate(find_detections(real_data)):
        if item.problem is not None:
            continue
        try:
            spectrum = item.spectrum and read_spectrum(item.spectrum, item.arf, item.rmf, spec_num=item.spec_num)
            events = item.events and read_events(item.events, item.region)
        except InputFileError:
            continue
        written = to_ogip(tmp_path / str(number), spectrum, events, name="it")
        if spectrum is not None:
            read = read_spectrum(written["spectrum"])
            expected = dataclasses.replace(spectrum, response_problem=read.response_problem, spec_num=None)
            assert same(expected, read), item.label
            assert (spectrum.response is None) == (read.response is None)
            if spectrum.response is not None:
                assert read.response.response_id == spectrum.response.response_id
            num_spectra += 1
        if events is not None:
            read_back = read_events(written["events"], written.get("region"))
            for name in ("time", "energy", "gti", "tstart", "exposure", "header", "x", "y", "region"):
                assert same(getattr(events, name), getattr(read_back, name)), (item.label, name)
            num_lists += 1
    assert num_spectra >= 20
    assert num_lists >= 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    from chandraclip.simulate.dataset import build_from_simulation

    folder = tmp_path_factory.mktemp("data") / "set"
    build_from_simulation(folder, 12, seed=3, progress=False)
    return folder


def test_a_row_of_a_dataset_reads_back_equal(dataset, tmp_path):
    from datasets import load_dataset

    responses = read_responses(dataset)
    splits = load_dataset(str(dataset), "pairs", cache_dir=str(tmp_path / "cache"))
    for row in (row for split in splits.values() for row in split):
        written = row_to_ogip(tmp_path, row, responses)
        assert written["spectrum"].name == f"{row['name'].replace(' ', '_')}_{row['obsid']}_{row['region_id']}_pha.fits"
        spectrum = read_spectrum(written["spectrum"])
        response = responses[row["response_id"]]
        np.testing.assert_array_equal(spectrum.counts, row["spectrum_counts"])
        np.testing.assert_array_equal(spectrum.background_counts, row["spectrum_background"])
        np.testing.assert_array_equal(spectrum.response.arf, row["arf"])
        assert same(spectrum.response.matrix.astype(np.float32), response.matrix)
        assert spectrum.response.response_id == row["response_id"]
        assert (spectrum.exposure, spectrum.background_scale) == (row["exposure"], row["background_scale"])
        assert (spectrum.header.object_name, spectrum.header.obsid_number) == (row["name"], row["obsid"])
        assert ("events" in written) == (row["event_time"] is not None)
        if row["event_time"] is not None:
            events = read_events(written["events"])
            for values, name in ((events.time, "event_time"), (events.gti.T, ["gti_start", "gti_stop"])):
                expected = row[name] if isinstance(name, str) else [row[one] for one in name]
                np.testing.assert_allclose(values, expected, rtol=0, atol=np.spacing(row["tstart"]) * 2)
            np.testing.assert_array_equal(events.energy, np.asarray(row["event_energy"], np.float32))
            assert events.exposure == row["livetime"]
            assert events.mjd_obs == pytest.approx(row["mjd_obs"], abs=1e-6)


def test_a_row_without_its_response_says_so(dataset, tmp_path):
    import pyarrow.parquet as pq

    row = pq.read_table(next((dataset / "data").glob("*.parquet"))).slice(0, 1).to_pylist()[0]
    written = row_to_ogip(tmp_path, row, name="it")
    assert "rmf" not in written
    assert read_spectrum(written["spectrum"]).response is None


@pytest.mark.parametrize("background", [[0, 2, 0, 1], [0.25, 2, 0, 1]])
def test_a_row_may_have_flags_and_a_real_valued_background(tmp_path, background):
    row = {
        "name": "a/b c", "obsid": -1, "region_id": 1, "spectrum_counts": [1, 2, 3, 4], "exposure": 10.0,
        "spectrum_background": background, "background_scale": 0.5, "spectrum_quality": [0, 5, 0, 0],
        "spectrum_grouping": [1, -1, 1, 1],
    }  # fmt: skip
    written = row_to_ogip(tmp_path, row)
    assert written["spectrum"].name == "a_b_c_-1_1_pha.fits"
    with fits.open(written["spectrum"]) as hdus:
        data = hdus["SPECTRUM"].data
        assert (data["QUALITY"].tolist(), data["GROUPING"].tolist()) == ([0, 5, 0, 0], [1, -1, 1, 1])
        assert "OBS_ID" not in hdus["SPECTRUM"].header
    with fits.open(written["background"]) as hdus:
        assert hdus["SPECTRUM"].data["COUNTS"].tolist() == background
        assert hdus["SPECTRUM"].data["COUNTS"].dtype.kind == ("f" if 0.25 in background else "i")


@pytest.mark.parametrize("column", ["exposure", "background_scale"])
def test_a_row_that_lacks_what_a_spectrum_needs_is_refused_by_column(tmp_path, column):
    row = {
        "name": "2CXO J1", "obsid": 5, "region_id": 1, "spectrum_counts": [1, 2], "exposure": 10.0,
        "spectrum_background": [1, 0], "background_scale": 0.5,
    }  # fmt: skip
    with pytest.raises(InputFileError, match=rf"2CXO J1\[{column}\]: is null"):
        row_to_ogip(tmp_path, row | {column: None})
    if column == "background_scale":  # which nothing needs without a background
        assert "spectrum" in row_to_ogip(tmp_path, row | {column: None, "spectrum_background": None})


def test_sherpa_reads_the_same(tmp_path):
    ui = pytest.importorskip("sherpa.astro.ui")
    spectrum = make_spectrum(grouping=np.array([1, -1, 1, 1, -1, -1, 1, 1, 1], np.int16), background_scale=0.3)
    written = to_ogip(tmp_path, spectrum)
    ui.clean()
    ui.load_pha(str(written["spectrum"]))
    data = ui.get_data()
    data.ungroup()
    np.testing.assert_array_equal(data.counts, spectrum.counts)
    np.testing.assert_array_equal(data.get_background().counts, spectrum.background_counts)
    assert data.get_background_scale() == pytest.approx(spectrum.background_scale, rel=1e-15)
    np.testing.assert_array_equal(data.grouping, spectrum.grouping)
    assert data.exposure == spectrum.exposure
    flux = np.random.default_rng(1).random(7)
    folded = data.get_rmf().apply_rmf(data.get_arf().apply_arf(flux))
    np.testing.assert_allclose(folded, spectrum.response.fold(flux), rtol=1e-12)
