import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import CONFIGS, SOURCE_CLASSES, TABLE_SCHEMA, build_table, features

KEYS = {"name": ["a", "b"], "obsid": [1, 2], "obi": [0, 0], "region_id": [1, 2], "split": ["train", "test"]}


def test_columns_left_out_are_null_and_nan_never_enters():
    table = build_table({**KEYS, "powlaw_gamma": np.array([1.5, np.nan])})
    assert table.schema == TABLE_SCHEMA
    assert table["powlaw_gamma"].to_pylist() == [1.5, None]
    assert table["spectrum_counts"].null_count == 2


@given(st.lists(st.none() | st.lists(st.integers(0, 1000), max_size=5), min_size=1, max_size=8), st.integers(0, 7))
def test_ragged_survives_arrow_and_slicing(rows, start):
    column = Ragged.from_rows([None if row is None else np.array(row, dtype=np.int32) for row in rows])
    array = column.to_arrow(pa.list_(pa.int32()))
    assert array.to_pylist() == rows
    back = Ragged.from_arrow(pa.chunked_array([array]).slice(start))
    assert back.valid is not None
    lists = [
        back.values[back.offsets[i] : back.offsets[i + 1]].tolist() if back.valid[i] else None for i in range(len(back))
    ]
    assert lists == rows[start:]


@pytest.mark.parametrize(
    ("columns", "error", "match"),
    [
        ({**KEYS, "hardness": [0, 0]}, KeyError, "hardness"),
        ({**KEYS, "ra": [1.0]}, ValueError, "length"),
        ({**KEYS, "name": ["a", None]}, ValueError, "name"),
        ({"ra": [1.0]}, ValueError, "must have a value"),
    ],
)
def test_bad_columns_are_refused(columns, error, match):
    with pytest.raises(error, match=match):
        build_table(columns)


def test_every_config_is_a_view_with_the_key_columns():
    keys = [field.name for field in CONFIGS["pairs"][:5]]
    for fields in CONFIGS.values():
        names = [field.name for field in fields]
        assert names[:5] == keys
        assert set(names) <= set(TABLE_SCHEMA.names)
    assert features("catalog")["source_class"].names == list(SOURCE_CLASSES)
    assert "spectrum_counts" not in features("events")
