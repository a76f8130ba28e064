"""The documented minimum, three columns of plain Parquet, through pre-training, alignment, embedding, evaluation."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from chandraclip.data.loading import load_splits
from chandraclip.errors import InputFileError
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EmbeddingTable

pytestmark = pytest.mark.slow

NUM_ROWS = 120
SHORT = ["--max_steps", 2, "--batch_size", 8, "--pretrain_max_steps", 2, "--pretrain_batch_size", 8]
SPECTRUM_TEXT = ["--modalities", "spectrum", "text"]


def make_table(**more: pa.Array) -> pa.Table:
    generator = np.random.default_rng(0)
    spectra = generator.poisson(0.3, (NUM_ROWS, 1024))
    return pa.table(
        {
            "name": [f"source {number}" for number in range(NUM_ROWS)],
            "spectrum_counts": pa.array(list(spectra.astype(np.int64)), pa.list_(pa.int64())),
            "summary": [f"Source {number} is a quasar at redshift 0.{number}." for number in range(NUM_ROWS)],
            **more,
        }
    )


def write(folder: Path, table: pa.Table) -> str:
    folder.mkdir()
    pq.write_table(table, folder / "mine.parquet")
    return str(folder)


@pytest.fixture
def small_towers(tmp_path: Path) -> list[object]:
    """Options of towers that train in seconds."""
    for name, size in (("spectrum_autoencoder", 16), ("event_transformer", 16)):
        options = {"hidden_size": size, "intermediate_size": size, "num_hidden_layers": 1, "latent_size": 8}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"model_type": name, "model_options": options}))
    return ["--spectrum_config", tmp_path / "spectrum_autoencoder.yaml",
            "--event_config", tmp_path / "event_transformer.yaml"]  # fmt: skip


def test_three_columns_train_embed_and_evaluate(tmp_path, run_loop, small_towers, repository, caplog, capsys):
    dataset = write(tmp_path / "mine", make_table())
    with caplog.at_level(logging.INFO):
        run_loop(
            "align", "--dataset", dataset, "--output_dir", tmp_path / "align", *SPECTRUM_TEXT, *small_towers, *SHORT
        )
    assert "rows go by hash of `name`" in caplog.text
    assert "have no exposure: their count rate is read as average" in caplog.text
    assert not (tmp_path / "events").exists()  # no event tower: nobody asked for one
    config = json.loads((tmp_path / "align" / "config.json").read_text())
    assert config["event_config"] is None
    assert json.loads((tmp_path / "align" / "metrics.json").read_text())["bad_rows"] == {}

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "scripts"))
        embed = importlib.import_module("embed")
        output = str(tmp_path / "embeddings")
        embed.main([str(tmp_path / "align"), dataset, output, "--device", "cpu", "--num_processes", "1"])
    table = EmbeddingTable.load(output)
    assert len(table) == NUM_ROWS
    assert set(table.arrays) == {"spectrum_embedding", "text_embedding", "spectrum_latents", "text_features"}
    assert all(mask.all() for mask in table.masks.values())
    texts = join_columns(dataset, "texts", ["summary"], table)["summary"]
    assert [text.split()[1] for text in texts] == [name.split()[1] for name in table.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "eval"))
        importlib.import_module("retrieval").main([output, "--num_resamples", "10"])
        with pytest.raises(InputFileError, match="there is none of the variables"):
            importlib.import_module("regression").main([output, dataset])
    assert "recall" in capsys.readouterr().out.lower()


def test_photon_lists_need_two_columns_more(tmp_path, run_loop, small_towers):
    generator = np.random.default_rng(1)
    times = [np.sort(generator.uniform(0, 1e4, 20)) for _ in range(NUM_ROWS)]
    energies = list(generator.uniform(0.5, 7.0, (NUM_ROWS, 20)))
    more = {"event_time": pa.array(times, pa.large_list(pa.float64())), "event_energy": pa.array(energies)}
    dataset = write(tmp_path / "mine", make_table(**more))
    run_loop("align", "--dataset", dataset, "--output_dir", tmp_path / "align", *small_towers, *SHORT)
    for folder in ("spectrum", "events"):
        assert json.loads((tmp_path / folder / "metrics.json").read_text())["max_steps"] == 2
    assert "event_text/recall@1%" in json.loads((tmp_path / "align" / "metrics.json").read_text())["test"]


def test_bad_rows_are_named_left_out_and_recorded(tmp_path, run_loop, small_towers, caplog):
    exposure = np.full(NUM_ROWS, 1e4)
    names = make_table()["name"].to_pylist()
    probe = write(tmp_path / "probe", make_table())
    train = load_splits(probe, "pairs")["train"][:]["name"].to_pylist()
    exposure[names.index(train[3])] = np.nan
    exposure[names.index(train[5])] = -1.0
    dataset = write(tmp_path / "mine", make_table(exposure=pa.array(exposure, from_pandas=False)))
    with caplog.at_level(logging.INFO):
        run_loop(
            "align", "--dataset", dataset, "--output_dir", tmp_path / "align", *SPECTRUM_TEXT, *small_towers, *SHORT
        )
    assert f"row 3 ({train[3]}): exposure: not positive or not finite" in caplog.text
    for folder in ("spectrum", "align"):
        bad = json.loads((tmp_path / folder / "metrics.json").read_text())["bad_rows"]
        assert sum(bad["train"].values()) == 2

    from chandraclip.embedding.dataset import embed_dataset
    from chandraclip.embedding.embedder import EmbedConfig

    facts = embed_dataset(EmbedConfig(str(tmp_path / "align"), dataset), tmp_path / "embeddings")
    assert sum(facts["bad_rows"]["train"].values()) == 2
    table = EmbeddingTable.load(tmp_path / "embeddings")
    assert set(table.name[~table.masks["spectrum_embedding"]]) == {train[3], train[5]}
    assert table.masks["text_embedding"].all()


def test_a_batch_larger_than_the_dataset_is_said_before_anything_is_written(tmp_path, run_loop, small_towers):
    dataset = write(tmp_path / "mine", make_table())
    options = ["--dataset", dataset, "--output_dir", tmp_path / "align", *SPECTRUM_TEXT, *small_towers]
    with pytest.raises(InputFileError, match=r"batch_size 500 needs.*smaller --batch_size"):
        run_loop("align", *options, "--batch_size", 500)
    assert not (tmp_path / "spectrum").exists()
    with pytest.raises(InputFileError, match=r"batch_size 500 needs.*--pretrain_batch_size"):
        run_loop("align", *options, "--batch_size", 8, "--pretrain_batch_size", 500)
    assert not (tmp_path / "spectrum").exists()
    run_loop("align", *options, *SHORT)


def test_what_alignment_lacks_is_said_before_the_pretraining(tmp_path, run_loop, small_towers):
    dataset = write(tmp_path / "mine", make_table().drop_columns(["summary"]))
    with pytest.raises(InputFileError, match=r"mine\[summary\]: this column is missing"):
        run_loop(
            "align", "--dataset", dataset, "--output_dir", tmp_path / "align", *SPECTRUM_TEXT, *small_towers, *SHORT
        )
    assert not (tmp_path / "spectrum").exists()


def test_a_tower_of_other_pretraining_options_is_not_taken_in_silence(tmp_path, run_loop, small_towers, caplog):
    dataset = write(tmp_path / "mine", make_table())
    options = ["--dataset", dataset, *SPECTRUM_TEXT, *small_towers]
    run_loop("align", *options, "--output_dir", tmp_path / "align", *SHORT)
    with pytest.raises(InputFileError, match="batch_size: 8 -> 4"):
        run_loop("align", *options, "--output_dir", tmp_path / "other", *SHORT, "--pretrain_batch_size", 4)
    with caplog.at_level(logging.INFO):
        run_loop("align", *options, "--output_dir", tmp_path / "other", "--max_steps", 2, "--batch_size", 8)
    assert "pre-trained for 2 steps" in caplog.text
