"""Which structure of a graph is more than chance: the same numbers of the graph and of its nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import rankdata
from tqdm.auto import tqdm

from chandraclip.graphs.label_switching import CorePeriphery, label_switching
from chandraclip.graphs.nulls import Cloud, rewired
from chandraclip.graphs.similarity import graph_of_mean_degree
from chandraclip.graphs.structure import Structure, structure_of
from chandraclip.graphs.tables import periphery_statistics

NUM_NULLS = 200  # fewer can give no p below .01, two-sided
SIGNIFICANT = 0.01
NUM_STRATA = 20  # of equally many sources of like counts
# Null -> what it keeps.
NULLS = {
    "rewired": "every degree",
    "gaussian": "the number of edges, the mean and covariance of the vectors",
    "turned": "the number of edges, each source's distance from the mean",
    "shuffled": "the graph; the types are dealt out anew among the sources",
    "matched": "the graph; the types are dealt out anew among sources of like counts",
}
# What the types have no part in.
WHOLE = (
    *("core_correlation", "core_share", "max_core_number", "transitivity", "mean_clustering", "assortativity"),
    *("giant_component_share", "isolated_share", "degree_variation"),
)


def statistics_of(graph: csr_array, groups: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, float]:
    """The numbers that are compared: `WHOLE`, and ``<group> <statistic>`` of `periphery_statistics`.

    Args:
        graph: (N, N).
        groups: name -> (N,) bool.
        seed: of label switching.
    """
    return _numbers(structure_of(graph), label_switching(graph, seed=seed), groups)


def _numbers(structure: Structure, found: CorePeriphery, groups: Mapping[str, np.ndarray]) -> dict[str, float]:
    summary = structure.summary()
    return {
        "core_correlation": found.correlation,
        "core_share": float(found.core.mean()),
        **{name: float(summary[name]) for name in ("max_core_number", "transitivity", "mean_clustering")},
        **{name: float(summary[name]) for name in ("assortativity", "giant_component_share")},
        "isolated_share": summary["isolated"] / summary["nodes"],
        "degree_variation": float(structure.degree.std() / max(structure.degree.mean(), 1e-12)),
        **_of_groups(groups, found.core, structure.core_number),
    }


def compare_with_nulls(
    graph: csr_array,
    vectors: np.ndarray,
    source: np.ndarray,
    groups: Mapping[str, np.ndarray],
    num_nulls: int = NUM_NULLS,
    seed: int = 0,
    nulls: Sequence[str] = tuple(NULLS),
    counts: np.ndarray | None = None,
    structure: Structure | None = None,
    core: CorePeriphery | None = None,
) -> list[dict[str, Any]]:
    """Observed numbers beside those of each null.

    Geometric nulls have the number of edges of the graph and not its threshold, since another cloud at the same
    threshold has another density, and then everything differs.

    Args:
        graph: (N, N), of the vectors.
        vectors: (N, D).
        source: (N,) names.
        groups: name -> (N,) bool, types whose place is asked; each with some True and some False.
        num_nulls: random graphs of each null.
        seed: of all of them.
        nulls: of `NULLS`.
        counts: (N,) of each detection, NaN where not known, for the null "matched", which is left out without.
        structure, core: `structure_of` and `label_switching` of the graph, where they are at hand.

    Returns:
        Rows of ``statistic``, ``null``, ``observed``, ``null_mean``, ``null_sd``, ``null_low``, ``null_high`` (2.5 to
        97.5 %),
        ``p_above``, ``p_below`` (one-sided, never below 1 / (num_nulls + 1)) and ``beyond``: "above" or "below" where
        the number lies there with a two-sided p below .01, which takes 200 nulls, else "no". Without the numbers that a
        null fixes, and without groups for the Gaussian null, in which no row is anyone.
    """
    structure = structure or structure_of(graph)
    core = core or label_switching(graph, seed=seed)
    observed = _numbers(structure, core, groups)
    generator = np.random.default_rng(seed)
    cloud, mean_degree = Cloud(vectors, source), graph.nnz / graph.shape[0]
    rows: list[dict[str, Any]] = []
    for null in nulls:
        samples = []
        if null == "matched" and counts is None:
            continue
        shuffle = None
        if null in ("shuffled", "matched"):
            shuffle = _Shuffle(structure, core, source, groups, counts if null == "matched" else None)
        for _ in tqdm(range(num_nulls), desc=f"null: {null}", unit="graph", delay=5):
            if shuffle:
                samples.append(shuffle.draw(generator))
                continue
            if null == "rewired":
                other = rewired(graph, int(generator.integers(2**31)))
            else:
                other, _ = graph_of_mean_degree(getattr(cloud, null)(generator), mean_degree)
            samples.append(statistics_of(other, {} if null == "gaussian" else groups, seed))
        fixed = {"rewired": {"degree_variation", "isolated_share"}}.get(null, set())
        for name in samples[0]:
            if name not in fixed:
                values = np.array([sample[name] for sample in samples])
                rows.append({"statistic": name, "null": null, **_compared(observed[name], values)})
    return rows


class _Shuffle:
    """Groups dealt out anew among the sources, all rows of a source alike; with counts, among those of like counts."""

    def __init__(
        self,
        structure: Structure,
        core: CorePeriphery,
        source: np.ndarray,
        groups: Mapping[str, np.ndarray],
        counts: np.ndarray | None = None,
    ):
        self.core, self.core_number = core.core, structure.core_number
        self.source = np.unique(source, return_inverse=True)[1]
        # A source is of the group of its first row.
        first = np.unique(self.source, return_index=True)[1]
        self.groups = {name: chosen[first] for name, chosen in groups.items()}
        self.stratum = np.zeros(len(first), dtype=np.int64)
        if counts is not None:
            known = np.nan_to_num(np.asarray(counts, dtype=np.float64), nan=-1.0)
            mean = np.bincount(self.source, known) / np.bincount(self.source)
            self.stratum = ((rankdata(mean) - 1) * NUM_STRATA / len(first)).astype(np.int64)
        self.place = np.argsort(self.stratum, kind="stable")

    def draw(self, generator: np.random.Generator) -> dict[str, float]:
        order = np.empty_like(self.place)
        order[self.place] = np.lexsort((generator.random(len(self.place)), self.stratum))
        groups = {name: chosen[order][self.source] for name, chosen in self.groups.items()}
        return _of_groups(groups, self.core, self.core_number)


def _of_groups(groups: Mapping[str, np.ndarray], core: np.ndarray, core_number: np.ndarray) -> dict[str, float]:
    return {
        f"{name} {statistic}": value
        for name, chosen in groups.items()
        for statistic, value in periphery_statistics(chosen, core, core_number).items()
    }


def _compared(observed: float, values: np.ndarray) -> dict[str, Any]:
    """One number beside those of a null; a comparison that cannot be made has p of 1."""
    known = values[np.isfinite(values)]
    above = below = 1.0
    if np.isfinite(observed) and len(known):
        above = float((1 + (known >= observed).sum()) / (1 + len(known)))
        below = float((1 + (known <= observed).sum()) / (1 + len(known)))
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return {
        "observed": float(observed),
        "null_mean": float(known.mean()) if len(known) else float("nan"),
        "null_sd": float(known.std()) if len(known) else float("nan"),
        "null_low": float(low),
        "null_high": float(high),
        "p_above": above,
        "p_below": below,
        "beyond": "no" if 2 * min(above, below) >= SIGNIFICANT else "above" if above < below else "below",
    }
