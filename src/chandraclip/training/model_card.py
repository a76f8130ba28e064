"""The README.md of a trained model."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData
from safetensors import safe_open
from transformers import MODEL_MAPPING, AutoConfig

from chandraclip.data.card import COLUMN_DESCRIPTIONS
from chandraclip.data.loading import load_splits
from chandraclip.data.provenance import Provenance, provenance_of
from chandraclip.files import write_text
from chandraclip.models.cards import CARD_FILE, TAGS, description, title, usage, with_header
from chandraclip.models.publishing import PROCESSOR_FILES, weights_id
from chandraclip.training.arguments import FREE_OPTIONS, as_yaml
from chandraclip.training.run import RUN_FILE, Run

Metrics = Mapping[str, Mapping[str, float]]

ON_THE_SKY = "Scores on simulated data say whether the method works; they say nothing of how well it does on the sky."
RETRIEVAL_NOTE = """Beside each number what chance gives: of a pool of N candidates, ceil(N / 100) / N for Recall@1% and
the middle of the pool for the median rank. Pools hold each distinct text once. For intervals and baselines:
`scripts/embed.py`, then `eval/retrieval.py`."""
CONTEXT_SECTION = """## Observation context

Beside spectrum and photons, the X-ray heads see what is known of the observation before anyone looks at them:

{columns}

Each may be missing, in a row or everywhere; the model is told which is known, and was trained to do without. Context
says where Chandra looked, and so what it was likely to find: `nh_gal` alone tells stars, near the Galactic plane, from
AGN in part. Where a result must come from the photons, leave it out: `processor(rows, without_context=["nh_gal"])`, or
`scripts/embed.py --without_context`. Scores with and without stand below.

"""
LOSS_NOTE = "The loss has no level of chance; it compares models of one kind on one dataset."


def write_model_card(run: Run, dataset: str, metrics: Metrics, num_rows: int, provenance: str = "") -> None:
    """Write README.md into the run's folder, which the best model and its processor were saved to.

    Args:
        run: of the model.
        dataset: folder or Hub id.
        metrics: split -> metric -> value.
        num_rows: rows trained on.
        provenance: a sentence on the models it started from.
    """
    config = AutoConfig.from_pretrained(run.folder)
    model_class: Any = MODEL_MAPPING[type(config)]
    is_local = Path(dataset).exists()
    name = Path(dataset).resolve().name if is_local else dataset
    options = run.arguments
    data = provenance_of(dataset, load_splits(dataset, "pairs", options.dataset_config)["train"])
    facts = json.loads((run.folder / RUN_FILE).read_text())
    names = list(dict.fromkeys(metric for values in metrics.values() for metric in values))
    has_retrieval = any("recall" in metric for metric in names)
    caution = ON_THE_SKY if data.num_simulated else ""
    header = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=[*TAGS, config.model_type, *(["simulated-data"] if data.num_simulated else [])],
        datasets=None if is_local else [dataset],
        metrics=["recall"] if has_retrieval else None,
        model_name=run.folder.resolve().name,
        eval_results=eval_results(metrics, name, data),
    )
    body = Template((files("chandraclip") / "templates" / "model_card.md").read_text()).substitute(
        title=title(config.model_type),
        description=description(model_class),
        usage=usage(model_class),
        path=run.folder.resolve().name,
        dataset=name,
        rows_code=rows_code(name, options.dataset_config, data.is_packaged),
        rows_import="import datasets" if data.is_packaged else "from chandraclip.data.loading import load_splits",
        data_sentence=data.sentence,
        caution=caution,
        num_rows=f"{num_rows:,}",
        dataset_id=facts["inputs"]["dataset"],
        data_license=f", licence {data.license}" if data.license else "",
        data_command=f"Built by `{data.command}`." if data.command else "",
        energy_bands=energy_bands(run.folder),
        context=context_section(getattr(config, "context", ())),
        metric_for_best_model=run.metric_for_best_model,
        best_step=run.state.best_step,
        max_steps=options.max_steps,
        metrics_table=metrics_table(metrics),
        results_note=f"{RETRIEVAL_NOTE if has_retrieval else LOSS_NOTE} {caution}".strip(),
        provenance=f"{provenance} " if provenance else "",
        script=options.program,
        options=public_options(run),
        versions=", ".join(f"{package} {number}" for package, number in facts.items() if package != "inputs"),
        num_parameters=f"{num_parameters(run.folder):,}",
        weights=weights_id(run.folder),
    )
    write_text(run.folder / CARD_FILE, with_header(header, body))


def context_section(names: Sequence[str]) -> str:
    """What the X-ray heads know of an observation beside its photons; empty for a model that knows nothing."""
    if not names:
        return ""
    described = [(name, COLUMN_DESCRIPTIONS[name]) for name in names]
    lines = [f"- `{name}` ({unit}): {meaning}" for name, (unit, meaning) in described]
    return CONTEXT_SECTION.format(columns="\n".join(lines))


def rows_code(dataset: str, config: str | None, is_packaged: bool) -> str:
    """The line of the card that loads rows, from whatever the training loaded them from."""
    if is_packaged:
        return f'datasets.load_dataset("{dataset}", "{config or "pairs"}", split="test")[:16]'
    return f'load_splits("{dataset}", "pairs", {config!r})["train"][:16]'


def chance(metric: str, values: Mapping[str, float]) -> float | None:
    """What ranking at random gives, None where the metric has no such level.

    Args:
        metric: "<left>_<right>/<name>".
        values: of the same split; they hold the size of the pool.
    """
    pair, _, name = metric.rpartition("/")
    pool = values.get(f"{pair}/num_candidates")
    if not pool:
        return None
    if name == "median_rank_share":
        return (pool + 1) / (2 * pool)
    if name.startswith("recall@"):
        return math.ceil(float(name.removeprefix("recall@").removesuffix("%")) / 100 * pool) / pool
    return None


def metrics_table(metrics: Metrics) -> str:
    """Markdown: one line a metric; beside each split's number the one that chance gives, where there is one."""
    names = list(dict.fromkeys(metric for values in metrics.values() for metric in values))
    columns: dict[str, list[float | None]] = {}
    for split, values in metrics.items():
        columns[split] = [values.get(name) for name in names]
        by_chance = [chance(name, values) for name in names]
        if any(value is not None for value in by_chance):
            columns[f"{split}, by chance"] = by_chance
    lines = [["metric", *columns], ["---"] * (1 + len(columns))]
    lines += [[name, *(_number(column[row]) for column in columns.values())] for row, name in enumerate(names)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def eval_results(metrics: Metrics, dataset: str, data: Provenance) -> list[EvalResult]:
    """The scores of test, or else of the last split, for the `model-index` that the Hub shows.

    Its dataset is called simulated where it is, so that the table of the Hub says so too.
    """
    if not metrics:
        return []
    split = "test" if "test" in metrics else list(metrics)[-1]
    values = metrics[split]
    kind = "simulated" if data.num_simulated == data.num_rows else "partly simulated" if data.num_simulated else ""
    return [
        EvalResult(
            task_type="feature-extraction",
            dataset_type=dataset,
            dataset_name=f"{dataset} ({kind})" if kind else dataset,
            dataset_split=split,
            metric_type=metric.rpartition("/")[2],
            metric_name=metric.replace("/", ": ").replace("_", " to ", 1) if "/" in metric else metric,
            metric_value=value,
        )
        for metric, value in values.items()
        if math.isfinite(value) and not metric.endswith("num_candidates")
    ]


def public_options(run: Run) -> str:
    """The options of a run as YAML, without where it ran: of folders the last name alone."""
    options = yaml.safe_load(as_yaml(run.arguments))
    return yaml.safe_dump(
        {name: _public(value) for name, value in options.items() if name not in FREE_OPTIONS}, sort_keys=False
    ).strip()


def _public(value: Any) -> Any:
    if isinstance(value, list):
        return [_public(item) for item in value]
    return public_name(value) if isinstance(value, str) else value


def public_name(source: str) -> str:
    """A Hub id as it is; of a folder or file, the last name."""
    is_path = source[:1] in ("/", "~", ".") or os.path.exists(source)
    return Path(source).resolve().name if source and is_path else source


def energy_bands(folder: Path) -> str:
    """The bands that the feature extractors of a saved processor read, from its files."""
    bands = {}
    for file in (folder / name for name in PROCESSOR_FILES[:2]):
        content = json.loads(file.read_text()) if file.is_file() else {}
        for name, part in {"": content, **content}.items():
            if isinstance(part, dict) and {"energy_min", "energy_max"} <= set(part):
                what = f" ({name.split('_')[0]})" if name else ""
                bands[name] = f"{part['energy_min']:g}-{part['energy_max']:g} keV{what}"
    return " and ".join(bands.values()) or "what their options say"


def num_parameters(folder: Path) -> int:
    """Numbers in the weights of a saved model."""
    total = 0
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, "np") as weights:
            total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total
