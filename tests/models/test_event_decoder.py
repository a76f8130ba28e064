"""The count rate that event latents stand for: its integral, its level, and its resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.errors import InputFileError
from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from chandraclip.models.contract import load_rates
from chandraclip.models.event_transformer.bursts import Bursts

from .conftest import make_columns

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 12, "num_queries": 4,
         "decoder_hidden_size": 16}  # fmt: skip


@pytest.fixture
def decoding_model() -> EventTransformerModel:
    """Random weights, bursts and field among them."""
    torch.manual_seed(2)
    model = EventTransformerModel(EventTransformerConfig(**SMALL)).eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.decoder.output_projection.weight, std=0.3)
        torch.nn.init.normal_(model.burst_decoder.fc2.weight, std=0.3)
    return model


def test_integral_of_a_burst_of_ten_seconds_against_dense_quadrature() -> None:
    bursts = Bursts(
        torch.tensor([[0.3], [0.3], [0.5]]),
        torch.tensor([[1e-4], [1e-4], [0.1]]),  # 3 s up, 10 s down, in 30 ks
        torch.tensor([[3.3e-4], [3.3e-4], [0.3]]),
        torch.log(torch.tensor([[[1.0, 2.0, 4.0]]] * 3)),
    )
    gti = torch.tensor([[0.0, 1.0], [0.0, 0.3001], [0.6, 1.0], [0.1, 0.4], [0.55, 0.9]], dtype=torch.float64)
    row = torch.tensor([0, 1, 1, 2, 2])
    found = bursts.integral(gti, row)
    for number in range(3):
        total = 0.0
        for start, stop in gti[row == number].tolist():
            time = torch.linspace(start, stop, 2_000_001, dtype=torch.float64)
            middle = 0.5 * (time[1:] + time[:-1])
            rate = bursts.log_rate(middle, torch.full((len(middle),), number)).exp().sum(dim=1)
            total = total + rate.mean(dim=0) * (stop - start)
        torch.testing.assert_close(found[number].double(), total, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_expected_photons_are_the_integral_of_the_rate(decoding_model: EventTransformerModel, columns: dict) -> None:
    batch = EventFeatureExtractor()(columns)
    latents = decoding_model.encode(**batch)
    expected = decoding_model.expected_photons(latents, batch)
    time = (torch.arange(30_000, dtype=torch.float64) + 0.5) * 1.0
    good = (time < 7500.0) | (time > 22500.0)
    for row in (1, 6):
        rate = decoding_model.log_rate(latents, batch, time, torch.full((30_000,), row)).exp()
        torch.testing.assert_close(rate[good].sum(dim=0), expected[row], rtol=2e-3, atol=1e-3)


@torch.no_grad()
def test_a_list_twice_as_long_expects_twice_the_photons(decoding_model: EventTransformerModel) -> None:
    rng = np.random.default_rng(0)
    time, energy = np.sort(rng.uniform(0, 1e4, 200)), rng.uniform(0.5, 7.0, 200)
    once = {"event_time": [time], "event_energy": [energy], "gti_start": [[0.0]], "gti_stop": [[1e4]]}
    twice = {"event_time": [np.append(time, time + 1e4)], "event_energy": [np.append(energy, energy)],
             "gti_start": [[0.0]], "gti_stop": [[2e4]]}  # fmt: skip
    batches = [EventFeatureExtractor()(rows) for rows in (once, twice)]
    exposures = [10.0 ** batch["event_summary"][0, 1].item() for batch in batches]
    assert exposures[1] == pytest.approx(2 * exposures[0], rel=1e-5)
    one, two = (decoding_model.expected_photons(decoding_model.encode(**batch), batch).sum() for batch in batches)
    assert two.item() == pytest.approx(2 * one.item(), rel=0.005)  # half a photon is added to 200


@torch.no_grad()
def test_a_share_of_the_photons_stands_for_all(decoding_model: EventTransformerModel, columns: dict) -> None:
    batch, thin = EventFeatureExtractor()(columns), EventFeatureExtractor(max_events=100)(columns)
    all_of_them, some = (
        decoding_model.expected_photons(decoding_model.encode(**rows), rows)[6].sum() for rows in (batch, thin)
    )
    assert all_of_them.item() == pytest.approx(400.5, rel=1e-3)
    assert some.item() == pytest.approx(402.0, rel=1e-3)


def transient(seed: int, start: float, number: int = 40) -> dict[str, Any]:
    """30 ks of 40 steady photons, and as many in 10 s from `start`."""
    rng = np.random.default_rng(seed)
    time = np.append(rng.uniform(0, 3e4, 40), start + rng.uniform(0, 10.0, number))
    order = np.argsort(time)
    return {"event_time": time[order], "event_energy": rng.uniform(0.5, 7.0, len(time))[order],
            "gti_start": np.zeros(1), "gti_stop": np.full(1, 3e4)}  # fmt: skip


@torch.no_grad()
def test_attention_begins_at_a_burst() -> None:
    torch.manual_seed(0)
    model = EventTransformerModel(EventTransformerConfig(**SMALL)).eval()
    starts = np.array([3000.0, 17_777.0, 29_000.0])
    batch = EventFeatureExtractor()([transient(seed, start) for seed, start in enumerate(starts)])
    centre = model.encode(**batch)[:, 3].double() / 12**0.5 + 0.5
    assert (np.abs(centre.numpy() * 3e4 - (starts + 5.0)) < 6.0).all()  # of 30,000 s
    # As it is before anything is learned, the rate is highest there.
    latents = model.encode(**batch)
    row = torch.arange(3)
    at_burst = model.log_rate(latents, batch, torch.tensor(starts + 5.0), row)
    before = model.log_rate(latents, batch, torch.tensor(starts - 2000.0), row)
    assert (at_burst > before + 0.3).all()


def test_learns_a_transient_of_ten_seconds() -> None:
    rng = np.random.default_rng(5)
    rows = [transient(seed, rng.uniform(100.0, 2.9e4)) for seed in range(48)]
    batch = EventFeatureExtractor()(rows[:32])
    torch.manual_seed(0)
    model = EventTransformerModel(EventTransformerConfig(**SMALL)).train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    unseen = EventFeatureExtractor()(rows[32:])
    latents = model.encode(**unseen)
    time = torch.tensor(np.concatenate([row["event_time"] for row in rows[32:]]))
    row = torch.repeat_interleave(unseen["event_cu_seqlens"].diff())
    rate = model.log_rate(latents, unseen, time, row).logsumexp(dim=1)
    # 40 of 80 photons are in 1 of 3,000 parts of the time: 1,500 times the mean rate, ln 7.3; the field's highest
    # frequency has a period of 470 s, where they would be 32 times it.
    mean = np.log(80 / 3e4)
    highest = rate.new_full((16,), -torch.inf).scatter_reduce(0, row, rate, "amax")
    assert (highest - mean > np.log(150.0)).float().mean() > 0.9
    assert (model.expected_photons(latents, unseen).sum(dim=1) - 80.5).abs().max() < 0.5


@torch.no_grad()
def test_lists_without_energies_are_one_band(decoding_model: EventTransformerModel) -> None:
    columns = make_columns()
    columns["event_energy"] = [None] * 8
    batch = EventFeatureExtractor()(columns)
    output = decoding_model(**batch)
    assert torch.isfinite(output.loss)
    assert torch.isfinite(output.latents).all()
    expected = decoding_model.expected_photons(output.latents, batch).sum(dim=1)
    torch.testing.assert_close(expected, torch.tensor([0.5, 1.5, 2.5, 63.5, 64.5, 65.5, 400.5, 7.5]), rtol=1e-3, atol=0)
    torch.testing.assert_close(output.latents[:, 1:3], torch.zeros(8, 2))
    with torch.enable_grad():
        decoding_model.train()(**batch).loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in decoding_model.parameters() if p.grad is not None)


def test_a_model_of_version_2_does_not_decode(tmp_path: Path) -> None:
    model = EventTransformerModel(EventTransformerConfig(**SMALL, num_scales=0, num_bursts=0, min_thinning=0.0,
                                                         statistics_weight=0.0, own_statistics_weight=0.0))  # fmt: skip
    batch = EventFeatureExtractor()(make_columns())
    latents = model(**batch).latents
    with pytest.raises(NotImplementedError, match="version 2"):
        model.expected_photons(latents, batch)
    model.save_pretrained(tmp_path)
    EventFeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(InputFileError, match="earlier form"):
        load_rates(tmp_path)
