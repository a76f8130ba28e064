"""Which detections: conditions on the catalogue's columns, such as ``var_prob_b > 0.9``."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

import numpy as np

from chandraclip.errors import QueryError
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EmbeddingTable

HIGHLY_VARIABLE = "var_prob_b > 0.9"  # CSC's var_index of 6 and more
_COMPARISONS = {
    **{">=": operator.ge, "<=": operator.le, "==": operator.eq, "!=": operator.ne},
    **{">": operator.gt, "<": operator.lt},
}
_CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*(.+?)\s*")


def select_rows(dataset: str, table: EmbeddingTable, conditions: Sequence[str]) -> np.ndarray:
    """(N,) bool, True where a detection meets every condition; a missing value meets none.

    Args:
        dataset: folder or Hub id of the dataset that was embedded.
        table: N embeddings.
        conditions: each a column of the config ``catalog``, one of ``> >= < <= == !=``, and a value: a number, or for
            ``==`` and ``!=`` of a column of text, a text.

    Raises:
        QueryError: a condition that is not one, of a column that is not there, or that no detection meets.
        InputFileError: as `join_columns`.
    """
    parts = []
    for condition in conditions:
        found = _CONDITION.fullmatch(condition)
        if not found:
            raise QueryError(
                f"{condition!r} is no condition; write a column, a comparison and a value: {HIGHLY_VARIABLE!r}"
            )
        parts.append(found.groups())
    columns = join_columns(dataset, "catalog", [name for name, _, _ in parts], table)
    chosen = np.ones(len(table), dtype=bool)
    for condition, (name, sign, value) in zip(conditions, parts):
        if name not in columns:
            raise QueryError(f"{condition!r}: {dataset} has no column {name!r}")
        chosen &= _meets(columns[name], sign, value, condition)
    if not chosen.any():
        raise QueryError(f"none of the {len(table):,} detections meets {' and '.join(map(repr, conditions))}")
    return chosen


def _meets(column: np.ndarray, sign: str, value: str, condition: str) -> np.ndarray:
    known = np.array([item is not None and item == item for item in column])
    if not known.any():
        raise QueryError(f"{condition!r}: no detection has a value there")
    result = np.zeros(len(column), dtype=bool)
    if isinstance(column[known][0], str):
        if sign not in ("==", "!="):
            raise QueryError(f"{condition!r}: a column of text is compared by == or !=")
        result[known] = _COMPARISONS[sign](column[known].astype(str), value.strip("'\""))
        return result
    try:
        number = float(value)
    except ValueError:
        raise QueryError(f"{condition!r}: {value!r} is no number, and the column has numbers") from None
    result[known] = _COMPARISONS[sign](column[known].astype(np.float64), number)
    return result
