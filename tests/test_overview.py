"""README's first picture is drawn from a corpus, a model, its embeddings and their dataset; here all are tiny."""

from __future__ import annotations

import gzip
import importlib.util
import json

import numpy as np
import pytest

from chandraclip.errors import InputFileError


@pytest.fixture(scope="module")
def script(request):
    path = request.config.rootpath / "scripts" / "draw_overview.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    photons = np.column_stack([1e8 + np.sort(rng.uniform(0, 3e4, 300))[::-1], rng.uniform(500, 8000, 300)])
    row = {"obsid": 7, "obi": 0, "source_name": "2CXO J0", "gti_mjd_obs": 52000.0, "_event_list_original_size": 9000}
    path = tmp_path / "corpus.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps({"obsid": 6}) + "\n")
        file.write(json.dumps(row | {"original_event_list": photons.tolist()}) + "\n")
    return path


def test_a_row_of_the_corpus_is_an_observation(script, corpus):
    observation, facts = script.read_axia(corpus, 7)
    assert facts == "Chandra ObsID 7, 300 of 9,000 photons"
    assert observation.spectrum.counts.sum() == len(observation.events) == 300
    assert (np.diff(observation.events.time) >= 0).all()
    with pytest.raises(InputFileError, match="no row of ObsID 8"):
        script.read_axia(corpus, 8)


def test_the_picture_is_drawn(script, corpus, tmp_path, repository):
    from chandraclip.embedding.dataset import EmbedConfig, embed_dataset
    from chandraclip.simulate.dataset import build_from_simulation

    spec = importlib.util.spec_from_file_location("smoke", repository / "scripts" / "smoke_wheel.py")
    smoke = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(smoke)
    smoke.make_model(tmp_path / "model", ["a quasar at redshift 2.1", "an X-ray binary, absorbed"])
    build_from_simulation(tmp_path / "dataset", 30, seed=1, progress=False)
    config = EmbedConfig(model=str(tmp_path / "model"), dataset=str(tmp_path / "dataset"), batch_size=16, device="cpu")
    embed_dataset(config, tmp_path / "embeddings")
    places = [str(path) for path in (corpus, *(tmp_path / name for name in ("model", "embeddings", "dataset")))]
    script.main([*places, "--obsid", "7", "--output", str(tmp_path / "overview.png")])
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_the_committed_one_is_small(repository):
    assert (repository / "docs" / "images" / "overview.png").stat().st_size < 300_000
