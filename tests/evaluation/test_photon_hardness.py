"""Photons in CSC's bands, and how far their hardness is from a catalogue's."""

import numpy as np
import pyarrow as pa
import pytest

from chandraclip.catalog.ragged import Ragged
from chandraclip.errors import InputFileError
from chandraclip.evaluation.photon_hardness import band_counts, differences, hardness_of, photon_counts


class Rows:
    """As a split in Arrow format is asked."""

    def __init__(self, table):
        self.table, self.column_names = table, table.column_names

    def __len__(self):
        return len(self.table)

    def __getitem__(self, rows):
        return self.table.slice(rows.start, rows.stop - rows.start)

    def select_columns(self, names):
        return Rows(self.table.select(names))


def test_photons_are_counted_in_the_bands_of_their_rows():
    energy = Ragged.from_rows([np.array([0.4, 0.5, 1.19, 1.2, 6.99, 7.0]), None, np.array([2.0])])
    assert band_counts(energy).tolist() == [[2, 1, 1], [0, 0, 0], [0, 0, 1]]


def test_equal_fluxes_have_no_hardness_and_the_difference_is_told():
    counts = np.array([[1000, 1000, 1000], [1000, 1000, 3000], [1000, 1000, 1000]])
    area = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    measured = hardness_of(counts, area)
    assert np.allclose(measured["hard_hs"], [0.0, 0.5, 1 / 3], atol=2e-3)
    columns = {"hard_hs": np.array([0.1, 0.4, np.nan]), "hard_hm": np.full(3, np.nan), "hard_ms": np.zeros(3)}
    found = differences(measured, columns)
    assert found["hard_hs"]["num_rows"] == 2
    assert found["hard_hs"]["median"] == pytest.approx(0.0, abs=2e-3)
    assert found["hard_hs"]["scatter"] == pytest.approx(0.14826, abs=4e-3)
    assert found["hard_hs"]["largest"] == pytest.approx(0.1, abs=2e-3)
    assert np.isnan(found["hard_hm"]["median"])
    assert found["hard_ms"]["largest"] == pytest.approx(1 / 3, abs=2e-3)


def test_rows_without_energies_take_no_part():
    table = pa.table({"name": ["a", "b"], "obsid": [1, 2], "event_energy": [[1.0, 3.0], None], "hard_hs": [0.5, None]})
    found = photon_counts("x", {"test": Rows(table), "train": Rows(table.select(["name"]))})
    assert (found["name"].tolist(), found["counts"].tolist()) == (["a"], [[1, 0, 1]])
    assert np.isnan(found["theta"][0])
    with pytest.raises(InputFileError, match="no row has photons with energies"):
        photon_counts("x", {"test": Rows(table.slice(1))})
