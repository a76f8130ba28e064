"""Which rows of an embeddings table are nearest to what is asked, and what is said of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chandraclip.evaluation.lookup import References, describe, find_neighbours


def test_other_detections_of_the_source_come_first_and_never_itself(make_embeddings):
    table = make_embeddings(num_sources=100, detections=2)
    (answers,) = find_neighbours(table, References(table), num_neighbours=3, num_texts=2)
    assert answers.neighbours.rows.shape == (200, 3)
    assert not (answers.neighbours.rows == answers.rows[:, None]).any()
    assert (table.name[answers.neighbours.rows[:, 0]] == table.name).mean() > 0.9
    assert (table.name[answers.texts.rows[:, 0]] == table.name).mean() > 0.9
    assert all(len(set(table.text_id[row])) == 2 for row in answers.texts.rows)


def test_queries_are_compared_by_what_they_have(make_embeddings):
    rows = np.arange(60)
    missing = {"spectrum_embedding": rows < 20, "event_embedding": rows >= 40, "text_embedding": rows > 50}
    queries = make_embeddings(num_sources=30, seed=0, **missing)
    references = make_embeddings(num_sources=30, seed=0)
    answers = find_neighbours(queries, References(references))
    compared = {found.neighbours.compared: set(found.rows.tolist()) for found in answers}
    assert compared == {
        ("event_embedding",): set(range(20)),
        ("spectrum_embedding", "event_embedding"): set(range(20, 40)),
        ("spectrum_embedding",): set(range(40, 60)),
    }


def test_references_without_the_modality(make_embeddings):
    everything = np.ones(20, dtype=bool)
    references = make_embeddings(num_sources=10, event_embedding=everything, spectrum_embedding=everything)
    with pytest.raises(ValueError, match="no detection of"):
        find_neighbours(make_embeddings(num_sources=10), References(references))


def test_a_text_lies_along_xrays_and_texts(make_embeddings):
    missing = np.arange(60) < 20
    table = make_embeddings(num_sources=30, event_embedding=missing, xray_embedding=np.ones(60, dtype=bool))
    references = References(table)
    found = references.along(table.arrays["text_embedding"][:5], 60)
    assert found.rows.shape == (5, 60)  # those without events are compared by their spectrum
    both = table.arrays["spectrum_embedding"] + table.arrays["event_embedding"]
    cosine = table.arrays["text_embedding"][:5] @ (both / np.linalg.norm(both, axis=1, keepdims=True)).T
    np.testing.assert_allclose(found.similarity, -np.sort(-cosine, axis=1), atol=1e-6)
    by_text = references.along(table.arrays["text_embedding"][:5], 2, "text", without=np.arange(5)[:, None])
    assert not (by_text.rows == np.arange(5)[:, None]).any()
    np.testing.assert_allclose(by_text.similarity[[0, 2, 4], 0], 1, atol=1e-6)  # the source's other detection


def test_a_text_is_compared_with_the_joint_head_where_a_row_has_it(make_embeddings):
    table = make_embeddings(num_sources=30, xray_embedding=np.arange(60) == 7)
    found = References(table).along(table.arrays["text_embedding"][:2], 60)
    cosine = table.arrays["text_embedding"][:2] @ table.arrays["xray_embedding"].T
    both = table.arrays["spectrum_embedding"][7] + table.arrays["event_embedding"][7]
    cosine[:, 7] = table.arrays["text_embedding"][:2] @ both / np.linalg.norm(both)
    np.testing.assert_allclose(found.similarity, -np.sort(-cosine, axis=1), atol=1e-6)


def test_texts_need_texts_and_vectors_of_the_same_model(make_embeddings):
    table = make_embeddings(num_sources=10, text_embedding=np.ones(20, dtype=bool))
    with pytest.raises(ValueError, match="has text"):
        References(table).along(np.ones((1, 16)), 3, "text")
    with pytest.raises(ValueError, match="two models"):
        References(table).along(np.ones((1, 7)), 3)


def test_latents_are_compared_in_units_of_their_scatter_from_their_mean(make_embeddings):
    """An offset and a number of large scatter would make all cosines 1, or those of this number alone."""
    table = make_embeddings(num_sources=30)
    latents = np.random.default_rng(0).normal(size=(60, 3))
    moved = (latents * [1.0, 1e3, 1e-2] + [50.0, 0.0, 0.0]).astype(np.float32)
    masks = {"spectrum_latents": np.arange(60) != 4}
    table = dataclasses.replace(table, arrays={"spectrum_latents": moved}, masks=masks)
    found = References(table).like_xrays({"spectrum_latents": moved[:2]}, 59)
    known = np.delete(latents, 4, axis=0)
    unit = (known - known.mean(axis=0)) / known.std(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    order = np.argsort(-(unit[:2] @ unit.T), axis=1)
    np.testing.assert_array_equal(found.rows, np.delete(np.arange(60), 4)[order])


def test_a_question_may_leave_out_all_but_some(make_embeddings):
    table = make_embeddings(num_sources=5)
    vectors = {"spectrum_embedding": table.arrays["spectrum_embedding"][:1]}
    found = References(table).like_xrays(vectors, 10, without=np.arange(7)[None, :])
    assert sorted(found.rows[0].tolist()) == [7, 8, 9]


def test_describe_has_key_class_and_the_facts_of_the_dataset(make_embeddings, dataset):
    table = make_embeddings(num_sources=400)
    frame = describe(table, str(dataset))
    assert list(frame["name"]) == table.name.tolist()
    assert frame["source_class"][0] == "AGN"
    assert frame["summary"][3] == f"A text about {table.name[3]}."
    assert {"hard_hs", "theta", "true_spectrum"} <= set(frame.columns)
    classes = np.concatenate([[-1, 99], table.source_class[2:]])
    other = dataclasses.replace(table, source_class=classes)
    described = describe(other)["source_class"]
    assert list(described.isna()[:3]) == [True, True, False]
    assert described[2] == "CV"
