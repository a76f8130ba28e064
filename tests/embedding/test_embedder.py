"""The embedding run with a real, tiny model: one process, two processes, missing modalities, towers on their own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import build_table
from chandraclip.data.splits import assign_splits
from chandraclip.embedding.dataset import embed_dataset
from chandraclip.embedding.embedder import WHOLE_CONTEXT, EmbedConfig
from chandraclip.errors import InputFileError
from chandraclip.evaluation.embeddings import EMBEDDINGS, LATENTS, EmbeddingTable

NUM_ROWS = 40


def detections() -> pa.Table:
    """Rows with spectra, photons and texts of random content; every fifth lacks one of the three, in turn."""
    generator = np.random.default_rng(0)
    names = [f"2CXO J{number // 2:06d}" for number in range(NUM_ROWS)]
    missing = [number // 5 % 3 if number % 5 == 0 else None for number in range(NUM_ROWS)]
    spectra = [None if missing[i] == 0 else generator.poisson(0.3, 1024) for i in range(NUM_ROWS)]
    sizes = generator.integers(5, 60, NUM_ROWS)
    times = [None if missing[i] == 1 else np.sort(generator.uniform(0, 9000, sizes[i])) for i in range(NUM_ROWS)]
    energies = [None if times[i] is None else generator.uniform(0.5, 7, sizes[i]) for i in range(NUM_ROWS)]
    return build_table(
        {
            "name": names,
            "obsid": list(range(NUM_ROWS)),
            "obi": [0] * NUM_ROWS,
            "region_id": [1] * NUM_ROWS,
            "split": assign_splits(names),
            "exposure": [9000.0] * NUM_ROWS,
            "livetime": [9000.0] * NUM_ROWS,
            "nh_gal": [None if number % 7 == 0 else 1.0 + number for number in range(NUM_ROWS)],
            "spectrum_counts": Ragged.from_rows(spectra),
            "event_time": Ragged.from_rows(times),
            "event_energy": Ragged.from_rows(energies),
            "gti_start": Ragged.from_rows([None if row is None else np.array([0.0]) for row in times]),
            "gti_stop": Ragged.from_rows([None if row is None else np.array([9000.0]) for row in times]),
            "summary": [None if missing[i] == 2 else f"An X-ray source called {names[i]}." for i in range(NUM_ROWS)],
        }
    )


@pytest.fixture
def sample(tmp_path, monkeypatch, write_dataset):
    # In the environment too, for the workers.
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return write_dataset(tmp_path / "sample", detections())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder with a saved ChandraClipModel and its two towers, of random weights."""
    import torch

    import chandraclip.models as models

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 8}
    spectrum = models.SpectrumAutoencoderModel(models.SpectrumAutoencoderConfig(**small))
    events = models.EventTransformerModel(models.EventTransformerConfig(**small))
    texts = [text for text in detections()["summary"].to_pylist() if text]
    tokenizer = models.train_tokenizer(texts, vocab_size=100)
    config = models.ChandraClipConfig(
        spectrum_config=spectrum.config.to_dict(),
        event_config=events.config.to_dict(),
        text_config=models.small_text_config(len(tokenizer), hidden_size=16, intermediate_size=16).to_dict(),
        joint_projection=True,
        context=["nh_gal", "theta"],
        context_mean=[1.0, 3.0],
        context_std=[0.5, 2.0],
    )
    processor = models.ChandraClipProcessor(
        models.SpectrumFeatureExtractor(), models.EventFeatureExtractor(), tokenizer, context=config.context
    )
    for name, model, inputs in (
        ("align", models.ChandraClipModel(config), processor),
        ("spectrum", spectrum, models.SpectrumFeatureExtractor()),
        ("events", events, models.EventFeatureExtractor()),
    ):
        model.save_pretrained(folder / name)
        inputs.save_pretrained(folder / name)
    return folder


def test_context_is_left_out_by_name_or_whole(tmp_path, sample, models):
    def embedded(*without):
        config = EmbedConfig(str(models / "align"), str(sample), without_context=without)
        facts = embed_dataset(config, tmp_path / "-".join(["out", *without]))
        assert facts["without_context"] == list(without)
        return EmbeddingTable.load(tmp_path / "-".join(["out", *without])).arrays

    whole, without, column, other = embedded(), embedded(WHOLE_CONTEXT), embedded("nh_gal"), embedded("theta")
    for name in ("spectrum_embedding", "event_embedding", "xray_embedding"):
        assert np.abs(whole[name] - without[name]).max() > 0.01
        np.testing.assert_array_equal(column[name], without[name])  # theta is null in all rows
        np.testing.assert_array_equal(other[name], whole[name])
    np.testing.assert_array_equal(whole["text_embedding"], without["text_embedding"])
    np.testing.assert_array_equal(whole["spectrum_latents"], without["spectrum_latents"])
    for model, names in (("align", ("livetime",)), ("spectrum", (WHOLE_CONTEXT,))):
        with pytest.raises(InputFileError, match="to leave out"):
            embed_dataset(EmbedConfig(str(models / model), str(sample), without_context=names), tmp_path / "none")


def test_lists_cut_short_are_other_lists(tmp_path, sample, models):
    whole = embed_dataset(EmbedConfig(str(models / "events"), str(sample)), tmp_path / "out")
    assert (whole["max_photons"], whole["max_hours"]) == (None, None)
    latents = EmbeddingTable.load(tmp_path / "out").arrays["event_latents"]
    for name, cut in {"few": {"max_photons": 5}, "short": {"max_hours": 0.1}, "all": {"max_photons": 10**6}}.items():
        facts = embed_dataset(EmbedConfig(str(models / "events"), str(sample), **cut), tmp_path / "out")
        assert facts["resumed_rows"] == 0  # not taken for what is there
        table = EmbeddingTable.load(tmp_path / "out")
        change = np.abs(table.arrays["event_latents"] - latents)[table.masks["event_latents"]]
        assert (change.max() > 0.01) == (name != "all")


def test_every_representation_where_the_modality_is(tmp_path, sample, models):
    facts = embed_dataset(EmbedConfig(str(models / "align"), str(sample), batch_size=7), tmp_path / "out")
    table = EmbeddingTable.load(tmp_path / "out")
    assert len(table) == NUM_ROWS
    assert set(table.arrays) == {*EMBEDDINGS, *LATENTS}
    rows = np.argsort(table.keys["obsid"])
    truth = detections()
    for column, source in {"spectrum": "spectrum_counts", "event": "event_time", "text": "summary"}.items():
        expected = np.asarray(truth[source].is_valid())
        for name in table.masks:
            if name.startswith(column):
                np.testing.assert_array_equal(table.masks[name][rows], expected, name)
                assert facts["missing"][name] == (~expected).sum()
    either = table.masks["spectrum_embedding"] | table.masks["event_embedding"]
    np.testing.assert_array_equal(table.masks["xray_embedding"], either)
    assert (table.text_id[rows][np.asarray(truth["summary"].is_valid())] != "").all()
    # Two detections of one source have one text, so one embedding.
    same = np.flatnonzero(table.masks["text_embedding"])
    first = {table.name[row]: row for row in same[::-1]}
    for row in same:
        np.testing.assert_allclose(
            table.arrays["text_embedding"][row], table.arrays["text_embedding"][first[table.name[row]]], atol=1e-6
        )


@pytest.mark.parametrize("num_processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_parts_and_processes_change_nothing(tmp_path, sample, models, num_processes):
    one = EmbedConfig(str(models / "align"), str(sample), batch_size=64)
    embed_dataset(one, tmp_path / "one")
    small = EmbedConfig(str(models / "align"), str(sample), batch_size=3)
    embed_dataset(small, tmp_path / "two", rows_per_part=9, num_processes=num_processes)
    first, second = EmbeddingTable.load(tmp_path / "one"), EmbeddingTable.load(tmp_path / "two")
    np.testing.assert_array_equal(first.keys["obsid"], second.keys["obsid"])
    for name, values in first.arrays.items():
        np.testing.assert_array_equal(first.masks[name], second.masks[name])
        # Matrix products of another batch are rounded otherwise: event latents differ by 2e-6 to 6e-6, by processor.
        np.testing.assert_allclose(second.arrays[name], values, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("tower, column", [("spectrum", "spectrum_latents"), ("events", "event_latents")])
def test_a_tower_on_its_own(tmp_path, sample, models, tower, column):
    embed_dataset(EmbedConfig(str(models / tower), str(sample)), tmp_path / "out")
    table = EmbeddingTable.load(tmp_path / "out")
    assert set(table.arrays) == {column}
    assert table.arrays[column].shape == (NUM_ROWS, 8)


def test_embeddings_are_those_of_the_model(tmp_path, sample, models):
    import torch
    from transformers import AutoModel, AutoProcessor

    embed_dataset(EmbedConfig(str(models / "align"), str(sample), batch_size=5), tmp_path / "out", split="train")
    table = EmbeddingTable.load(tmp_path / "out")
    rows = pq.read_table(sample / "data" / "train-00000-of-00001.parquet")
    model = AutoModel.from_pretrained(models / "align", dtype=torch.float32).eval()
    batch = AutoProcessor.from_pretrained(models / "align")(rows)
    with torch.inference_mode():
        features = {
            "spectrum_embedding": model.get_spectrum_features(**batch),
            "event_embedding": model.get_event_features(**batch),
            "text_embedding": model.get_text_features(**batch),
            "spectrum_latents": model.get_spectrum_latents(**batch),
        }
    for name, values in features.items():
        mask = table.masks[name]
        np.testing.assert_allclose(table.arrays[name][mask], values.numpy()[mask], atol=1e-6, err_msg=name)


def test_few_rows_are_embedded_without_further_processes(monkeypatch):
    """Each would import transformers first."""
    from chandraclip.embedding import dataset as embedding

    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    found = [embedding._worthwhile_processes(rows, is_fitted=False) for rows in (0, 250, 3999, 4000, 10**6)]
    assert found == [1, 1, 1, 2, 8]
    found = [embedding._worthwhile_processes(rows, is_fitted=True) for rows in (0, 16, 31, 32, 250)]
    assert found == [1, 1, 1, 2, 8]
