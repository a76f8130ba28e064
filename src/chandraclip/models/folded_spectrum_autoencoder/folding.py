"""Folding of many incident spectra through the sparse responses of their rows, differentiable, on any device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from chandraclip.models.folded_spectrum_autoencoder.detector_bins import BinnedResponse

# What `pack_responses` gives and `fold` takes; U responses, of which a batch has one row or many.
RESPONSE_KEYS = (
    "response_energy",
    "response_width",
    "response_indptr",
    "response_indices",
    "response_data",
    "response_transposed_indptr",
    "response_transposed_indices",
    "response_transposed_data",
)


def pack_responses(responses: list[BinnedResponse], num_bins: int) -> dict[str, np.ndarray]:
    """The responses of a batch, each once, end to end.

    Args:
        responses: U of them, of E_u photon-energy bins each; an empty one stands where there are none.
        num_bins: D.

    Returns:
        response_energy, response_width (U, E) keV, E the most of all, the rest of width 0; response_indptr (U, E + 1)
        and response_transposed_indptr (U, D + 1), places in response_indices and response_data, (nnz,), and in
        response_transposed_indices and response_transposed_data: the matrices by photon energy and by detector bin.
    """
    size = max((response.energy.size for response in responses), default=1)
    number_of = max(len(responses), 1)  # rows without a response index the first
    energy, width = np.ones((number_of, size)), np.zeros((number_of, size))
    indptr = np.zeros((number_of, size + 1), np.int64)
    transposed = np.zeros((number_of, num_bins + 1), np.int64)
    filled = 0
    for place, response in enumerate(responses):
        number = response.energy.size
        energy[place, :number], width[place, :number] = response.energy, response.width
        indptr[place] = filled + response.matrix.nnz
        indptr[place, : number + 1] = filled + response.matrix.indptr
        transposed[place] = filled + response.transposed.indptr
        filled += response.matrix.nnz

    def joined(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
        return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype, copy=False)

    return {
        "response_energy": energy.astype(np.float32),
        "response_width": width.astype(np.float32),
        "response_indptr": indptr,
        "response_indices": joined([one.matrix.indices for one in responses], np.int32),
        "response_data": joined([one.matrix.data for one in responses], np.float32),
        "response_transposed_indptr": transposed,
        "response_transposed_indices": joined([one.transposed.indices for one in responses], np.int32),
        "response_transposed_data": joined([one.transposed.data for one in responses], np.float32),
    }


def fold(detected: Tensor, row_response: Tensor, responses: dict[str, Tensor]) -> Tensor:
    """Photons that reach the detector in each bin of photon energy, to counts in each detector bin.

    Rows of one response are folded together, in one sparse product a response.

    Args:
        detected: (B, E) photon flux times area (times exposure), 0 beyond a response's own energies.
        row_response: (B,) which of the U responses a row has.
        responses: of `pack_responses`, on the device of `detected`.

    Returns:
        (B, D) float32.
    """
    parts = [responses[name] for name in RESPONSE_KEYS[2:]]
    return _Fold.apply(detected.float(), row_response, *parts)


class _Fold(torch.autograd.Function):
    """counts = detected @ matrix; its gradient is the product with the transposed matrix, which is at hand."""

    @staticmethod
    def forward(ctx: Any, detected: Tensor, row_response: Tensor, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(row_response, *parts)
        indptr, _, _, transposed_indptr, indices, data = parts
        ctx.num_energies = detected.shape[1]
        shape = (transposed_indptr.shape[1] - 1, indptr.shape[1] - 1)
        return _grouped(detected, row_response, transposed_indptr, indices, data, shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        row_response, indptr, indices, data, transposed_indptr, _, _ = ctx.saved_tensors
        shape = (ctx.num_energies, transposed_indptr.shape[1] - 1)
        return _grouped(gradients[0], row_response, indptr, indices, data, shape), *[None] * 7


def _grouped(
    rows: Tensor, row_response: Tensor, indptr: Tensor, indices: Tensor, data: Tensor, shape: tuple[int, int]
) -> Tensor:
    """(B, n) rows through the (m, n) matrix of the response of each, (B, m)."""
    result = rows.new_zeros(len(rows), shape[0])
    for number in range(len(indptr)):
        group = torch.nonzero(row_response == number)[:, 0]
        pointers = indptr[number]
        first, last = pointers[0], pointers[-1]
        matrix = _csr(pointers - first, indices[first:last], data[first:last], shape)
        with torch.autocast(rows.device.type, enabled=False):  # three digits are too few for counts
            result = result.index_copy(0, group, (matrix @ rows[group].T).T)
    return result


def _csr(indptr: Tensor, indices: Tensor, data: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():  # torch calls the layout beta; products of it are what is used, and tested
        warnings.filterwarnings("ignore", message="Sparse (CSR|invariant)")
        return torch.sparse_csr_tensor(
            indptr.to(indices.dtype), indices, data, shape, device=data.device, check_invariants=False
        )
