"""What Axia's encoder reads, against its formulas list by list, and the published sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from chandraclip.models import AxiaEncoderConfig, AxiaEncoderModel, AxiaFeatureExtractor
from chandraclip.models.contract import make_feature_extractor, make_model
from detection_columns import make_columns

WINDOW = 28_800.0
SMALL = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "latent_size": 8,
         "branch_size": 8, "fused_size": 16, "decoder_hidden_size": 8, "num_decoder_blocks": 1}  # fmt: skip


def of_one_list(time: np.ndarray, energy: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of one list, as the public code makes them (its shortest duration excepted)."""
    order = np.lexsort((energy, time))
    time, energy = time[order], energy[order].astype(np.float64)
    inside = (energy >= 0.5) & (energy <= 8.0)
    time, energy = time[inside], energy[inside]
    time = time - time[0]
    time, energy = time[time <= WINDOW], energy[time <= WINDOW]
    duration = max(time[-1], 1.0)
    log_energy = np.log10(1000 * energy + 1)
    values = np.stack(
        [
            time / duration,
            1e-4 * time,
            np.log1p(np.diff(time, prepend=0.0)),
            (log_energy - 3.263709927970281) / 0.26947376549240537,
            rankdata(energy) / len(energy),
        ],
        axis=1,
    )
    histogram, _ = np.histogram(energy, bins=np.linspace(0.5, 7.0, 65))
    phase = 2 * np.pi * np.geomspace(1e-4, 0.25, 50)[:, None] * time
    power = 2.0 / len(time) * (np.sin(phase).sum(axis=1) ** 2 + np.cos(phase).sum(axis=1) ** 2)
    soft, hard = np.sum(energy < 2.0), np.sum((energy >= 2.0) & (energy < 7.0))
    hardness = (hard - soft) / max(hard + soft, 1)
    return {
        "values": values[:512],
        "event_spectrum": np.log1p(histogram / (duration / 1000)),
        "event_periodogram": np.log1p(power),
        "event_meta": np.array([np.log10(duration + 1), 1000 * len(time) / duration, hardness]),
    }


def test_the_numbers_are_those_of_the_public_code():
    columns = make_columns(2, (1, 2, 0, 40, 700, 3, 1400), exposure=5e4)
    columns["event_energy"][4] = np.random.default_rng(0).uniform(0.3, 9.0, 700).astype(np.float32)
    columns["event_energy"][3][:20] = 1.5  # ties share a rank
    columns["event_time"][5] = np.full(3, 12.0)
    batch = AxiaFeatureExtractor()(columns, "np")
    ends = batch["event_cu_seqlens"]
    for row, (time, energy) in enumerate(zip(columns["event_time"], columns["event_energy"])):
        found = batch["event_values"][ends[row] : ends[row + 1]]
        if not len(time):
            assert not len(found)
            continue
        expected = of_one_list(time, energy)
        assert found == pytest.approx(expected.pop("values"), abs=1e-5)
        for name, values in expected.items():
            assert batch[name][row] == pytest.approx(values, rel=2e-5, abs=2e-5), name
    assert np.diff(ends).max() == 512
    assert all(np.isfinite(value).all() for value in batch.values())


def test_the_periodogram_finds_a_pulsation_and_is_flat_without():
    rng = np.random.default_rng(0)
    frequency = np.geomspace(1e-4, 0.25, 50)[40]
    time = np.sort(rng.uniform(0, 28_000, 4000))
    pulsed = time[rng.random(4000) < 0.5 * (1 + np.cos(2 * np.pi * frequency * time))]
    columns = {"event_time": [time, pulsed], "event_energy": [np.ones(len(time)), np.ones(len(pulsed))]}
    power = np.expm1(AxiaFeatureExtractor()(columns, "np")["event_periodogram"])
    assert power[1].argmax() == 40
    assert power[1, 40] == pytest.approx(len(pulsed) / 2, rel=0.1)
    # Leahy's normalisation: noise has mean 2, where the length of the observation is many periods.
    assert power[0, 15:].mean() == pytest.approx(2.0, abs=1.0)


def test_the_published_layers_have_the_published_sizes():
    with torch.device("meta"):
        model = AxiaEncoderModel(AxiaEncoderConfig())
    sizes = {name: value.numel() for name, value in model.encoder.named_parameters()}
    published = sum(size for name, size in sizes.items() if not name.startswith("latent_projection"))
    assert published == 7_555_840
    assert sizes["fused_projection.weight"] + sizes["fused_projection.bias"] == 2_625_536


def tiny(**options: Any) -> AxiaEncoderModel:
    torch.manual_seed(0)
    return make_model("axia_encoder", {**SMALL, **options}).eval()


def test_photons_beyond_the_first_512_and_8_hours_are_not_read():
    model, extractor = tiny(max_events=64), AxiaFeatureExtractor(max_events=64)
    time = np.sort(np.random.default_rng(0).uniform(100.0, 20_000.0, 200))
    energy = np.random.default_rng(1).uniform(0.5, 7.0, 200)
    later = np.append(time, 40_000.0), np.append(energy, 3.0)
    with torch.no_grad():
        batch = [extractor({"event_time": [each], "event_energy": [of]}) for each, of in ((time, energy), later)]
        latents = [model(**one).latents for one in batch]
        torch.testing.assert_close(*latents)
        short = {**batch[0], "event_values": batch[0]["event_values"].clone()}
        short["event_values"][-1] += 1.0
        assert not torch.allclose(model(**short).latents, latents[0])
    with pytest.raises(ValueError, match="a list has 200 photons, the model reads 64"):
        model(**AxiaFeatureExtractor()({"event_time": [time], "event_energy": [energy]}))


def test_the_rate_integrates_to_the_expected_photons(columns: dict[str, Any]):
    model, batch = tiny(), AxiaFeatureExtractor(mesh_size=512)(make_columns())
    with torch.no_grad():
        latents = model.encode(**batch)
        expected = model.expected_photons(latents, batch)
        row = 6  # 400 photons in 15 of 30 ks, with a gap between
        edges = [(0.0, 7.5e3), (22.5e3, 30e3)]
        total = torch.zeros(3, dtype=torch.float64)
        for low, high in edges:
            time = torch.linspace(low, high, 2001, dtype=torch.float64)
            rate = model.log_rate(latents, batch, time, torch.full((2001,), row)).double().exp()
            total += torch.trapezoid(rate, time, dim=0)
    torch.testing.assert_close(expected[row].double(), total, rtol=2e-3, atol=0)
    assert torch.isfinite(expected).all()
    # The rates of a list are relative to its own photons; equal in all bands before anything is learnt of it.
    assert 100 < float(expected[row].sum()) < 1600


def test_lists_without_energies_are_masked_out_of_photons_and_loss():
    columns = make_columns()
    columns["event_energy"] = [*columns["event_energy"][:6], None, columns["event_energy"][7]]
    batch = AxiaFeatureExtractor()(columns)
    assert batch["event_mask"].tolist() == [*[True] * 6, False, True]
    assert batch["event_cu_seqlens"].diff()[6] == 0
    assert batch["likelihood_cu_seqlens"].diff()[6] == 0
    assert torch.isfinite(tiny()(**batch).loss)
    without_gti = {name: value for name, value in columns.items() if not name.startswith("gti")}
    span = AxiaFeatureExtractor()(without_gti)["event_span"]
    assert span[5].tolist() == [0.0, pytest.approx(columns["event_time"][5].max())]
    with pytest.raises(KeyError, match="event_time and event_energy"):
        AxiaFeatureExtractor()({"event_time": [np.arange(3.0)]})


def test_features_that_a_model_cannot_read_are_refused():
    model = tiny()
    for options, reason in (
        ({"num_frequencies": 20}, "num_frequencies is 20, the model's 50"),
        ({"max_events": 1024}, "gives 1024 photons, the model reads 512"),
    ):
        with pytest.raises(ValueError, match=reason):
            model.check_feature_extractor(make_feature_extractor(type(model), options))
    for options in ({"energy_min": 0.3}, {"max_events": 0}, {"window": 0.0}):
        with pytest.raises(ValueError):  # noqa: PT011
            AxiaFeatureExtractor(**options)
    with pytest.raises(ValueError, match="5 features, this has 4"):
        model.encoder.read_photons(torch.zeros(3, 4), torch.tensor([0, 3]))


def test_the_span_is_that_of_the_photons_in_the_band():
    """As the encoder's: one at 12 keV, long after, is not read and must not make the list longer."""
    time, energy = np.array([100.0, 300.0, 500.0, 9000.0]), np.array([1.0, 2.0, 3.0, 12.0])
    batch = AxiaFeatureExtractor()({"event_time": [time, time[:3]], "event_energy": [energy, energy[:3]]})
    assert batch["event_span"][0].tolist() == batch["event_span"][1].tolist()
    assert batch["event_span"][0, 1] < 1000.0
