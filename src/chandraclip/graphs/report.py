"""One graph analysed, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array

from chandraclip.evaluation.results import Headline, markdown_table, number
from chandraclip.graphs.label_switching import label_switching
from chandraclip.graphs.lip import lip_cut
from chandraclip.graphs.rombach import core_scores
from chandraclip.graphs.significance import compare_with_nulls
from chandraclip.graphs.structure import Structure, structure_of
from chandraclip.graphs.tables import degree_table

NUM_LISTED = 25


@dataclass(frozen=True, eq=False)
class Analysis:
    """
    Attributes:
        structure: of the graph.
        core, core_lip: (N,) bool, by label switching and by Lip's cut.
        core_score: (N,) Rombach's, 0 to 1.
        results: what goes into metrics.json: ``summary``, ``core``, ``types`` (the degree table), ``core_profile``,
            ``nulls``.
    """

    structure: Structure
    core: np.ndarray
    core_lip: np.ndarray
    core_score: np.ndarray
    results: dict[str, Any]


def analyse(
    graph: csr_array,
    vectors: np.ndarray,
    source: np.ndarray,
    types: np.ndarray,
    rare: Sequence[str],
    num_nulls: int,
    seed: int = 0,
    counts: np.ndarray | None = None,
) -> Analysis:
    """Structure, core and periphery, the degree table, and the comparison with nulls.

    Args:
        graph: (N, N), of the vectors (N, D).
        source, types: (N,) str, name and type of each detection.
        rare: types whose place is asked: together, and each of which there is one.
        num_nulls: random graphs of each null; 0 for no comparison.
        seed: of everything random.
        counts: (N,) of each detection, where they are known.
    """
    structure, found = structure_of(graph), label_switching(graph, seed=seed)
    core_lip, core_score = lip_cut(graph), core_scores(graph, seed=seed)
    groups = {"rare": np.isin(types, list(rare)), **{name: types == name for name in rare}}
    groups = {name: chosen for name, chosen in groups.items() if chosen.any() and not chosen.all()}
    k, count = structure.core_profile()
    results = {
        "summary": structure.summary(),
        "core": {
            "correlation": found.correlation,
            "nodes": int(found.core.sum()),
            "share": float(found.core.mean()),
            "lip_nodes": int(core_lip.sum()),
            "same_as_lip": float((found.core == core_lip).mean()),
        },
        "types": degree_table(structure, found.core, types, source, seed=seed),
        "core_profile": {"k": k.tolist(), "nodes": count.tolist()},
        "nulls": [],
    }
    if num_nulls:
        results["nulls"] = compare_with_nulls(
            graph, vectors, source, groups, num_nulls, seed, counts=counts, structure=structure, core=found
        )
    return Analysis(structure, found.core, core_lip, core_score, results)


def to_markdown(title: str, found: Mapping[str, Any]) -> str:
    """The tables of one graph."""
    if "left_out" in found:
        return f"## {title}\n\nLeft out: {found['left_out']}.\n"
    summary, core = found["summary"], found["core"]
    lines = [f"## {title}", "", f"Cosine at least {found['threshold']:.4g}.", ""]
    lines += [markdown_table([summary]), ""]
    lines.append(
        f"Core by label switching: {core['nodes']} nodes ({core['share']:.1%}), Borgatti-Everett correlation "
        f"{number(core['correlation'])}; Lip's cut: {core['lip_nodes']} nodes, the same for {core['same_as_lip']:.1%}."
    )
    if found.get("counts"):
        parts = [f"{name.replace('_', ' ')} {value:.2f}" for name, value in found["counts"].items()]
        lines.append(f"Rank correlation with counts: {', '.join(parts)}.")
    lines += ["", markdown_table(_type_row(row) for row in found["types"]), ""]
    if found["nulls"]:
        lines += [markdown_table(_null_row(row) for row in found["nulls"]), ""]
    else:
        lines += ["No nulls: not asked for, no edges, or too many.", ""]
    return "\n".join(lines)


def _type_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": row["type"],
        "detections": row["detections"],
        "sources": row["sources"],
        "mean degree": row["mean_degree"],
        "median degree": row["median_degree"],
        "high degree": row["high_degree"],
        "share of high degree": _share(row, "high_share"),
        "share in the core": _share(row, "core_share"),
        "mean core number": row["mean_core_number"],
        "isolated": row["isolated"],
    }


def _share(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"


def _null_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "statistic": row["statistic"].replace("_", " "),
        "null": row["null"],
        "observed": row["observed"],
        "null, 95 %": f"{number(row['null_mean'])} [{number(row['null_low'])}, {number(row['null_high'])}]",
        "p above": row["p_above"],
        "p below": row["p_below"],
        "beyond the null": row["beyond"],
    }


def lists_of(title: str, nodes: pa.Table, num_listed: int = NUM_LISTED) -> str:
    """Core and periphery by name, the highest and the lowest core scores first; all of them are in nodes.parquet."""
    shown = ["name", "obsid", "type", "degree", "core_score", "core_number"]
    shown += [name for name in ("src_cnts_aper_b", "hard_hm", "var_prob_b") if name in nodes.column_names]
    text = f"# {title}\n"
    for inside, heading, order in ((True, "Core", "descending"), (False, "Periphery", "ascending")):
        part = nodes.filter(pc.equal(nodes["core"], inside)).sort_by(
            [("core_score", order), ("degree", order), ("name", "ascending")]
        )
        rows = part.slice(0, num_listed).select(shown).to_pylist()
        text += f"\n## {heading}: {min(num_listed, part.num_rows)} of {part.num_rows}\n\n{markdown_table(rows)}\n"
    return text


def headline_of(results: Mapping[str, Mapping[str, Any]]) -> list[Headline]:
    """Of each graph with nulls: correlation of the core, and how far out the rare types lie, beside the nulls."""
    headline = []
    for title, found in results.items():
        rows = {(row["statistic"], row["null"]): row for row in found.get("nulls", [])}
        wanted = (("core_correlation", "core-periphery correlation"), ("rare outward_auc", "rare types outward, AUC"))
        for statistic, name in wanted:
            if (statistic, "rewired") in rows:
                row, other = rows[statistic, "rewired"], rows[statistic, "turned"]
                headline.append(
                    Headline(
                        f"{name} ({title})",
                        value=row["observed"],
                        low=None,
                        high=None,
                        chance=row["null_mean"],
                        baseline=other["null_mean"],
                        baseline_name="geometric null",
                    )
                )
    return headline
