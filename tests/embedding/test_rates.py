"""The half of its photons that a model is shown, and the rates it is asked for."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.good_lists import GoodLists
from chandraclip.data.schema import build_table
from chandraclip.embedding import rates
from chandraclip.embedding.halves import cut_short, seen_half
from chandraclip.errors import InputFileError, OptionError
from chandraclip.evaluation.rate_tables import RATES_FILE, RateTable, load_rate_tables
from chandraclip.evaluation.rates import CONSTANT, model_likelihoods, simple_likelihoods
from chandraclip.models.draws import mix, mix_array

TYPES = {name: pa.list_(pa.float64()) for name in ("event_time", "event_energy", "gti_start", "gti_stop")}


def make_rows(num_rows: int = 12, seed: int = 0, spectra: bool = False) -> pa.Table:
    """Constant sources with a gap in the good time; every fourth list without energies, the last row without a list.

    Spectra have a background of 12, 8 and 20 photons a band in 4,000 s; every third row has none.
    """
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 120, num_rows)
    times = [np.where(one < 500.0, one, one + 200.0) for one in (generator.uniform(0, 900, n) for n in lengths)]
    energies = [None if i % 4 == 0 else generator.uniform(0.2, 8.0, n) for i, n in enumerate(lengths)]
    times[-1] = energies[-1] = None
    columns = {
        "name": [f"S{number // 2}" for number in range(num_rows)],
        "obsid": np.arange(num_rows),
        "obi": np.zeros(num_rows, np.int64),
        "region_id": np.ones(num_rows, np.int64),
        "split": ["test"] * num_rows,
        "event_time": Ragged.from_rows(times),
        "event_energy": Ragged.from_rows(energies),
        "gti_start": Ragged.from_rows([np.array([0.0, 700.0])] * num_rows),
        "gti_stop": Ragged.from_rows([np.array([500.0, 1100.0])] * num_rows),
    }
    if spectra:
        has = np.arange(num_rows) % 3 > 0
        lists = {"spectrum_counts": [9.0] * 3, "spectrum_background": [120.0, 80.0, 200.0]}
        lists["channel_energy_edges"] = [0.5, 1.2, 2.0, 7.0]
        columns |= {name: Ragged.from_rows([np.array(one) if row else None for row in has])
                    for name, one in lists.items()}  # fmt: skip
        columns |= {"background_scale": np.where(has, 0.1, np.nan), "exposure": np.where(has, 4000.0, np.nan)}
    return build_table(columns)


class ConstantRate:
    """A stand-in for a model: the constant rate of what it is shown, half a photon added a band."""

    device = torch.device("cpu")
    shown: list
    needs_energies = False

    def __init__(self):
        self.shown = []

    columns = tuple(TYPES)

    def __call__(self, rows):
        lists = GoodLists.of(rows)
        self.shown += rows["event_time"].to_pylist()
        counts = np.zeros((len(rows), 3))
        np.add.at(counts, (np.repeat(np.arange(len(rows)), np.diff(lists.time.offsets)), lists.band), 1)
        # Of a list without energies a third of the rate is in each band.
        lacks = torch.as_tensor(np.asarray(rows["event_energy"].is_null()))
        mask = torch.as_tensor(np.asarray(rows["event_time"].is_valid()) & ~(self.needs_energies & np.asarray(lacks)))
        return {"counts": torch.as_tensor(counts), "lacks": lacks, "event_mask": mask}

    def encode(self, counts, lacks, event_mask):
        total = counts.sum(dim=1, keepdim=True)
        return torch.where(lacks[:, None], (total + 0.5).expand(-1, 3) / 3, counts + 0.5)

    def expected_photons(self, latents, batch):
        return latents

    def log_rate(self, latents, batch, time, row):
        assert time.dtype == torch.float64
        return torch.log(latents / 900.0)[row]


@pytest.fixture
def constant(monkeypatch):
    model = ConstantRate()
    instance = object.__new__(rates.Rates)
    vars(instance).update(model=model, extractor=model, batch_size=5)
    return SimpleNamespace(model=model, rates=instance)


def knowing_background(folder, source_log_rate: float):
    """A PPAD that knows the background; its own rate is constant whatever the latents."""
    from chandraclip.models.contract import make_feature_extractor, make_model

    small = {"decoder_hidden_size": 4, "num_decoder_blocks": 1, "mesh_size": 64, "num_fit_steps": 1}
    model = make_model("poisson_autodecoder", small)
    with torch.no_grad():
        model.decoder.output_projection.weight.zero_()
        model.decoder.output_projection.bias.fill_(source_log_rate)
    model.save_pretrained(folder)
    options = {"use_background": True, "use_good_time": True, "mesh_size": 64}
    make_feature_extractor(type(model), options).save_pretrained(folder)
    return str(folder)


def test_a_known_background_is_in_the_rate_and_half_of_it_in_half_of_the_photons(tmp_path, write_dataset, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    dataset = str(write_dataset(tmp_path / "lists", make_rows(spectra=True)))
    model = knowing_background(tmp_path / "model", source_log_rate=-40.0)
    provenance = rates.rate_dataset(model, dataset, tmp_path / "rates")
    assert (provenance["rate_of"], provenance["known_background"]) == ("source and background", True)
    assert abs(provenance["expected_over_integral"]["median"] - 1) < 0.01
    table = RateTable.load(tmp_path / "rates")
    assert table.label == "poisson_autodecoder 8, known background"
    known = table.keys["obsid"] % 3 > 0
    per_second = np.array([12.0, 8.0, 20.0]) / 4000.0
    for name, share in (("own", 1.0), ("held_out", 0.5)):
        expected = table.lists[f"{name}_expected"].values.reshape(-1, 3)
        np.testing.assert_allclose(expected[known], np.tile(900.0 * share * per_second, (known.sum(), 1)), rtol=1e-4)
    band, row = table.lists["held_out_band"], row_index(table.lists["held_out_band"])
    log_rate = table.lists["held_out_log_rate"].values
    np.testing.assert_allclose(log_rate[known[row]], np.log(0.5 * per_second)[band.values[known[row]]], rtol=1e-4)
    # All that is expected is background, so the likelihood is that of its constant rate.
    counts = np.zeros((len(table), 3))
    np.add.at(counts, (row, band.values), 1)
    truth = (counts * np.log(0.5 * per_second)).sum(axis=1) - 0.5 * 900 * per_second.sum()
    np.testing.assert_allclose(model_likelihoods(table).held_out[known], truth[known], rtol=1e-4)
    lacking = tmp_path / "without" / "data"
    lacking.mkdir(parents=True)
    pq.write_table(make_rows().select(["name", "obsid", *TYPES]), lacking / "test-00000-of-00001.parquet")
    with pytest.raises(InputFileError, match=r"spectrum_counts.*a known background needs it"):
        rates.rate_dataset(model, str(tmp_path / "without"), tmp_path / "none")


def test_rates_that_are_not_what_is_expected_are_not_published(tmp_path, write_dataset, monkeypatch):
    from chandraclip.models.poisson_autodecoder.modeling_poisson_autodecoder import PoissonAutodecoderModel

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    dataset = str(write_dataset(tmp_path / "lists", make_rows(spectra=True)))
    model = knowing_background(tmp_path / "model", source_log_rate=0.0)
    rates.rate_dataset(model, dataset, tmp_path / "rates")
    before = {file.name: file.read_bytes() for file in (tmp_path / "rates").iterdir()}
    real = PoissonAutodecoderModel.expected_photons
    monkeypatch.setattr(PoissonAutodecoderModel, "expected_photons", lambda *given: 1.3 * real(*given))
    for output in ("rates", "new"):
        with pytest.raises(InputFileError, match=r"1\.3 times the integral"):
            rates.rate_dataset(model, dataset, tmp_path / output)
    assert {file.name: file.read_bytes() for file in (tmp_path / "rates").iterdir()} == before
    assert not list((tmp_path / "new").glob("*rates*"))


def written(table, folder):
    folder.mkdir()
    pq.write_table(table, folder / RATES_FILE)
    return folder


def test_a_constant_rate_has_the_likelihood_of_a_constant_rate(constant, tmp_path):
    rows = make_rows()
    table = RateTable.load(written(constant.rates(rows), tmp_path / "a"))
    assert len(table) == sum(length > 0 for length in np.diff(GoodLists.of(rows).time.offsets))
    simple, model = simple_likelihoods(table, progress=False)[CONSTANT], model_likelihoods(table)
    np.testing.assert_allclose(model.held_out, simple.held_out, rtol=1e-6)
    np.testing.assert_allclose(model.own, simple.own, rtol=1e-6)
    assert {-1, 0, 1, 2} == set(table.lists["seen_band"].values.tolist())
    table.check_integrals()
    # Cells are of the good time: none in the gap from 500 to 700.
    times = table.lists["curve_time"].values
    assert not ((times > 500) & (times < 700)).any()
    constant.model.needs_energies = True
    less = RateTable.load(written(constant.rates(rows), tmp_path / "b"))
    assert len(less) < len(table)  # lists that the model cannot read have no rate
    assert -1 not in less.lists["seen_band"].values


def test_halves_are_the_same_for_all_and_share_no_photon(constant, tmp_path):
    rows = make_rows()
    whole = constant.rates(rows)
    shuffled = rows.take(pa.array(np.random.default_rng(1).permutation(len(rows))))
    constant.rates.batch_size = 3
    again = constant.rates(shuffled).sort_by("obsid")
    for name in ("seen_time", "held_out_time", "held_out_log_rate"):
        assert again[name].to_pylist() == whole[name].to_pylist()
    lists = GoodLists.of(rows)
    seen = seen_half(rows, lists.time)
    assert 0.45 < seen.mean() < 0.55
    assert (seen_half(rows, lists.time, seed=1) != seen).any()
    # A model was shown the seen half, then the whole list.
    assert constant.model.shown[: len(rows)] == [one and one for one in whole["seen_time"].to_pylist()]
    for one in whole.to_pylist():
        if one["seen_time"] is not None:
            own = GoodLists.of(rows.slice(one["obsid"], 1)).time.values
            assert sorted(one["seen_time"] + one["held_out_time"]) == own.tolist()
    other = constant.rates(rows, seed=3)
    with pytest.raises(InputFileError, match="halves are others"):
        load_rate_tables([written(whole, tmp_path / "a"), written(other, tmp_path / "b")])


def test_one_hash_in_numpy_and_torch():
    state = np.random.default_rng(0).integers(0, 2**64, 100, dtype=np.uint64)
    np.testing.assert_array_equal(mix_array(state).view(np.int64), mix(torch.as_tensor(state.view(np.int64))).numpy())


def test_photons_out_of_band_and_of_good_time_are_left_out():
    lists = GoodLists.of(
        pa.table(
            {
                "event_time": pa.array([[5.0, 1.0, 60.0, 3.0], [9.0, 2.0], None], TYPES["event_time"]),
                "event_energy": pa.array([[1.0, 3.0, 1.0, 7.5], None, None], TYPES["event_energy"]),
                "gti_start": pa.array([[0.0], None, [0.0]], TYPES["gti_start"]),
                "gti_stop": pa.array([[50.0], None, [1.0]], TYPES["gti_stop"]),
            }
        )
    )
    assert lists.time.values.tolist() == [1.0, 5.0, 2.0, 9.0]
    assert lists.band.tolist() == [2, 0, -1, -1]
    assert lists.gti_stop.values.tolist() == [50.0, 9.0, 1.0]
    assert lists.mask.tolist() == [True, True, False]
    columns = lists.columns()
    assert columns["event_time"].to_pylist() == [[1.0, 5.0], [2.0, 9.0], None]
    assert columns["event_energy"].to_pylist() == [[3.0, 1.0], None, None]


def test_lists_cut_short():
    rows = pa.table(
        {
            "name": ["a", "b", "c"],
            "event_time": pa.array([[9000.0, 10.0, 5000.0], [20.0, 8000.0], None], TYPES["event_time"]),
            "event_energy": pa.array([[3.0, 1.0, 2.0], None, None], pa.list_(pa.float32())),
            "gti_start": pa.array([[0.0, 6000.0], [10.0], [0.0]], TYPES["gti_start"]),
            "gti_stop": pa.array([[5500.0, 9900.0], [8500.0], [100.0]], TYPES["gti_stop"]),
        }
    )
    assert cut_short(rows) is rows
    first = cut_short(rows, max_photons=2).to_pylist()
    assert first[0]["event_time"] == [10.0, 5000.0]
    assert first[0]["event_energy"] == [1.0, 2.0]
    assert (first[0]["gti_start"], first[0]["gti_stop"]) == ([0.0], [5000.0])
    assert first[1] == rows.to_pylist()[1]
    hours = cut_short(rows, max_hours=2.0).to_pylist()
    assert (hours[0]["event_time"], hours[0]["gti_stop"]) == ([10.0, 5000.0], [5500.0, 7200.0])
    assert (hours[1]["event_time"], hours[1]["gti_stop"]) == ([20.0], [7210.0])
    assert hours[2]["event_time"] is None


@pytest.fixture
def script(repository):
    """The `main` of a script, by its path."""

    def load(path: str):
        spec = importlib.util.spec_from_file_location(f"script_{path.replace('/', '_')[:-3]}", repository / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return load


def save(model_type, options, folder):
    from chandraclip.models.contract import make_feature_extractor, make_model

    model = make_model(model_type, options)
    model.save_pretrained(folder)
    make_feature_extractor(type(model), {}).save_pretrained(folder)
    return str(folder)


def test_the_script_asks_the_model_what_it_reads(script, tmp_path, monkeypatch, capsys):
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 4}
    spectrum = save("spectrum_autoencoder", small, tmp_path / "spectrum")
    events = save("event_transformer", {**small, "latent_size": 8, "num_queries": 2}, tmp_path / "events")
    with pytest.raises(InputFileError, match="event tower must be of one of the families"):
        rates.Rates(spectrum)
    asked = []

    def write(model, dataset, output, **options):
        asked.append((model, dataset, options["seed"]))
        return {"rows": {"test": 1}, "model": model, "model_id": "0" * 12, "dataset": dataset}

    monkeypatch.setattr(rates, "rate_dataset", write)
    script("scripts/reconstruct.py")([events, "data", str(tmp_path / "out"), "--seed", "4"])
    assert asked == [(events, "data", 4)]
    with pytest.raises(OptionError, match="fit_steps is of spectra"):
        script("scripts/reconstruct.py")([events, "data", str(tmp_path / "out"), "--fit_steps", "4"])
    assert f"{tmp_path / 'out' / RATES_FILE}: 1 detections" in capsys.readouterr().out
    with pytest.raises(InputFileError):  # goes to the spectra, and there is no such dataset
        script("scripts/reconstruct.py")([spectrum, str(tmp_path / "none"), str(tmp_path / "out")])
    assert len(asked) == 1
