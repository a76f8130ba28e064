"""Retrieval numbers of a validation, and the logs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from chandraclip.training.tracker import Tracker
from chandraclip.training.validation import retrieval


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_perfect_and_random_embeddings():
    generator = np.random.default_rng(0)
    texts = [f"text {number // 2}" for number in range(400)]  # two rows a source
    texts[7] = None
    of_text = unit(generator.normal(size=(200, 16)))[np.arange(400) // 2]
    has_text = np.array([text is not None for text in texts])
    everywhere = np.ones(400, dtype=bool)
    metrics = retrieval({"spectrum": (of_text, everywhere), "text": (of_text, has_text)}, texts)
    assert metrics["spectrum_text/recall@1%"] == 1.0
    assert metrics["spectrum_text/median_rank_share"] == pytest.approx(1 / 200)
    assert metrics["spectrum_text/num_candidates"] == 200
    random = unit(generator.normal(size=(400, 16)))
    metrics = retrieval({"spectrum": (random, everywhere), "event": (of_text, everywhere)}, texts)
    assert set(metrics) == {f"spectrum_event/{name}" for name in
                            ("recall@1%", "recall@5%", "median_rank_share", "num_candidates")}  # fmt: skip
    assert metrics["spectrum_event/recall@5%"] < 0.12
    assert 0.4 < metrics["spectrum_event/median_rank_share"] < 0.6


def test_a_collapsed_model_scores_chance():
    same = np.ones((500, 4)) / 2
    everywhere = np.ones(500, dtype=bool)
    texts = [f"text {number}" for number in range(500)]
    metrics = retrieval({"spectrum": (same, everywhere), "text": (same, everywhere)}, texts)
    assert metrics["spectrum_text/recall@1%"] == pytest.approx(0.01)
    assert metrics["spectrum_text/median_rank_share"] == pytest.approx(0.5, abs=0.01)


def test_no_row_with_both_gives_no_number():
    nothing = np.zeros(3, dtype=bool)
    assert retrieval({"spectrum": (np.eye(3), nothing), "text": (np.eye(3), ~nothing)}, ["a", "b", "c"]) == {}


def test_a_resumed_log_has_every_step_once(tmp_path, caplog):
    with Tracker(tmp_path, 0, 6) as tracker:
        for step in range(1, 5):
            tracker.log(step, {"train/loss": 1.0 / step}, rows=8)
            tracker.advance()
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 5, "train/lo')  # a kill
    with Tracker(tmp_path, 2, 6) as tracker:
        tracker.log(3, {"train/loss": float("nan")})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[0]["train/rows_per_second"] > 0
    assert lines[2]["train/loss"] is None
    assert "not whole" in caplog.text
    with Tracker(tmp_path / "other", 0, 6, enabled=False) as tracker:
        tracker.log(1, {"train/loss": 1.0})
    assert not (tmp_path / "other").exists()
