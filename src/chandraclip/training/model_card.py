"""The README.md of a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from huggingface_hub import ModelCardData

from chandraclip.files import write_text
from chandraclip.training.run import Run


@dataclass(frozen=True)
class Family:
    """What the card says of a model family."""

    title: str
    description: str
    energy_bands: str
    usage: str


EXTRACTOR_USAGE = """extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
latents = model.encode(**extractor(rows))"""

FAMILIES = {
    "spectrum_autoencoder": Family(
        "ChandraCLIP spectrum autoencoder",
        "A transformer autoencoder of X-ray count spectra: 400 log-spaced energies to latents.",
        "0.5-8 keV",
        EXTRACTOR_USAGE,
    ),
    "spectrum_recurrent_autoencoder": Family(
        "ChandraCLIP recurrent spectrum autoencoder",
        "A recurrent autoencoder (GRU) of X-ray count spectra: 400 log-spaced energies to latents.",
        "0.5-8 keV",
        EXTRACTOR_USAGE,
    ),
    "event_transformer": Family(
        "ChandraCLIP event transformer",
        "Reads an X-ray photon list of any length in one pass and gives latents. Its decoder is a neural field of the "
        "count rate in time and energy band, trained on the Poisson likelihood of the photons.",
        "0.3-10 keV",
        EXTRACTOR_USAGE,
    ),
    "chandraclip": Family(
        "ChandraCLIP",
        "X-ray spectra, X-ray photon lists and texts about the same sources in one space: three encoders, aligned with "
        "a regularized InfoNCE. Any modality may be missing.",
        "0.5-8 keV (spectra) and 0.3-10 keV (photons)",
        """processor = transformers.AutoProcessor.from_pretrained(path)
output = model(**processor(rows))  # spectrum_embeds, event_embeds, text_embeds: (rows, 64) unit vectors""",
    ),
}
CHANCE = """By chance, Recall@1% is 1 % and Recall@5% is 5 %, up to the rounding of the pool, and the median rank is
half of the pool (0.5). Pools hold each distinct text once. For intervals and baselines: `scripts/embed.py`, then
`eval/retrieval.py`."""


def write_model_card(
    run: Run, family: str, dataset: str, metrics: Mapping[str, Mapping[str, float]], num_rows: int, provenance: str = ""
) -> None:
    """Write README.md into the run's folder.

    Args:
        run: whose best model was saved there.
        family: model type.
        dataset: folder or Hub id.
        metrics: split -> metric -> value.
        num_rows: rows trained on.
        provenance: a sentence on the models it started from.
    """
    facts, options, is_local = FAMILIES[family], run.arguments, Path(dataset).exists()
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["astronomy", "x-ray", "chandra", "chandraclip", family],
        datasets=None if is_local else [dataset],
        metrics=["recall"] if any("recall" in name for name in names) else None,
    )
    rows = [["metric", *metrics], ["---"] * (1 + len(metrics))]
    rows += [[name, *(f"{values.get(name, float('nan')):.4g}" for values in metrics.values())] for name in names]
    body = Template((files("chandraclip") / "templates" / "model_card.md").read_text()).substitute(
        title=facts.title,
        description=facts.description,
        usage=facts.usage,
        path=run.folder.name,
        dataset=Path(dataset).name if is_local else dataset,
        num_rows=f"{num_rows:,}",
        energy_bands=facts.energy_bands,
        provenance=provenance,
        max_steps=options.max_steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        seed=options.seed,
        metric_for_best_model=run.metric_for_best_model,
        best_step=run.state.best_step,
        metrics_table="\n".join(f"| {' | '.join(row)} |" for row in rows),
        chance=CHANCE if family == "chandraclip" else "",
    )
    write_text(run.folder / "README.md", f"---\n{data.to_yaml()}\n---\n\n{body}")
