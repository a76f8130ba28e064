"""The text tower of a run: a small one from scratch, or any encoder, whole, frozen or with LoRA."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from chandraclip.errors import InputFileError
from chandraclip.files import atomic_path

if TYPE_CHECKING:
    from chandraclip.models import ChandraClipModel, ChandraClipProcessor

VOCABULARY = {"ngram": 8192, "bert": 4096}  # tokens at most, of the small towers
FEATURES_FILE = "text_features.safetensors"


def load_text_tower(
    name_or_path: str | None,
    texts: Iterable[str | None],
    max_length: int,
    dropout: float | None = None,
    kind: str = "ngram",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder and its tokenizer.

    Args:
        name_or_path: folder or Hub id of any `AutoModel` encoder; None: a small one with random weights, and a
            tokenizer trained on the texts.
        texts: of the train split, and of no other.
        max_length: tokens a text is cut at.
        dropout: of the small one; None: its own default.
        kind: of the small one: "ngram" (`NgramTextModel`) or "bert" (`small_text_config`).

    Raises:
        InputFileError: nothing loads from there, there is no text to train a tokenizer on, or texts are cut longer than
            the encoder has positions.
    """
    from chandraclip.models import NgramTextConfig, NgramTextModel, small_text_config, train_tokenizer

    if name_or_path is None:
        # Without texts the tower is never run, but the model has one.
        known = [text for text in texts if text] or ["none"]
        tokenizer = train_tokenizer(known, vocab_size=VOCABULARY[kind], max_length=max_length)
        if kind == "bert":
            options: dict[str, Any] = {} if dropout is None else {"hidden_dropout_prob": dropout}
            config = small_text_config(len(tokenizer), max_position_embeddings=max_length, **options)
            return AutoModel.from_config(config), tokenizer
        options = {} if dropout is None else {"token_dropout": dropout}
        tokens = tokenizer(sorted(set(known)), truncation=True, max_length=max_length)["input_ids"]
        return NgramTextModel(NgramTextConfig(vocab_size=len(tokenizer), **options)).weigh(tokens), tokenizer
    try:
        model = AutoModel.from_pretrained(name_or_path, dtype=torch.float32)
        pretrained_tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError) as error:
        raise InputFileError(name_or_path, f"no text encoder and tokenizer load from here ({error})") from error
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and positions < max_length:
        raise InputFileError(name_or_path, f"reads at most {positions} tokens; max_text_length is {max_length}")
    return model, pretrained_tokenizer


def add_lora(model: ChandraClipModel, rank: int) -> None:
    """Train low-rank updates of the text tower's linear layers in place of their weights (LoRA, arXiv:2106.09685)."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.05, target_modules="all-linear")
    model.text_encoder = get_peft_model(model.text_encoder, config)


def merge_lora(model: ChandraClipModel) -> None:
    """Add the updates to the weights, so that the model loads without peft; nothing happens where there are none."""
    if hasattr(getattr(model, "text_encoder", None), "merge_and_unload"):
        model.text_encoder = model.text_encoder.merge_and_unload()


def cached_text_features(
    model: ChandraClipModel,
    processor: ChandraClipProcessor,
    texts: Iterable[str | None],
    folder: Path,
    accelerator: Accelerator,
    batch_size: int = 64,
) -> Callable[[pa.Table], Mapping[str, Any]]:
    """A processor that gives `text_features` in place of tokens.

    Every text is embedded once, now or by an earlier run of the same folder.

    Args:
        model: its text tower is frozen.
        processor: of the model.
        texts: all that will be asked for.
        folder: of the run; the main process writes `FEATURES_FILE` there.
        batch_size: texts a forward pass; they are sorted by length, so that little is padding.
    """
    file = folder / FEATURES_FILE
    distinct = sorted({text for text in texts if text and text.strip()}, key=lambda text: (len(text), text))
    if accelerator.is_main_process and not file.exists():
        model.to(accelerator.device).eval()
        parts = []
        for start in tqdm(range(0, len(distinct), batch_size), desc="text features", unit="batch"):
            tokens = processor.tokenize(distinct[start : start + batch_size]).to(accelerator.device)
            with torch.inference_mode():
                parts.append(model.get_text_latents(tokens["input_ids"], tokens["attention_mask"]).float().cpu())
        with atomic_path(file) as temporary:
            save_file({"text_features": torch.cat(parts)}, temporary)
    accelerator.wait_for_everyone()
    return _CachedProcessor(processor, load_file(file)["text_features"], distinct)


class _CachedProcessor:
    def __init__(self, processor: ChandraClipProcessor, features: Tensor, texts: list[str]):
        if len(features) != len(texts):
            raise ValueError(f"{len(features)} cached text features for {len(texts)} texts")
        self.processor = processor
        self.features = torch.cat([features, torch.zeros_like(features[:1])])  # the last row is that of no text
        self.row = {text: row for row, text in enumerate(texts)}

    def __call__(self, rows: pa.Table) -> dict[str, Any]:
        index = torch.tensor([self.row.get(text, -1) for text in rows["summary"].to_pylist()])
        return {
            **self.processor(rows.drop_columns(["summary"])),
            "text_features": self.features[index],
            "text_mask": index >= 0,
        }
