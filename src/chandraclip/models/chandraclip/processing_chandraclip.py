"""Dataset rows to model inputs: the towers' feature extractors and a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerBase, ProcessorMixin
from transformers.feature_extraction_utils import BatchFeature
from transformers.utils import logging

from chandraclip.models.batches import as_columns
from chandraclip.models.chandraclip.observation_context import check_context, context_values
from chandraclip.models.columns import column_names, text_column
from chandraclip.models.contract import FAMILIES
from chandraclip.models.feature_extraction import (
    RESPONSE_COLUMN,
    ColumnFeatureExtractor,
    ResponseFeatureExtractor,
)
from chandraclip.models.publishing import ProcessorPublishingMixin

if TYPE_CHECKING:
    from chandraclip.ogip.events import EventList
    from chandraclip.ogip.response import Response
    from chandraclip.ogip.spectrum import Spectrum

logger = logging.get_logger(__name__)

# The column that a batch must have for each modality.
MODALITIES = {"spectrum": "spectrum_counts", "event": "event_time", "text": "summary"}


class ChandraClipProcessor(ProcessorPublishingMixin, ProcessorMixin):
    """The feature extractors of a spectrum and an event tower and any tokenizer, saved and loaded together.

    Args:
        spectrum_feature_extractor, event_feature_extractor, tokenizer: the parts.
        max_text_length: tokens a text is cut at; the first cut is logged.
        modalities: those that are prepared unless others are asked for; a model without a tower has no use for them.
        context: columns of the observation that the model's X-ray heads see, `ChandraClipConfig.context`.
    """

    def __init__(
        self,
        spectrum_feature_extractor: ColumnFeatureExtractor,
        event_feature_extractor: ColumnFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        max_text_length: int = 256,
        modalities: Iterable[str] = tuple(MODALITIES),
        context: Iterable[str] = (),
    ):
        super().__init__(spectrum_feature_extractor, event_feature_extractor, tokenizer)
        self.spectrum_feature_extractor: ColumnFeatureExtractor
        self.event_feature_extractor: ColumnFeatureExtractor
        self.tokenizer: PreTrainedTokenizerBase
        self.max_text_length = max_text_length
        self.modalities = [name for name in MODALITIES if name in modalities]
        self.context = list(context)
        check_context(self.context)

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
            *(["context_values"] if self.context else []),
            "input_ids",
            "attention_mask",
            "text_mask",
        ]

    @property
    def reads_responses(self) -> bool:
        """Whether a part needs the responses that rows name."""
        return any(part.reads_responses for part in (self.spectrum_feature_extractor, self.event_feature_extractor))

    def use_responses(self, responses: Mapping[str, Response]) -> None:
        """See `feature_extraction.ResponseFeatureExtractor`."""
        for part in (self.spectrum_feature_extractor, self.event_feature_extractor):
            if isinstance(part, ResponseFeatureExtractor):
                part.use_responses(responses)

    def __call__(
        self,
        batch: Any = None,
        modalities: Iterable[str] | None = None,
        return_tensors: str | None = "pt",
        *,
        without_context: Iterable[str] = (),
        text: Any = None,
        spectrum: Spectrum | Sequence[Spectrum | None] | None = None,
        events: EventList | Sequence[EventList | None] | None = None,
    ) -> BatchFeature:
        """
        Args:
            batch: one row (a dict, as ``dataset[0]``), a list of rows, ``dataset[:8]`` (columns, one entry a row), a
                `datasets.Dataset` or an Arrow table.
            modalities: of "spectrum", "event", "text"; by default those of the processor whose column the batch has.
            return_tensors: "pt" or "np".
            without_context: columns of the context that are taken as not known, whatever the batch says.
            text: a string or one string or None a row, in place of the column `summary`; may stand alone.
            spectrum, events: what `chandraclip.ogip` reads, one or one (or None) a row, in place of `batch`.

        Returns:
            The keys of both feature extractors; with a spectrum or photons, context_values (B, C) of
            `observation_context.context_values`, where the model has a context; input_ids, attention_mask (B, L) int64
            and text_mask (B,) bool, False where the text is null or blank. B is 1 for one row.

        Raises:
            TypeError: the batch is of no such form.
            ValueError: a modality or a column of the context of another name; a column that holds something else than
                it should, or is not as long as the others.
            KeyError: the batch lacks the column of a modality that was asked for.
        """
        columns = _columns(batch, text, spectrum, events)
        present = column_names(columns)
        if modalities is None:
            modalities = [name for name in self.modalities if MODALITIES[name] in present]
        modalities = [modalities] if isinstance(modalities, str) else list(modalities)
        unknown = sorted(set(modalities) - set(MODALITIES))
        if unknown or not modalities:
            raise ValueError(
                f"modalities are {list(MODALITIES)} (columns {list(MODALITIES.values())}); asked for {unknown}, "
                f"and the batch has {present}"
            )
        check_context(without_context := list(without_context))
        data: dict[str, Any] = {}
        if "spectrum" in modalities:
            data.update(self.spectrum_feature_extractor(columns, return_tensors=return_tensors))
        if "event" in modalities:
            data.update(self.event_feature_extractor(columns, return_tensors=return_tensors))
        if self.context and data:
            num_rows = len(next(value for name, value in data.items() if name.endswith("_mask")))
            values = context_values(columns, self.context, num_rows, without_context)
            data.update(BatchFeature({"context_values": values}, tensor_type=return_tensors))
        if "text" in modalities:
            if MODALITIES["text"] not in present:
                raise KeyError(f"text needs the column {MODALITIES['text']}, the batch has {present}")
            data.update(self.tokenize(columns[MODALITIES["text"]], return_tensors))
        return BatchFeature(data)

    def tokenize(self, texts: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """Tokens of summaries: input_ids, attention_mask (B, L) and text_mask (B,); null and blank ones are masked.

        Args:
            texts: strings or None, or an Arrow column of them.

        Raises:
            ValueError: one of them is no text.
        """
        texts = text_column(texts, MODALITIES["text"])
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


def _columns(batch: Any, text: Any, spectrum: Any, events: Any) -> Mapping[str, Any] | pa.Table:
    """The columns of a call, whatever its rows were given as."""
    if spectrum is not None or events is not None:
        if batch is not None:
            raise ValueError("give rows, or spectrum= and events=, not both")
        batch = _rows_of_files(_as_list(spectrum), _as_list(events))
    columns = {} if batch is None else as_columns(batch)
    if text is None:
        return columns
    texts = [text] if isinstance(text, str) else text_column(text, "text")
    rest = {name: columns[name] for name in column_names(columns) if name != MODALITIES["text"]}
    return as_columns({**rest, MODALITIES["text"]: texts})


def _as_list(files: Any) -> list[Any]:
    return list(files) if isinstance(files, list | tuple) else [] if files is None else [files]


def _rows_of_files(spectra: list[Any], events: list[Any]) -> list[dict[str, Any]]:
    from chandraclip.data.rows import detection_columns  # astropy, which no model needs

    if spectra and events and len(spectra) != len(events):
        raise ValueError(
            f"there are {len(spectra)} spectra and {len(events)} event lists: give None where one is missing"
        )
    pairs = list(zip_longest(spectra, events))
    empty = next((row for row, pair in enumerate(pairs) if pair == (None, None)), None)
    if empty is not None or not pairs:
        raise ValueError(f"row {empty or 0} has neither a spectrum nor events")
    responses = (None if spectrum is None else spectrum.response for spectrum, _ in pairs)
    return [{**detection_columns(*pair), RESPONSE_COLUMN: response} for pair, response in zip(pairs, responses)]
