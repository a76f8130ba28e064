"""What is known of an observation before its photons are looked at: the context that X-ray heads may be given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.data.schema import CONTEXT_COLUMNS
from chandraclip.models.columns import column_names, scalar_column


def check_context(names: Sequence[str]) -> None:
    """
    Raises:
        ValueError: a name that is no column of the context, or one named twice.
    """
    unknown = [name for name in names if name not in CONTEXT_COLUMNS]
    if unknown:
        raise ValueError(f"the context has no {', '.join(unknown)}; it can have {', '.join(CONTEXT_COLUMNS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"the context names a column twice: {', '.join(names)}")


def context_values(
    batch: Mapping[str, Any] | pa.Table, names: Sequence[str], num_rows: int, without: Sequence[str] = ()
) -> np.ndarray:
    """The context of each row.

    Args:
        batch: columns; those that it lacks are not known.
        names: of `CONTEXT_COLUMNS`, in the order of the result.
        num_rows: B.
        without: names that are taken as not known.

    Returns:
        (B, len(names)) float32: log10 of nh_gal (1e20 cm-2), livetime (s) and effective_area_* (cm2), theta in arcmin;
        NaN where not known: null, not finite, or not positive where the logarithm is taken.

    Raises:
        ValueError: a column holds something else than one number a row.
    """
    result = np.full((num_rows, len(names)), np.nan, dtype=np.float32)
    present = set(column_names(batch)) - set(without)
    for place, name in enumerate(names):
        values = scalar_column(batch, name) if name in present else None
        if values is None:
            continue
        known = np.isfinite(values) & ((values > 0) if CONTEXT_COLUMNS[name] else True)
        result[known, place] = np.log10(values[known]) if CONTEXT_COLUMNS[name] else values[known]
    return result
