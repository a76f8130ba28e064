#!/usr/bin/env python
"""Folding a batch of spectra through the response of each row: sparse, by response, against one dense RMF a row.

The obvious way in torch stacks the matrices of all rows and multiplies, `torch.einsum("be,bec->bc", ...)`. Both sides
fold the same photons through the same areas; counts of channels are added up to the bins that the folded spectrum
autoencoder is trained in, and `Response.fold` says whether they are right. The responses are the built-in ones.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from chandraclip.models.folded_spectrum_autoencoder.detector_bins import BinnedResponse, DetectorBins
from chandraclip.models.folded_spectrum_autoencoder.folding import fold, pack_responses
from chandraclip.simulate.instrument.response import builtin_instrument
from result_files import write_result

TOLERANCE = 1e-5


def best_of(function: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    """Shortest time in s, and what the function gives."""
    times = []
    result = function()
    for _ in range(repeats):
        begin = perf_counter()
        result = function()
        times.append(perf_counter() - begin)
    return min(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    responses = builtin_instrument().responses
    bins = DetectorBins(0.5, 7.0, 96)
    binned = [BinnedResponse.of(response, bins) for response in responses]
    of_row = rng.integers(0, len(responses), options.num_rows)
    energy, width = binned[0].energy, binned[0].width
    flux = energy ** -rng.uniform(0.5, 3.0, (options.num_rows, 1)) * width * rng.uniform(0.5, 2.0, (1, energy.size))
    area = rng.uniform(1e5, 1e7, (options.num_rows, energy.size))
    detected = torch.from_numpy((flux * area).astype(np.float32))
    packed = {name: torch.from_numpy(value) for name, value in pack_responses(binned, bins.num_bins).items()}
    row_response = torch.from_numpy(of_row)

    channels = torch.from_numpy(binned[0].bin_of_channel)
    inside = torch.nonzero(channels >= 0)[:, 0]

    def to_bins(counts: Tensor) -> Tensor:
        return counts.new_zeros(len(counts), bins.num_bins).index_add(1, channels[inside], counts[:, inside])

    dense = [torch.from_numpy(response.matrix.toarray().astype(np.float32)) for response in responses]

    def one_matrix_a_row() -> Tensor:
        matrices = torch.stack([dense[number] for number in of_row])
        return to_bins(torch.einsum("be,bec->bc", detected, matrices))

    stacked = torch.stack([dense[number] for number in of_row])

    def matrices_at_hand() -> Tensor:
        return to_bins(torch.einsum("be,bec->bc", detected, stacked))

    ours_s, ours = best_of(lambda: fold(detected, row_response, packed), options.repeats)
    stacking_s, _ = best_of(one_matrix_a_row, options.repeats)
    dense_s, theirs = best_of(matrices_at_hand, options.repeats)
    exact = np.stack([responses[number].fold(row) for number, row in zip(of_row, flux * area)])
    expected = to_bins(torch.from_numpy(exact)).numpy()
    difference = float(np.max(np.abs(ours.numpy() / expected - 1)))
    result = {
        "ratio": dense_s / ours_s,
        "equal": difference < TOLERANCE and bool(np.allclose(ours, theirs, rtol=1e-4)),
        "against": "torch.einsum with a dense RMF a row, the matrices at hand",
        "num_rows": options.num_rows,
        "num_energies": int(energy.size),
        "num_channels": int(responses[0].num_channels),
        "num_bins": bins.num_bins,
        "ours_ms": 1e3 * ours_s,
        "dense_ms": 1e3 * dense_s,
        "dense_with_stacking_ms": 1e3 * stacking_s,
        "ours_mib": sum(value.numel() * value.element_size() for value in packed.values()) / 2**20,
        "dense_mib": stacked.numel() * stacked.element_size() / 2**20,
        "largest_difference_from_fold": difference,
    }
    write_result(__file__, result, lines=True)


if __name__ == "__main__":
    main()
