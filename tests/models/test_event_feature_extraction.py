"""Photon features against a loop over one list, and what must not change them."""

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
    before, after = np.array([10.0, 20.0, 20.0]), np.array([20.0, 20.0, 10.0])
    mean = 60.0 / 4
    expected = np.stack(
        [
            [0.1, 0.3, 0.9],
            elapsed / 60.0,
            (np.log10([1.0, 8.0, 2.5]) - 0.2) / 0.35,
            np.log10(before / mean),
            np.log10(after / mean),
        ],
        axis=1,
    )
    np.testing.assert_allclose(result["event_values"], expected, atol=1e-6)
    np.testing.assert_allclose(result["event_time"], [0.1, 0.3, 0.9], atol=1e-7)
    assert result["event_band"].tolist() == [0, -1, 2]
    np.testing.assert_allclose(result["event_summary"], [np.log10([3.0, 60.0, 100.0])], atol=1e-6)
    np.testing.assert_allclose(result["mesh_weight"], [[1.0, 15 / 25, 0.0, 20 / 25]], atol=1e-6)


def test_bands_and_dropped_photons() -> None:
    energy = np.array([0.2, 0.3, 0.499, 0.5, 1.19, 1.2, 2.0, 6.99, 7.0, 10.0, 10.1, np.nan])
    result = EventFeatureExtractor()(
        {
            "event_time": [np.append(np.arange(11.0), np.nan)],
            "event_energy": [energy],
            "gti_start": [[0.0]],
            "gti_stop": [[12.0]],
        }
    )
    assert result["event_band"].tolist() == [-1, -1, 0, 0, 1, 2, 2, -1, -1]
    assert result["event_summary"][0, 0] == pytest.approx(np.log10(9))


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
        for key in ("event_mask", "event_summary", "mesh_weight"):
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


def test_thinning_is_even_and_keeps_the_features(columns: dict[str, Any]) -> None:
    full, thin = EventFeatureExtractor()(columns), EventFeatureExtractor(max_events=10)(columns)
    assert thin["event_cu_seqlens"].diff().tolist() == [min(count, 10) for count in full["event_cu_seqlens"].diff()]
    assert torch.equal(thin["event_summary"], full["event_summary"])
    bright, kept = full["event_values"][rows_of(full, 6)], thin["event_values"][rows_of(thin, 6)]
    assert torch.equal(kept, bright[20::40])  # 400 photons: the 21st and every 40th after


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
    del row["event_energy"]
    with pytest.raises(KeyError, match="event_energy"):
        EventFeatureExtractor()(row)


def test_good_times_are_optional(columns: dict[str, Any]) -> None:
    lists = {name: columns[name] for name in ("event_time", "event_energy")}
    from_zero = [np.array([0.0])] * 8, [row[-1:] if len(row) else np.array([1.0]) for row in columns["event_time"]]
    expected = EventFeatureExtractor()({**lists, "gti_start": from_zero[0], "gti_stop": from_zero[1]})
    result = EventFeatureExtractor()(lists)
    assert result["event_mask"].tolist() == [len(row) > 0 for row in columns["event_time"]]
    torch.testing.assert_close(result["event_values"], expected["event_values"])
