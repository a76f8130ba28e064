"""Texts as a weighted bag of their words and pairs of words, with vectors that are learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from chandraclip.models.layers import ChandraPreTrainedModel
from chandraclip.models.ngram_text.configuration_ngram_text import NgramTextConfig

# Of the hash of a pair; any odd numbers do, but a saved model has to find its pairs again.
_FIRST, _SECOND = 1_000_003, 7_919


class NgramTextModel(ChandraPreTrainedModel):
    """Words and pairs of neighbouring words, each with a learnt vector and a fixed weight, log of how rare it is.

    A text is the mean of its states, as `ChandraClipModel` pools them: bag of n-grams (fastText, Joulin et al. 2016,
    arXiv:1607.01759) with the weights of TF-IDF. Texts about X-ray sources say what matters in single words, numbers
    and their units; docs/results.md has it beside TF-IDF and a transformer of one layer, at the same steps.
    """

    config: NgramTextConfig
    config_class = NgramTextConfig
    base_model_prefix = "ngram_text"
    main_input_name = "input_ids"

    def __init__(self, config: NgramTextConfig):
        super().__init__(config)
        self.token_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.register_buffer("token_weight", torch.ones(config.vocab_size))
        self.token_weight: Tensor
        self.pair_embeddings: nn.Embedding | None = None
        if config.num_pair_buckets:
            self.pair_embeddings = nn.Embedding(config.num_pair_buckets, config.hidden_size)
            self.register_buffer("pair_weight", torch.ones(config.num_pair_buckets))
            self.pair_weight: Tensor
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=1.0 / self.config.embedding_scale)
        if isinstance(module, NgramTextModel):
            init.ones_(module.token_weight)
            if module.pair_embeddings is not None:
                init.ones_(module.pair_weight)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.token_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:  # type: ignore[override]
        self.token_embeddings = value

    @torch.no_grad()
    def weigh(self, texts: Iterable[Sequence[int]]) -> NgramTextModel:
        """Set the weights from the tokens of texts: 1 + log((1 + N) / (1 + texts with it)), over the mean.

        Args:
            texts: input_ids of each, without padding.
        """
        counts = [np.zeros(self.config.vocab_size), np.zeros(self.config.num_pair_buckets)]
        num_texts = 0
        for text in texts:
            ids = np.asarray(text, dtype=np.int64)
            counts[0][np.unique(ids)] += 1
            if self.config.num_pair_buckets:
                counts[1][np.unique(_bucket(ids[:-1], ids[1:], self.config.num_pair_buckets))] += 1
            num_texts += 1
        if not num_texts:
            raise ValueError("weights need at least one text")
        for name, count in zip(("token_weight", "pair_weight"), counts):
            if count.size:
                rare = 1.0 + np.log((1.0 + num_texts) / (1.0 + count))
                mean = np.average(rare, weights=count) if count.any() else 1.0  # over what texts hold
                self.get_buffer(name).copy_(torch.from_numpy(rare / mean))
        return self

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> BaseModelOutput:
        """
        Args:
            input_ids: (B, L) tokens.
            attention_mask: (B, L), 0 at padding; all 1 by default.

        Returns:
            `last_hidden_state` (B, L, hidden_size): the word's vector and that of its pair with the next word, each
            times its weight; 0 at padding.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        weight = self.token_weight[input_ids] * mask
        states = self.token_embeddings(input_ids) * self._thinned(weight)[..., None]
        if self.pair_embeddings is not None and input_ids.shape[1] > 1:
            first, second = input_ids[:, :-1], input_ids[:, 1:]
            bucket = _bucket(first, second, self.config.num_pair_buckets)
            weight = self.pair_weight[bucket] * mask[:, :-1] * mask[:, 1:]
            pairs = self.pair_embeddings(bucket) * self._thinned(weight)[..., None]
            states = states + nn.functional.pad(pairs, (0, 0, 0, 1))
        return BaseModelOutput(last_hidden_state=states * self.config.embedding_scale)

    def _thinned(self, weight: Tensor) -> Tensor:
        if not self.training or self.config.token_dropout == 0:
            return weight
        return weight * (torch.rand_like(weight) >= self.config.token_dropout)


def _bucket(first: Any, second: Any, num_buckets: int) -> Any:
    """Which vector a pair of tokens has; of arrays or tensors of integers."""
    return (first * _FIRST + second * _SECOND) % num_buckets
