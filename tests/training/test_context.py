"""The context of observations and the small text towers, as the alignment sets them up."""

from __future__ import annotations

import logging

import datasets
import numpy as np
import pytest
import torch

from chandraclip.training.data import context_scale
from chandraclip.training.text_tower import load_text_tower


def test_the_scale_of_a_context_leaves_out_what_says_nothing(caplog):
    rows = datasets.Dataset.from_dict(
        {
            "name": ["a", "b", "c", "d"],
            "nh_gal": [1.0, 10.0, 100.0, None],
            "theta": [2.0, 2.0, 2.0, 2.0],
            "livetime": [None, None, None, None],
        }
    ).with_format("arrow")
    with caplog.at_level(logging.INFO):
        scale = context_scale(rows, ["nh_gal", "livetime", "theta", "effective_area_s"])
    assert scale.names == ["nh_gal"]
    assert scale.mean == pytest.approx([1.0])
    assert scale.std == pytest.approx([np.std([0.0, 1.0, 2.0])])
    assert "goes without livetime, theta, effective_area_s" in caplog.text
    assert context_scale(rows, []) == context_scale(rows, ["effective_area_s"]) == ([], [], [])


def test_the_small_towers():
    texts = ["A quasar behind gas", "A star that flares", None, "A quasar"]
    tower, tokenizer = load_text_tower(None, texts, max_length=12)
    assert tower.config.model_type == "ngram_text"
    assert tower.config.vocab_size == len(tokenizer)
    ids = tokenizer(["quasar star"])["input_ids"][0][1:-1]
    common, rare = tower.token_weight[torch.tensor(ids)].tolist()
    assert rare > common > 0  # two texts and one
    bert, _ = load_text_tower(None, texts, max_length=12, dropout=0.25, kind="bert")
    assert (bert.config.model_type, bert.config.hidden_dropout_prob) == ("bert", 0.25)
    assert bert.config.max_position_embeddings == 12
    assert load_text_tower(None, texts, max_length=12, dropout=0.5)[0].config.token_dropout == 0.5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--context", "nh_gal", "distance"], "context has no distance"),
        (["--text_tower", "lstm"], "text_tower must be one of"),
        (["--tower_learning_rate_scale", "2"], "must be in"),
        (["--pair_weights", "xray_text=1", "--joint_projection", "false"], "xray_text"),
        (["--pair_weights", "xray_text=1", "--modalities", "spectrum", "text"], "xray_text"),
        (["--joint_projection", "true", "--modalities", "spectrum", "text"], "joint_projection needs"),
        (["--neighbourhood_weights", "xray=1"], "neighbourhood_weights names xray"),
        (["--neighbourhood_weights", "event=1", "--modalities", "spectrum", "text"], "names event"),
        (["--neighbourhood_weights", "event=-1"], "weight of event must be 0 or more"),
        (["--text_pooling", "cls"], "text_pooling cls needs"),
        (["--text_tower", "bert", "--text_model_name_or_path", "x"], "leave out text_tower"),
        (["--model_name_or_path", "x", "--context", "nh_gal"], "leave out context"),
        (["--model_name_or_path", "x", "--joint_projection", "false"], "leave out joint_projection"),
    ],
)
def test_options_that_cannot_be(run_loop, options, reason, capsys):
    with pytest.raises(SystemExit) as stopped:
        run_loop("align", *options)
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
