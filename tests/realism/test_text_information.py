"""What a linear model reads from texts whose content is known, and from the simulator's."""

from __future__ import annotations

import numpy as np
import pytest

from chandraclip.realism.text_information import text_information
from chandraclip.simulate import simulate_chunk

RNG_WORDS = ("flux", "column", "slope", "plasma", "period", "survey", "spectrum", "epoch")


def filler(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(RNG_WORDS, 20).tolist())


def test_named_classes_and_stated_values_are_read():
    rng = np.random.default_rng(0)
    kind, value = rng.choice(["star", "galaxy"], 600), rng.integers(0, 5, 600)
    words = np.array(["tiny", "small", "medium", "large", "huge"])
    texts = [f"It is a {name}. {filler(rng)} is {word}." for name, word in zip(kind, words[value])]
    result = text_information(texts, kind, {"value": value.astype(float)})
    assert result.balanced_accuracy > 0.99
    assert result.r2["value"] > 0.95
    assert result.num_words == 26
    assert result.num_word_types == len(RNG_WORDS) + len(words) + len({"it", "is", "star", "galaxy"})


def test_nothing_is_read_from_noise():
    rng = np.random.default_rng(1)
    texts = [filler(rng) for _ in range(600)]
    value = np.where(np.arange(600) % 2, rng.standard_normal(600), np.nan)
    result = text_information(
        texts, rng.choice(["a", "b", "c", ""], 600), {"some": value, "none": np.full(600, np.nan)}
    )
    assert 0.2 < result.balanced_accuracy < 0.45
    assert result.r2["some"] < 0.05
    assert "none" not in result.r2


def test_inputs_are_checked():
    with pytest.raises(ValueError, match="one length"):
        text_information(["a"] * 9, np.array(["x"] * 8), {})
    with pytest.raises(ValueError, match="at least 5"):
        text_information(["a"] * 4, np.array(["x"] * 4), {})


@pytest.mark.slow
def test_simulated_texts_tell_of_properties_more_than_of_a_class():
    """.96 of the classes were read once, from their names; what texts tell of the source must not go with them."""
    table = simulate_chunk(0, 0, 9000, class_exponent=0.5, fits=False, pileup=False)
    frame = table.select(
        ["name", "summary", "source_class", "true_class", "true_nh", "true_gamma", "true_kt"]
    ).to_pandas()
    frame = frame.drop_duplicates("name").dropna(subset="summary")
    result = text_information(
        frame["summary"].tolist(),
        frame["true_class"].where(frame["source_class"].notna(), "").to_numpy(),
        {
            "nh": np.log10(frame["true_nh"]).to_numpy(),
            "gamma": frame["true_gamma"].to_numpy(np.float64),
            "kt": np.log10(frame["true_kt"].to_numpy(np.float64)),
        },
    )
    assert 0.6 < result.balanced_accuracy < 0.8
    assert min(result.r2.values()) > 0.4
    assert 180 < result.num_words < 260
    assert result.num_word_types > 2500
