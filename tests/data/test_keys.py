"""Keys of rows that have none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from chandraclip.data.keys import KEY, with_keys
from chandraclip.data.schema import TABLE_SCHEMA
from chandraclip.errors import InputFileError


def test_missing_keys_are_the_row_numbers_and_unique():
    table = pa.table(
        {"name": pa.array(["a", "a", "b"], pa.large_string()), "obi": pa.array([None, 1, None], pa.int8())}
    )
    keyed = with_keys("mine", table, "test", first_row=10)
    assert keyed.select(["name", "obsid", "obi", "region_id"]).to_pylist() == [
        {"name": name, "obsid": 10 + row, "obi": row % 2, "region_id": 10 + row} for row, name in enumerate("aab")
    ]
    assert keyed["split"].to_pylist() == ["test"] * 3
    assert keyed["source_class"].to_pylist() == [None] * 3
    for name in (*KEY, "split", "source_class"):
        assert keyed[name].type == TABLE_SCHEMA.field(name).type


def test_keys_and_classes_that_are_there_stay():
    table = pa.table({"name": ["a", "b"], "obsid": [7, 8], "obi": [0, 1], "region_id": [3, None], "split": ["x", "y"],
                      "source_class": ["CV", "star"], "exposure": [1.0, 2.0]})  # fmt: skip
    keyed = with_keys("mine", table, "train", first_row=5)
    assert keyed["obsid"].to_pylist() == [7, 8]
    assert keyed["region_id"].to_pylist() == [3, 6]
    assert keyed["source_class"].to_pylist() == [1, None]
    assert keyed["exposure"].to_pylist() == [1.0, 2.0]
    numbers = table.set_column(5, "source_class", pa.array([4, None], pa.int8()))
    assert with_keys("mine", numbers, "train")["source_class"].to_pylist() == [4, None]


@pytest.mark.parametrize("obsid", [pa.array(["0123456701"]), pa.array([2**40]), pa.array([1.5])])
def test_a_key_that_does_not_fit_is_said(obsid):
    with pytest.raises(InputFileError, match=r"mine\[obsid\]: the column must hold int32.*rename it"):
        with_keys("mine", pa.table({"name": ["a"], "obsid": obsid}), "train")
