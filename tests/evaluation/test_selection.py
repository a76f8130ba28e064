from __future__ import annotations

import numpy as np
import pytest

from chandraclip.errors import QueryError
from chandraclip.evaluation import selection
from chandraclip.evaluation.selection import select_rows


@pytest.fixture
def table(make_embeddings, monkeypatch):
    """Four detections; one is not measured, one has no class."""
    columns = {
        "var_prob_b": np.array([0.95, np.nan, 0.9, 0.99]),
        "true_class": np.array(["ULX", "AGN", "AGN", None], dtype=object),
        "region_id": np.array([1, 2, 3, 4], dtype=object),
    }
    monkeypatch.setattr(
        selection, "join_columns", lambda _d, _c, names, _t: {name: columns[name] for name in names if name in columns}
    )
    return make_embeddings(num_sources=2)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], [0, 1, 2, 3]),
        (["var_prob_b > 0.9"], [0, 3]),
        (["var_prob_b>=.9"], [0, 2, 3]),
        (["var_prob_b != 0.95"], [2, 3]),  # what is not measured meets nothing
        (["true_class == AGN"], [1, 2]),
        (["true_class != 'AGN'"], [0]),
        (["region_id <= 3", "var_prob_b < 1"], [0, 2]),
    ],
)
def test_every_condition_holds(table, conditions, expected):
    assert np.flatnonzero(select_rows("d", table, conditions)).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("var_prob_b", "is no condition"),
        ("var_prob_b > 0.9 or 1", "is no number"),
        ("true_class >= AGN", "compared by == or !="),
        ("colour > 1", "has no column 'colour'"),
        ("var_prob_b > 1", "none of the 4 detections meets 'var_prob_b > 1'"),
    ],
)
def test_what_cannot_be_asked(table, condition, message):
    with pytest.raises(QueryError, match=message):
        select_rows("d", table, [condition])
