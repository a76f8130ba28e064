"""The map: what is on it, and its server."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from chandraclip.explorer.atlas import LAYOUT_FILE, NUM_NEIGHBOURS, atlas_app, map_table
from chandraclip.search import Catalog


@pytest.fixture
def frame(explorer):
    size = len(explorer.catalog)
    return map_table(explorer.catalog, np.random.default_rng(0).normal(size=(size, 2)))


def test_a_row_is_a_detection_with_its_nearest(explorer, frame):
    assert len(frame) == len(explorer.catalog)
    assert {"source_class", "src_cnts_aper_b", "summary", "name", "x", "y"} <= set(frame)
    for row in (0, 50):
        key = [int(frame[name][row]) for name in ("obsid", "obi", "region_id")]
        lists = frame["neighbors"][row]
        assert len(lists["ids"]) == len(lists["distances"]) == NUM_NEIGHBOURS
        assert row not in lists["ids"]
        assert lists["distances"] == sorted(lists["distances"])
        if explorer.catalog.table.masks["event_embedding"][row]:
            vectors = [explorer.catalog.table.arrays[f"{part}_embedding"] for part in ("spectrum", "event")]
            total = np.sum(vectors, axis=0)
            total /= np.linalg.norm(total, axis=1, keepdims=True)
            similarity = total @ total[row]
            similarity[row] = -np.inf
            assert similarity.argmax() == lists["ids"][0]
            assert lists["distances"][0] == pytest.approx(1 - similarity.max(), abs=1e-5)
        assert key == [explorer.catalog.table.keys[name][row] for name in ("obsid", "obi", "region_id")]


def test_places_are_kept_while_the_embeddings_stay(made, tmp_path, monkeypatch):
    umap = pytest.importorskip("umap", reason="umap-learn is not installed; the extra explore has it")
    source = tmp_path / "embeddings.parquet"
    source.write_bytes((made.embeddings / "embeddings.parquet").read_bytes())
    first = map_table(Catalog.from_pretrained(tmp_path))
    assert np.isfinite(first[["x", "y"]].to_numpy()).all()
    assert first["x"].std() > 0.1
    monkeypatch.setattr(umap, "UMAP", lambda **_: pytest.fail("laid out again"))
    again = map_table(Catalog.from_pretrained(tmp_path))
    assert again[["x", "y"]].equals(first[["x", "y"]])
    pq.write_table(pq.read_table(source), source, compression="zstd")  # other bytes
    with pytest.raises(pytest.fail.Exception, match="laid out again"):
        map_table(Catalog.from_pretrained(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {LAYOUT_FILE, source.name}


def test_the_server_reads_nothing_but_the_table(frame, tmp_path):
    pytest.importorskip("embedding_atlas", reason="embedding-atlas is not installed; the extra explore has it")
    from fastapi.testclient import TestClient

    client = TestClient(atlas_app(frame))
    props = client.get("/data/metadata.json").json()["props"]["data"]
    assert (props["text"], props["neighbors"]) == ("summary", "neighbors")
    counted = client.post("/data/query", json={"type": "json", "sql": "select count(*) as n from dataset"})
    assert counted.json() == [{"n": len(frame)}]
    binary = client.post("/data/query", json={"type": "arrow", "sql": "select name from dataset limit 3"})
    assert binary.status_code == 200
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for sql in (
        f"select * from '{secret}'",
        f"copy dataset to '{tmp_path}/out.csv'",
        "set enable_external_access=true",
    ):
        assert client.post("/data/query", json={"type": "json", "sql": sql}).status_code == 500
    assert list(tmp_path.iterdir()) == [secret]
    page = client.get("/")
    assert "http://" not in page.text
    assert "https://" not in page.text
