"""Text towers through the same heads: which finds the text of a detection best, at the same steps and batches?

    python scripts/compare_text_towers.py outputs/embeddings/align/default outputs/data/default

The X-ray side is the same for all: the latents of EMBEDDINGS, counts, and the observation context, through a new head.
The text side is a tower that is trained along (`ngram`, `bert`) or TF-IDF of words and of words with pairs
(scikit-learn), through a new head too. Ranks are those of the test split, as in eval/retrieval.py. Writes metrics.json.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chandraclip.program import run_program

TOWERS = ("tfidf words", "tfidf words and pairs", "ngram", "bert")
LATENTS = ("spectrum_latents", "event_latents")
COUNTS = "src_cnts_aper_b"
CHANCE = {"recall@1%": 0.01, "recall@5%": 0.05, "median_rank_share": 0.5}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", help="folder written by scripts/embed.py, of all splits")
    parser.add_argument("dataset", help="folder or Hub id of the dataset it was made of")
    parser.add_argument("--output", type=Path, help="folder for metrics.json; default EMBEDDINGS/text_towers")
    parser.add_argument(
        "--towers", nargs="+", choices=TOWERS, default=list(TOWERS), help="which (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=450, help="of AdamW (default: %(default)s)")
    parser.add_argument("--batch_size", type=int, default=128, help="rows a step (default: %(default)s)")
    parser.add_argument("--learning_rate", type=float, default=2e-3, help="at its peak (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each, with other weights and batches (default 3)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    import numpy as np

    from chandraclip.data.schema import CONTEXT_COLUMNS
    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.dataset import join_columns
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.evaluation.results import markdown_table
    from chandraclip.files import write_json
    from chandraclip.models.chandraclip.observation_context import context_values

    table = EmbeddingTable.load(options.embeddings)
    names = [name for name in LATENTS if name in table.arrays]
    if not names:
        raise InputFileError(options.embeddings, f"has none of {', '.join(LATENTS)}")
    latents, usable = table.joint(names)
    facts = join_columns(options.dataset, "catalog", [*CONTEXT_COLUMNS, COUNTS], table)
    summaries = join_columns(options.dataset, "texts", ["summary"], table).get("summary")
    if summaries is None or COUNTS not in facts:
        raise InputFileError(options.dataset, f"the towers need the columns summary and {COUNTS}")
    context = context_values(
        {name: facts[name] for name in CONTEXT_COLUMNS if name in facts}, [*CONTEXT_COLUMNS], len(table)
    )
    counts = np.log10(np.maximum(facts[COUNTS], 0.5))[:, None]
    inputs = np.concatenate([latents, counts, context], axis=1)
    texts = [text or "" for text in summaries]
    usable &= np.array([bool(text.strip()) for text in texts])
    parts: dict[str, dict[str, Any]] = {}
    for split in ("train", "test"):
        chosen = np.flatnonzero(usable & (table.split == split))
        if not chosen.size:
            raise InputFileError(options.embeddings, f"no row of split {split} has {', '.join(names)} and a text")
        parts[split] = {
            "inputs": inputs[chosen],
            "texts": [texts[row] for row in chosen.tolist()],
            "names": table.name[chosen],
        }
    mean, std = np.nanmean(parts["train"]["inputs"], axis=0), np.nanstd(parts["train"]["inputs"], axis=0)
    for part in parts.values():
        part["inputs"] = np.nan_to_num((part["inputs"] - mean) / np.maximum(std, 1e-6)).astype(np.float32)

    runs = [
        {"tower": tower, "seed": seed, **run(tower, seed, parts, options)}
        for tower in options.towers
        for seed in range(options.seeds)
    ]
    shown = []
    for tower in options.towers:
        own = [each for each in runs if each["tower"] == tower]
        cells = {}
        for name in ("recall@1%", "recall@5%", "median_rank_share"):
            values = [100 * each[name] for each in own]
            cells[name] = f"{np.mean(values):.1f} +- {np.std(values):.1f} %"
        shown.append({"text side": tower, **cells, "seconds": f"{np.mean([each['seconds'] for each in own]):.0f}"})
    output = options.output or Path(options.embeddings) / "text_towers"
    write_json(
        output / "metrics.json",
        {"runs": runs, "steps": options.steps, "batch_size": options.batch_size, "chance": CHANCE},
    )
    print(markdown_table(shown))
    print(f"\n{options.steps} steps of {options.batch_size} rows, {options.seeds} seeds: mean and standard deviation.")
    print(f"Chance 1 %, 5 %, 50 %; {len(set(parts['test']['texts']))} distinct texts. wrote {output / 'metrics.json'}")


def run(tower: str, seed: int, parts: dict[str, dict[str, Any]], options: argparse.Namespace) -> dict[str, float]:
    """Ranks of the right texts on test, after training two heads and the tower."""
    from time import process_time

    import numpy as np
    import torch
    from torch import nn
    from tqdm.auto import tqdm

    from chandraclip.data.sampler import BatchSampler, conflict_groups
    from chandraclip.evaluation.retrieval import rank_positives
    from chandraclip.losses import symmetric_info_nce
    from chandraclip.models import ChandraClipConfig
    from chandraclip.models.chandraclip.modeling_chandraclip import ProjectionHead
    from chandraclip.training.optimizer import build_optimizer, learning_rate_at, set_learning_rate

    torch.manual_seed(seed)
    started, train, test = process_time(), parts["train"], parts["test"]
    encode, width, module = text_side(tower, sorted(set(train["texts"])))
    config = ChandraClipConfig()
    heads = nn.ModuleDict(
        {"xray": ProjectionHead(train["inputs"].shape[1], config), "text": ProjectionHead(width, config)}
    )
    for head in heads.values():
        for layer in head.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
    if module is not None:
        heads["tower"] = module
    scale = nn.Parameter(torch.tensor(config.logit_scale_init_value))
    heads.register_parameter("logit_scale", scale)
    optimizer = build_optimizer(heads, options.learning_rate, 0.01)
    sampler = BatchSampler(conflict_groups(train["names"].tolist(), train["texts"]), options.batch_size, seed)
    heads.train()
    for step in tqdm(range(options.steps), desc=f"{tower}, seed {seed}", unit="step"):
        rows = sampler.batch(step, 0, 1)
        xray = nn.functional.normalize(heads["xray"](torch.from_numpy(train["inputs"][rows])), dim=-1)
        text = nn.functional.normalize(heads["text"](encode([train["texts"][row] for row in rows])), dim=-1)
        loss = symmetric_info_nce(xray, text, scale.exp().clamp(max=100), torch.ones(len(rows), dtype=torch.bool))
        set_learning_rate(optimizer, learning_rate_at(step, options.learning_rate, 40, options.steps))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(heads.parameters(), 1.0)
        optimizer.step()

    heads.eval()
    distinct = {text: number for number, text in enumerate(dict.fromkeys(test["texts"]))}
    pool = list(distinct)
    with torch.inference_mode():
        queries = nn.functional.normalize(heads["xray"](torch.from_numpy(test["inputs"])), dim=-1).numpy()
        encoded = [heads["text"](encode(pool[at : at + 128])) for at in range(0, len(pool), 128)]
        candidates = nn.functional.normalize(torch.cat(encoded), dim=-1).numpy()
    ranks = rank_positives(
        queries, candidates, np.array([distinct[text] for text in test["texts"]]), np.arange(len(pool))
    )
    return {
        **{f"recall@{share}%": float(ranks.recall(math.ceil(share / 100 * len(pool))).mean()) for share in (1, 5)},
        "median_rank_share": float(ranks.median_rank() / len(pool)),
        "seconds": process_time() - started,
    }


def text_side(tower: str, texts: list[str]) -> tuple[Callable[[list[str]], Any], int, Any]:
    """What makes (B, width) of texts, its width, and the module that is trained, if any."""
    import torch

    if tower.startswith("tfidf"):
        from sklearn.feature_extraction.text import TfidfVectorizer

        pairs = (1, 2) if tower.endswith("pairs") else (1, 1)
        # Numbers and powers of ten whole, as the tokenizer of the towers has them.
        words = r"10\^[-+]?\d+|\d+(?:\.\d+)?|[^\W\d_][\w\-/^]*"
        vectorizer = TfidfVectorizer(
            ngram_range=pairs, max_features=8192, min_df=2, sublinear_tf=True, token_pattern=words
        ).fit(texts)

        def features(batch: list[str]) -> Any:
            return torch.from_numpy(vectorizer.transform(batch).toarray().astype("float32"))

        return features, len(vectorizer.vocabulary_), None

    from chandraclip.training.text_tower import load_text_tower

    length = {"ngram": 512, "bert": 160}[tower]
    model, tokenizer = load_text_tower(None, texts, length, kind=tower)

    def pooled(batch: list[str]) -> Any:
        tokens = tokenizer(
            batch, padding=True, truncation=True, max_length=length, return_tensors="pt", return_token_type_ids=False
        )
        states = model(**tokens).last_hidden_state
        weight = tokens["attention_mask"][..., None].to(states.dtype)
        return (states * weight).sum(dim=1) / weight.sum(dim=1)

    return pooled, model.config.hidden_size, model


if __name__ == "__main__":
    run_program(main)
