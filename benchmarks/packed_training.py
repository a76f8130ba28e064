#!/usr/bin/env python
"""Training steps of the event transformer: photon lists end to end (packed) against padded to the longest of the batch.

The obvious way to batch lists is to pad them. Both sides are one model, one loss and one set of lists; padded is what
the encoder's chunks are when each is as long as the longest list. Losses and gradients must be equal.

Lengths are those of 2,332 real Chandra lists (`--lengths real`) or of a mock of the catalogue (`mock`), by their
quantiles, or those of `event_time` in a Parquet file. Lists are cut at `--longest`, without which padding does not fit.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
import torch

from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from result_files import write_result

# Photons a list at these quantiles of real lists (CXO-lightcurves3) and of 9,705 mocks of catalogue rows.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
LENGTHS = {
    "real": (100, 106, 141, 246, 671, 902, 1112, 5118, 57_125),
    "mock": (1, 4, 21, 63, 232, 806, 1633, 5116, 92_498),
}


def draw_lengths(source: str, number: int, longest: int, rng: np.random.Generator) -> np.ndarray:
    if source in LENGTHS:
        lengths = np.exp(np.interp(rng.random(number), QUANTILES, np.log(LENGTHS[source])))
    else:
        column = pq.read_table(Path(source), columns=["event_time"])["event_time"].combine_chunks()
        lengths = rng.choice(np.asarray(column.value_lengths().fill_null(0)), number)
    return np.clip(lengths.astype(np.int64), 1, longest)


def one_step(model: EventTransformerModel, batch: dict[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    """The loss and the gradient of one training step, as `training/pretrain.py` takes it."""
    model.zero_grad()
    torch.manual_seed(0)
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", default="real", help="real, mock, or a Parquet file (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=64, help="lists a batch (default: %(default)s)")
    parser.add_argument("--longest", type=int, default=4000, help="photons a list at most (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="batches (default: %(default)s)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = EventTransformerModel(EventTransformerConfig()).train()
    packed_size = model.config.chunk_size
    extractor, rng = EventFeatureExtractor(), np.random.default_rng(0)
    seconds, photons, error, padded_photons = {"packed": 0.0, "padded": 0.0}, 0, 0.0, 0
    for _ in range(options.steps):
        lengths = draw_lengths(options.lengths, options.batch_size, options.longest, rng)
        ends = {"gti_start": [[0.0]] * len(lengths), "gti_stop": [[3e4]] * len(lengths)}
        times = [np.sort(rng.uniform(0.0, 3e4, length)) for length in lengths]
        energies = [rng.uniform(0.5, 7.0, length) for length in lengths]
        batch = dict(extractor({"event_time": times, "event_energy": energies, **ends}))
        photons += int(lengths.sum())
        padded_photons += int(lengths.max()) * len(lengths)
        results = {}
        for way, size in (("packed", packed_size), ("padded", int(lengths.max()))):
            model.encoder.config.chunk_size = size
            begin = perf_counter()
            results[way] = one_step(model, batch)
            seconds[way] += perf_counter() - begin
        (loss, gradient), (expected, expected_gradient) = results["packed"], results["padded"]
        error = max(error, abs(loss - expected) / abs(expected))
        error = max(error, float((gradient - expected_gradient).norm() / expected_gradient.norm()))
    write_result(
        __file__,
        {
            "against": "padded to the longest list of the batch",
            "ratio": seconds["padded"] / seconds["packed"],
            "equal": error < 1e-4,
            "photons_per_second": photons / seconds["packed"],
            "padded_photons_per_second": photons / seconds["padded"],
            "share_of_padding": 1.0 - photons / padded_photons,
            "lengths": options.lengths,
            "batch_size": options.batch_size,
            "largest_difference": error,
        },
        unequal="losses or gradients differ",
    )


if __name__ == "__main__":
    main()
