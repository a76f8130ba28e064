"""What the feature extractor gives, and what must not change it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.models import EventFeatureExtractor

PER_PHOTON = ("event_values", "event_time", "event_band")


def rows_of(result: Any, row: int) -> slice:
    return slice(*result["event_cu_seqlens"][row : row + 2].tolist())


def test_features_of_a_list_with_a_gap() -> None:
    result = EventFeatureExtractor(mesh_size=4)(
        {
            "event_time": [np.array([10.0, 90.0, 30.0])],  # not in order
            "event_energy": [np.array([1.0, 2.5, 8.0])],
            "gti_start": [np.array([0.0, 80.0])],
            "gti_stop": [np.array([40.0, 100.0])],
        },
        return_tensors="np",
    )
    elapsed = np.array([10.0, 30.0, 50.0])  # s of good time before each photon, of 60 s
    expected = np.stack([[0.1, 0.3, 0.9], elapsed / 60.0, (np.log10([1.0, 8.0, 2.5]) - 0.2) / 0.35], axis=1)
    np.testing.assert_allclose(result["event_values"], expected, atol=1e-6)
    np.testing.assert_allclose(result["event_time"], elapsed, rtol=1e-12)
    np.testing.assert_allclose(result["event_span"], [[0.0, 100.0]])
    np.testing.assert_allclose(result["event_gti"], [[0.0, 0.4], [0.8, 1.0]])
    assert result["event_gti_row"].tolist() == [0, 0]
    assert result["event_band"].tolist() == [0, -1, 2]
    np.testing.assert_allclose(result["event_summary"], [np.log10([3.0, 60.0, 100.0])], atol=1e-6)
    np.testing.assert_allclose(result["mesh_weight"], [[1.0, 15 / 25, 0.0, 20 / 25]], atol=1e-6)


def test_bands_and_dropped_photons() -> None:
    energy = np.array([0.2, 0.3, 0.499, 0.5, 1.19, 1.2, 2.0, 6.99, 7.0, 10.0, 10.1, np.inf, 1.0, np.nan])
    result = EventFeatureExtractor()(
        {
            "event_time": [np.array([*np.arange(12.0), np.nan, 11.5])],
            "event_energy": [energy],
            "gti_start": [[0.0]],
            "gti_stop": [[12.0]],
        }
    )
    assert result["event_band"].tolist() == [-1, -1, 0, 0, 1, 2, 2, -1, -1, -2]
    assert result["event_summary"][0, 0] == pytest.approx(np.log10(10))


def test_order_of_the_input_does_not_matter(columns: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    columns["event_time"] = [np.round(row, -2) for row in columns["event_time"]]  # ties, as readout frames make them
    order = [rng.permutation(len(row)) for row in columns["event_time"]]
    shuffled = dict(columns)
    for name in ("event_time", "event_energy"):
        shuffled[name] = [row[index] for row, index in zip(columns[name], order)]
    left, right = EventFeatureExtractor()(columns), EventFeatureExtractor()(shuffled)
    for key, value in left.items():
        assert torch.equal(value, right[key]), key


def test_a_row_does_not_depend_on_its_batch(columns: dict[str, Any]) -> None:
    together = EventFeatureExtractor()(columns)
    for row in range(8):
        alone = EventFeatureExtractor()({name: column[row : row + 1] for name, column in columns.items()})
        for key in PER_PHOTON:
            torch.testing.assert_close(alone[key], together[key][rows_of(together, row)], rtol=0, atol=1e-5)
        for key in (
            "event_mask",
            "event_summary",
            "mesh_weight",
            "event_key",
            "event_frame",
            "event_share",
            "event_span",
        ):
            torch.testing.assert_close(alone[key][0], together[key][row])


def test_missing_and_empty_lists() -> None:
    result = EventFeatureExtractor(mesh_size=4)(
        {
            "event_time": [None, np.zeros(0), np.zeros(0), np.array([5.0])],
            "event_energy": [None, np.zeros(0), np.zeros(0), np.array([1.0])],
            "gti_start": [None, np.zeros(1), None, None],
            "gti_stop": [None, np.array([1e3]), None, None],
        }
    )
    assert result["event_mask"].tolist() == [False, True, False, True]
    assert result["event_cu_seqlens"].tolist() == [0, 0, 0, 0, 1]
    assert all(torch.isfinite(value).all() for value in result.values())
    assert not result["event_summary"][[0, 2]].any()
    assert not result["mesh_weight"][[0, 2]].any()
    torch.testing.assert_close(result["mesh_weight"][[1, 3]], torch.ones(2, 4))


def test_overlapping_good_times_count_once() -> None:
    result = EventFeatureExtractor(mesh_size=2)(
        {
            "event_time": [[10.0]],
            "event_energy": [[1.0]],
            "gti_start": [[0.0, 20.0, 10.0]],
            "gti_stop": [[50.0, 30.0, 60.0]],
        }
    )
    torch.testing.assert_close(result["event_summary"][0, 1:], torch.log10(torch.tensor([60.0, 60.0])))
    torch.testing.assert_close(result["mesh_weight"], torch.ones(1, 2))


def test_at_most_so_many_photons_are_a_random_share(columns: dict[str, Any]) -> None:
    full, thin = EventFeatureExtractor()(columns), EventFeatureExtractor(max_events=10)(columns)
    assert thin["event_cu_seqlens"].diff().tolist() == [min(count, 10) for count in full["event_cu_seqlens"].diff()]
    for key in ("event_summary", "event_frame", "mesh_weight"):
        assert torch.equal(thin[key], full[key]), key
    torch.testing.assert_close(thin["event_share"][[0, 1, 6]], torch.tensor([1.0, 1.0, 10 / 400]))
    bright, kept = full["event_time"][rows_of(full, 6)], thin["event_time"][rows_of(thin, 6)]
    assert torch.isin(kept, bright).all()
    place = torch.searchsorted(bright, kept)
    assert (place.diff() > 0).all()
    assert len(set(place.diff().tolist())) > 3  # not evenly spaced: gaps of Poisson noise stay what they are
    alone = EventFeatureExtractor(max_events=10)({name: column[6:7] for name, column in columns.items()})
    torch.testing.assert_close(alone["event_time"], kept)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"event_energy": [np.ones(3)]}, ValueError, "3 of event_energy"),
        ({"gti_stop": [np.ones(1)]}, ValueError, "1 of gti_stop"),
    ],
)
def test_lists_of_different_lengths_are_refused(
    columns: dict[str, Any], change: dict[str, Any], error: type[Exception], message: str
) -> None:
    row = {name: column[5:6] for name, column in columns.items()}
    with pytest.raises(error, match=message):
        EventFeatureExtractor()({**row, **change})
    del row["event_time"]
    with pytest.raises(KeyError, match="event_time"):
        EventFeatureExtractor()(row)


def test_good_times_are_optional(columns: dict[str, Any]) -> None:
    lists = {name: columns[name] for name in ("event_time", "event_energy")}
    from_zero = [np.array([0.0])] * 8, [row[-1:] if len(row) else np.array([1.0]) for row in columns["event_time"]]
    expected = EventFeatureExtractor()({**lists, "gti_start": from_zero[0], "gti_stop": from_zero[1]})
    result = EventFeatureExtractor()(lists)
    assert result["event_mask"].tolist() == [len(row) > 0 for row in columns["event_time"]]
    torch.testing.assert_close(result["event_values"], expected["event_values"])


def test_lists_without_energies_keep_their_photons(columns: dict[str, Any]) -> None:
    expected = EventFeatureExtractor()(columns)
    null, nan = dict(columns), dict(columns)
    null["event_energy"] = [None if row == 6 else energy for row, energy in enumerate(columns["event_energy"])]
    nan["event_energy"] = [energy * (np.nan if row == 6 else 1.0) for row, energy in enumerate(columns["event_energy"])]
    missing = {name: column for name, column in columns.items() if name != "event_energy"}
    for batch in (null, nan):
        result = EventFeatureExtractor()(batch)
        for key in ("event_time", "event_summary", "event_mask", "event_cu_seqlens"):
            assert torch.equal(result[key], expected[key]), key
        here = torch.zeros(len(result["event_band"]), dtype=torch.bool)
        here[rows_of(result, 6)] = True
        assert (result["event_band"][here] == -2).all()
        assert torch.equal(result["event_band"][~here], expected["event_band"][~here])
        assert not result["event_values"][here][:, 2].any()
    assert (EventFeatureExtractor()(missing)["event_band"] == -2).all()


@pytest.mark.parametrize("frame", [3.24104, 0.44104, 0.04, 1e-7])
def test_the_frame_is_found_in_the_times(frame: float) -> None:
    rng = np.random.default_rng(3)
    rate = {3.24104: 0.01, 0.44104: 0.05, 0.04: 1.0, 1e-7: 5.0}[frame]
    times = np.round(np.sort(rng.uniform(0.0, 3e4, int(3e4 * rate))) / frame) * frame
    result = EventFeatureExtractor()({"event_time": [times], "gti_start": [[0.0]], "gti_stop": [[3e4]]})
    if frame == 1e-7:  # no two of 150,000 photons are within 50 frames: nothing tells, and nothing is spurious
        assert result["event_frame"].item() < 1e-6
    else:
        assert result["event_frame"].item() == pytest.approx(frame, rel=1e-5)
    given = EventFeatureExtractor()(
        {"event_time": [times], "gti_start": [[0.0]], "gti_stop": [[3e4]], "frame_time": [0.2]}
    )
    assert given["event_frame"].item() == pytest.approx(0.2)


def test_times_without_frames_have_none(columns: dict[str, Any]) -> None:
    frames = EventFeatureExtractor()(columns)["event_frame"]
    assert not frames.any()
    tied = EventFeatureExtractor()({"event_time": [[1.0, 5.0, 5.0, 12.0]]})
    assert tied["event_frame"].item() > 0
