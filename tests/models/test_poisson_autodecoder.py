"""PPAD: the decoder, the loss, fits of latents, and its training in three stages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from transformers import AutoModel

from chandraclip.models import PoissonAutodecoderConfig, PoissonAutodecoderFeatureExtractor, PoissonAutodecoderModel
from chandraclip.models.contract import plan_training
from chandraclip.models.poisson_autodecoder.latent_fit import fit_latents
from chandraclip.models.poisson_autodecoder.modeling_poisson_autodecoder import photon_lists
from chandraclip.models.poisson_autodecoder.point_process import (
    PhotonLists,
    autodecoder_loss,
    negative_log_likelihood,
)
from chandraclip.models.poisson_autodecoder.rate_decoder import DecodedLists
from detection_columns import make_columns

CONFIGS = Path(__file__).resolve().parents[2] / "training" / "configs"
SCALE = 28_800.0


def small_model(**options: Any) -> PoissonAutodecoderModel:
    """Random weights, its blocks too, so that the rate depends on all of them."""
    torch.manual_seed(0)
    model = PoissonAutodecoderModel(
        PoissonAutodecoderConfig(decoder_hidden_size=16, num_decoder_blocks=2, mesh_size=64, **options)
    )
    for block in model.decoder.blocks:
        nn.init.normal_(block.fc2.weight, std=0.1)
    return model.eval()


def features(columns: dict[str, Any], **options: Any) -> dict[str, Tensor]:
    return dict(PoissonAutodecoderFeatureExtractor(mesh_size=64, **options)(columns))


@pytest.mark.parametrize(
    ("options", "number"), [({}, 2_645_507), ({"decoder_hidden_size": 32}, 11_747)], ids=["published", "small"]
)
def test_the_decoder_has_the_published_number_of_parameters(options, number):
    model = PoissonAutodecoderModel(PoissonAutodecoderConfig(**options))
    assert sum(parameter.numel() for parameter in model.decoder.parameters()) == number
    assert model.num_parameters() == number  # and no latents before it is trained


def test_initial_weights_are_those_published():
    torch.manual_seed(1)
    decoder = PoissonAutodecoderModel(PoissonAutodecoderConfig()).decoder
    assert len(decoder.blocks) == 5
    for name, parameter in decoder.named_parameters():
        if name.endswith("bias") or "fc2" in name:
            assert not parameter.any(), name
        else:  # normal, of variance 2 / inputs
            assert parameter.std().item() == pytest.approx(np.sqrt(2 / parameter.shape[1]), rel=0.06), name


def test_the_shipped_configurations_are_the_published_ones_but_for_what_they_say():
    published, small = (yaml.safe_load((CONFIGS / f"events_ppad{name}.yaml").read_text()) for name in ("", "_small"))
    assert "model_options" not in published
    assert (published["learning_rate"], published["batch_size"], published["max_grad_norm"]) == (1e-5, 16, 10)
    assert (published["schedule"], published["plateau_patience"], published["plateau_factor"]) == ("plateau", 50, 0.5)
    assert set(small["model_options"]) == {"decoder_hidden_size"}
    config = PoissonAutodecoderConfig()
    assert (config.mesh_size, config.total_variation_weight, config.latent_weight) == (2048, 10, 1)
    assert (config.num_fit_steps, config.fit_learning_rate) == (400, 0.01)


def direct_log_rate(model: PoissonAutodecoderModel, time: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """The network as its description has it, in float64: one vector of encoding and latents a point."""
    weights = {name: value.detach().double().numpy() for name, value in model.decoder.named_parameters()}
    angle = np.pi * 2.0 ** np.arange(12) * time[:, None]
    inputs = np.concatenate([time[:, None], np.sin(angle), np.cos(angle), np.tile(latents, (len(time), 1))], axis=1)

    def linear(name: str, values: np.ndarray) -> np.ndarray:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    hidden = linear("input_projection", inputs)
    for number in range(len(model.decoder.blocks)):
        inner = linear(f"blocks.{number}.fc1", np.maximum(hidden, 0))
        hidden = hidden + linear(f"blocks.{number}.fc2", np.maximum(inner, 0))
    return linear("output_projection", np.maximum(hidden, 0))


@pytest.mark.parametrize("options", [False, True], ids=["published", "good time and background"])
def test_the_loss_is_its_formula(options):
    model = small_model().double()
    rng = np.random.default_rng(2)
    counts, duration = (0, 1, 2, 30), np.array([0.5, 0.3, 1.0, 0.8])
    times = [np.sort(rng.uniform(0, end, count)) for count, end in zip(counts, duration)]
    bands = [rng.integers(0, 3, count) for count in counts]
    share = rng.uniform(0, 1, (4, 64)) if options else np.ones((4, 64))
    background = np.array([[0.0, 3.0, 2.0]] * 4) if options else np.zeros((4, 3))
    lists = PhotonLists(
        torch.tensor(np.concatenate(times)),
        torch.tensor(np.concatenate(bands)),
        torch.tensor([0, *np.cumsum(counts)]),
        torch.tensor(duration),
        torch.tensor(share) if options else None,
        torch.tensor(background) if options else None,
    )
    latents = rng.normal(0, 1, (4, 8))
    points = DecodedLists(model.decoder, lists.mesh(64), lists.time, lists.row)
    found, _ = autodecoder_loss(*points.log_rate(torch.tensor(latents)), torch.tensor(latents), lists, 10.0, 1.0)
    for row in range(4):
        mesh = np.linspace(0, duration[row], 65)
        source = np.exp(direct_log_rate(model, mesh, latents[row]))
        at_photons = np.exp(direct_log_rate(model, times[row], latents[row]))
        total = source + background[row]
        integral = np.sum(0.5 * (total[1:] + total[:-1]) * share[row][:, None]) * duration[row] / 64
        observed = (at_photons + background[row])[np.arange(counts[row]), bands[row]]
        expected = integral - np.log(observed).sum() + 10 * np.abs(np.diff(source, axis=0)).mean()
        if counts[row] > 1:
            expected += 10 * np.abs(np.diff(at_photons, axis=0)).mean()
        assert found[row].item() == pytest.approx(expected + np.sum(latents[row] ** 2), rel=1e-9), row


def simulated(rate: Callable[[np.ndarray], np.ndarray], highest: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Photons of a rate in 3 bands over [0, 1] by thinning: times and bands."""
    rng = np.random.default_rng(seed)
    time, band = rng.uniform(0, 1, rng.poisson(3 * highest)), None
    band = rng.integers(0, 3, len(time))
    kept = rng.uniform(0, highest, len(time)) < rate(time)[np.arange(len(time)), band]
    order = np.argsort(time[kept])
    return time[kept][order], band[kept][order]


def test_the_likelihood_is_highest_at_the_rate_that_made_the_photons():
    def log_rate(time: np.ndarray, level: float = 0.0, contrast: float = 1.0, shift: float = 0.0) -> np.ndarray:
        wave = contrast * np.sin(2 * np.pi * (time + shift))
        return np.stack([7 + level + wave, 6.5 + level - wave, 6 + level + 0 * time], axis=1)

    time, band = simulated(lambda at: np.exp(log_rate(at)), np.exp(8.0), 3)
    lists = PhotonLists(
        torch.tensor(time), torch.tensor(band), torch.tensor([0, len(time)]), torch.ones(1, dtype=torch.float64)
    )

    def value(**changed: float) -> float:
        rates = (torch.tensor(log_rate(at, **changed)) for at in (np.linspace(0, 1, 2049), time))
        on_mesh, at_photons = rates
        return negative_log_likelihood(on_mesh[None], at_photons, lists).item()

    for changed in ({"level": 0.1}, {"level": -0.1}, {"contrast": 0.8}, {"contrast": 1.2}, {"shift": 0.03}):
        # 2 x the difference is chi squared of one degree; 10 is 4.5 sigma.
        assert value() < value(**changed) - 10, changed


def test_good_time_is_the_union_of_the_intervals():
    columns = make_columns(0, (40, 40, 0))
    columns["gti_start"] = [np.array([100.0, 900.0, 500.0]), np.array([0.0]), np.array([0.0, 50.0])]
    columns["gti_stop"] = [np.array([600.0, 1300.0, 700.0]), np.array([1e4]), np.array([40.0, 100.0])]
    batch = features(columns, use_good_time=True, max_duration=None)
    edges = np.linspace(0, 1200, 65) + 100
    fine = np.linspace(100, 1300, 64 * 1000 + 1)
    good = ((fine > 100) & (fine < 700)) | (fine > 900)
    expected = good[1:].reshape(64, 1000).mean(axis=1)
    assert len(edges) == 65
    np.testing.assert_allclose(batch["good_share"][0].numpy(), expected, atol=2e-3)
    np.testing.assert_allclose(batch["good_duration"].numpy() * SCALE, [1200, 1e4, 100], rtol=1e-6)
    assert batch["event_start"].tolist() == [100, 0, 0]
    assert batch["event_mask"].all()  # no photon in 90 s is a measurement
    assert not features(columns)["event_mask"][2]  # but not of what is published


def test_known_good_time_gives_the_rate_inside_it():
    """A constant rate with a gap: the likelihood of good time is highest at N / exposure, that as published lower."""
    columns = make_columns(1, (400,))
    level = np.linspace(-2, 2, 4001)
    best = {}
    for known in (True, False):
        lists = photon_lists(features(columns, use_good_time=known, max_duration=None))
        photons = len(lists.time)
        of_level = []
        for part in level.tolist():
            log_rate = np.log(photons / 3) + part
            on_mesh, at_photons = (torch.full((*shape, 3), log_rate) for shape in ((1, 65), (photons,)))
            of_level.append(negative_log_likelihood(on_mesh, at_photons, lists).item())
        best[known] = photons * float(np.exp(level[np.argmin(of_level)]))
    exposure, last = 1.5e4 / SCALE, columns["event_time"][0][-1] / SCALE
    assert best[True] == pytest.approx(400 / exposure, rel=0.02)
    assert best[False] == pytest.approx(400 / last, rel=0.02)


def test_the_background_is_that_of_the_spectrum_in_the_bands():
    columns = make_columns(0, (5, 9))
    columns["background_scale"] = [0.1, None]
    batch = features(columns, use_background=True)
    middle = 0.0146 * (np.arange(1024) + 0.5)
    counts = columns["spectrum_background"][0]
    inside = [counts[(middle >= low) & (middle < high)].sum() for low, high in pairwise((0.5, 1.2, 2.0, 7.0))]
    expected = 0.1 * np.array(inside) / columns["exposure"][0] * SCALE
    np.testing.assert_allclose(batch["event_background"][0].numpy(), expected, rtol=1e-6)
    assert not batch["event_background"][1].any()
    with pytest.raises(KeyError, match="a background needs the columns"):
        features({name: columns[name] for name in ("event_time", "event_energy")}, use_background=True)


def test_absolute_time_does_not_matter():
    columns = make_columns(0)
    moved = dict(columns)
    for name in ("event_time", "gti_start", "gti_stop"):
        moved[name] = [values + 4e8 for values in columns[name]]
    model = small_model(num_fit_steps=20)
    with torch.no_grad():
        expected, found = model.encode(**features(columns)), model.encode(**features(moved))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)  # of times in float32


@pytest.fixture(scope="module")
def fitted() -> tuple[PoissonAutodecoderModel, dict[str, Tensor], Tensor]:
    model = small_model(num_fit_steps=30)
    batch = features(make_columns(4, (3, 200, 0, 15, 60)))
    with torch.inference_mode():  # as everything that embeds does
        return model, batch, model.encode(**batch)


def test_a_fit_lowers_the_loss_of_every_list_and_leaves_the_decoder_alone(fitted):
    model, batch, latents = fitted
    lists = photon_lists(batch)

    def losses(values: Tensor) -> Tensor:
        points = DecodedLists(model.decoder, lists.mesh(64), lists.time, lists.row)
        return autodecoder_loss(*points.log_rate(values), values, lists, 10.0, 1.0)[0]

    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        start, end = losses(torch.zeros(5, 8)), losses(latents.clone())
    assert (end < start - 0.01).logical_or(~batch["event_mask"]).all()
    assert torch.isfinite(latents).all()
    assert not latents.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("max_fit_points", [1, 150, 10**6])
def test_fits_are_the_same_however_lists_are_taken_together(fitted, max_fit_points):
    model, batch, latents = fitted
    model.config.max_fit_points = max_fit_points
    again = model.encode(**batch)
    torch.testing.assert_close(again, latents, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.encode(**batch), again)
    model.config.max_fit_points = None


def test_a_fit_does_not_depend_on_the_lists_beside_it(fitted):
    model, batch, latents = fitted
    lists = photon_lists(batch)
    for row in range(5):
        alone = fit_latents(model.decoder, lists.slice(row, row + 1), torch.zeros(8), model.config)
        torch.testing.assert_close(alone[0], latents[row], rtol=1e-4, atol=1e-5)


def test_a_fit_is_that_of_an_optimizer_of_one_list(fitted):
    """The published way: the mean of a batch of one, latents as the only parameter, the whole network at each step."""
    model, batch, latents = fitted
    lists = photon_lists(batch).slice(1, 2)
    values = torch.zeros(1, 8, requires_grad=True)
    optimizer = torch.optim.Adam([values], lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        points = DecodedLists(model.decoder, lists.mesh(64), lists.time, lists.row)
        autodecoder_loss(*points.log_rate(values), values, lists, 10.0, 1.0)[0].mean().backward()
        optimizer.step()
    model.zero_grad()
    for parameter in model.parameters():
        parameter.grad = None
    torch.testing.assert_close(values[0].detach(), latents[1], rtol=1e-4, atol=1e-5)


def test_fits_begin_at_the_mean_training_latent_which_is_saved(tmp_path):
    model = small_model(num_training_lists=5, num_fit_steps=0)
    batch = features(make_columns(0))
    found = model.encode(**batch)
    torch.testing.assert_close(found[3], model.training_latents.detach().mean(dim=0))
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert torch.equal(loaded.training_latents, model.training_latents)
    assert torch.equal(loaded.encode(**batch), found)


def test_training_takes_the_latents_of_the_table():
    model = small_model(num_training_lists=20).train()
    batch = features(make_columns(0))
    numbers = torch.tensor([3, 1, 19, 0, 7, 8, 9, 2])
    output = model(row_index=numbers, **batch)
    assert torch.equal(output.latents, model.training_latents[numbers])
    output.loss.backward()
    touched = set(numbers[batch["event_mask"]].tolist())
    assert {row for row in range(20) if model.training_latents.grad[row].any()} == touched
    parts = output.loss_parts
    total = parts["negative_log_likelihood"] + 10 * parts["total_variation"] + parts["squared_latents"]
    torch.testing.assert_close(output.loss, total)


@pytest.mark.parametrize("options", [{}, {"use_good_time": True, "use_background": True}], ids=["published", "options"])
def test_rates_are_those_of_the_decoder_a_second(options):
    model = small_model()
    nn.init.zeros_(model.decoder.output_projection.weight)  # a constant rate
    model.decoder.output_projection.bias.data = torch.tensor([1.0, 2.0, 3.0])
    columns = make_columns(0, (50, 7), exposure=6e4)  # good in 0-15 and 45-60 ks; the model's time ends at 28.8 ks
    batch = features(columns, **options)
    latents = torch.randn(2, 8)
    expected = torch.tensor([1.0, 2.0, 3.0]).exp().expand(2, 3).clone()
    if options:
        expected += batch["event_background"]
    time = torch.tensor([10.0, 5e4, 2e4], dtype=torch.float64)
    row = torch.tensor([0, 1, 1])
    with torch.no_grad():
        found = model.log_rate(latents, batch, time, row)
        photons = model.expected_photons(latents, batch)
    torch.testing.assert_close(found, (expected / SCALE).log()[row], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(photons, expected * 3e4 / SCALE, rtol=2e-3, atol=0)


def test_expected_photons_are_the_integral_of_the_rate():
    model = small_model(num_frequencies=3)  # which 64 steps resolve
    batch = features(make_columns(0, (50, 7)))
    latents = torch.randn(2, 8)
    fine = torch.linspace(0, 2.88e4, 200_001, dtype=torch.float64)
    good = (fine < 7.5e3) | (fine > 2.25e4)
    with torch.no_grad():
        photons = model.expected_photons(latents, batch)
        rate = model.log_rate(latents, batch, fine, torch.ones(len(fine), dtype=torch.int64)).exp().double()
        mean = torch.trapezoid(rate, fine, dim=0) / 2.88e4
    # 64 steps of the mesh against 200,000; past 8 h the rate is the mean.
    expected = torch.trapezoid(rate * good[:, None], fine, dim=0) + mean * 1.2e3
    torch.testing.assert_close(photons[1].double(), expected, rtol=0.01, atol=0)


def test_a_mesh_that_differs_is_refused():
    with pytest.raises(ValueError, match=r"mesh of 64 steps.*2048"):
        small_model().check_feature_extractor(PoissonAutodecoderFeatureExtractor())


def test_an_unknown_option_of_the_training_is_refused():
    with pytest.raises(ValueError, match="has no option filtered; it has windows"):
        plan_training(small_model(), None, 0, {"filtered": 3})


def test_it_cannot_be_a_tower(run_loop, tmp_path):
    from chandraclip.errors import InputFileError
    from chandraclip.models.contract import tower_encoder

    with pytest.raises(ValueError, match="a poisson_autodecoder has no encoder"):
        tower_encoder(PoissonAutodecoderConfig(), "event")
    with pytest.raises(InputFileError, match=r"events_ppad_small\.yaml.*has no encoder.*event_transformer"):
        run_loop("align", "--event_config", CONFIGS / "events_ppad_small.yaml", "--output_dir", tmp_path / "align",
                 "--dataset", tmp_path)  # fmt: skip
    assert not (tmp_path / "align").exists()


def test_lists_whose_energies_are_not_known_are_masked():
    columns = make_columns()
    energies = [np.array(row, dtype=np.float64) for row in columns["event_energy"]]
    energies[4] = None  # none was given
    energies[6] = np.full(len(energies[6]), np.nan)
    energies[7][::2] = np.nan  # half of them: those are left out, the list is not
    columns["event_energy"] = energies
    batch = features(columns)
    masked = [row for row, mask in enumerate(batch["event_mask"].tolist()) if not mask]
    assert set(masked) >= {4, 6}
    assert 7 not in masked
    counts = batch["event_cu_seqlens"].diff()
    assert counts[4] == counts[6] == 0
    assert 0 < counts[7] <= len(energies[7]) // 2
    assert torch.isfinite(small_model()(**batch, row=torch.arange(8)).loss)
