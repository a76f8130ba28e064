"""Dataset rows to model inputs: the towers' feature extractors and a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from transformers.feature_extraction_utils import BatchFeature
from transformers.utils import logging

from chandraclip.models.columns import column_names
from chandraclip.models.contract import FAMILIES
from chandraclip.models.feature_extraction import ColumnFeatureExtractor

logger = logging.get_logger(__name__)

# The column that a batch must have for each modality.
MODALITIES = {"spectrum": "spectrum_counts", "event": "event_time", "text": "summary"}


class ChandraClipProcessor(ProcessorMixin):
    """The feature extractors of a spectrum and an event tower and any tokenizer, saved and loaded together.

    Args:
        spectrum_feature_extractor, event_feature_extractor, tokenizer: the parts.
        max_text_length: tokens a text is cut at; the first cut is logged.
        modalities: those that are prepared unless others are asked for; a model without a tower has no use for them.
    """

    def __init__(
        self,
        spectrum_feature_extractor: ColumnFeatureExtractor,
        event_feature_extractor: ColumnFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        max_text_length: int = 256,
        modalities: Iterable[str] = tuple(MODALITIES),
    ):
        super().__init__(spectrum_feature_extractor, event_feature_extractor, tokenizer)
        self.spectrum_feature_extractor: ColumnFeatureExtractor
        self.event_feature_extractor: ColumnFeatureExtractor
        self.tokenizer: PreTrainedTokenizerBase
        self.max_text_length = max_text_length
        self.modalities = [name for name in MODALITIES if name in modalities]

    @staticmethod
    def get_possibly_dynamic_module(module_name: str) -> type:
        """Our own parts by name: transformers would search mappings that need torchvision."""
        own = {family.feature_extractor_class.__name__: family.feature_extractor_class for family in FAMILIES.values()}
        return own[module_name] if module_name in own else ProcessorMixin.get_possibly_dynamic_module(module_name)

    @property
    def model_input_names(self) -> list[str]:
        return [
            *self.spectrum_feature_extractor.model_input_names,
            *self.event_feature_extractor.model_input_names,
            "input_ids",
            "attention_mask",
            "text_mask",
        ]

    def __call__(
        self,
        batch: Mapping[str, Any] | pa.Table,
        modalities: Iterable[str] | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """
        Args:
            batch: dataset columns, one entry a row: name -> column, or an Arrow table.
            modalities: of "spectrum", "event", "text"; by default those of the processor whose column the batch has.
            return_tensors: "pt" or "np".

        Returns:
            The keys of both feature extractors; input_ids, attention_mask (B, L) int64 and text_mask (B,) bool, False
            where the summary is null or blank.

        Raises:
            ValueError: a modality of another name.
            KeyError: the batch lacks the column of a modality that was asked for.
        """
        present = column_names(batch)
        if modalities is None:
            modalities = [name for name in self.modalities if MODALITIES[name] in present]
        modalities = list(modalities)
        unknown = sorted(set(modalities) - set(MODALITIES))
        if unknown or not modalities:
            raise ValueError(f"modalities are {list(MODALITIES)}; asked for {unknown}, the batch has {present}")
        data: dict[str, Any] = {}
        if "spectrum" in modalities:
            data.update(self.spectrum_feature_extractor(batch, return_tensors=return_tensors))
        if "event" in modalities:
            data.update(self.event_feature_extractor(batch, return_tensors=return_tensors))
        if "text" in modalities:
            if MODALITIES["text"] not in present:
                raise KeyError(f"text needs the column {MODALITIES['text']}, the batch has {present}")
            data.update(self.tokenize(batch[MODALITIES["text"]], return_tensors))
        return BatchFeature(data)

    def tokenize(self, texts: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """Tokens of summaries: input_ids, attention_mask (B, L) and text_mask (B,); null and blank ones are masked.

        Args:
            texts: strings or None, or an Arrow column of them.
        """
        if isinstance(texts, pa.Array | pa.ChunkedArray):
            texts = texts.to_pylist()
        texts = [text or "" for text in texts]
        encoded = self.tokenizer(
            texts,
            padding="longest",
            truncation=True,
            max_length=self.max_text_length,
            return_token_type_ids=False,
            return_attention_mask=True,
            return_tensors="np",
        )
        if any(encoding.overflowing for encoding in encoded.encodings or []):
            logger.warning_once(f"texts longer than {self.max_text_length} tokens are cut there (max_text_length)")
        return BatchFeature(
            {
                "input_ids": encoded["input_ids"].astype(np.int64),
                "attention_mask": encoded["attention_mask"].astype(np.int64),
                "text_mask": np.array([bool(text.strip()) for text in texts]),
            },
            tensor_type=return_tensors,
        )
