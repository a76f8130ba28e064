"""An observation through a model: its place in the shared space."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandraclip.data.rows import detection_columns
from chandraclip.errors import InputFileError
from chandraclip.model_folder import model_folder
from chandraclip.ogip.events import EventList
from chandraclip.ogip.spectrum import Spectrum

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

# The models' word for a modality -> ours.
_MODALITIES = {"spectrum": "spectrum", "event": "events"}


def embeddings(
    spectrum: Spectrum | None,
    events: EventList | None,
    model: str | Path | PreTrainedModel,
    processor: Any = None,
    nh_gal: float | None = None,
    without_context: Iterable[str] = (),
) -> dict[str, np.ndarray]:
    """What a model makes of a spectrum and of photons.

    Args:
        spectrum, events: of one detection; one may be None.
        model: folder or Hub id of a saved model, or one that is loaded.
        processor: of a loaded model; None: the one saved with it.
        nh_gal: 1e20 cm-2, the Galactic column of the position: no file has it, and a model with a context uses it.
        without_context: columns of the model's context that are taken as not known.

    Returns:
        "spectrum", "events" -> a unit vector (64,) of an aligned model, or the latents of a model of one modality, for
        each that the observation has and the model reads; "xray" -> that of the joint head, of a model that has one.

    Raises:
        InputFileError: no model or no processor loads from there.
        ValueError: the observation has nothing that the model reads, or an embedding is not finite.
    """
    import torch

    from chandraclip.models.feature_extraction import RESPONSE_COLUMN

    network, prepare = _loaded(model, processor)
    outputs = network.embedding_outputs()
    latents = not any(column.endswith("_embedding") for column in outputs)
    ending = "_latents" if latents else "_embedding"
    fields = {ours: outputs[theirs + ending] for theirs, ours in _MODALITIES.items() if theirs + ending in outputs}
    given = {"spectrum": spectrum, "events": events}
    usable = [name for name in fields if given[name] is not None]
    if not usable:
        has = [name for name, part in given.items() if part is not None]
        raise ValueError(f"the model reads {' and '.join(fields)}, and the observation has {' and '.join(has)}")
    row = detection_columns(
        spectrum if "spectrum" in usable else None, events if "events" in usable else None, nh_gal=nh_gal
    )
    if spectrum is not None and "spectrum" in usable:
        row[RESPONSE_COLUMN] = spectrum.response
        if getattr(prepare, "reads_responses", False) and spectrum.response is None:
            problem = f"the model folds through the response, and there is none: {spectrum.response_problem}"
            if usable == ["spectrum"]:
                raise ValueError(problem)
            logger.warning("%s is left out: %s", spectrum.path, problem)
    options = {"without_context": without_context} if getattr(prepare, "context", None) else {}
    prepared = prepare(row, **options)
    tensors = {name: value.to(network.device) for name, value in prepared.items() if torch.is_tensor(value)}
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            # A tower on its own: its decoder is not needed.
            result = {"latents": network.encode(**tensors)} if latents else network(**tensors)
    finally:
        network.train(was_training)
    vectors = {}
    for name in usable:
        field, mask = fields[name]
        if mask in tensors and bool(tensors[mask][0]):
            vectors[name] = result[field][0].float().cpu().numpy()
    if vectors and "xray_embedding" in outputs:
        vectors["xray"] = result[outputs["xray_embedding"][0]][0].float().cpu().numpy()
    if not vectors:
        raise ValueError(
            f"the {' and '.join(usable)} of the observation cannot be used by the model: no counts in its band?"
        )
    if not all(np.isfinite(vector).all() for vector in vectors.values()):
        raise ValueError("the embedding is not finite")
    return vectors


def joint(vectors: dict[str, np.ndarray]) -> np.ndarray:
    """One unit vector: that of the joint head, else the mean direction, whose cosine with a text goes with theirs'."""
    if "xray" in vectors:
        return vectors["xray"]
    total = np.sum(list(vectors.values()), axis=0)
    return total / np.linalg.norm(total)


def _loaded(model: Any, processor: Any) -> tuple[Any, Any]:
    import torch
    import transformers

    import chandraclip.models

    if isinstance(model, str | Path):
        folder = model_folder(str(model))
        network = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    else:
        folder, network = Path(model.name_or_path), model
    if not hasattr(network, "embedding_outputs"):
        known = ["chandraclip", *chandraclip.models.FAMILIES]
        raise InputFileError(folder, f"a model of type {network.config.model_type!r}; this embeds with {known}")
    if processor is None:
        tower = isinstance(network, chandraclip.models.TowerModel)
        kind = transformers.AutoFeatureExtractor if tower else transformers.AutoProcessor
        try:
            processor = kind.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise InputFileError(folder, f"no processor loads from here ({error}); give processor=") from error
    return network, processor
