"""Screening of one's own files: calibrated on constant lists, events of every kind found, bad files only listed."""

from __future__ import annotations

import csv
import json
import os
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.errors import InputFileError
from chandraclip.observation.alert_lists import photon_files, read_list, screen_files
from chandraclip.observation.alert_picture import draw_alert
from chandraclip.observation.opening import read_beside
from chandraclip.observation.screening import NO_FRAME, false_alarms, frame_of, screen
from chandraclip.ogip.events import EventList
from chandraclip.ogip.header import ObservationHeader

FRAME, FRAMES = 3.24104, 3000
GTI = np.array([[0.0, 1200 * FRAME], [1500 * FRAME, FRAMES * FRAME]])


def events(frames: np.ndarray, energy: np.ndarray | None = None, telescope: str = "CHANDRA") -> EventList:
    """A list of photons in these frames, those in the gap left out."""
    kept = (frames < 1200) | (frames >= 1500)
    order = np.argsort(frames[kept], kind="stable")
    energy = np.full(frames.size, 1.5) if energy is None else energy
    return EventList(
        time=(frames[kept][order] + 0.5) * FRAME,
        energy=energy[kept][order].astype(np.float32),
        gti=GTI,
        exposure=float(np.diff(GTI).sum()),
        tstart=1e8,
        header=ObservationHeader(telescope=telescope, mjd_reference=50814.0),
        path=Path("photons.fits"),
    )


def constant(rng: np.random.Generator, number: int = 200) -> np.ndarray:
    return rng.integers(0, FRAMES, number)


def planted(kind: str, rng: np.random.Generator) -> EventList:
    frames = constant(rng, 400)
    energy = rng.uniform(0.6, 1.9, 400)
    if kind == "burst":
        frames, energy = np.append(frames, rng.integers(2000, 2010, 25)), np.append(energy, rng.uniform(3, 6, 25))
    elif kind == "dip":
        inside = (frames >= 400) & (frames < 800) & (rng.random(400) < 0.75)
        frames, energy = frames[~inside], energy[~inside]
    elif kind == "eclipse":
        inside = (frames >= 1700) & (frames < 2000)
        frames, energy = frames[~inside], energy[~inside]
    else:
        phase = frames * FRAME / 97.3
        kept = rng.random(400) < 0.5 + 0.5 * np.cos(2 * np.pi * phase)
        frames, energy = frames[kept], energy[kept]
    return events(frames, energy)


def test_of_constant_lists_one_in_a_hundred_is_an_alert_at_most():
    rng = np.random.default_rng(0)
    chances = np.array([screen(events(constant(rng, number))).log10_chance for number in (15, 60, 250) * 70])
    for level in (0.1, 0.01):
        share = np.mean(10**chances <= level)
        assert share <= level + 3 * np.sqrt(level * (1 - level) / chances.size)
    assert np.mean(10**chances <= 0.1) > 0.01  # and it is no chance that is never small
    assert false_alarms(-3.0, 5000) == pytest.approx(5)


@pytest.mark.parametrize(
    ("kind", "start", "stop"),
    [("burst", 2000, 2010), ("dip", 400, 800), ("eclipse", 1700, 2000), ("pulsation", 0, FRAMES)],
)
def test_events_are_found_with_time_duration_and_colour(kind, start, stop):
    found = screen(planted(kind, np.random.default_rng(4)))
    assert found.kind == kind
    assert found.log10_chance < -3
    slack = 3 if kind == "burst" else 45
    assert found.start / FRAME == pytest.approx(start, abs=slack)
    assert found.stop / FRAME == pytest.approx(stop, abs=slack)
    assert found.mjd == pytest.approx(50814 + (1e8 + found.start) / 86400)
    if kind == "burst":
        assert found.num_inside == pytest.approx(26, abs=3)
        assert found.hardness_of_excess > 0.8
        assert found.hardness_outside < -0.8
        assert found.colour_log10_chance < -5
    if kind == "pulsation":
        assert found.period == pytest.approx(97.3, rel=0.01)
        assert found.doubt is None
    else:
        # Good time is counted: a window does not grow by a gap.
        assert found.duration <= found.stop - found.start + 1e-6
        shifted = planted(kind, np.random.default_rng(4))
        assert replace(screen(replace(shifted, tstart=5e8)), mjd=None) == replace(found, mjd=None)


def test_periods_of_the_telescope_are_doubted():
    rng = np.random.default_rng(1)
    for telescope, period, doubt in (
        ("CHANDRA", 1000.0, "dither"),
        ("CHANDRA", 353.6, "dither"),
        ("CHANDRA", 211.0, None),
        ("NICER", 1000.0, None),
    ):
        frames = constant(rng, 1500)
        kept = rng.random(1500) < 0.5 + 0.5 * np.cos(2 * np.pi * frames * FRAME / period)
        found = screen(events(frames[kept], telescope=telescope))
        assert found.kind == "pulsation"
        assert found.period == pytest.approx(period, rel=0.05)
        assert (found.doubt is None) == (doubt is None)
        assert (doubt or "") in (found.doubt or "")


def test_a_burst_of_one_frame_is_doubted():
    rng = np.random.default_rng(9)
    for frames, doubt in ((np.full(12, 2000), "one frame"), (np.arange(2000, 2012), None)):
        found = screen(events(np.append(constant(rng, 200), frames)))
        assert found.kind == "burst"
        assert found.doubt == doubt
        assert found.duration == pytest.approx(np.ptp(frames) * FRAME + FRAME, rel=0.4)


def test_a_frame_is_the_header_s_or_told_by_many_photons():
    rng = np.random.default_rng(3)
    few, many = ((np.unique(rng.integers(0, 9000, number)) + 0.5) * FRAME for number in (6, 15))
    assert np.diff(few).min() > 2 * FRAME  # not the least step, as both are far from a frame
    assert np.diff(many).min() > 2 * FRAME
    assert frame_of(few) == 0
    assert frame_of(many) == pytest.approx(FRAME, rel=1e-6)
    assert frame_of(few, FRAME) == FRAME
    assert frame_of(rng.uniform(0, 1e4, 300)) == 0
    # Of lists that were merged, no frame is that of the header.
    assert frame_of(np.concatenate([many, many + 0.3 * FRAME]), FRAME) < 0.5 * FRAME
    assert screen(replace(events(np.arange(5) * 400), time_step=FRAME)).frame == FRAME
    exact = screen(replace(events(np.arange(5) * 400), time_step=None))
    assert exact.frame == 0
    assert exact.notes == (NO_FRAME,)


def test_bins_for_periods_are_whole_frames(monkeypatch):
    # An observation of more frames than bins: of 1.4 frames a bin, every seven bins would have ten or nine frames.
    monkeypatch.setattr("chandraclip.observation.screening.FINEST", int(FRAMES / 1.4))
    rng = np.random.default_rng(6)
    found = screen(replace(events(np.repeat(np.arange(FRAMES), rng.poisson(3.0, FRAMES))), time_step=FRAME))
    assert found.period_log10_chance > -3


def test_photons_that_bound_a_dip_are_not_in_it_and_those_of_a_burst_are():
    rng = np.random.default_rng(0)
    time = np.sort(np.concatenate([rng.uniform(0, 100, 100), [100.0, 160.0], rng.uniform(160, 260, 100)]))
    energy = np.where(np.isin(time, [100.0, 160.0]), 5.0, 1.0)
    gti = np.array([[-0.5, 260.5]])
    one = replace(events(np.arange(3)), time=time, energy=energy, gti=gti, time_step=1e-6)
    found = screen(one)
    assert found.kind == "eclipse"
    assert (found.num_inside, found.hardness_inside) == (0, None)
    assert found.hardness_outside == pytest.approx((2 - (time.size - 2)) / time.size)
    time = np.sort(np.concatenate([rng.uniform(0, 495, 20), 500 + rng.uniform(0, 2, 9), rng.uniform(510, 1000, 20)]))
    energy = np.where((time >= 500) & (time <= 502), 5.0, 1.0)
    found = screen(replace(one, time=time, energy=energy, gti=np.array([[0.0, 1000.0]])))
    assert found.kind == "burst"
    assert (found.num_inside, found.hardness_inside, found.hardness_outside) == (9, 1.0, -1.0)


def test_lists_with_too_little_are_refused():
    for frames in (np.array([3, 9]), np.full(30, 7)):
        with pytest.raises(ValueError, match=r"photons in the good time|one frame"):
            screen(replace(events(frames), gti=GTI if frames.size < 3 else np.array([[0.0, 0.0]])))


def test_a_picture_marks_the_window_and_folds_a_pulse():
    for kind in ("burst", "pulsation"):
        one = planted(kind, np.random.default_rng(4))
        figure = draw_alert(one, screen(one), kind)
        left, right = figure.subfigs
        assert len(left.axes[0].patches) == (kind == "burst")
        assert ("phase" in right.axes[0].get_xlabel()) == (kind == "pulsation")
        assert right.axes[0].get_ylim()[1] > 0


@pytest.fixture
def folder(ogip):
    """Lists of photons: a burst, a constant rate, one of no energies, one damaged; and a file of another kind."""
    rng = np.random.default_rng(7)
    for name, frames in (
        ("burst.fits", np.append(constant(rng, 200), rng.integers(2000, 2006, 20))),
        ("constant.fits", constant(rng, 200)),
    ):
        time = np.sort(frames + 0.5) * FRAME
        ogip.events(name, time=time, gti=[ogip.gti((0.0, FRAMES * FRAME))])
    (ogip.folder / "notes.txt").write_text("nothing")
    whole = (ogip.folder / "burst.fits").read_bytes()
    (ogip.folder / "damaged.fits").write_bytes(whole[: len(whole) // 2])
    return ogip.folder


def test_files_are_ranked_bad_ones_listed_and_nothing_done_twice(folder, capsys):
    main = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "screen.py"))["main"]
    output = folder / "out"
    main([str(folder), str(folder / "missing.fits"), "--output", str(output)])
    content = json.loads((output / "alerts.json").read_text())
    assert content["screened"] == 2
    assert [Path(one["file"]).name for one in content["alerts"]] == ["burst.fits"]
    alert = content["alerts"][0]
    assert alert["kind"] == "burst"
    assert alert["false_alarms"] == pytest.approx(2 * alert["chance"])
    assert content["false_alarms_expected"] == pytest.approx(0.02)
    reasons = {Path(one["file"]).name: one["reason"] for one in content["unusable"]}
    assert set(reasons) == {"damaged.fits", "missing.fits"}
    assert all(str(folder) not in reason and reason for reason in reasons.values())
    with (output / "alerts.csv").open() as stream:
        assert [row["kind"] for row in csv.DictReader(stream)] == ["burst"]
    text = (output / "alerts.md").read_text()
    assert "burst.fits" in text
    assert "missing.fits: no such file" in text
    assert (output / alert["picture"]).stat().st_size > 5000
    assert "hold no photon list" in capsys.readouterr().out
    # Again: from what is kept; a list that has changed is read anew; pictures of runs before go.
    kept = sorted((output / "lists").iterdir())
    before = [file.stat().st_mtime_ns for file in kept]
    main([str(folder), "--output", str(output), "--threshold", "1e-300"])
    assert [file.stat().st_mtime_ns for file in kept] == before
    assert not list(output.glob("alert_*.png"))
    kept[0].write_text("{")
    assert len(screen_files(photon_files([folder])[0], output, progress=False)) == 2
    assert json.loads(kept[0].read_text())["found"]
    (folder / "empty").mkdir()
    for path, reason in (("empty", "no event list"), ("notes.txt", "not a FITS file")):
        with pytest.raises(InputFileError, match=reason):
            main([str(folder / path), "--output", str(output)])


def test_what_is_read_with_a_list_is_part_of_what_is_kept_and_a_failing_disk_is_not(ogip, monkeypatch):
    name = "acisf01234_000N001_r0005_{}3.fits"
    time = np.sort(constant(np.random.default_rng(8), 60) + 0.5) * FRAME
    path = ogip.events(name.format("regevt"), time=time, gti=[ogip.gti((0.0, FRAMES * FRAME))])
    output = ogip.folder / "out"

    def kept() -> set[str]:
        screen_files([path], output, progress=False)
        return {file.name for file in (output / "lists").glob("*.json")}

    first = kept()
    assert len(first) == 1
    assert kept() == first
    region = ogip.folder / name.format("reg")
    region.write_bytes(b"not a region")
    (failed,) = screen_files([path], output, progress=False)
    assert failed.found is None
    assert kept() == first  # the region is at fault, not the list: asked again
    region.unlink()
    whole = read_list

    def broken(path):
        try:
            raise OSError(5, "Input/output error")
        except OSError as error:
            raise InputFileError(path, "cannot be read: Input/output error") from error

    os.utime(path, ns=(10**18, 10**18))
    monkeypatch.setattr("chandraclip.observation.alert_lists.read_list", broken)
    (failed,) = screen_files([path], output, progress=False)
    assert "Input/output error" in failed.reason
    monkeypatch.setattr("chandraclip.observation.alert_lists.read_list", whole)
    (again,) = screen_files([path], output, progress=False)
    assert again.found is not None
    # The spectrum of the same detection, which comes to lie beside it, is looked at.
    before = kept()
    assert read_beside(path) == []
    spectrum = ogip.pha(name.format("pha"))
    assert read_beside(path) == [spectrum]
    assert kept() > before


def test_known_cases_need_a_kind(tmp_path):
    main = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "screen.py"))["main"]
    columns = {
        "name": ["a", "b"], "obsid": [1, 2], "obi": [0, 0], "region_id": [1, 1], "split": ["test"] * 2,
        "source_class": [-1, -1], "event_latents": [[1.0, 0.0], [0.0, 1.0]],
    }  # fmt: skip
    file = tmp_path / "embeddings.parquet"
    pq.write_table(pa.table(columns), file)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputFileError, match="no detection has a kind"):
        main([str(tmp_path / "none"), "--embeddings", str(file), "--output", str(tmp_path / "out")])
    pq.write_table(pa.table(columns | {"source_class": [0, -1]}), file)
    with pytest.raises(InputFileError, match="no event list in it"):
        main([str(tmp_path / "none"), "--embeddings", str(file), "--output", str(tmp_path / "out")])


def test_real_pulsars_are_found_at_their_periods(real_data):
    for name, period, telescope_s in (("sgr1830kgfilt.evt", 10.4157, 0.001), ("ngc300nicer_bary.evt", 19.88, 0.02)):
        found = screen(read_list(real_data / "events" / "nicer" / name))
        assert found.kind == "pulsation"
        assert found.period == pytest.approx(period, abs=telescope_s)
        assert found.log10_chance < -20
