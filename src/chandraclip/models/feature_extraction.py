"""What every feature extractor is: dataset columns in, the tensors of one modality out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa
from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin


class ColumnFeatureExtractor(FeatureExtractionMixin):
    """Base of the feature extractors; they are saved beside each model.

    Attributes:
        columns: of the dataset, those it reads; the first says whether a row has the modality.
        optional_columns: those of them that a dataset may lack; a batch without one is a batch of nulls.
        model_input_names: keys of the batch, among them ``<modality>_mask`` (B,) bool.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    optional_columns: ClassVar[tuple[str, ...]] = ()
    model_input_names: list[str]

    def __call__(self, batch: Mapping[str, Any] | pa.Table, return_tensors: str | None = "pt") -> BatchFeature:
        """Dataset columns, one entry a row, to the batch of the modality."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")
