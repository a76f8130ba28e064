"""The encoder of words and pairs of words: its weights, what it ignores, and a round trip."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import warm_python
from chandraclip.models import NgramTextConfig, NgramTextModel

TEXTS = [[2, 5, 6, 3], [2, 5, 7, 3], [2, 5, 6, 6, 3]]


@pytest.fixture
def model() -> NgramTextModel:
    torch.manual_seed(0)
    config = NgramTextConfig(vocab_size=9, num_pair_buckets=64, hidden_size=4)
    return NgramTextModel(config).eval().weigh(TEXTS)


def state(model: NgramTextModel, *ids: int) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def test_weights_are_those_of_tf_idf(model: NgramTextModel) -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = np.zeros((3, 9))
    for row, text in enumerate(TEXTS):
        np.add.at(counts[row], text, 1)
    expected = TfidfTransformer().fit(counts).idf_  # 1 + log((1 + N) / (1 + n)), too
    ratio = model.token_weight.numpy() / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert model.token_weight[7] > model.token_weight[6] > model.token_weight[5] == model.token_weight[2]
    with pytest.raises(ValueError, match="at least one text"):
        model.weigh([])


def test_a_state_is_a_word_and_its_pair_with_the_next(model: NgramTextModel) -> None:
    scale, weight = model.config.embedding_scale, model.token_weight
    word = scale * weight[6] * model.token_embeddings.weight[6]
    torch.testing.assert_close(state(model, 6)[0], word)
    assert not torch.allclose(state(model, 6, 7)[0], word)
    torch.testing.assert_close(state(model, 5, 6)[1], word)  # the last has no next
    # The order of words matters, to the pairs.
    assert not torch.allclose(state(model, 5, 6).mean(dim=0), state(model, 6, 5).mean(dim=0))
    alone = NgramTextModel(NgramTextConfig(vocab_size=9, num_pair_buckets=0, hidden_size=4)).eval().weigh(TEXTS)
    torch.testing.assert_close(state(alone, 5, 6).mean(dim=0), state(alone, 6, 5).mean(dim=0))


def test_padding_adds_nothing(model: NgramTextModel) -> None:
    padded = model(input_ids=torch.tensor([[2, 5, 3, 0, 0]]), attention_mask=torch.tensor([[1, 1, 1, 0, 0]]))
    torch.testing.assert_close(padded.last_hidden_state[0, :3], state(model, 2, 5, 3))
    assert not padded.last_hidden_state[0, 3:].any()


def test_states_start_at_the_size_of_one_whatever_the_scale() -> None:
    for scale in (1.0, 64.0):
        torch.manual_seed(0)
        model = NgramTextModel(NgramTextConfig(hidden_size=32, num_pair_buckets=0, embedding_scale=scale)).eval()
        assert model(input_ids=torch.arange(5, 4000)[None]).last_hidden_state.std().item() == pytest.approx(1, rel=0.05)


def test_words_are_left_out_in_training_only(model: NgramTextModel) -> None:
    ids = torch.randint(1, 9, (1, 4000))
    kept = model.train()(input_ids=ids).last_hidden_state
    words_gone = (kept == 0).all(dim=-1).float().mean().item()
    assert words_gone == pytest.approx(0.5**2, abs=0.03)  # the word and its pair
    assert (model.eval()(input_ids=ids).last_hidden_state != 0).any(dim=-1).all()


def test_a_saved_model_has_its_weights(model: NgramTextModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    script = (
        "import sys, torch, chandraclip\nfrom transformers import AutoModel\n"
        "model = AutoModel.from_pretrained(sys.argv[1])\n"
        "torch.save(model(input_ids=torch.tensor([[2, 5, 6, 3]])).last_hidden_state.detach(), sys.argv[1] + '/out.pt')"
    )
    warm_python.run([sys.executable, "-c", script, tmp_path], check=True)
    torch.testing.assert_close(torch.load(tmp_path / "out.pt", weights_only=True)[0], state(model, 2, 5, 6, 3))


@pytest.mark.parametrize(
    "options", [{"vocab_size": 0}, {"num_pair_buckets": -1}, {"token_dropout": 1.0}, {"embedding_scale": 0.0}]
)
def test_what_no_model_can_be_built_from(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        NgramTextConfig(**options)
