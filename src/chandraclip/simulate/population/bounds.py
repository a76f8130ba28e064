"""What nature allows the numbers of the population's tables to be: `tables/bounds.csv`, each with its reference."""

from __future__ import annotations

import numpy as np

from chandraclip.simulate.population.sources import Population, read_table

NAMES = {"spectra": "model", "variability": "kind"}  # of the column that a bound's name is of


def bounds(population: Population, table: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest value of each row of a column, (rows,) each; infinite where nothing is known of it.

    Args:
        table: "spectra" or "variability".
    """
    limits, rows = read_table("bounds"), getattr(population, table)
    low, high = np.full(len(rows[column]), -np.inf), np.full(len(rows[column]), np.inf)
    for number in np.flatnonzero((limits["table"] == table) & (limits["column"] == column)):
        of = (rows["source_class"] == limits["source_class"][number]) & (rows[NAMES[table]] == limits["name"][number])
        low[of], high[of] = limits["low"][number], limits["high"][number]
    return low, high
