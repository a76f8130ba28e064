"""Detections of a dataset as observations, by their key."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from chandraclip.data.keys import KEY, with_keys
from chandraclip.data.loading import load_splits
from chandraclip.data.response_table import read_responses
from chandraclip.data.row_objects import events_of_row, spectrum_of_row
from chandraclip.errors import QueryError
from chandraclip.observation import Observation


class Detections:
    """The rows of a dataset.

    Args:
        dataset: folder or Hub id.
        config: of the dataset; None: as `load_splits` chooses.

    Raises:
        InputFileError: no dataset loads from there.
    """

    def __init__(self, dataset: str | Path, config: str | None = None):
        self._splits = load_splits(str(dataset), "pairs", config)
        folder = Path(dataset)
        self._responses = read_responses(folder) if (folder / "responses").is_dir() else {}
        keys = []
        for name, rows in self._splits.items():
            if len(rows):
                present = [column for column in KEY if column in rows.column_names]
                table: pa.Table = with_keys(str(dataset), rows.select_columns(present)[:], name)
                frame = table.select(list(KEY)).to_pandas()
                keys.append(frame.assign(split=name, position=range(len(frame))))
        self._places = pd.concat(keys).set_index(list(KEY)).sort_index()

    def observation(self, name: str, obsid: int, obi: int, region_id: int) -> Observation:
        """The observation of a detection, with its response where the dataset has it.

        Raises:
            QueryError: no such detection, or one without spectrum and photons.
        """
        key = (name, int(obsid), int(obi), int(region_id))
        try:
            place = self._places.loc[[key]].iloc[0]
        except KeyError as error:
            raise QueryError(f"the dataset has no detection {key}") from error
        row = self._splits[place["split"]].with_format(None)[int(place["position"])]
        spectrum, events = spectrum_of_row(row, self._responses), events_of_row(row)
        if spectrum is None and events is None:
            raise QueryError(f"{name} (obsid {obsid}) has neither spectrum nor photons in the dataset")
        return Observation(spectrum=spectrum, events=events)
