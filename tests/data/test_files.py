from __future__ import annotations

import gzip
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.files import find_detections, read_detection
from chandraclip.data.rows import detection_columns, region_id_of
from chandraclip.data.schema import TABLE_SCHEMA, build_table
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError
from chandraclip.ogip import read_events, read_spectrum


def as_table(row):
    columns = {}
    for field in TABLE_SCHEMA:
        value = row.get(field.name)
        columns[field.name] = (
            Ragged.from_rows([value]) if pa.types.is_list(field.type) and value is not None else [value]
        )
    return build_table(
        {name: column for name, column in columns.items() if not isinstance(column, list) or column[0] is not None}
    )


def csc_set(ogip, tag="001", folder="csc", object_name="M31 field"):
    """A CSC detection over two chips: pha3 with both spectra, arf3, rmf3, regevt3 and reg3."""
    stem = f"{folder}/acisf00012_000N{tag}_r0007"
    names = {"ANCRFILE": f"acisf00012_000N{tag}_r0007_arf3.fits", "RESPFILE": f"acisf00012_000N{tag}_r0007_rmf3.fits"}
    source = ogip.spectrum(OBJECT=object_name, BACKFILE=f"acisf00012_000N{tag}_r0007_pha3.fits", **names)
    background = ogip.spectrum(counts=[4, 4, 4, 4], HDUCLAS2="BKG", BACKSCAL=8.0)
    ogip.write(f"{stem}_pha3.fits", source, background)
    ogip.arf(f"{stem}_arf3.fits"), ogip.rmf(f"{stem}_rmf3.fits")
    columns = [
        fits.Column("CCD_ID", "I", array=[7, 3, 7, 3]),
        fits.Column("ENERGY", "E", unit="eV", array=[1000.0, 2000.0, 3000.0, 4000.0]),
        *ogip.sky_columns([4100.0, 4101.0, 4160.0, 4100.0], [4100.0, 4100.0, 4100.0, 4101.0]),
    ]
    gti = [ogip.gti((10.0, 20.0), name="GTI7"), ogip.gti((10.0, 25.0), name="GTI3")]
    pointing = {"RA_PNT": 10.0, "DEC_PNT": 41.0, "OBI_NUM": 0, "OBJECT": object_name}
    ogip.events(f"{stem}_regevt3.fits", time=[12.0, 24.0, 13.0, 11.0], columns=columns, gti=gti, **pointing)
    ogip.write(f"{stem}_reg3.fits", ogip.region_table("SRCREG", [("Ellipse", 4100, 4100, (10, 5), 0, 1)]))


def test_a_csc_set_is_one_detection(ogip):
    csc_set(ogip)
    (item,) = find_detections(ogip.folder)
    assert item.label == "csc/acisf00012_000N001_r0007_pha3.fits"
    row, response = read_detection(item)
    assert (row["obsid"], row["obi"], row["region_id"]) == (12, 0, 7)
    assert row["name"] == "CXO J003959.8+410001"  # the ellipse's centre, never OBJECT
    assert row["split"] == split_of(row["name"])
    np.testing.assert_array_equal(row["spectrum_counts"], [3, 0, 5, 1])
    np.testing.assert_array_equal(row["spectrum_background"], [4, 4, 4, 4])
    assert row["background_scale"] == pytest.approx(1 / 8)
    np.testing.assert_allclose(row["event_time"], [1.0, 2.0, 14.0])  # the third lies outside the ellipse
    np.testing.assert_allclose(row["event_energy"], [4.0, 1.0, 2.0])
    assert row["theta"] == pytest.approx(np.hypot(3.5, 3.5) * 0.492 / 60, rel=1e-6)
    assert row["response_id"] == response.response_id
    table = as_table(row)
    assert table.num_rows == 1
    assert table["healpix"][0].as_py() == row["healpix"]


def test_version_tags_and_folders_of_a_csc_set_may_differ(ogip):
    csc_set(ogip)
    folder = ogip.folder / "csc"
    (ogip.folder / "responses").mkdir()
    for product in ("arf3", "rmf3"):
        name = f"acisf00012_000N001_r0007_{product}.fits"
        (folder / name).rename(ogip.folder / "responses" / name.replace("N001", "N002"))
    content = (folder / "acisf00012_000N001_r0007_pha3.fits").read_bytes()
    (folder / "acisf00012_000N003_r0007_pha3.fits.gz").write_bytes(gzip.compress(content))
    first, second = find_detections(ogip.folder)
    assert first.problem is not None  # the older pha3
    assert "N003" in first.problem
    row, response = read_detection(second)
    assert response is not None
    assert row["arf"].size == 3


def test_a_regevt3_needs_its_region(ogip, caplog):
    csc_set(ogip)
    (ogip.folder / "csc" / "acisf00012_000N001_r0007_reg3.fits").unlink()
    row, _ = read_detection(*find_detections(ogip.folder))
    assert "event_time" not in row
    assert row["name"] == "CSC 12_000_r0007"
    assert "reg3" in caplog.text
    (ogip.folder / "csc" / "acisf00012_000N001_r0007_pha3.fits").unlink()
    with pytest.raises(InputFileError, match="reg3"):
        read_detection(*find_detections(ogip.folder))


def test_backgrounds_twins_and_strangers(ogip):
    ogip.arf(), ogip.rmf()
    ogip.pha("source.pi", BACKFILE="sky.pi")
    ogip.pha("sky.pi", counts=[1, 1, 1, 1])
    ogip.pha("source_grp.pi", BACKFILE="sky.pi", extra=[fits.Column("GROUPING", "I", array=[1, 1, 1, 1])])
    ogip.pha("other_bkg.pi", counts=[2, 2, 2, 2])
    (ogip.folder / "notes.txt").write_text("hello")
    (ogip.folder / ".hidden.pi").write_text("hello")
    items = {item.label: item for item in find_detections(ogip.folder)}
    assert set(items) == {"source.pi", "source_grp.pi", "other_bkg.pi", "notes.txt"}
    assert items["source.pi"].problem is None
    assert "same counts" in items["source_grp.pi"].problem
    assert "background" in items["other_bkg.pi"].problem
    with pytest.raises(InputFileError, match="not a FITS file"):
        read_detection(items["notes.txt"])


def test_few_photons_of_two_places_are_two_sources(ogip):
    """Of one pointing and the same PI, by chance; a copy has them in the same place, whatever their order and times."""
    pixels = {"a": ([3900.5, 3910.0], [4000.0, 4010.5]), "b": ([4100.5, 4120.0], [4000.0, 4010.5])}
    for name, (x, y), time in (
        ("a", pixels["a"], (12.0, 18.0)),
        ("b", pixels["b"], (12.0, 18.0)),
        ("copy", [list(reversed(axis)) for axis in pixels["a"]], (18.5, 12.5)),
    ):
        columns = [fits.Column("PI", "J", array=[100, 100]), *ogip.sky_columns(x, y)]
        ogip.events(f"{name}.fits", time, columns, OBJECT="Deep field")
    problems = {item.label: item.problem for item in find_detections(ogip.folder)}
    assert problems["a.fits"] is None
    assert problems["b.fits"] is None
    assert problems["copy.fits"] is not None


def test_several_spectra_of_one_pointing_are_several_sources(ogip):
    ogip.pha("a.pi", OBJECT="Deep field"), ogip.pha("b.pi", counts=[1, 1, 1, 1], OBJECT="Deep field")
    ogip.pha("c.pi", counts=[2, 1, 1, 1], OBJECT="Deep field", OBS_ID="13")
    names = {item.label: item.name for item in find_detections(ogip.folder)}
    assert names == {"a.pi": "Deep field a.pi", "b.pi": "Deep field b.pi", "c.pi": "Deep field"}


def test_each_row_of_a_type_two_file(ogip):
    columns = [
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=np.arange(8).reshape(2, 4)),
    ]
    facts = {"HDUCLAS1": "SPECTRUM", "DETCHANS": 4, "EXPOSURE": 9.0, "INSTRUME": "ACIS"}
    ogip.write("pha2.fits", ogip.table("SPECTRUM", columns, **facts))
    ogip.arf(), ogip.rmf()
    items = find_detections(ogip.folder)
    assert [item.label for item in items] == ["pha2.fits#1", "pha2.fits#2"]
    rows = [read_detection(item)[0] for item in items]
    assert [row["spectrum_counts"].tolist() for row in rows] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert rows[0]["region_id"] != rows[1]["region_id"]


def test_a_row_of_what_is_not_acis_needs_energies(ogip):
    with pytest.raises(InputFileError, match="energies of its channels are not known"):
        detection_columns(read_spectrum(ogip.pha()))
    with pytest.raises(ValueError, match="needs a spectrum or events"):
        detection_columns()


def test_area_and_background_scales_in_a_row(ogip):
    ogip.arf(), ogip.rmf()
    scale = [fits.Column("BACKSCAL", "D", array=[1.0, 2.0, 4.0, 8.0])]
    ogip.pha("back.pi", counts=[8, 0, 4, 4], extra=scale, BACKSCAL=None)
    names = {"ANCRFILE": "source.arf", "RESPFILE": "source.rmf", "BACKFILE": "back.pi"}
    row = detection_columns(read_spectrum(ogip.pha(AREASCAL=0.5, **names)))
    np.testing.assert_allclose(row["arf"], 0.5 * ogip.AREA)
    assert row["background_scale"] * 16 == pytest.approx(0.5 * (8 / 1 + 4 / 4 + 4 / 8))  # the total is kept
    np.testing.assert_allclose(row["channel_energy_edges"], [0.4, 0.9, 1.8, 3.0, 5.0], rtol=1e-6)
    varied = [fits.Column("AREASCAL", "D", array=[1.0, 2.0, 4.0, 8.0])]
    with pytest.raises(InputFileError, match="AREASCAL differs"):
        detection_columns(read_spectrum(ogip.pha(extra=varied, AREASCAL=None, **names)))


def test_observation_ids_that_are_no_number(ogip):
    ogip.arf(), ogip.rmf()
    names = {"ANCRFILE": "source.arf", "RESPFILE": "source.rmf"}
    for obs_id in ("Merged", "12,13", "93087-01-02-11", "7050360104"):
        row = detection_columns(read_spectrum(ogip.pha(OBS_ID=obs_id, **names)))
        assert row["obsid"] == -1
        assert row["region_id"] == region_id_of("source.pi")
        assert -(2**31) <= row["region_id"] < 0
        assert as_table(row).num_rows == 1


def test_the_real_folder(real_data):
    items = {item.label: item for item in find_detections(real_data)}
    assert list(items) == sorted(items)
    usable = {label for label, item in items.items() if item.problem is None}
    backgrounds = {"3c273_bg.pi", "back.pi", "background.pi", "q1127_bkg1.pi.gz", "cdfs4Ms_179_bkg.pi"}
    assert not backgrounds & {label.rsplit("/", 1)[-1] for label in items}
    assert "same counts" in items["spectra/pks1127_obs5708/q1127_src1_grp30.pi"].problem
    assert sum(label.startswith("spectra/") for label in usable) == 23
    read, refused = {}, set()
    for label in sorted(usable):
        try:
            read[label], _ = read_detection(items[label])
        except InputFileError:
            refused.add(label.split("/")[1])
            continue
        assert as_table(read[label]).num_rows == 1
    assert refused == {"rxte", "hrci_arlac_obs24564", "xmm_epn_unknown"}
    assert len(read) == 25
    keys = {(row["obsid"], row["obi"], row["region_id"]) for row in read.values()}
    assert len(keys) == 25
    assert len({row["name"] for label, row in read.items() if "4c19.44" in label}) == 1
    csc = read["spectra/csc_acisf01575_001N001_r0085/acisf01575_001N001_r0085_pha3.fits.gz"]
    assert (csc["name"], csc["obsid"], csc["obi"], csc["region_id"]) == ("CSC 1575_001_r0085", 1575, 1, 85)
    assert csc["channel_energy_edges"] is None  # the ACIS grid
    assert read["spectra/gcs25_obs2278/pi2278.fits"]["channel_energy_edges"].size == 686


def test_events_alone_make_a_row(real_data, tmp_path):
    source = real_data / "events" / "nicer" / "ngc300nicer_bary.evt"
    shutil.copy(source, tmp_path)
    (item,) = find_detections(tmp_path)
    row, response = read_detection(item)
    assert response is None
    assert (row["name"], row["obsid"], row["instrument"]) == ("NGC_300_ULX1", 1034200101, "XTI")
    assert "spectrum_counts" not in row
    np.testing.assert_array_equal(row["event_time"], read_events(source).time)
    assert as_table(row)["spectrum_counts"][0].as_py() is None


def test_a_csc_row_has_the_share_of_the_psf_in_its_aperture(real_data):
    """CSC divides counts and fluxes by it, and so does `measure`; other files' apertures are not known."""
    folder = real_data / "spectra" / "csc_acisf04938_000N002_r0043"
    (item,) = find_detections(folder)
    row, _ = read_detection(item)
    assert row["psf_frac_aper_b"] == 0.9
    # What is read by hand and embedded is the row that a build has: the same area, the same context.
    by_hand = detection_columns(read_spectrum(next(folder.glob("*pha3*"))))
    for name in ("psf_frac_aper_b", "effective_area_s", "effective_area_m", "effective_area_h"):
        assert by_hand[name] == row[name]
    assert row["effective_area_m"] > row["effective_area_h"] > 100
    (item,) = find_detections(real_data / "spectra" / "gcs25_obs2278")
    row, _ = read_detection(item)
    assert row.get("psf_frac_aper_b") is None


def test_every_source_spectrum_of_a_file_is_a_row(ogip, traps, tmp_path):
    items = find_detections(traps / "X07_two_source_spectra")
    assert [(item.label, item.extension, item.problem) for item in items] == [
        ("two.pi[1]", 1, None),
        ("two.pi[2]", 2, None),
    ]
    ogip.arf(), ogip.rmf()
    rows = [
        fits.Column("SPEC_NUM", "I", array=[3, 4]),
        fits.Column("CHANNEL", "4J", array=np.tile([1, 2, 3, 4], (2, 1))),
        fits.Column("COUNTS", "4J", array=[[1, 1, 1, 1], [2, 2, 2, 2]]),
    ]
    facts = {"HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "DETCHANS": 4, "EXPOSURE": 10.0, "OBS_ID": "12"}
    bad = ogip.spectrum(counts=[1, 1, 1, 1], EXPOSURE=0.0)
    ogip.write("mixed.pha", ogip.spectrum(RESPFILE=None, ANCRFILE=None), bad, ogip.table("SPECTRUM", rows, **facts))
    items = {item.label: item for item in find_detections(ogip.folder)}
    assert list(items) == ["mixed.pha[1]", "mixed.pha[2]", "mixed.pha[3]#3", "mixed.pha[3]#4"]
    assert "EXPOSURE" in items.pop("mixed.pha[2]").problem
    read = [read_detection(item)[0] for item in items.values()]
    assert [row["spectrum_counts"].tolist() for row in read] == [[3, 0, 5, 1], [1, 1, 1, 1], [2, 2, 2, 2]]
    assert len({row["region_id"] for row in read}) == len({row["name"] for row in read}) == 3


def test_a_row_keeps_its_flags_and_a_real_valued_background(ogip, traps):
    (item,) = find_detections(traps / "S10_quality")  # it names no response
    folder = traps / "S10_quality"
    row, _ = read_detection(replace(item, arf=folder / "a.arf", rmf=folder / "a.rmf"))
    np.testing.assert_array_equal(as_table(row)["spectrum_quality"][0].as_py(), [0, 5, 0, 1])
    assert as_table(row)["spectrum_grouping"][0].as_py() is None
    ogip.arf(), ogip.rmf()
    # Not said to be a background but by the source: as one it is fine, as a source it would be refused.
    ogip.pha("sky.pi", extra=[fits.Column("RATE", "D", array=np.array([2.4, 1.7, 0.3, 0.9]) / 1000.0)])
    flags = [fits.Column("GROUPING", "I", array=[1, -1, -1, 1])]
    ogip.pha("source.pi", BACKFILE="sky.pi", RESPFILE=None, ANCRFILE=None, extra=flags)
    (item,) = find_detections(ogip.folder)
    table = as_table(read_detection(item)[0])
    np.testing.assert_allclose(table["spectrum_background"][0].as_py(), [2.4, 1.7, 0.3, 0.9], rtol=1e-14)
    assert table["spectrum_grouping"][0].as_py() == [1, -1, -1, 1]
    assert table["spectrum_quality"][0].as_py() is None
