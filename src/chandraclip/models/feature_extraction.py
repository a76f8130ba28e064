"""What every feature extractor is: dataset columns in, the tensors of one modality out."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from transformers.feature_extraction_utils import BatchFeature, FeatureExtractionMixin

from chandraclip.data.response_table import load_responses
from chandraclip.models.batches import as_columns
from chandraclip.models.columns import column_names
from chandraclip.models.publishing import ProcessorPublishingMixin
from chandraclip.ogip.response import Response

# A column that no file has: the `Response` of each row, or None. What reads a spectrum itself puts it beside the rest.
RESPONSE_COLUMN = "response"


class ColumnFeatureExtractor(ProcessorPublishingMixin, FeatureExtractionMixin):
    """Base of the feature extractors; they are saved beside each model.

    Attributes:
        columns: of the dataset, those it reads; the first says whether a row has the modality.
        optional_columns: those of them that a dataset may lack; a batch without one is a batch of nulls.
        model_input_names: keys of the batch, among them ``<modality>_mask`` (B,) bool.
        reads_responses: whether it needs the RMFs that rows name (`ResponseFeatureExtractor`).
    """

    columns: tuple[str, ...] = ()
    optional_columns: ClassVar[tuple[str, ...]] = ()
    reads_responses: ClassVar[bool] = False
    model_input_names: list[str]

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """Rows to the batch of the modality; `models.batches.as_columns` makes columns of any form they come in."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")


def use_responses_of(prepare: Any, dataset: str | Path) -> None:
    """Give a feature extractor or processor the responses of a dataset, if it reads them.

    Args:
        prepare: of a model.
        dataset: folder or Hub id.

    Raises:
        InputFileError: the dataset has no responses.
    """
    if getattr(prepare, "reads_responses", False):
        prepare.use_responses(load_responses(dataset))


class ResponseFeatureExtractor(ColumnFeatureExtractor):
    """Base of the feature extractors that need a row's RMF, which a dataset keeps once for all rows that share it.

    A row's response is found in one of two ways: the batch has the column `response`, with the `Response` of each row
    or None, as rows of files that were read have it; or its `response_id` names one of those that `use_responses` was
    given: whatever works on a dataset gives the dataset's (`data.response_table.load_responses`), once. They are no
    part of the extractor, and are not saved with it.
    """

    reads_responses = True

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._responses_by_id: dict[str, Response] = {}
        self._prepared: WeakKeyDictionary[Response, Any] = WeakKeyDictionary()

    def use_responses(self, responses: Mapping[str, Response]) -> None:
        """The responses that rows of batches to come name.

        Args:
            responses: by response_id; they join those given before.
        """
        self._responses_by_id.update(responses)

    def resolve(self, batch: Any) -> dict[str, Any]:
        """Columns of a batch in any form (see `as_columns`), with the column `response`.

        Returns:
            name -> column; `response` is a list of `Response` or None: of rows that have no response_id.

        Raises:
            ValueError: a response_id that names none of the responses.
        """
        columns = as_columns(batch)
        result = {name: columns[name] for name in column_names(columns)}
        if result.get(RESPONSE_COLUMN) is None:
            named = result.get("response_id")
            number = len(next(iter(result.values()))) if result else 0
            names = [None] * number if named is None else getattr(named, "to_pylist", lambda: list(named))()
            missing = next((row for row, name in enumerate(names) if name and name not in self._responses_by_id), None)
            if missing is not None:
                raise ValueError(
                    f"row {missing}: the response {names[missing]!r} is not at hand; give the dataset's with "
                    "use_responses(chandraclip.data.response_table.load_responses(DATASET))"
                )
            result[RESPONSE_COLUMN] = [self._responses_by_id[name] if name else None for name in names]
        return result

    def prepare_response(self, response: Response) -> Any:
        """What the subclass keeps of a response; asked for once each."""
        return response

    def prepared(self, response: Response) -> Any:
        if response not in self._prepared:
            self._prepared[response] = self.prepare_response(response)
        return self._prepared[response]

    def to_dict(self) -> dict[str, Any]:
        """What is saved: the options."""
        clone = copy(self)  # a thread may be at work with this one
        for name in ("_responses_by_id", "_prepared"):
            vars(clone).pop(name)
        return super(ResponseFeatureExtractor, clone).to_dict()
