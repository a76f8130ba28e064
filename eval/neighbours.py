"""The nearest detections and texts to a text, your own files, a key, a source, or all of another embeddings folder.

    python eval/neighbours.py EMBEDDINGS --dataset DATASET --text "soft, highly variable, ultraluminous"
    python eval/neighbours.py EMBEDDINGS --dataset DATASET --files src_pha3.fits src_regevt3.fits
    python eval/neighbours.py EMBEDDINGS --dataset DATASET --key 4938 0 43
    python eval/neighbours.py EMBEDDINGS --dataset DATASET --name "2CXO J004722.6-252050"
    python eval/neighbours.py EMBEDDINGS QUERY_EMBEDDINGS --dataset DATASET --query_dataset QUERY_DATASET

Prints the answers, and writes neighbours.json and neighbours.md. A question without an answer (an unknown key, an empty
text, files of another instrument or without photons) ends in one line, with status 2.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

SHOWN = ("src_cnts_aper_b", "hard_hm", "hard_ms", "var_prob_b", "true_class", "true_spectrum", "true_variability")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder of the reference embeddings: where neighbours and texts come from")
    ask = parser.add_argument_group("what is asked, one of these")
    ask.add_argument(
        "query_embeddings", nargs="?", help="folder of embeddings of the same model: each of its detections"
    )
    ask.add_argument("--text", help="a source in words")
    ask.add_argument("--files", nargs="+", help="a spectrum, an event list or both, and what goes with them")
    ask.add_argument("--key", nargs=3, metavar=("OBSID", "OBI", "REGION_ID"), help="a detection of the embeddings")
    ask.add_argument("--name", help="a source; with --key: whose detection it is, where several have the key")
    parser.add_argument("--dataset", help="dataset of the references: its texts and catalogue facts are printed")
    parser.add_argument("--query_dataset", help="dataset of the queries: their catalogue facts are printed")
    parser.add_argument("--model", help="folder or Hub id of the model, if not where the embeddings say")
    parser.add_argument("--revision", help="of a model on the Hub")
    parser.add_argument(
        "--by",
        default="xray",
        choices=("xray", "text"),
        help="what of a detection is compared: its X-rays or its text (default: %(default)s)",
    )
    parser.add_argument("--nh_gal", type=float, help="of --files: Galactic column, 1e20 cm-2, for a model that asks it")
    parser.add_argument("--any_instrument", action="store_true", help="ask about files of other instruments too")
    parser.add_argument("--index", default="exact", help="exact (default), or of faiss: flat, ivf, hnsw")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--num_neighbours", type=int, default=5, help="of each question (default: %(default)s)")
    parser.add_argument("--num_texts", type=int, default=3, help="of each question (default: %(default)s)")
    parser.add_argument(
        "--text_characters", type=int, default=160, help="of each retrieved text (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="folder for the results; default (QUERY_)EMBEDDINGS/neighbours")
    options = parser.parse_args(arguments)
    asked = {"query_embeddings": options.query_embeddings, "--text": options.text, "--files": options.files}
    asked["--key or --name"] = options.key or options.name
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        parser.error(f"ask by one of {', '.join(asked)}; given {' and '.join(given) or 'none'}")
    for name in ("num_neighbours", "num_texts"):
        if getattr(options, name) < (name == "num_neighbours"):
            parser.error(f"--{name} must be at least {int(name == 'num_neighbours')}")
    if options.query_embeddings and options.by != "xray":
        parser.error("--by text is of one question; a folder is compared by what its detections have")
    if not options.files and (options.nh_gal is not None or options.any_instrument):
        parser.error("--nh_gal and --any_instrument are of --files")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.files import write_json, write_text
    from chandraclip.search import Catalog

    catalog = Catalog.from_pretrained(
        options.embeddings,
        options.dataset,
        model=options.model,
        revision=options.revision,
        index=options.index,
        device=options.device,
    )
    without = 0
    if options.query_embeddings is None:
        entries = [ask(catalog, options)]
    else:
        entries, without = ask_all(catalog, options)
    text = "\n".join(to_markdown(entry, options.text_characters) for entry in entries)
    if without:
        text += f"\n{without} of {without + len(entries)} detections have no embedding and were not looked up.\n"
    recall = catalog.references.recall(options.num_neighbours)
    if options.index != "exact":
        shares = ", ".join(f"{compared} {share:.3f}" for compared, share in recall.items())
        text += (
            f"\nIndex {options.index}: share of the exact {options.num_neighbours} nearest that it finds: {shares}.\n"
        )
    output = options.output or Path(options.query_embeddings or options.embeddings) / "neighbours"
    facts = {"embeddings": catalog.table.provenance, "index": options.index, "recall": recall}
    write_json(output / "neighbours.json", {**facts, "queries": entries})
    write_text(output / "neighbours.md", text)
    print(text)
    print(f"wrote {output / 'neighbours.json'}, {output / 'neighbours.md'}")
    now_try(["eval/retrieval.py", options.embeddings])


def ask(catalog: Any, options: argparse.Namespace) -> dict[str, Any]:
    """One question: its answers as plain values."""
    key = options.key and [*([options.name] if options.name else []), *options.key]
    name = None if key else options.name
    question = catalog.question(
        text=options.text,
        files=options.files,
        key=key,
        name=name,
        any_instrument=options.any_instrument,
        nh_gal=options.nh_gal,
    )
    found = catalog.answer(question, options.num_neighbours, options.by)
    texts: list[dict[str, Any]] = []
    if (
        options.num_texts
        and "text_embedding" in catalog.table.arrays
        and not any("latents" in name for name in question.vectors)
    ):
        texts = plain(catalog.answer(question, options.num_texts, "distinct text"))
    query = {"title": question.title, "notes": list(question.notes)}
    return {"query": query, "compared": found.attrs["compared"], "neighbours": plain(found), "texts": texts}


def ask_all(catalog: Any, options: argparse.Namespace) -> tuple[list[dict[str, Any]], int]:
    """Every detection of an embeddings folder, in its order, and how many have no embedding."""
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.lookup import describe, find_neighbours

    queries = EmbeddingTable.load(options.query_embeddings)
    if queries.provenance.get("model_id") != catalog.table.provenance.get("model_id"):
        raise ValueError("the two folders were embedded with different models, so their spaces are not the same")
    left_out = [sorted(each.provenance.get("without_context") or ()) for each in (queries, catalog.table)]
    if left_out[0] != left_out[1]:
        said = " and ".join(", ".join(names) or "nothing" for names in left_out)
        raise ValueError(f"of the observation context the two folders left out {said}; embed one of them again")
    own = describe(queries, options.query_dataset).drop(columns=["split", "summary"], errors="ignore")
    entries = {}
    for answers in find_neighbours(queries, catalog.references, options.num_neighbours, options.num_texts):
        for position, row in enumerate(answers.rows.tolist()):
            found = {"neighbours": answers.neighbours, "texts": answers.texts}
            entries[row] = {"query": plain(own.iloc[[row]])[0], "compared": list(answers.neighbours.compared)} | {
                name: plain(
                    catalog.facts.iloc[part.rows[position]].assign(similarity=part.similarity[position].astype(float))
                )
                if part is not None
                else []
                for name, part in found.items()
            }
    return [entries[row] for row in sorted(entries)], len(queries) - len(entries)


def plain(frame: Any) -> list[dict[str, Any]]:
    """Rows as JSON has them, without what is missing."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [
        {name: getattr(value, "item", lambda value=value: value)() for name, value in row.items() if value is not None}
        for row in rows
    ]


def to_markdown(entry: dict[str, Any], text_characters: int) -> str:
    """A heading, a table of neighbours, and a list of texts."""
    from chandraclip.evaluation.results import markdown_table

    query = entry["query"]
    title = query.get("title")
    if title is None:
        about = ", ".join(f"{name} {short(query[name])}" for name in ("source_class", *SHOWN) if name in query)
        title = f"{query['name']} (obsid {query['obsid']}, region {query['region_id']}) {about}".rstrip()
    lines = [f"### {title}", "", f"Compared by {' and '.join(entry['compared'])}.", ""]
    lines += [f"Note: {note}." for note in query.get("notes", ())] + [""] * bool(query.get("notes"))
    columns = [name for name in SHOWN if any(name in neighbour for neighbour in entry["neighbours"])]
    lines.append(
        markdown_table(
            {
                "similarity": f"{neighbour['similarity']:.3f}",
                "name": neighbour["name"],
                "obsid": neighbour["obsid"],
                "region": neighbour["region_id"],
                "class": neighbour.get("source_class", "-"),
                **{name: neighbour.get(name) for name in columns},
            }
            for neighbour in entry["neighbours"]
        )
    )
    lines.append("")
    for text in entry["texts"]:
        summary = " ".join(text.get("summary", "").split())
        cut = summary if len(summary) <= text_characters else summary[:text_characters].rsplit(" ", 1)[0] + " ..."
        lines.append(f"- {text['similarity']:.3f} {text['name']} ({text.get('source_class', 'class unknown')}) {cut}")
    return "\n".join(lines) + "\n"


def short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    run_program(main)
