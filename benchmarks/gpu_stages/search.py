"""Embedding a dataset, and the nearest neighbours of every one of its rows."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np
import pyarrow.compute as pc

from gpu_stages.data import training_rows
from gpu_stages.job import Job, Unavailable, peak_memory_gib, reset_peak_memory, row, synchronize

DIMENSION, NEIGHBOURS, CHECKED = 64, 10, 100


def embedding(job: Job) -> list[dict[str, Any]]:
    """Spectra, photon lists and texts through `Embedder`, and how much of it is its processor on the CPU."""
    from chandraclip.embedding.embedder import EmbedConfig, Embedder

    folder = job.model("align")
    if not (folder / "model.safetensors").exists():
        raise Unavailable("needs a model, and the alignment step left none")
    table = training_rows(job, job.how_much.embedding_rows)
    embedder = Embedder(EmbedConfig(str(folder), str(job.dataset), batch_size=1024, device=job.device))
    embedder(table.slice(0, 2048))
    reset_peak_memory(job)
    synchronize(job)
    begin = perf_counter()
    result = embedder(table)
    seconds = perf_counter() - begin
    begin = perf_counter()
    for start in range(0, table.num_rows, 1024):
        embedder.processor(table.slice(start, 1024))
    processor_seconds = perf_counter() - begin
    photons = int(pc.sum(pc.list_value_length(table["event_time"])).as_py())
    complete = sum(result[name].null_count for name in ("spectrum_embedding", "event_embedding")) == 0
    return [
        row(
            "embedding, three modalities",
            f"{table.num_rows:,} detections, {photons:,} photons",
            dtype="fp32",
            seconds=seconds,
            throughput=table.num_rows / seconds,
            unit="rows/s",
            peak_memory_gib=peak_memory_gib(job),
            equal=complete,
            note=f"{photons / seconds:,.0f} photons/s; the processor alone, on one thread, {processor_seconds:.3g} s",
        )
    ]


def neighbours(job: Job) -> list[dict[str, Any]]:
    """Exact neighbours of every vector among all, checked against a full sort in float64 for some."""
    from chandraclip.evaluation.neighbours import nearest

    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(job.how_much.neighbour_rows, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest(vectors[:2000], vectors, NEIGHBOURS + 1, device=job.device)
    reset_peak_memory(job)
    begin = perf_counter()
    indices, similarity = nearest(vectors, vectors, NEIGHBOURS + 1, device=job.device)  # one is the vector itself
    seconds = perf_counter() - begin

    asked = np.sort(generator.choice(len(vectors), min(CHECKED, len(vectors)), replace=False))
    exact = float64_similarity(vectors[asked], vectors)
    best = np.argpartition(-exact, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
    agree = np.mean([len(set(ours) & set(theirs)) / len(theirs) for ours, theirs in zip(indices[asked], best)])
    sorted_best = -np.sort(-np.take_along_axis(exact, best, axis=1), axis=1)
    difference = np.abs(sorted_best - similarity[asked]).max()
    flops = 2.0 * len(vectors) ** 2 * DIMENSION
    return [
        row(
            f"{NEIGHBOURS} nearest neighbours of all, exact",
            f"{len(vectors):,} x {DIMENSION}",
            dtype="fp32",
            seconds=seconds,
            throughput=len(vectors) / seconds,
            unit="rows/s",
            flops=flops,
            peak_memory_gib=peak_memory_gib(job),
            equal=bool(difference < 1e-5 and agree > 0.999),
            note=f"{flops / seconds / 1e12:.3g} TFLOP/s; of {len(asked)} rows {agree:.2%} of the neighbours are those "
            f"of a full sort in float64, similarities to {difference:.1e}",
        )
    ]


def float64_similarity(queries: np.ndarray, references: np.ndarray, block: int = 100_000) -> np.ndarray:
    """(Q, R) similarities, without a float64 copy of all references."""
    left = queries.astype(np.float64)
    places = range(0, len(references), block)
    return np.concatenate([left @ references[at : at + block].astype(np.float64).T for at in places], axis=1)
