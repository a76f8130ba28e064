"""Parts, resume and provenance of the embedding run, with a stand-in for the model (the real one: test_embed_model)."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.splits import assign_splits
from chandraclip.embedding import dataset as embed
from chandraclip.embedding.dataset import embed_dataset
from chandraclip.embedding.embedder import EmbedConfig, list_column, text_id
from chandraclip.errors import InputFileError
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EMBEDDINGS_SCHEMA, KEY, EmbeddingTable
from chandraclip.model_folder import model_id
from chandraclip.ranks import Share


class CountingEmbedder:
    """Embeds a spectrum as its counts; can be told to die."""

    calls = 0
    dies_at: int | None = None

    def __init__(self, config):
        pass

    def __call__(self, rows: pa.Table) -> pa.Table:
        type(self).calls += 1
        if self.dies_at is not None and self.calls >= self.dies_at:
            raise KeyboardInterrupt
        counts = np.asarray(Ragged.from_arrow(rows["spectrum_counts"]).values, np.float32).reshape(rows.num_rows, -1)
        columns = {name: rows[name] for name in (*KEY, "split", "source_class")}
        columns["spectrum_latents"] = list_column(counts, np.ones(len(counts), bool), rows, "spectrum_latents")
        arrays = [columns.get(field.name, pa.nulls(rows.num_rows, field.type)) for field in EMBEDDINGS_SCHEMA]
        return pa.table(arrays, names=EMBEDDINGS_SCHEMA.names).cast(EMBEDDINGS_SCHEMA)


@pytest.fixture
def embedder(monkeypatch):
    monkeypatch.setattr(CountingEmbedder, "calls", 0)
    monkeypatch.setattr(CountingEmbedder, "dies_at", None)
    monkeypatch.setattr(embed, "Embedder", CountingEmbedder)
    return CountingEmbedder


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_rows_come_in_order_and_provenance_says_from_what(tmp_path, dataset, model, embedder):
    config = EmbedConfig(str(model), str(dataset))
    facts = embed_dataset(config, tmp_path / "out", rows_per_part=300)
    assert facts["resumed_rows"] == 0
    assert facts["simulated_rows"] == 800
    table = EmbeddingTable.load(tmp_path / "out")
    assert len(table) == sum(facts["rows"].values()) == 800
    source = pa.concat_tables(
        [pq.read_table(dataset / "data" / f"{name}-00000-of-00001.parquet") for name in ("train", "validation", "test")]
    )
    np.testing.assert_array_equal(table.keys["obsid"], source["obsid"].to_numpy())
    np.testing.assert_array_equal(table.arrays["spectrum_latents"], np.array(source["spectrum_counts"].to_pylist()))
    assert facts["missing"]["event_latents"] == 800
    assert table.provenance["model_id"] == model_id(model)
    assert not (tmp_path / "out" / ".parts").exists()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["embeddings.json", "embeddings.parquet"]


def test_a_killed_run_goes_on_and_equals_an_uninterrupted_one(tmp_path, dataset, model, embedder):
    config = EmbedConfig(str(model), str(dataset))
    embed_dataset(config, tmp_path / "whole", rows_per_part=100)
    parts = embedder.calls
    embedder.calls, embedder.dies_at = 0, 4
    with pytest.raises(KeyboardInterrupt):
        embed_dataset(config, tmp_path / "out", rows_per_part=100)
    assert not (tmp_path / "out" / "embeddings.parquet").exists()
    torn = next((tmp_path / "out" / ".parts").glob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:50])  # a damaged part is made again
    embedder.calls, embedder.dies_at = 0, None
    facts = embed_dataset(config, tmp_path / "out", rows_per_part=100)
    assert facts["resumed_rows"] == 200
    assert embedder.calls == parts - 2
    assert (tmp_path / "out" / "embeddings.parquet").read_bytes() == (
        tmp_path / "whole" / "embeddings.parquet"
    ).read_bytes()


def test_parts_of_another_model_are_discarded(tmp_path, dataset, model, embedder, capsys):
    config = EmbedConfig(str(model), str(dataset))
    embedder.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        embed_dataset(config, tmp_path / "out", rows_per_part=100)
    (model / "model.safetensors").write_bytes(b"other weights")
    embedder.dies_at = None
    facts = embed_dataset(config, tmp_path / "out", rows_per_part=100)
    assert facts["resumed_rows"] == 0
    assert "another model" in capsys.readouterr().out


def test_a_finished_run_is_not_repeated_unless_something_changed(tmp_path, dataset, model, embedder):
    config = EmbedConfig(str(model), str(dataset))
    embed_dataset(config, tmp_path / "out")
    calls = embedder.calls
    (model / "README.md").write_text("a card is not the model")
    (model / "metrics.json").write_text("{}")
    assert embed_dataset(config, tmp_path / "out")["resumed_rows"] == 800
    assert embedder.calls == calls
    (model / "config.json").write_text('{"hidden_size": 2}')
    assert embed_dataset(config, tmp_path / "out")["resumed_rows"] == 0
    assert embedder.calls == 2 * calls
    assert embed_dataset(config, tmp_path / "out", split="test")["rows"].keys() == {"test"}


def test_bad_input(tmp_path, dataset, model, embedder):
    with pytest.raises(InputFileError, match="no split 'dev'"):
        embed_dataset(EmbedConfig(str(model), str(dataset)), tmp_path / "out", split="dev")
    with pytest.raises(InputFileError, match=r"no config\.json"):
        embed_dataset(EmbedConfig(str(dataset), str(dataset)), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFileError, match="no dataset"):
        embed_dataset(EmbedConfig(str(model), str(tmp_path / "empty")), tmp_path / "out")


def test_values_that_are_not_finite_are_an_error_naming_the_detection(dataset):
    rows = pq.read_table(dataset / "data" / "test-00000-of-00001.parquet")
    values = np.ones((rows.num_rows, 3), np.float32)
    values[5, 1] = np.nan
    mask = np.ones(rows.num_rows, bool)
    with pytest.raises(ValueError, match=f"'obsid': {rows['obsid'][5].as_py()}"):
        list_column(values, mask, rows, "spectrum_latents")
    mask[5] = False
    column = list_column(values, mask, rows, "spectrum_latents")
    assert column.null_count == 1
    assert column[5].as_py() is None
    assert column[6].as_py() == [1, 1, 1]


def test_text_id():
    assert text_id(None) is text_id("  ") is None
    assert text_id("a") == text_id("a") != text_id("b")


@pytest.mark.parametrize(("model_type", "num_rows"), [("event_transformer", 1024), ("poisson_autodecoder", 32)])
def test_models_whose_latents_are_fitted_have_short_parts(tmp_path, dataset, model, embedder, model_type, num_rows):
    (model / "config.json").write_text(json.dumps({"model_type": model_type}))
    facts = embed_dataset(EmbedConfig(str(model), str(dataset)), tmp_path / "out")
    assert facts["rows_per_part"] == num_rows
    assert embedder.calls == sum(-(-rows // num_rows) for rows in facts["rows"].values())


def test_identity_survives_json(tmp_path, dataset, model, embedder):
    facts = embed_dataset(EmbedConfig(str(model), str(dataset)), tmp_path / "out")
    assert {**json.loads((tmp_path / "out" / "embeddings.json").read_text()), "resumed_rows": 0} == facts


def test_plain_parquet_has_row_numbers_for_keys_and_its_own_count_of_simulated_rows(tmp_path, model, embedder, dataset):
    names = [f"source {number}" for number in range(90)]
    of_name = assign_splits(names)
    is_simulated = np.array([number % 3 == 0 for number in range(90)])
    columns = {"name": names, "spectrum_counts": [[number, 1] for number in range(90)]}
    columns["true_spectrum"] = ["powerlaw" if simulated else None for simulated in is_simulated]
    (tmp_path / "plain").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "plain" / "mine.parquet")
    config = EmbedConfig(str(model), str(tmp_path / "plain"))
    facts = embed_dataset(config, tmp_path / "out", split="test", rows_per_part=4)
    assert facts["simulated_rows"] == sum(is_simulated[row] for row in range(90) if of_name[row] == "test")
    table = EmbeddingTable.load(tmp_path / "out")
    assert table.name.tolist() == [name for name, split in zip(names, of_name) if split == "test"]
    assert table.keys["region_id"].tolist() == table.keys["obsid"].tolist() == list(range(len(table)))
    joined = join_columns(str(tmp_path / "plain"), "texts", ["true_spectrum"], table)["true_spectrum"]
    assert [value is not None for value in joined] == [is_simulated[names.index(name)] for name in table.name]


def test_ranks_embed_what_one_process_embeds(tmp_path, dataset, model, embedder):
    config = EmbedConfig(str(model), str(dataset))
    whole = embed_dataset(config, tmp_path / "whole", rows_per_part=100)
    calls, embedder.calls = embedder.calls, 0
    ranks = [embed_dataset(config, tmp_path / "out", rows_per_part=100, share=Share(rank, 3)) for rank in (2, 0)]
    with pytest.raises(InputFileError, match="parts are missing or damaged"):
        embed_dataset(config, tmp_path / "out", rows_per_part=100, share=Share(only_merge=True))
    ranks.append(embed_dataset(config, tmp_path / "out", rows_per_part=100, share=Share(1, 3)))
    assert embedder.calls == calls
    assert sum(facts["staged_rows"] for facts in ranks) == 800
    merged = embed_dataset(config, tmp_path / "out", rows_per_part=100, share=Share(only_merge=True))
    assert merged == {**whole, "resumed_rows": 800}
    for name in ("embeddings.parquet", "embeddings.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["embeddings.json", "embeddings.parquet"]
