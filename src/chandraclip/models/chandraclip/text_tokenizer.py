"""A small tokenizer and text encoder made from the dataset's own texts: no weights need be reachable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# What is one word, first that fits: a power of ten ("10^-14"), the exponent of "4.5e-14", a number, "+-", words joined
# as in "x-ray" and "erg/cm2/s", any other sign. A shallow encoder can add up what "4.5" and "10^-14" tell it; it cannot
# put eight digits and signs in order.
WORDS = Regex(r"10\^[-+]?\d+|(?<=\d)e[-+]?\d+|\d+(?:\.\d+)?|\+/?-|[^\W\d_]\w*(?:[-/^]+\w+)*|[^\s\w]|_")


def train_tokenizer(texts: Iterable[str], vocab_size: int = 4096, max_length: int = 256) -> PreTrainedTokenizerFast:
    """A lower-case WordPiece tokenizer that keeps numbers, powers of ten and units whole where they are frequent.

    A word that is not among the most frequent is spelt in characters, so that no number is lost.

    Args:
        texts: what to learn from; order does not matter.
        vocab_size: largest number of tokens, the five special ones among them.
        max_length: tokens a text is cut at, by `ChandraClipProcessor`.

    Raises:
        ValueError: there is no text.
    """
    texts = [text for text in texts if text]
    if not texts:
        raise ValueError("a tokenizer needs at least one text to learn from")
    normalizer = normalizers.BertNormalizer(lowercase=True)
    pre_tokenizer = pre_tokenizers.Split(WORDS, behavior="removed", invert=True)
    counts = Counter(
        word for text in texts for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))
    )
    tokenizer = Tokenizer(models.WordPiece(_vocabulary(counts, vocab_size), unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def _vocabulary(counts: Counter[str], vocab_size: int) -> dict[str, int]:
    """Token -> id: the special tokens, the most frequent characters alone and within a word, the most frequent words.

    The trainers of `tokenizers` break ties in an order that differs from run to run, and with it every weight; this one
    is a function of the counts.
    """
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        characters.update(dict.fromkeys(word, count))
    pieces = [piece for character, _ in _most_frequent(characters) for piece in (character, f"##{character}")]
    tokens = dict.fromkeys([*SPECIAL_TOKENS, *pieces, *(word for word, _ in _most_frequent(counts))])
    return {token: number for number, token in enumerate(tokens) if number < vocab_size}


def _most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def small_text_config(vocab_size: int, **overrides: Any) -> BertConfig:
    """A BERT of 1 layer and width 64, small enough to train along on a CPU.

    One core takes 0.14 s forward and backward for 128 texts of 160 tokens, 0.27 s for 256.

    Args:
        vocab_size: tokens of the tokenizer, ``len(tokenizer)``.
        overrides: any field of `BertConfig`.
    """
    options: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "max_position_embeddings": 256,
        "attention_probs_dropout_prob": 0.0,  # a rate above 0 costs the fused attention kernel: 1.6x the step on a CPU
        "pad_token_id": 0,
    }
    return BertConfig(**{**options, **overrides})
