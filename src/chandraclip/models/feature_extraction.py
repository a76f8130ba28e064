"""What every feature extractor is: dataset columns in, the tensors of one modality out."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from chandraclip.models.publishing import ProcessorPublishingMixin


class ColumnFeatureExtractor(ProcessorPublishingMixin, FeatureExtractionMixin):
    """Base of the feature extractors; they are saved beside each model.

    Attributes:
        columns: of the dataset, those it reads; the first says whether a row has the modality.
        optional_columns: those of them that a dataset may lack; a batch without one is a batch of nulls.
        model_input_names: keys of the batch, among them ``<modality>_mask`` (B,) bool.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    optional_columns: ClassVar[tuple[str, ...]] = ()
    model_input_names: list[str]

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """Rows to the batch of the modality; `models.batches.as_columns` makes columns of any form they come in."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")
