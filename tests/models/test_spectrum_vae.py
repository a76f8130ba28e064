"""The unfolded spectra of known sources, the loss, what is drawn, and counts expected of the decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chandraclip.models import SpectrumVaeConfig, SpectrumVaeModel, UnfoldedSpectrumFeatureExtractor
from chandraclip.models.spectrum_vae.folding import expected_counts, rebin
from chandraclip.ogip.response import Response
from detection_columns import made_up_responses
from response_columns import made_up_response, power_law

SMALL = {"encoder_hidden_sizes": [16], "branch_hidden_sizes": [16], "trunk_hidden_sizes": [16], "num_templates": 8}
ACIS_LIKE = {"num_channels": 1024, "channel_width": 0.0146, "resolution": 0.05}
EPIC_LIKE = {"num_channels": 2400, "channel_width": 0.005, "resolution": 0.06}


def make_model(**options: Any) -> SpectrumVaeModel:
    torch.manual_seed(0)
    return SpectrumVaeModel(SpectrumVaeConfig(**{**SMALL, **options}))


def make_extractor(**options: Any) -> UnfoldedSpectrumFeatureExtractor:
    extractor = UnfoldedSpectrumFeatureExtractor(**options)
    extractor.use_responses(made_up_responses())
    return extractor


@pytest.fixture
def batch(columns: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(make_extractor()(columns))


def row_of(response: Response, counts: np.ndarray, **more: Any) -> dict[str, Any]:
    edges = response.channel_energy_edges
    return {"spectrum_counts": counts, "arf": response.arf, "response": response, "channel_energy_edges": edges, **more}


def test_the_preset_has_the_published_number_of_parameters() -> None:
    """Quintin's talk: 475,206; the widths are ours."""
    model = SpectrumVaeModel(SpectrumVaeConfig())
    number = sum(parameter.numel() for parameter in model.parameters())
    assert abs(number / 475_206 - 1) < 0.01
    assert f"{number:,}" in str(SpectrumVaeConfig.__doc__)
    assert (model.config.num_bins, model.config.energy_min, model.config.energy_max) == (238, 0.3, 10.0)
    assert model.config.latent_size == 2


@pytest.mark.parametrize("gamma", [1.2, 2.0, 3.0])
def test_one_source_unfolds_to_itself_through_any_instrument(gamma: float) -> None:
    extractor = UnfoldedSpectrumFeatureExtractor()
    found = []
    for kind in (ACIS_LIKE, EPIC_LIKE):
        response = made_up_response(**kind)
        counts = 1e7 * response.fold(power_law(response, gamma))  # no noise: many photons a channel
        features = extractor(row_of(response, counts), return_tensors="np")
        assert features["spectrum_mask"].all()
        found.append(features["spectrum_values"][0])
    edges = extractor.energy_edges
    expected = edges[:-1] ** (1.0 - gamma) - edges[1:] ** (1.0 - gamma)
    middle = (extractor.energies > 0.6) & (extractor.energies < 6.5)  # the area is enough there
    # Away from the area's edge the division by a flat spectrum's counts is right to the curvature over a line's width.
    flat = middle & (np.abs(extractor.energies - 2.0) > 0.3)
    for values in found:
        shape = values[flat] / values[flat].sum()
        np.testing.assert_allclose(shape, expected[flat] / expected[flat].sum(), rtol=0.05)
    np.testing.assert_allclose(found[0][middle], found[1][middle], rtol=0.08)


def test_equals_a_channel_by_channel_loop() -> None:
    rng = np.random.default_rng(3)
    response = made_up_response()
    edges, matrix = response.channel_energy_edges, response.matrix.toarray()
    extractor = UnfoldedSpectrumFeatureExtractor(num_bins=40, group_counts=5)
    counts = rng.poisson(2e4 * response.fold(power_law(response, 2.0))).astype(np.int32)
    background = rng.poisson(1.0, counts.size)
    quality = np.zeros(counts.size, np.int16)
    quality[100:120] = 1
    row = row_of(response, counts, spectrum_background=background, background_scale=0.1, spectrum_quality=quality)
    width = response.energy_hi - response.energy_lo
    area = [sum(response.arf * width * matrix[:, channel]) for channel in range(counts.size)]
    used = [c for c in range(counts.size) if edges[c + 1] > 0.3 and edges[c] < 10.0 and not quality[c]]
    largest = max(area[c] / (edges[c + 1] - edges[c]) for c in used)
    used = [c for c in used if area[c] / (edges[c + 1] - edges[c]) >= extractor.min_area_share * largest]
    density, group = np.zeros(counts.size), []
    for channel in used:
        group.append(channel)
        if sum(counts[c] for c in group) >= 5 or channel == used[-1]:
            net = sum(counts[c] - 0.1 * background[c] for c in group)
            density[group] = net / sum(area[c] for c in group)
            group = []
    bins, expected, seen = extractor.energy_edges, np.zeros(40), np.zeros(40, dtype=bool)
    for place in range(40):
        overlap = [max(0.0, min(edges[c + 1], bins[place + 1]) - max(edges[c], bins[place])) for c in used]
        seen[place] = sum(overlap) > 0.5 * (bins[place + 1] - bins[place])
        if seen[place]:
            mean = sum(o * density[c] for o, c in zip(overlap, used)) / sum(overlap)
            expected[place] = max(0.0, mean) * (bins[place + 1] - bins[place])
    expected /= expected[seen].mean()
    features = extractor(row, return_tensors="np")
    np.testing.assert_array_equal(features["spectrum_seen_bins"][0], seen)
    np.testing.assert_allclose(features["spectrum_values"][0][seen], expected[seen], rtol=1e-4, atol=1e-6)
    assert not seen.all()
    assert np.isfinite(features["spectrum_values"]).all()


def test_background_is_subtracted_and_what_is_left_below_zero_is_none() -> None:
    response = made_up_response()
    source = 3e5 * response.fold(power_law(response, 2.0))
    background = np.full(source.size, 3000.0)
    extractor = UnfoldedSpectrumFeatureExtractor()
    clean = extractor(row_of(response, source), return_tensors="np")
    row = row_of(response, source + 0.01 * background, spectrum_background=background, background_scale=0.01)
    found = extractor(row, return_tensors="np")
    np.testing.assert_allclose(found["spectrum_values"], clean["spectrum_values"], rtol=1e-2, atol=1e-3)
    nothing = row_of(response, np.zeros(source.size), spectrum_background=background, background_scale=0.01)
    features = extractor(nothing, return_tensors="np")
    assert features["spectrum_mask"].all()
    assert not features["spectrum_values"].any()
    assert not features["spectrum_seen_bins"].any()


@pytest.mark.parametrize("missing", ["spectrum_counts", "arf", "response_id"])
def test_a_row_without_counts_area_or_rmf_has_no_spectrum(columns: dict[str, Any], missing: str) -> None:
    columns[missing] = list(columns[missing])
    columns[missing][4] = None
    features = make_extractor()(columns, return_tensors="np")
    assert features["spectrum_mask"].tolist() == [row != 4 for row in range(8)]
    assert not features["spectrum_values"][4].any()


def test_an_area_of_another_length_is_refused(columns: dict[str, Any]) -> None:
    columns["arf"] = [area[:-1] if row == 2 else area for row, area in enumerate(columns["arf"])]
    with pytest.raises(ValueError, match="row 2: arf has 449 entries, its RMF 450"):
        make_extractor()(columns)


def test_the_loss_is_of_the_bins_and_rows_that_count_and_least_at_the_spectrum(batch: dict) -> None:
    model = make_model(kl_weight=0.01).eval()
    mask = torch.arange(8) < 5
    output = model(**{**batch, "spectrum_mask": mask})
    values, seen, reconstruction = batch["spectrum_values"], batch["spectrum_seen_bins"], output.reconstruction
    rows = []
    for row in range(5):
        bins = seen[row]
        own, made = values[row][bins], reconstruction[row][bins]
        mean, variance = output.latents[row], output.log_variance[row].exp()
        divergence = 0.5 * (mean**2 + variance - 1 - variance.log()).sum()
        rows.append(((made - own * made.log()).mean() if bins.any() else 0.0) + 0.01 * divergence)
    torch.testing.assert_close(output.loss, torch.stack(rows).mean())
    assert (reconstruction > 0).all()
    assert output.latents.shape == (8, 2)
    guess = torch.linspace(0.2, 4.0, 1000)
    assert guess[(guess - 1.7 * guess.log()).argmin()] == pytest.approx(1.7, abs=0.01)


def test_latents_are_drawn_in_training_alone_and_by_the_seed(batch: dict) -> None:
    model = make_model()

    def loss(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model(**batch).loss

    model.train()
    assert torch.equal(loss(1), loss(1))
    assert not torch.equal(loss(1), loss(2))
    model.eval()
    assert torch.equal(loss(1), loss(2))
    plain = make_model(variational=False).train()
    torch.testing.assert_close(plain(**batch).loss, plain.eval()(**batch).loss)


def test_learns_spectra_and_decodes_them_at_any_energy() -> None:
    response = made_up_response()
    rows = [row_of(response, 1e6 * response.fold(power_law(response, gamma))) for gamma in np.linspace(1.2, 3.0, 16)]
    extractor = UnfoldedSpectrumFeatureExtractor()
    batch = dict(extractor(rows))
    model = make_model(encoder_hidden_sizes=[64], branch_hidden_sizes=[64], trunk_hidden_sizes=[64]).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(300):
        torch.manual_seed(step)
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in model.parameters())
    output = model.eval()(**batch)
    values, seen = batch["spectrum_values"], batch["spectrum_seen_bins"]
    error = ((output.reconstruction - values).abs() * seen).sum() / (values * seen).sum()
    assert error < 0.1
    mean_spectrum = ((values.mean(dim=0) - values).abs() * seen).sum() / (values * seen).sum()
    assert error < 0.3 * mean_spectrum
    energies = torch.tensor(extractor.energies, dtype=torch.float32)
    at_bins = model.decoder(output.latents)
    torch.testing.assert_close(model.decoder(output.latents, energies), at_bins, rtol=1e-3, atol=1e-3)
    between = model.decoder(output.latents, (energies[1:] * energies[:-1]).sqrt())
    steps = (at_bins[:, 1:] - at_bins[:, :-1]).abs().max()
    assert ((between - 0.5 * (at_bins[:, 1:] + at_bins[:, :-1])).abs() < steps).all()


def test_counts_are_expected_of_a_known_spectrum() -> None:
    extractor = UnfoldedSpectrumFeatureExtractor()
    edges = extractor.energy_edges
    photons = (edges[:-1] ** -1.0 - edges[1:] ** -1.0)[None]
    for kind in (ACIS_LIKE, EPIC_LIKE):
        response = made_up_response(**kind)
        true = 1e5 * response.fold(power_law(response, 2.0))
        background = np.full(true.size, 40.0)
        counts = true + 0.05 * background
        row = row_of(response, counts, spectrum_background=background, background_scale=0.05)
        found = expected_counts(extractor.resolve(row), photons, edges)
        assert found.values.dtype == np.float64
        middle = 0.5 * (response.channel_energy_lo + response.channel_energy_hi)
        inside = (middle > 0.6) & (middle < 7.0)
        np.testing.assert_allclose(found.values[inside], counts[inside], rtol=0.02)
        band = (middle >= 0.5) & (middle <= 7.0)
        assert found.values[band].sum() == pytest.approx(counts[band].sum(), rel=1e-3)


def test_expected_counts_follow_the_contract(columns: dict[str, Any]) -> None:
    for name, row in (("spectrum_counts", 2), ("response_id", 5)):
        columns[name] = list(columns[name])
        columns[name][row] = None
    extractor = make_extractor()
    model = make_model().eval()
    model.feature_extractor = extractor
    found = model.expected_counts(columns, extractor(columns))
    assert np.diff(found.offsets).tolist() == [0 if row in (2, 5) else 1024 for row in range(8)]
    assert found.values.dtype == np.float64
    assert (found.values >= 0).all()
    bright = found.values[found.offsets[6] : found.offsets[7]]
    channels = slice(35, 479)  # within 0.5-7 keV
    expected = columns["spectrum_counts"][6][channels].sum()
    assert bright[channels].sum() == pytest.approx(expected, rel=0.05)
    # Columns that have the responses themselves need no feature extractor.
    model.feature_extractor = None
    resolved = extractor.resolve(columns)
    np.testing.assert_array_equal(model.expected_counts(resolved, extractor(columns)).values, found.values)


def test_rebinning_keeps_photons() -> None:
    edges, new = np.geomspace(0.3, 10.0, 239), np.linspace(0.1, 12.0, 500)
    photons = np.random.default_rng(0).random((3, 238))
    np.testing.assert_allclose(rebin(photons, edges, new).sum(axis=1), photons.sum(axis=1))
    np.testing.assert_allclose(rebin(photons, edges, edges), photons)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"energy_min": 10.0}, "the band 10.0-10.0 keV is empty"),
        ({"trunk_hidden_sizes": []}, "trunk_hidden_sizes must be one or more positive widths"),
        ({"kl_weight": -1.0}, "kl_weight must not be negative"),
        ({"num_templates": 0}, "num_templates must be positive"),
    ],
)
def test_configurations_that_no_model_can_be_built_from(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpectrumVaeConfig(**options)


def test_another_number_of_bins_is_refused(columns: dict[str, Any]) -> None:
    batch = make_extractor(num_bins=100)(columns)
    with pytest.raises(ValueError, match="a spectrum has 238 bins, this has 100"):
        make_model()(**batch)


@pytest.mark.parametrize("name", ["csc_acisf04938_000N002_r0043", "3c273_obs459", "xmm_epicpn_heacit"])
def test_real_spectra_of_acis_and_epic_unfold(real_data: Path, name: str) -> None:
    from chandraclip.data.files import find_detections
    from chandraclip.data.rows import detection_columns
    from chandraclip.ogip import read_spectrum

    item = next(item for item in find_detections(real_data / "spectra" / name) if item.spectrum is not None)
    spectrum = read_spectrum(item.spectrum, item.arf, item.rmf)
    assert spectrum.response is not None
    row = {**detection_columns(spectrum, None), "response": spectrum.response}
    features = UnfoldedSpectrumFeatureExtractor()(row, return_tensors="np")
    values, seen = features["spectrum_values"][0], features["spectrum_seen_bins"][0]
    energies = UnfoldedSpectrumFeatureExtractor().energies
    assert seen[(energies > 0.7) & (energies < 6.0)].all()
    assert np.isfinite(values).all()
    assert values[seen].mean() == pytest.approx(1.0, abs=1e-5)
    # Photons in a bin of constant logarithmic width fall with energy in every one of these.
    assert values[(energies > 0.7) & (energies < 1.5)].mean() > values[(energies > 4) & (energies < 6)].mean()


def test_half_precision_keeps_the_energies() -> None:
    """A place among 238 bins, and the phase of the highest octave, are nothing that bfloat16 can hold."""
    torch.manual_seed(1)
    model = SpectrumVaeModel(SpectrumVaeConfig())
    latents = torch.randn(8, 2)
    with torch.no_grad():
        exact = model.decoder(latents)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.decoder(latents).float()
    error = (half - exact).square().mean().sqrt()
    assert error < 0.05 * exact.std(dim=1).mean()


def test_the_model_and_its_feature_extractor_have_one_band() -> None:
    model = make_model()
    model.check_feature_extractor(UnfoldedSpectrumFeatureExtractor())
    with pytest.raises(ValueError, match=r"238 bins of 0.3-10.0 keV, the feature extractor's 238 of 0.5-10.0"):
        model.check_feature_extractor(UnfoldedSpectrumFeatureExtractor(energy_min=0.5))


def test_counts_without_a_response_are_refused(columns: dict[str, Any], batch: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="load_reconstructing"):
        make_model().expected_counts(columns, batch)
