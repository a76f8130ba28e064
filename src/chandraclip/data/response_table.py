"""RMFs as rows of the config `responses`, and back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sparse

from chandraclip.catalog.ragged import Ragged
from chandraclip.data.schema import RESPONSE_SCHEMA, build_table
from chandraclip.errors import InputFileError
from chandraclip.ogip.response import Response


def responses_to_table(responses: Iterable[Response]) -> pa.Table:
    """One row a response, in the order given; the ARF is left out (it is a column of the detections)."""
    responses = list(responses)
    matrices = [response.matrix.sorted_indices() for response in responses]
    columns = {
        "response_id": [response.response_id for response in responses],
        "energy_edges_lo": Ragged.from_rows([response.energy_lo for response in responses]),
        "energy_edges_hi": Ragged.from_rows([response.energy_hi for response in responses]),
        "channel_energy_lo": Ragged.from_rows([response.channel_energy_lo for response in responses]),
        "channel_energy_hi": Ragged.from_rows([response.channel_energy_hi for response in responses]),
        "first_channel": [response.first_channel for response in responses],
        "matrix_indptr": Ragged.from_rows([matrix.indptr for matrix in matrices]),
        "matrix_indices": Ragged.from_rows([matrix.indices for matrix in matrices]),
        "matrix_data": Ragged.from_rows([matrix.data for matrix in matrices]),
    }
    return build_table(columns, RESPONSE_SCHEMA)


def load_responses(dataset: str | Path) -> dict[str, Response]:
    """The responses of a dataset by response_id, from its folder or from the Hub; see `read_responses`.

    Raises:
        InputFileError: it has none, or they cannot be read.
    """
    if Path(dataset).is_dir():
        return read_responses(dataset)
    import datasets

    try:
        loaded = datasets.load_dataset(str(dataset), "responses")
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise InputFileError(dataset, f"its config `responses` does not load ({error})") from error
    result: dict[str, Response] = {}
    for rows in loaded.values():
        try:
            table = rows.with_format("arrow")[:].cast(RESPONSE_SCHEMA)
        except (ValueError, pa.ArrowException) as error:
            raise InputFileError(dataset, f"its config `responses` has other columns ({error})") from error
        result |= _responses(table, dataset)
    return result


def read_responses(dataset: str | Path) -> dict[str, Response]:
    """The responses of a dataset folder by response_id, each with an ARF of ones: every detection has its own.

    Args:
        dataset: the folder, with `responses/*.parquet` in it.

    Raises:
        InputFileError: there are no responses, or a file cannot be read.
    """
    folder = Path(dataset) / "responses"
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise InputFileError(folder, "the dataset has no responses here")
    result: dict[str, Response] = {}
    for path in paths:
        try:
            rows = pq.read_table(path, schema=RESPONSE_SCHEMA)
        except (OSError, pa.ArrowException) as error:
            raise InputFileError(path, f"not a readable Parquet file: {error}") from error
        result |= _responses(rows, path)
    return result


def _responses(rows: pa.Table, file: str | Path) -> dict[str, Response]:
    result = {}
    for index in range(rows.num_rows):
        name = str(rows["response_id"][index])
        try:
            result[name] = _response(rows.slice(index, 1))
        except ValueError as error:
            raise InputFileError(file, f"the response {name} is damaged: {error}") from error
    return result


def _response(row: pa.Table) -> Response:
    def values(name: str) -> np.ndarray:
        return Ragged.from_arrow(row.column(name)).values

    energy_lo, channel_lo = values("energy_edges_lo"), values("channel_energy_lo")
    matrix = sparse.csr_array(
        (values("matrix_data"), values("matrix_indices"), values("matrix_indptr")),
        shape=(energy_lo.size, channel_lo.size),
    )
    matrix.check_format(full_check=True)  # an index beyond the matrix would be read from other memory
    first_channel = row["first_channel"][0].as_py()
    if first_channel is None or not np.isfinite(matrix.data).all():
        raise ValueError("no first_channel, or a probability that is not finite")
    return Response(
        energy_lo=energy_lo,
        energy_hi=values("energy_edges_hi"),
        arf=np.ones(energy_lo.size, np.float32),
        matrix=matrix,
        channel_energy_lo=channel_lo,
        channel_energy_hi=values("channel_energy_hi"),
        first_channel=first_channel,
    )
