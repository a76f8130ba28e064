"""Nearest neighbours and retrieved texts of every detection of one embeddings folder among those of another.

    python eval/neighbours.py outputs/embeddings/default outputs/embeddings/real --dataset outputs/data/default \
        --output outputs/results/neighbours

Writes neighbours.json and neighbours.md, and prints the latter.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.program import now_try, run_program

FACTS = ("src_cnts_aper_b", "hard_hm", "hard_ms", "var_prob_b", "true_spectrum", "true_nh", "true_variability")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder of the reference embeddings: where neighbours and texts come from")
    parser.add_argument("query_embeddings", help="folder of the embeddings to look up")
    parser.add_argument("--dataset", help="dataset of the references: its texts and catalogue facts are printed")
    parser.add_argument("--query_dataset", help="dataset of the queries: their catalogue facts are printed")
    parser.add_argument("--num_neighbours", type=int, default=5, help="of each detection (default: %(default)s)")
    parser.add_argument("--num_texts", type=int, default=3, help="of each detection (default: %(default)s)")
    parser.add_argument(
        "--text_characters", type=int, default=160, help="of each retrieved text (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="folder for the results; default QUERY_EMBEDDINGS/neighbours")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.neighbours import describe, find_neighbours
    from chandraclip.files import atomic_path, write_json

    references, queries = EmbeddingTable.load(options.embeddings), EmbeddingTable.load(options.query_embeddings)
    facts, query_facts = {}, {}
    if options.dataset:
        facts = join_columns(options.dataset, "catalog", FACTS, references)
        facts |= join_columns(options.dataset, "texts", ["summary"], references)
    if options.query_dataset:
        query_facts = join_columns(options.query_dataset, "catalog", FACTS, queries)
    lookups = find_neighbours(queries, references, options.num_neighbours, options.num_texts)
    if queries.provenance.get("model_id") != references.provenance.get("model_id"):
        raise ValueError("the two folders were embedded with different models, so their spaces are not the same")

    found = {}
    for lookup in lookups:
        for position, row in enumerate(lookup.rows.tolist()):
            texts = zip(lookup.texts[position].tolist(), lookup.text_similarity[position].tolist())
            neighbours = zip(lookup.neighbours[position].tolist(), lookup.similarity[position].tolist())
            found[row] = {
                "query": describe(queries, row, query_facts, FACTS),
                "compared": list(lookup.modalities),
                "neighbours": [
                    {"similarity": similarity, **describe(references, other, facts, FACTS)}
                    for other, similarity in neighbours
                ],
                "texts": [
                    {"similarity": similarity, **describe(references, other, facts, ["summary"])}
                    for other, similarity in texts
                ],
            }
    entries = [found[row] for row in sorted(found)]
    text = "\n".join(to_markdown(entry, options.text_characters) for entry in entries)
    without = len(queries) - len(entries)
    if without:
        text += f"\n{without} of {len(queries)} detections have no embedding and were not looked up.\n"
    output = options.output or Path(options.query_embeddings) / "neighbours"
    write_json(output / "neighbours.json", {"embeddings": references.provenance, "queries": entries})
    with atomic_path(output / "neighbours.md") as temporary:
        temporary.write_text(text)
    print(text)
    print(f"wrote {output / 'neighbours.json'}, {output / 'neighbours.md'}")
    now_try(["eval/retrieval.py", options.embeddings])


def to_markdown(entry: dict, text_characters: int) -> str:
    """A heading, a table of neighbours, and a list of texts."""
    from chandraclip.evaluation.results import markdown_table

    query = entry["query"]
    about = ", ".join(
        f"{name} {_short(value)}" for name, value in query.items() if name in FACTS or name == "source_class"
    )
    lines = [f"### {query['name']} (obsid {query['obsid']}, region {query['region_id']}) {about}".rstrip(), ""]
    lines += [f"Compared by {' and '.join(entry['compared'])}.", ""]
    columns = [name for name in FACTS if any(name in neighbour for neighbour in entry["neighbours"])]
    lines.append(
        markdown_table(
            {
                "similarity": f"{neighbour['similarity']:.3f}",
                "name": neighbour["name"],
                "class": neighbour["source_class"] or "-",
                **{name: neighbour.get(name) for name in columns},
            }
            for neighbour in entry["neighbours"]
        )
    )
    lines.append("")
    for text in entry["texts"]:
        summary = " ".join(text.get("summary", "").split())
        short = summary if len(summary) <= text_characters else summary[:text_characters].rsplit(" ", 1)[0] + " ..."
        lines.append(f"- {text['similarity']:.3f} {text['name']} ({text['source_class'] or 'class unknown'}) {short}")
    return "\n".join(lines) + "\n"


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run_program(main)
