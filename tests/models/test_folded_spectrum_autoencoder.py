"""The folded spectrum autoencoder: folding against `Response.fold`, thinning, what its inputs say, its counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sparse
import torch

import chandraclip
from chandraclip.catalog.ragged import Ragged
from chandraclip.data.response_table import load_responses, read_responses
from chandraclip.errors import InputFileError
from chandraclip.losses.poisson import cash
from chandraclip.models import (
    ChandraClipProcessor,
    FoldedSpectrumAutoencoderConfig,
    FoldedSpectrumAutoencoderModel,
    FoldedSpectrumFeatureExtractor,
)
from chandraclip.models.feature_extraction import use_responses_of
from chandraclip.models.folded_spectrum_autoencoder.detector_bins import BinnedResponse
from chandraclip.models.folded_spectrum_autoencoder.folding import fold, pack_responses
from chandraclip.models.folded_spectrum_autoencoder.latent_fits import fit_latents
from chandraclip.models.folded_spectrum_autoencoder.modeling_folded_spectrum_autoencoder import Instrument
from chandraclip.models.folded_spectrum_autoencoder.thinning import normal_of, row_uniforms, thin
from chandraclip.ogip.response import Response
from detection_columns import made_up_responses, make_columns

SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "latent_size": 8}


def make_model(**options: Any) -> FoldedSpectrumAutoencoderModel:
    torch.manual_seed(0)
    return FoldedSpectrumAutoencoderModel(FoldedSpectrumAutoencoderConfig(**SMALL, **options)).eval()


def extractor(responses: dict[str, Response] | None = None) -> FoldedSpectrumFeatureExtractor:
    result = FoldedSpectrumFeatureExtractor()
    result.use_responses(made_up_responses() if responses is None else responses)
    return result


def other_response() -> Response:
    """Of another grid than ACIS's: 300 energies of uneven width, 700 channels, a Gaussian line and a tail."""
    rng = np.random.default_rng(1)
    edges = np.geomspace(0.1, 14.0, 301)
    channels = np.linspace(0.05, 12.0, 701)
    middle = 0.5 * (channels[:-1] + channels[1:])
    energy = 0.5 * (edges[:-1] + edges[1:])
    matrix = np.exp(-0.5 * ((middle - energy[:, None]) / (0.04 * energy[:, None] ** 0.5 + 0.02)) ** 2)
    matrix[matrix < 1e-6] = 0.0
    matrix /= matrix.sum(axis=1, keepdims=True) + 1e-3
    area = rng.uniform(50, 900, 300)
    return Response(edges[:-1], edges[1:], area, sparse.csr_array(matrix), channels[:-1], channels[1:], 0)


def rows_of(responses: dict[str, Response], number: int = 12) -> dict[str, Any]:
    """Rows whose responses take turns, each with an area of its own."""
    rng = np.random.default_rng(2)
    names = [list(responses)[row % len(responses)] for row in range(number)]
    return {
        "spectrum_counts": [rng.poisson(0.3, responses[name].num_channels) for name in names],
        "response_id": names,
        "arf": [responses[name].arf * rng.uniform(0.2, 2.0) for name in names],
        "exposure": rng.uniform(1e3, 1e5, number).tolist(),
        "psf_frac_aper_b": [0.9 if row % 3 else None for row in range(number)],
    }


def assert_folds_as_ogip(responses: dict[str, Response]) -> None:
    columns = rows_of(responses)
    prepare = extractor(responses)
    batch = prepare(columns)
    log_energy = torch.linspace(np.log(0.3), np.log(10.0), 160, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    log_flux = (-1.5 * log_energy + torch.randn(12, 160, generator=generator).cumsum(dim=1) * 0.1 - 9).float()
    packed = {name: value for name, value in batch.items() if name.startswith("response_")}
    found = Instrument(batch["spectrum_area"], batch["spectrum_response"], packed).fold(log_flux, log_energy.float())
    for row, name in enumerate(columns["response_id"]):
        response = replace(responses[name], arf=columns["arf"][row])
        energy = 0.5 * (response.energy_lo + response.energy_hi)
        density = np.exp(np.interp(np.log(energy), log_energy.numpy(), log_flux[row].double().numpy()))
        counts = response.fold(density * (response.energy_hi - response.energy_lo)) * columns["exposure"][row]
        counts = counts * (columns["psf_frac_aper_b"][row] or 1.0)
        place = prepare.prepared(responses[name]).bin_of_channel
        expected = np.bincount(place[place >= 0], counts[place >= 0], minlength=96)
        np.testing.assert_allclose(found[row].numpy(), expected, rtol=1e-5, atol=1e-6 * expected.max())


def test_folding_is_that_of_the_response():
    assert_folds_as_ogip({**made_up_responses(), "other": other_response()})


def test_folding_through_real_responses_is_that_of_the_reader(real_data: Path):
    from chandraclip.ogip import read_spectrum

    files = ("xmm_epicpn_heacit/PN.pha", "3c273_obs459/3c273.pi")
    spectra = [read_spectrum(real_data / "spectra" / name) for name in files]
    assert_folds_as_ogip({f"{spectrum.path.name}": spectrum.response for spectrum in spectra})


def test_the_gradient_of_folding_is_that_of_a_dense_product():
    binned = [BinnedResponse.of(one, extractor().bins) for one in (*made_up_responses().values(), other_response())]
    packed = {name: torch.from_numpy(value) for name, value in pack_responses(binned, 96).items()}
    of_row = torch.tensor([2, 0, 0, 1, 2, 0])
    generator = torch.Generator().manual_seed(0)
    detected = torch.rand(6, packed["response_energy"].shape[1], generator=generator, requires_grad=True)
    weight = torch.rand(6, 96, generator=generator)
    (fold(detected, of_row, packed) * weight).sum().backward()
    for row, number in enumerate(of_row.tolist()):
        matrix = torch.from_numpy(binned[number].matrix.toarray())
        expected = torch.zeros(detected.shape[1])
        expected[: len(matrix)] = matrix @ weight[row]
        torch.testing.assert_close(detected.grad[row], expected, rtol=1e-5, atol=1e-7)


def test_what_the_instrument_could_have_seen():
    columns = make_columns(1, (200, 200))
    columns["response_id"] = [columns["response_id"][0]] * 2
    columns["arf"] = [columns["arf"][0], 2.0 * columns["arf"][0]]
    columns["exposure"] = [1e4, 3e4]
    reference = extractor()(columns)["spectrum_reference"]
    torch.testing.assert_close(reference[1], 6.0 * reference[0], rtol=1e-5, atol=0)
    response = made_up_responses()[columns["response_id"][0]]
    energy = 0.5 * (response.energy_lo + response.energy_hi)
    flux = energy**-1.7 * (response.energy_hi - response.energy_lo)
    place = extractor().prepared(response).bin_of_channel
    counts = (response.fold(flux) * 1e4 * 0.9)[place >= 0].sum()
    assert reference[0].sum().item() == pytest.approx(counts, rel=1e-5)


def test_counts_are_those_of_the_channels_and_bad_ones_are_left_out():
    columns = make_columns(1, (300, 300))
    quality = np.zeros(1024, np.int16)
    quality[100] = 5
    columns["spectrum_quality"] = [None, quality]
    columns["spectrum_counts"][1] = columns["spectrum_counts"][0].copy()
    columns["spectrum_counts"][1][100] = 10_000
    columns["response_id"] = [columns["response_id"][0]] * 2
    columns["arf"] = [columns["arf"][0]] * 2
    columns["spectrum_background"] = [columns["spectrum_background"][0]] * 2
    batch = extractor()(columns)
    middle = 0.0146 * (np.arange(1024) + 0.5)
    in_band = columns["spectrum_counts"][0][(middle >= 0.5) & (middle <= 7.0)].sum()
    assert batch["spectrum_binned_counts"][0].sum().item() == in_band
    good = batch["spectrum_good"][1] > 0
    assert (~good).sum() == 1
    torch.testing.assert_close(batch["spectrum_binned_counts"][1][good], batch["spectrum_binned_counts"][0][good])
    assert batch["spectrum_binned_counts"][1].max() < 10_000


def test_a_background_is_smoothed_and_its_level_kept():
    columns = make_columns(1, (300,))
    rng = np.random.default_rng(0)
    columns["spectrum_background"] = [rng.poisson(np.where(np.arange(1024) < 480, 2.0, 0.0))]
    columns["background_scale"] = [0.25]
    batch = extractor()(columns)
    found = batch["spectrum_binned_background"][0].numpy()
    middle = 0.0146 * (np.arange(1024) + 0.5)
    in_band = (middle >= 0.5) & (middle <= 7.0)
    assert batch["spectrum_background_counts"].item() == columns["spectrum_background"][0][in_band].sum()
    place = extractor().prepared(next(iter(made_up_responses().values()))).bin_of_channel[in_band]
    channels = np.bincount(place)
    assert found.sum() == pytest.approx(0.25 * 2.0 * in_band.sum(), rel=0.05)
    spread = np.std(found / channels) / np.mean(found / channels)
    alone = np.bincount(place, columns["spectrum_background"][0][in_band]) / channels
    assert spread < 0.28  # windows of 15 counts and more; of the 2 to 14 counts of a bin it is 0.39
    assert spread < 0.75 * np.std(alone) / np.mean(alone)


@pytest.mark.parametrize("counts, share", [(1, 0.3), (7, 0.5), (24, 0.9), (25, 0.9), (1000, 0.05)])
def test_a_thinned_spectrum_is_binomial(counts: int, share: float):
    uniform = torch.rand(200, 500, generator=torch.Generator().manual_seed(0))
    kept = thin(torch.full((200, 500), float(counts)), torch.full((200, 1), share), uniform)
    assert torch.equal(kept, kept.round())
    assert kept.min() >= 0
    assert kept.max() <= counts
    width = (counts * share * (1 - share)) ** 0.5
    assert kept.mean().item() == pytest.approx(counts * share, abs=5 * width / 100_000**0.5 + 1e-3 * width)
    assert kept.std().item() == pytest.approx(width, rel=0.02)


def test_random_numbers_are_the_rows_own():
    counts = torch.poisson(torch.full((64, 96), 1.5), generator=torch.Generator().manual_seed(0))
    draw = torch.tensor(0.25)
    whole = row_uniforms(counts, draw, 200, stream=1)
    torch.testing.assert_close(row_uniforms(counts[5:9], draw, 200, stream=1), whole[5:9], rtol=0, atol=0)
    for other in (row_uniforms(counts, draw, 200, stream=2), row_uniforms(counts, draw + 0.1, 200, stream=1)):
        assert abs(np.corrcoef(whole.flatten(), other.flatten())[0, 1]) < 0.03
    assert whole.mean().item() == pytest.approx(0.5, abs=0.01)
    assert normal_of(whole).std().item() == pytest.approx(1.0, abs=0.03)
    assert abs(np.corrcoef(whole[:-1].flatten(), whole[1:].flatten())[0, 1]) < 0.03


def test_training_scores_photons_that_the_latents_have_not_seen():
    """A model that could copy its input would do so in evaluation; in training each part is scored on the other."""
    model, batch = make_model(min_thinning=0.5).train(), dict(extractor()(make_columns(2, (400, 200))))
    seen: list[torch.Tensor] = []
    look = model.encoder.look

    def kept(one: Any) -> Any:
        seen.append(one.counts)
        return look(one)

    model.encoder.look = kept
    torch.manual_seed(0)
    output = model(**batch)
    assert len(seen) == 2
    assert torch.equal(seen[0] + seen[1], batch["spectrum_binned_counts"])
    assert 0.4 < seen[0].sum() / batch["spectrum_binned_counts"].sum() < 0.6
    parts = output.loss_parts
    assert {"cash", "background", "smoothness", "lines", "consistency"} == set(parts)
    assert output.loss.item() == pytest.approx(sum(part.item() for part in parts.values()))


def test_the_parts_of_a_spectrum_are_looks_through_areas_that_complement_each_other():
    model, batch = make_model(area_scatter=1.0).train(), dict(extractor()(make_columns(3, (9000, 4000, 6000))))
    looks: list[Any] = []
    look, expect = model.encoder.look, model.expect
    expected: list[torch.Tensor] = []

    def kept(one: Any) -> Any:
        looks.append(one)
        return look(one)

    def same_source(decoded: Any, seen: Any, level: Any, instrument: Any, other: Any) -> Any:
        expected.append(expect(first.setdefault("decoded", decoded), seen, 0 * level, instrument, other)[1])
        return None, expected[-1]

    first: dict[str, Any] = {}
    model.encoder.look, model.expect = kept, same_source
    torch.manual_seed(0)
    model(**batch)
    one, two = looks
    assert torch.equal(one.counts + two.counts, batch["spectrum_binned_counts"])
    torch.testing.assert_close(one.reference + two.reference, batch["spectrum_reference"])
    assert ((one.looked.amax(dim=1) - one.looked.amin(dim=1)) > 0.1).all()
    # Photons go to each part as its area says: 30,000 of them, in a hundred bins.
    chi = (one.counts - batch["spectrum_binned_counts"] * one.looked).square()
    variance = batch["spectrum_binned_counts"] * one.looked * (1 - one.looked)
    assert 0.7 < (chi.sum() / variance.sum()).item() < 1.4
    # What one part expects of the other is the incident spectrum through the other's area.
    ratio = (expected[0] - two.background) / (expected[1] - one.background)
    by_area = two.looked / one.looked
    scale = (ratio / by_area)[one.good > 0]
    assert scale.isfinite().all()
    rows = (ratio / by_area).where(one.good > 0, torch.nan)
    spread = rows.nan_to_num(0).amax(dim=1) / rows.nan_to_num(torch.inf).amin(dim=1)
    torch.testing.assert_close(spread, torch.ones(3), rtol=1e-2, atol=0)


def test_latents_that_are_fitted_expect_the_counts_better_and_each_row_for_itself():
    model, prepare = make_model(), extractor()
    columns = make_columns(3, (20_000, 30, 5000))
    batch = dict(prepare(columns))
    whole, instrument = model.looks(**batch)
    start, level, _ = model.encoder.look(whole)

    def statistic(latents: torch.Tensor, log_level: torch.Tensor) -> torch.Tensor:
        expected = model.expect(model.decoder(latents), whole, log_level, instrument)[1]
        return (cash(whole.counts, expected) * whole.good).sum(dim=1)

    background = batch["spectrum_background_counts"]
    for value, same in zip(fit_latents(model, whole, instrument, background, 0), (start, level)):
        torch.testing.assert_close(value, same)
    fitted = fit_latents(model, whole, instrument, background, 60)
    gain = (statistic(start, level) - statistic(*fitted)).detach()
    assert gain[0] > 100.0
    assert (gain > 0).all()
    moved = (fitted[0] - start).norm(dim=1) / start.norm(dim=1)
    assert moved[1] < 0.5 * moved[0]  # thirty photons do not pay for a move
    assert all(parameter.grad is None for parameter in model.parameters())
    alone = {name: value[2:] if name.startswith("spectrum_") else value for name, value in batch.items()}
    again = fit_latents(model, *model.looks(**alone), background[2:], 60)
    torch.testing.assert_close(again[0], fitted[0][2:], rtol=1e-3, atol=1e-4)
    resolved = prepare.resolve(columns)
    counts = [model.expected_counts(resolved, batch, fit_steps=steps).values for steps in (0, 60)]
    assert np.abs(counts[0] - counts[1]).max() > 1


def test_a_variational_model_draws_in_training_alone():
    model, batch = make_model(variational=True, kl_weight=0.1), dict(extractor()(make_columns(2)))
    with torch.no_grad():
        assert torch.equal(model(**batch).latents, model(**batch).latents)
        model.train()
        torch.manual_seed(0)
        first = model(**batch)
        torch.manual_seed(0)
        again = model(**batch)
        other = model(**batch)
    assert first.loss == again.loss
    assert first.loss != other.loss
    assert first.loss_parts["kl"] > 0


def test_expected_counts_are_the_incident_spectrum_through_the_response():
    responses = {**made_up_responses(), "other": other_response()}
    columns = rows_of(responses)
    columns["spectrum_counts"][4] = None
    rng = np.random.default_rng(3)
    names = columns["response_id"]
    columns["spectrum_background"] = [rng.poisson(1.0, responses[name].num_channels) for name in names]
    columns["background_scale"] = [0.1] * len(names)
    prepare, model = extractor(responses), make_model()
    resolved = prepare.resolve(columns)
    batch = prepare(resolved)
    found = model.expected_counts(resolved, batch)
    output = model(**batch)
    assert isinstance(found, Ragged)
    assert found.values.dtype == np.float64
    lengths = [0 if row == 4 else responses[name].num_channels for row, name in enumerate(names)]
    assert np.diff(found.offsets).tolist() == lengths
    energies = model.decoder.energies().numpy()
    for row, name in enumerate(names):
        if row == 4:
            continue
        counts = found.values[found.offsets[row] : found.offsets[row + 1]]
        assert (counts >= 0).all()
        place = prepare.prepared(responses[name]).bin_of_channel
        binned = np.bincount(place[place >= 0], counts[place >= 0], minlength=96)
        good = batch["spectrum_good"][row].numpy() > 0
        np.testing.assert_allclose(binned[good], output.expected[row].detach().numpy()[good], rtol=1e-4)
        response = replace(responses[name], arf=columns["arf"][row])
        low, high = response.energy_lo, response.energy_hi
        log_flux = output.log_flux[row].detach().double().numpy()
        flux = np.exp(np.interp(np.log(0.5 * (low + high)), np.log(energies), log_flux)) * (high - low)
        source = response.fold(flux) * columns["exposure"][row] * (columns["psf_frac_aper_b"][row] or 1.0)
        outside = place < 0
        background = 0.1 * columns["spectrum_background"][row]
        np.testing.assert_allclose(counts[outside], (source + background)[outside], rtol=1e-4, atol=1e-9)


def test_a_short_training_learns_the_shape_of_spectra():
    """Two kinds of power law through two detectors: the latents of a detector the model never saw tell the kind."""
    responses = made_up_responses()
    rng = np.random.default_rng(0)

    def rows(name: str, number: int) -> tuple[dict[str, Any], np.ndarray]:
        response = responses[name]
        energy = 0.5 * (response.energy_lo + response.energy_hi)
        index = rng.choice([1.0, 3.0], number)
        flux = energy ** -index[:, None] * (response.energy_hi - response.energy_lo)
        rate = response.fold(flux)
        mean = 300 * rate / rate.sum(axis=1, keepdims=True)
        columns = {"spectrum_counts": list(rng.poisson(mean)), "response_id": [name] * number}
        return columns | {"arf": [response.arf] * number, "exposure": [1e4] * number}, index

    prepare, model = extractor(), make_model(min_thinning=0.3).train()
    seen, unseen = list(responses)
    columns, index = rows(seen, 64)
    batch = prepare(columns)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        torch.manual_seed(step)
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    model.eval()
    with torch.no_grad():
        known = model(**batch)
        columns, truth = rows(unseen, 64)
        found = model(**prepare(columns))
    assert 0.6 < known.loss.item() < 1.4  # Cash's statistic a bin of a right model is about 1
    distance = torch.cdist(found.latents, known.latents)
    assert (index[distance.argmin(dim=1)] == truth).mean() > 0.9


def test_a_response_that_is_not_at_hand_is_named():
    columns = make_columns()
    columns["response_id"][3] = "lost"
    with pytest.raises(ValueError, match=r"row 3: the response 'lost' is not at hand"):
        extractor()(columns)


def test_rows_without_a_response_have_no_spectrum_for_this_model():
    columns = make_columns()
    columns["response_id"][3] = None
    columns["arf"][4] = None
    mask = extractor()(columns)["spectrum_mask"]
    assert np.flatnonzero(~mask.numpy()).tolist() == [3, 4]
    del columns["arf"]
    assert not extractor()(columns)["spectrum_mask"].any()


@pytest.mark.parametrize("name", ["arf", "spectrum_counts", "spectrum_background"])
def test_lengths_that_do_not_match_are_named(name: str):
    columns = make_columns()
    columns[name][2] = columns[name][2][:-1]
    with pytest.raises(ValueError, match=r"row 2: .*(arf|spectrum_counts|background)"):
        extractor()(columns)


def test_an_area_must_be_finite_and_a_grid_may_begin_at_nothing():
    columns = make_columns()
    columns["arf"][2] = np.where(np.arange(columns["arf"][2].size) == 7, np.nan, columns["arf"][2])
    with pytest.raises(ValueError, match="row 2: arf holds a number that is not finite"):
        extractor()(columns)
    response = other_response()
    low, high = response.energy_lo.copy(), response.energy_hi.copy()
    low[0] = high[0] = low[1] = 0.0
    batch = extractor({"other": replace(response, energy_lo=low, energy_hi=high)})(rows_of({"other": response}, 4))
    assert batch["spectrum_reference"].isfinite().all()
    assert make_model()(**batch).expected.isfinite().all()


def test_an_exposure_must_be_positive_or_unknown():
    columns = make_columns()
    columns["exposure"][1] = 0.0
    with pytest.raises(ValueError, match="row 1: a spectrum needs a positive exposure"):
        extractor()(columns)
    columns["exposure"][1] = None
    batch = extractor()(columns)
    assert batch["spectrum_mask"].all()
    assert batch["spectrum_summary"][1, 0].isnan()
    assert make_model()(**batch).latents.isfinite().all()


def test_responses_are_not_saved(tmp_path: Path):
    prepare = extractor()
    prepare(make_columns())
    prepare.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert set(content) == {"feature_extractor_type", "num_bins", "energy_min", "energy_max"}
    loaded = FoldedSpectrumFeatureExtractor.from_pretrained(tmp_path)
    loaded.use_responses(made_up_responses())
    for name, value in prepare(make_columns()).items():
        torch.testing.assert_close(loaded(make_columns())[name], value, equal_nan=True, msg=name)


def test_a_dataset_gives_its_responses(dataset: Path, tmp_path: Path):
    import datasets

    rows = datasets.load_dataset(str(dataset), "pairs", split="test").with_format("arrow")[:8]
    assert isinstance(rows, pa.Table)
    prepare = FoldedSpectrumFeatureExtractor()
    with pytest.raises(ValueError, match="use_responses"):
        prepare(rows)
    use_responses_of(prepare, str(dataset))
    assert prepare(rows)["spectrum_mask"].all()
    with pytest.raises(InputFileError, match="responses"):
        use_responses_of(prepare, str(tmp_path))


def test_responses_come_from_the_hub_as_from_a_folder(dataset: Path, monkeypatch: pytest.MonkeyPatch):
    import datasets

    real = datasets.load_dataset
    monkeypatch.setattr(datasets, "load_dataset", lambda name, config: real(str(dataset), config))
    found, expected = load_responses("somebody/detections"), read_responses(dataset)
    assert {name: response.response_id for name, response in found.items()} == {name: name for name in expected}

    def refuse(name: str, config: str) -> None:
        raise ValueError(f"no config {config}")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputFileError, match=r"somebody/plain.*`responses` does not load"):
        load_responses("somebody/plain")


def test_a_file_of_ones_own_is_embedded_with_its_own_response(real_data: Path, tmp_path: Path):
    model = make_model()
    model.save_pretrained(tmp_path)
    FoldedSpectrumFeatureExtractor().save_pretrained(tmp_path)
    observation = chandraclip.open(real_data / "spectra" / "3c273_obs459" / "3c273.pi")
    vector = observation.embeddings(tmp_path)["spectrum"]
    spectrum = observation.spectrum
    response = spectrum.response
    columns = {
        "spectrum_counts": [spectrum.counts],
        "spectrum_background": [spectrum.background_counts],
        "background_scale": [spectrum.background_scale],
        "exposure": [spectrum.exposure],
        "spectrum_quality": [spectrum.quality],
        "spectrum_grouping": [spectrum.grouping],
        "arf": [response.arf],
        "response": [response],
    }
    expected = model(**FoldedSpectrumFeatureExtractor()(columns)).latents[0].detach().numpy()
    np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-5)


def test_a_processor_takes_spectra_that_were_read(real_data: Path, processor: ChandraClipProcessor):
    from chandraclip.ogip import read_spectrum

    spectrum = read_spectrum(real_data / "spectra" / "3c273_obs459" / "3c273.pi")
    parts = FoldedSpectrumFeatureExtractor(), processor.event_feature_extractor, processor.tokenizer
    ours = ChandraClipProcessor(*parts)
    assert ours.reads_responses
    batch = ours(spectrum=[spectrum, replace(spectrum, response=None, response_problem="no RESPFILE")])
    assert batch["spectrum_mask"].tolist() == [True, False]
    response = spectrum.response
    middle = 0.5 * (response.channel_energy_lo + response.channel_energy_hi)
    in_band = (middle >= 0.5) & (middle <= 7.0) & spectrum.good_channels
    assert 0 < batch["spectrum_binned_counts"][0].sum() <= spectrum.counts[in_band].sum()
    assert not processor.reads_responses


def test_a_file_without_response_is_refused_with_the_reason(real_data: Path, tmp_path: Path):
    make_model().save_pretrained(tmp_path)
    FoldedSpectrumFeatureExtractor().save_pretrained(tmp_path)
    observation = chandraclip.open(real_data / "spectra" / "3c273_obs459" / "3c273.pi")
    spectrum = replace(observation.spectrum, response=None, response_problem="no RESPFILE")
    observation = replace(observation, spectrum=spectrum, events=None)
    with pytest.raises(ValueError, match="no RESPFILE"):
        observation.embeddings(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"patch_size": 7}, "multiple of patch_size"),
        ({"num_attention_heads": 3}, "multiple of num_attention_heads"),
        ({"min_thinning": 0.7}, "min_thinning must be in"),
        ({"num_knots": 500}, "num_knots must be 3 to"),
        ({"energy_min": 20.0}, "keV are none"),
        ({"line_weight": -1.0}, "line_weight must not be negative"),
        ({"area_scatter": -0.5}, "area_scatter must not be negative"),
    ],
)
def test_impossible_configurations_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        FoldedSpectrumAutoencoderConfig(**{**SMALL, **options})


def test_mixed_precision_keeps_the_folding_and_the_flux():
    """bfloat16 has three digits: enough for the encoder, not for counts or the log of a flux."""
    model, batch = make_model(), dict(extractor()(make_columns(2, (400, 200))))
    latents = 3.0 * torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.decoder(latents)
        packed = {name: value for name, value in batch.items() if name.startswith("response_")}
        instrument = Instrument(batch["spectrum_area"], batch["spectrum_response"], packed)
        counts = instrument.fold(expected.log_shape, model.decoder.log_energy)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model.decoder(latents)
            torch.testing.assert_close(found.log_shape, expected.log_shape, rtol=1e-6, atol=1e-6)
            again = instrument.fold(expected.log_shape, model.decoder.log_energy)
    torch.testing.assert_close(again, counts, rtol=1e-6, atol=0)


def test_a_batch_in_which_no_row_has_a_response():
    columns = rows_of(made_up_responses(), 2)
    columns["response_id"] = [None, None]
    batch = extractor()(columns)
    for training in (True, False):
        output = make_model().train(training)(**batch)
        assert output.loss == 0
        assert torch.isfinite(output.latents).all()


def test_an_unknown_exposure_is_not_taken_for_a_second():
    """The flux is told as unknown; nothing else of the spectrum depends on the exposure."""
    columns = rows_of(made_up_responses(), 2)
    columns["spectrum_counts"] = [5 * counts for counts in columns["spectrum_counts"]]
    columns["exposure"] = [None, None]
    batch = extractor()(columns)
    model = make_model()
    with torch.no_grad():
        latents = model.encode(**batch)
        columns["exposure"] = [3e4, 1e5]
        known = {**extractor()(columns)}
        known["spectrum_summary"][:, 0] = torch.nan
        torch.testing.assert_close(latents, model.encode(**known), rtol=1e-4, atol=1e-4)


def test_good_channels_beside_a_bad_one_keep_their_background():
    responses = made_up_responses()
    columns = rows_of(responses, 1)
    size = len(columns["spectrum_counts"][0])
    columns["spectrum_background"], columns["background_scale"] = [np.full(size, 10.0)], [0.1]
    columns["spectrum_quality"] = [np.zeros(size, np.int64)]
    prepare, model = extractor(responses), make_model()
    place = prepare.prepared(responses[columns["response_id"][0]]).bin_of_channel
    one_bin = np.flatnonzero(place == place.max() // 2)
    columns["spectrum_quality"][0][one_bin[0]] = 1
    resolved = prepare.resolve(columns)
    expected = model.expected_counts(resolved, prepare(resolved)).values
    assert (expected[one_bin[1:]] >= 1.0).all()  # 10 counts x 0.1 and the source


def test_the_model_and_its_feature_extractor_have_one_band():
    make_model().check_feature_extractor(FoldedSpectrumFeatureExtractor())
    with pytest.raises(ValueError, match="detector bins"):
        make_model().check_feature_extractor(FoldedSpectrumFeatureExtractor(energy_min=0.3))


@pytest.mark.parametrize(
    ("column", "change", "reason"),
    [
        ("matrix_data", lambda values: values[:-1], "same size"),
        ("matrix_data", lambda values: [np.nan, *values[1:]], "not finite"),
        ("matrix_indices", lambda values: [5000, *values[1:]], "indices"),
    ],
)
def test_a_damaged_response_names_its_file(dataset: Path, tmp_path: Path, column: str, change: Any, reason: str):
    import pyarrow.parquet as pq

    (file,) = sorted((dataset / "responses").glob("*.parquet"))[:1]
    rows = pq.read_table(file).slice(0, 1)
    index = rows.column_names.index(column)
    values = pa.array([list(change(rows[column][0].as_py()))], rows.schema.field(index).type)
    (tmp_path / "responses").mkdir()
    pq.write_table(rows.set_column(index, rows.schema.field(index), values), tmp_path / "responses" / file.name)
    with pytest.raises(InputFileError, match=f"{file.name}.*is damaged.*{reason}"):
        read_responses(tmp_path)
