"""The event encoder sees a set, its loss is the likelihood, and both learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from chandraclip.models.event_transformer.point_process import (
    evenly_spaced_events,
    point_process_loss,
    reference_log_rate,
)

from .conftest import make_columns

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 12, "num_queries": 4}


@pytest.fixture
def event_model() -> EventTransformerModel:
    torch.manual_seed(0)
    return EventTransformerModel(EventTransformerConfig(**SMALL, chunk_size=16)).eval()


@pytest.fixture
def batch(columns: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(EventFeatureExtractor(mesh_size=32)(columns))


@torch.no_grad()
def test_order_of_the_photons_does_not_matter(event_model: EventTransformerModel, columns: dict[str, Any]) -> None:
    columns["event_time"] = [np.round(row / 3.24) * 3.24 for row in columns["event_time"]]
    order = [np.random.default_rng(row).permutation(len(time)) for row, time in enumerate(columns["event_time"])]
    shuffled = dict(columns)
    for name in ("event_time", "event_energy"):
        shuffled[name] = [row[index] for row, index in zip(columns[name], order)]
    left, right = (event_model.encode(**EventFeatureExtractor()(rows)) for rows in (columns, shuffled))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_absolute_time_does_not_matter(event_model: EventTransformerModel, columns: dict[str, Any]) -> None:
    later = dict(columns)
    for name in ("event_time", "gti_start", "gti_stop"):
        later[name] = [row + 2.0**20 for row in columns[name]]
    left, right = (event_model.encode(**EventFeatureExtractor()(rows)) for rows in (columns, later))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_neither_the_batch_nor_the_chunks_matter(
    event_model: EventTransformerModel, batch: dict, columns: dict
) -> None:
    latents = event_model.encode(**batch)
    assert torch.isfinite(latents).all()  # the first list is empty
    for row in range(8):
        alone = EventFeatureExtractor()({name: column[row : row + 1] for name, column in columns.items()})
        torch.testing.assert_close(event_model.encode(**alone)[0], latents[row], rtol=1e-4, atol=1e-5)
    event_model.encoder.config.chunk_size = 5
    torch.testing.assert_close(event_model.encode(**batch), latents, rtol=1e-4, atol=1e-5)


def test_every_photon_has_a_gradient(event_model: EventTransformerModel, batch: dict) -> None:
    values = batch["event_values"].clone().requires_grad_()
    latents = event_model.encode(**{**batch, "event_values": values})
    (gradient,) = torch.autograd.grad(latents[:, 3:].square().sum(), values, retain_graph=True)
    assert (gradient.abs().sum(dim=1) > 0).all()
    (gradient,) = torch.autograd.grad(latents[6].sum(), values)
    inside = torch.zeros(len(values), dtype=torch.bool)
    inside[slice(*batch["event_cu_seqlens"][6:8].tolist())] = True
    assert not gradient[~inside].any()


def test_every_parameter_has_a_gradient(event_model: EventTransformerModel, batch: dict) -> None:
    with torch.no_grad():  # zero at the start, which stops the gradient of what is before
        torch.nn.init.normal_(event_model.decoder.output_projection.weight)
        for block in event_model.decoder.blocks:
            torch.nn.init.normal_(block.fc2.weight)
        torch.nn.init.normal_(event_model.burst_decoder.fc2.weight, std=0.1)
    event_model.train()(**batch).loss.backward()
    without = [name for name, parameter in event_model.named_parameters() if parameter.grad is None]
    assert not without
    # Keys get one from where scores differ; their bias shifts all scores of a query alike and gets none.
    zero = [name for name, parameter in event_model.named_parameters() if not parameter.grad.any()]
    assert all(name.endswith("k_proj.bias") for name in zero), zero


def test_without_thinning_no_parameter_is_without_a_loss(batch: dict) -> None:
    """Statistics, consistency and planting are of parts of a list: their heads exist only where there are parts."""
    torch.manual_seed(0)
    model = EventTransformerModel(EventTransformerConfig(**SMALL, min_thinning=0.0))
    assert not any("statistics_head" in name or "planted_head" in name for name, _ in model.named_parameters())
    model(**batch).loss.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_loss_is_the_likelihood_of_a_known_rate() -> None:
    # One list, rate proportional to 1 + t in band 1 only (others e^-20), good time in the first half of the mesh.
    num_cells = 400
    mesh_weight = torch.ones(1, num_cells)
    mesh_weight[:, num_cells // 2 :] = 0.0
    time = torch.tensor([0.1, 0.2, 0.45, 0.3])
    band = torch.tensor([1, 1, 1, -1])
    cu = torch.tensor([0, 4])
    reference = reference_log_rate(band, cu, mesh_weight)
    torch.testing.assert_close(reference, torch.tensor([math.log(3 / (3 * 0.5))]))

    def field(at: torch.Tensor, row: torch.Tensor | None) -> torch.Tensor:
        log_rate = torch.full((*at.shape, 3), -20.0)
        log_rate[..., 1] = torch.log1p(at)
        return log_rate[None] if row is None else log_rate

    loss, log_rate = point_process_loss(field, reference, time, band, cu, mesh_weight)
    scale = math.exp(reference.item())
    integral = scale * (0.5 + 0.5**2 / 2)
    likelihood = sum(math.log(scale * (1 + t)) for t in (0.1, 0.2, 0.45))
    torch.testing.assert_close(loss, torch.tensor([(integral - likelihood) / 3]), rtol=1e-5, atol=1e-5)
    assert log_rate.shape == (1, num_cells, 3)

    varied, _ = point_process_loss(field, reference, time, band, cu, mesh_weight, total_variation_weight=2.0)
    step = scale * (1.0 - 1.0 / num_cells)  # the rate rises by this over the cell centres
    torch.testing.assert_close(varied - loss, torch.tensor([2.0 * step / 3 / 3]), rtol=1e-4, atol=1e-5)


def test_the_constant_rate_is_the_best_constant(event_model: EventTransformerModel, batch: dict) -> None:
    rows = slice(5, 7)
    losses = []
    for shift in (-0.1, 0.0, 0.1):
        reference = reference_log_rate(batch["event_band"], batch["event_cu_seqlens"], batch["mesh_weight"]) + shift
        row_loss, _ = point_process_loss(
            lambda time, row: torch.zeros((len(time), 3)) if row is not None else torch.zeros((8, len(time), 3)),
            reference,
            batch["event_time"],
            batch["event_band"],
            batch["event_cu_seqlens"],
            batch["mesh_weight"],
        )
        losses.append(row_loss[rows])
    assert (losses[1] < losses[0]).all()
    assert (losses[1] < losses[2]).all()


def test_thinned_likelihood_stands_for_all() -> None:
    index, row, weight = evenly_spaced_events(torch.tensor([0, 0, 3, 1003]), 10)
    assert row.tolist() == [1] * 3 + [2] * 10
    assert index.tolist() == [0, 1, 2, *range(53, 1003, 100)]
    assert weight.tolist() == [1.0] * 3 + [100.0] * 10


def test_masked_rows_do_not_count(event_model: EventTransformerModel, batch: dict) -> None:
    mask = torch.tensor([False, True] * 4)
    loss = event_model(**{**batch, "event_mask": mask}).loss
    each = [event_model(**{**batch, "event_mask": torch.arange(8) == row}).loss for row in range(8) if mask[row]]
    torch.testing.assert_close(loss, torch.stack(each).mean())
    assert event_model(**{**batch, "event_mask": torch.zeros(8, dtype=torch.bool)}).loss == 0


def test_learns_where_the_photons_are() -> None:
    rng = np.random.default_rng(0)
    columns = make_columns(num_photons=(200,) * 8)
    for row in range(8):  # half of the lists burst early, half late
        centre = 5e3 if row % 2 else 2.5e4
        columns["event_time"][row] = np.clip(rng.normal(centre, 500.0, 200), 0.0, 3e4)
    columns["gti_start"], columns["gti_stop"] = [np.zeros(1)] * 8, [np.full(1, 3e4)] * 8
    batch = EventFeatureExtractor(mesh_size=128)(columns)
    torch.manual_seed(0)
    model = EventTransformerModel(EventTransformerConfig(**SMALL)).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(100):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    output = model.eval()(**batch)
    rate = output.log_rate.exp().sum(dim=-1)
    early, late = rate[:, :64].mean(dim=1), rate[:, 64:].mean(dim=1)
    assert (early > late).tolist() == [False, True] * 4
    # The true rate's own value: N photons normal in time with sigma 500 s of 30 ks, uniform over the bands' 6.5 keV.
    share = np.array([0.7, 0.8, 5.0]) / 6.5
    entropy = 0.5 * np.log(2 * np.pi * np.e) + np.log(500.0 / 3e4) - (share * np.log(share)).sum()
    row = torch.repeat_interleave(batch["event_cu_seqlens"].diff())
    log_rate = model.log_rate(output.latents, batch, torch.tensor(np.concatenate(columns["event_time"])), row)
    log_rate = log_rate.gather(1, batch["event_band"][:, None]) + math.log(3e4)  # per observation length
    found = (model.expected_photons(output.latents, batch).sum() - log_rate.sum()) / len(row)
    assert found.item() == pytest.approx(1.0 - np.log(200) + entropy, abs=0.1)


def test_wrong_features_are_refused(event_model: EventTransformerModel, batch: dict) -> None:
    with pytest.raises(ValueError, match="3 features"):
        event_model(**{**batch, "event_values": batch["event_values"][:, :2]})


def test_bfloat16_autocast_on_the_cpu(event_model: EventTransformerModel, batch: dict) -> None:
    expected = event_model(**batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = event_model(**batch)
    half.loss.backward()
    scale = expected.latents.abs().max()
    assert (half.latents.float() - expected.latents).abs().max() < 0.05 * scale
    assert all(
        torch.isfinite(parameter.grad).all() for parameter in event_model.parameters() if parameter.grad is not None
    )
