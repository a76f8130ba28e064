"""Grouping, interpolation and normalisation against the plain loops they replace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.models import SpectrumAutoencoderConfig, SpectrumAutoencoderModel, SpectrumFeatureExtractor


def reference_spectrum(
    counts: np.ndarray, background: np.ndarray, edges: np.ndarray, exposure: float, extractor: SpectrumFeatureExtractor
) -> np.ndarray:
    """One row, channel by channel: net counts/s/keV at the extractor's energies."""
    centres, rates = [], []
    total = net = 0.0
    low = high = None
    for channel in range(len(counts)):
        middle = 0.5 * (edges[channel] + edges[channel + 1])
        if not extractor.energy_min <= middle <= extractor.energy_max:
            continue
        low = edges[channel] if low is None else low
        high = edges[channel + 1]
        total += counts[channel]
        net += counts[channel] - background[channel]
        if total >= extractor.group_counts:
            centres.append(0.5 * (low + high))
            rates.append(net / exposure / (high - low))
            total, net, low = 0.0, 0.0, None
    if low is not None and high is not None:
        centres.append(0.5 * (low + high))
        rates.append(net / exposure / (high - low))
    return np.interp(extractor.energies, centres, rates)


def test_equals_a_channel_by_channel_loop() -> None:
    rng = np.random.default_rng(0)
    extractor = SpectrumFeatureExtractor()
    grids = [0.0146 * np.arange(1025), 0.005 * np.arange(4097), np.linspace(0.0, 12.0, 686)]
    rows: dict[str, list[Any]] = {"spectrum_counts": [], "spectrum_background": [], "channel_energy_edges": []}
    expected = []
    for row in range(9):
        edges = grids[row % 3]
        counts = rng.poisson(10.0 ** rng.uniform(-3, 1), len(edges) - 1)
        background = rng.poisson(0.3, len(edges) - 1)
        rows["spectrum_counts"].append(counts)
        rows["spectrum_background"].append(background)
        rows["channel_energy_edges"].append(None if row % 3 == 0 else edges)
        rate = reference_spectrum(counts, 0.2 * background, edges, 1e4, extractor)
        span = rate.max() - rate.min()
        expected.append((rate - rate.min()) / span if span > 0 else np.zeros_like(rate))
    result = extractor({**rows, "background_scale": [0.2] * 9, "exposure": [1e4] * 9}, return_tensors="np")
    np.testing.assert_allclose(result["spectrum_values"], expected, atol=1e-6)
    assert result["spectrum_values"].dtype == np.float32
    assert result["spectrum_mask"].all()


def test_summary_is_rate_counts_and_background_share() -> None:
    counts, background = np.zeros(1024, np.int32), np.zeros(1024, np.int32)
    counts[100:110], background[100:120] = 10, 5  # 100 counts, 100 background counts, all in the band
    result = SpectrumFeatureExtractor()(
        {
            "spectrum_counts": [counts],
            "spectrum_background": [background],
            "background_scale": [0.25],
            "exposure": [1e3],
        }
    )
    expected = torch.tensor([[np.log10(75 / 1e3), 2.0, 0.25]], dtype=torch.float32)
    torch.testing.assert_close(result["spectrum_summary"], expected)


@pytest.mark.parametrize("normalization", ["min_max", "sqrt", "asinh"])
def test_no_counts_give_no_nan(normalization: str) -> None:
    rows = {
        "spectrum_counts": [np.zeros(1024), None, np.zeros(0), np.zeros(1024)],
        "spectrum_background": [np.zeros(1024), None, None, np.ones(1024)],
        "background_scale": [0.1, None, None, 0.1],
        "exposure": [1e4, None, 1e4, 1e4],
    }
    result = SpectrumFeatureExtractor(normalization=normalization)(rows)
    assert result["spectrum_mask"].tolist() == [True, False, False, True]
    assert all(torch.isfinite(value).all() for value in (result["spectrum_values"], result["spectrum_summary"]))
    assert not result["spectrum_values"][1:3].any()
    assert not result["spectrum_summary"][1:3].any()


def test_decreasing_energies_are_put_in_order(columns: dict[str, Any]) -> None:
    edges = 0.0146 * np.arange(1025)
    names = ("spectrum_counts", "spectrum_background")
    forward = {**columns, "channel_energy_edges": [edges] * 8}
    backward = {**columns, "channel_energy_edges": [edges[::-1]] * 8}
    backward.update({name: [row[::-1] for row in columns[name]] for name in names})
    extractor = SpectrumFeatureExtractor()
    torch.testing.assert_close(extractor(backward)["spectrum_values"], extractor(forward)["spectrum_values"])


def test_every_kind_of_column_gives_the_same(columns: dict[str, Any]) -> None:
    names = ("spectrum_counts", "spectrum_background")
    keys = {"name": ["a"] * 8, "obsid": range(8), "obi": [0] * 8, "region_id": range(8), "split": ["train"] * 8}
    scalars = {name: columns[name] for name in ("background_scale", "exposure")}
    rows: list[Any] = list(columns["spectrum_counts"])
    rows[3] = None
    lists = {"spectrum_counts": rows, "spectrum_background": columns["spectrum_background"], **scalars}
    ragged = {**lists, **{name: Ragged.from_rows(lists[name]) for name in names}}
    table = build_table({**keys, **ragged})
    python = {**lists, **{name: [None if row is None else row.tolist() for row in lists[name]] for name in names}}
    tensors = {
        **lists,
        **{name: [None if row is None else torch.tensor(row) for row in lists[name]] for name in names},
    }
    sliced = pa.concat_tables([table.slice(0, 3), table]).slice(3)  # chunked, with an offset
    extractor = SpectrumFeatureExtractor()
    expected = extractor(lists)
    assert expected["spectrum_mask"].tolist() == [True] * 3 + [False] + [True] * 4
    other_types = [
        table.set_column(table.column_names.index(name), name, table[name].cast(kind))
        for name, kind in (
            ("spectrum_counts", pa.list_(pa.int64())),
            ("spectrum_counts", pa.large_list(pa.float64())),
            ("spectrum_background", pa.list_(pa.float32(), 1024)),
        )
    ]
    for batch in (ragged, table, python, tensors, sliced, *other_types):
        result = extractor(batch)
        for key, value in expected.items():
            torch.testing.assert_close(result[key], value)


def test_a_row_does_not_depend_on_its_batch(columns: dict[str, Any]) -> None:
    extractor = SpectrumFeatureExtractor()
    together = extractor(columns)["spectrum_values"]
    for row in range(8):
        alone = extractor({name: column[row : row + 1] for name, column in columns.items()})["spectrum_values"]
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"exposure": [0.0]}, "positive exposure"),
        ({"exposure": [np.nan]}, "positive exposure"),
        ({"exposure": pa.array([np.nan])}, "positive exposure"),
        ({"spectrum_background": [np.ones(10)]}, "1024 source and 10 background"),
        ({"channel_energy_edges": [np.ones(10)]}, "1025 energy edges"),
    ],
)
def test_what_cannot_be_used_is_refused(columns: dict[str, Any], change: dict[str, Any], message: str) -> None:
    row = {name: column[5:6] for name, column in columns.items()}
    with pytest.raises(ValueError, match=message):
        SpectrumFeatureExtractor()({**row, **change})


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="normalization"):
        SpectrumFeatureExtractor(normalization="log")
    with pytest.raises(KeyError, match="spectrum_counts"):
        SpectrumFeatureExtractor()({"exposure": [1e3]})


@pytest.mark.parametrize("normalization", ["min_max", "sqrt", "asinh"])
def test_without_exposure_only_the_rate_is_unknown(columns: dict[str, Any], normalization: str) -> None:
    extractor = SpectrumFeatureExtractor(normalization=normalization)
    known = extractor(columns)
    without = {name: column for name, column in columns.items() if name != "exposure"}
    exposure = list(columns["exposure"])
    exposure[3] = None
    for batch, unknown in ((without, range(8)), ({**columns, "exposure": exposure}, [3]),
                           ({**columns, "exposure": pa.array(exposure)}, [3])):  # fmt: skip
        result = extractor(batch)
        torch.testing.assert_close(result["spectrum_values"], known["spectrum_values"], rtol=1e-4, atol=1e-6)
        assert torch.equal(result["spectrum_summary"][:, 1:], known["spectrum_summary"][:, 1:])
        assert np.flatnonzero(result["spectrum_summary"][:, 0].isnan()).tolist() == [
            row for row in unknown if result["spectrum_mask"][row]
        ]


def test_an_unknown_rate_is_read_as_the_average_one() -> None:
    torch.manual_seed(0)
    config = SpectrumAutoencoderConfig(
        hidden_size=16, intermediate_size=16, latent_size=8, summary_mean=(-3.0, 2.0, 0.1)
    )
    encoder = SpectrumAutoencoderModel(config).encoder.eval()
    values = torch.rand(2, 400)
    unknown = encoder(values, torch.tensor([[np.nan, 1.5, 0.2]] * 2, dtype=torch.float32))
    torch.testing.assert_close(unknown, encoder(values, torch.tensor([[-3.0, 1.5, 0.2]] * 2)))
    unknown.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("reverse", [False, True])
def test_bad_channels_do_not_exist(reverse: bool) -> None:
    """As the spectrum of the good channels alone: a group's width is that of its channels."""
    rng = np.random.default_rng(4)
    extractor = SpectrumFeatureExtractor(normalization="asinh")
    edges = np.linspace(0.3, 9.0, 500)
    counts, background = rng.poisson(1.5, 499), rng.poisson(0.5, 499)
    quality = np.where(rng.random(499) < 0.2, rng.choice([-1, 1, 2, 5], 499), 0)
    good, low, high = quality == 0, edges[:-1], edges[1:]
    centres, rates, members = [], [], []
    for channel in np.flatnonzero(good & (low + high >= 1.0) & (low + high <= 16.0)):
        members.append(channel)
        if counts[members].sum() >= 5:
            centres.append(0.5 * (low[members[0]] + high[members[-1]]))
            net = (counts[members] - 0.2 * background[members]).sum()
            rates.append(net / 1e4 / (high[members] - low[members]).sum())
            members = []
    assert not members or len(centres) > 20
    if members:
        centres.append(0.5 * (low[members[0]] + high[members[-1]]))
        net = (counts[members] - 0.2 * background[members]).sum()
        rates.append(net / 1e4 / (high[members] - low[members]).sum())
    rate = np.interp(extractor.energies, centres, rates)
    counts[~good], background[~good] = 999, 777  # junk
    columns = {"spectrum_counts": counts, "spectrum_background": background, "spectrum_quality": quality}
    columns = {name: values[::-1] if reverse else values for name, values in columns.items()}
    row = {**columns, "channel_energy_edges": edges[::-1] if reverse else edges, "background_scale": 0.2,
           "exposure": 1e4}  # fmt: skip
    result = extractor([row, {**row, "spectrum_quality": None}], return_tensors="np")
    np.testing.assert_allclose(
        result["spectrum_values"][0], np.arcsinh(rate / np.abs(rate).mean()), rtol=1e-5, atol=1e-6
    )
    assert not np.allclose(result["spectrum_values"][0], result["spectrum_values"][1])
    used = good & (low + high >= 1.0) & (low + high <= 16.0)
    values = counts[used].sum() - 0.2 * background[used].sum()
    assert result["spectrum_summary"][0, 0] == pytest.approx(np.log10(values / 1e4), rel=1e-5)
    alone = extractor([row], return_tensors="np")
    np.testing.assert_array_equal(alone["spectrum_values"][0], result["spectrum_values"][0])


def test_a_spectrum_without_a_good_channel_is_none() -> None:
    row = {"spectrum_counts": np.ones(1024, int), "spectrum_quality": np.ones(1024, int), "exposure": 1e4}
    grouped = {**row, "spectrum_quality": np.full(1024, 2), "spectrum_grouping": np.tile([1, -1], 512)}
    result = SpectrumFeatureExtractor()([row, grouped], return_tensors="np")
    assert result["spectrum_mask"].tolist() == [False, True]
    with pytest.raises(ValueError, match="row 0: 1024 channels, and spectrum_quality has 3"):
        SpectrumFeatureExtractor()({**row, "spectrum_quality": np.ones(3, int)})


def test_rows_of_one_grid_give_what_their_edges_give(columns: dict[str, Any]) -> None:
    """Rows that all have the ACIS grid are read at once; edges written out take the way of all others."""
    columns["spectrum_counts"] = [None if row == 3 else counts for row, counts in enumerate(columns["spectrum_counts"])]
    background = columns["spectrum_background"]
    columns["spectrum_background"] = [None if row == 3 else counts for row, counts in enumerate(background)]
    quickly = SpectrumFeatureExtractor()(columns, return_tensors="np")
    edges = [0.0146 * np.arange(1025)] * len(background)
    each = SpectrumFeatureExtractor()({**columns, "channel_energy_edges": edges}, return_tensors="np")
    assert quickly["spectrum_mask"].tolist() == [row != 3 for row in range(8)]
    for name, values in each.items():
        np.testing.assert_array_equal(quickly[name], values, err_msg=name)
