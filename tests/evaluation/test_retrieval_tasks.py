from __future__ import annotations

import numpy as np
import pytest

from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.retrieval_tasks import evaluate_retrieval, retrieval_tasks


def test_pools_are_distinct_texts_and_detections(make_embeddings):
    table = make_embeddings(num_sources=30, detections=3)
    tasks = {name: (queries, candidates) for name, queries, candidates in retrieval_tasks(table)}
    assert set(tasks) == {
        f"{a} -> {b}"
        for pair in (
            *((side, "text") for side in ("spectrum", "events", "spectrum+events", "xray")),
            ("spectrum", "events"),
        )
        for a, b in (pair, pair[::-1])
    }
    queries, texts = tasks["spectrum -> text"]
    assert (len(queries.group), len(texts.group)) == (90, 30)
    assert len(set(texts.group)) == 30
    queries, detections = tasks["text -> spectrum"]
    assert (len(queries.group), len(detections.group)) == (30, 90)
    queries, events = tasks["spectrum -> events"]
    assert len(set(queries.group)) == len(set(events.group)) == 90


def test_a_text_shared_by_two_sources_counts_once(make_embeddings):
    table = make_embeddings(num_sources=10, detections=1)
    table.text_id[1] = table.text_id[0]
    _, texts = {name: sides for name, *sides in retrieval_tasks(table)}["spectrum -> text"]
    assert len(texts.group) == 9


def test_missing_modalities(make_embeddings):
    no_text = np.arange(60) < 12  # sources 0 to 3
    no_events = np.ones(60, dtype=bool)
    table = make_embeddings(num_sources=20, detections=3, text_embedding=no_text, event_embedding=no_events)
    tasks = {name: sides for name, *sides in retrieval_tasks(table)}
    assert set(tasks) == {"spectrum -> text", "text -> spectrum", "xray -> text", "text -> xray"}
    queries, texts = tasks["spectrum -> text"]
    assert (len(queries.group), len(texts.group)) == (48, 16)
    # Detections without a text are still in the pool that texts search.
    queries, detections = tasks["text -> spectrum"]
    assert (len(queries.group), len(detections.group)) == (16, 60)


def test_informative_embeddings_beat_chance_and_the_class(make_embeddings):
    results = evaluate_retrieval(make_embeddings(num_sources=300), num_resamples=100)
    metric = results["spectrum -> text"]["metrics"]["recall@1%"]
    assert metric["chance"] == pytest.approx(0.01)
    assert metric["class_oracle"] == pytest.approx(0.04)
    assert metric["low"] > 0.4
    both = results["spectrum+events -> text"]["metrics"]["mean_reciprocal_rank"]["value"]
    assert both > results["spectrum -> text"]["metrics"]["mean_reciprocal_rank"]["value"]  # two noisy views beat one


def test_one_modality_has_nothing_to_retrieve(make_embeddings):
    nothing = np.ones(40, dtype=bool)
    table = make_embeddings(num_sources=20, text_embedding=nothing, event_embedding=nothing)
    with pytest.raises(ValueError, match="two modalities"):
        evaluate_retrieval(table)


def test_without_text_ids_the_source_names_the_text(embeddings_table):
    table = EmbeddingTable.from_table(embeddings_table.drop_columns("text_id"), "x.parquet")
    _, texts = {name: sides for name, *sides in retrieval_tasks(table)}["spectrum -> text"]
    assert len(texts.group) == 400
