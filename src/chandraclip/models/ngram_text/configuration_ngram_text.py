"""Configuration of the encoder of words and pairs of words."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class NgramTextConfig(ChandraConfig):
    """Texts as words and pairs of neighbouring words, each with a vector.

    Args:
        vocab_size: tokens of the tokenizer, ``len(tokenizer)``.
        num_pair_buckets: vectors that the pairs of tokens share by a hash; 0 for words alone.
        hidden_size: numbers a vector.
        token_dropout: rate at which words and pairs are left out, each by itself, while training.
        embedding_scale: the vectors are multiplied by it (and start as much smaller). Adam's steps have one size for
            all weights, and a word is one of hundreds of a text and seen in few: without it words learn too slowly.
    """

    model_type = "ngram_text"
    first_version = 3
    current_version = 3

    vocab_size: int = 8192
    num_pair_buckets: int = 16384
    hidden_size: int = 128
    token_dropout: float = 0.5
    embedding_scale: float = 64.0
    pad_token_id: int = 0

    def check(self) -> None:
        self.check_positive("vocab_size", "hidden_size", "embedding_scale")
        if self.num_pair_buckets < 0:
            raise ValueError(f"num_pair_buckets must be 0 or more, it is {self.num_pair_buckets}")
        if not 0 <= self.token_dropout < 1:
            raise ValueError(f"token_dropout must be at least 0 and below 1, it is {self.token_dropout}")
