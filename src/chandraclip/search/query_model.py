"""Questions through a model: a text, or a user's own files, to vectors of the space in which the embeddings lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandraclip.embedding.embedder import WHOLE_CONTEXT
from chandraclip.errors import InputFileError, QueryError
from chandraclip.model_folder import model_folder, model_id

# What `Observation.embeddings` names -> the column of the embeddings file, without its ending.
_COLUMN = {"spectrum": "spectrum", "events": "event", "xray": "xray"}

if TYPE_CHECKING:
    from chandraclip.evaluation.embeddings import EmbeddingTable
    from chandraclip.observation import Observation


class QueryModel:
    """The model that made some embeddings, loaded when it is first needed.

    Args:
        folder: of the model and its processor.
        device: torch device.
        without_context: what was left out of the observation context when the embeddings were made.
    """

    def __init__(self, folder: Path, device: str = "cpu", without_context: Iterable[str] = ()):
        self.folder, self.device, self.without_context = folder, device, tuple(without_context)
        self._parts: tuple[Any, Any] | None = None

    @classmethod
    def of(
        cls, table: EmbeddingTable, model: str | None = None, revision: str | None = None, device: str = "cpu"
    ) -> QueryModel:
        """The model that an embeddings folder was made with.

        Args:
            table: as `EmbeddingTable.load` reads it; its provenance has the model's folder or Hub id, and its hash.
            model: folder or Hub id, where it is not (any longer) what the provenance says.
            revision: of a model on the Hub.

        Raises:
            InputFileError: the provenance names no model, none loads from there, or it is another one.
        """
        named = model or table.provenance.get("model")
        if not named:
            raise InputFileError(table.path, "does not say which model made it; give the model's folder or Hub id")
        folder = model_folder(str(_from_there(named, table.path)), revision)
        made_with, found = table.provenance.get("model_id"), model_id(folder)
        if made_with and found != made_with:
            raise InputFileError(
                folder,
                f"this model ({found[:12]}) is not the one that made {table.path} ({made_with[:12]}), and "
                "two models have two spaces; embed again (scripts/embed.py), or give the model that did",
            )
        return cls(folder, device, table.provenance.get("without_context") or ())

    def of_text(self, text: str) -> np.ndarray:
        """(D,) unit vector of a text.

        Raises:
            QueryError: the text is empty, none of its words is known to the tokenizer, or the model reads no text.
        """
        if not isinstance(text, str) or not text.strip():
            raise QueryError("the text is empty: describe a source in words, such as 'soft, highly variable'")
        import torch

        network, processor = self._loaded()
        if "text_embedding" not in network.embedding_outputs():
            raise QueryError(f"the model {self.folder} reads no text; ask by key, name or files")
        tokens = {name: value.to(network.device) for name, value in processor(text=[text.strip()]).items()}
        unknown = processor.tokenizer.unk_token_id
        special = {*processor.tokenizer.all_special_ids, unknown}
        if not set(tokens["input_ids"][0].tolist()) - special:
            raise QueryError(f"no word of {text.strip()!r} is known to the model's tokenizer")
        with torch.inference_mode():
            return network.get_text_features(**tokens)[0].float().cpu().numpy()

    def of_observation(self, observation: Observation, nh_gal: float | None = None) -> dict[str, np.ndarray]:
        """Column of the embeddings file -> (D,), for the spectrum and the events of an observation, and both together.

        Args:
            nh_gal: 1e20 cm-2, the Galactic column of the position, for a model with an observation context.

        Raises:
            QueryError: neither has a photon that the model can use.
        """
        if not _has_photons(observation):
            raise QueryError(f"{_names(observation)}: there is no photon in it")
        network, processor = self._loaded()
        without = getattr(processor, "context", ()) if WHOLE_CONTEXT in self.without_context else self.without_context
        try:
            vectors = observation.embeddings(network, processor, nh_gal=nh_gal, without_context=without)
        except InputFileError as error:
            raise QueryError(str(error)) from error
        except (KeyError, ValueError) as error:
            raise QueryError(f"{_names(observation)}: {error.args[0] if error.args else error}") from error
        ending = "embedding" if any(name.endswith("_embedding") for name in network.embedding_outputs()) else "latents"
        return {f"{_COLUMN[name]}_{ending}": vector for name, vector in vectors.items()}

    def uses(self, column: str) -> bool:
        """Whether a column of the observation context is known to the model, and was not left out of the embeddings."""
        context = getattr(self._loaded()[1], "context", ())
        return column in context and not {WHOLE_CONTEXT, column} & set(self.without_context)

    def _loaded(self) -> tuple[Any, Any]:
        if self._parts is None:
            import torch
            import transformers

            import chandraclip.models

            network = transformers.AutoModel.from_pretrained(self.folder, dtype=torch.float32).eval().to(self.device)
            if not hasattr(network, "embedding_outputs"):
                known = ["chandraclip", *chandraclip.models.FAMILIES]
                raise InputFileError(self.folder, f"of type {network.config.model_type!r}; this asks models of {known}")
            tower = isinstance(network, chandraclip.models.TowerModel)
            kind = transformers.AutoFeatureExtractor if tower else transformers.AutoProcessor
            self._parts = network, kind.from_pretrained(self.folder)
        return self._parts


def open_files(files: str | Path | Sequence[str | Path] | Observation, instruments: Iterable[str] = ()) -> Observation:
    """A user's own files as an observation that the catalogue can be asked about.

    Args:
        files: a spectrum, an event list or both, and what goes with them, as `chandraclip.open` takes them; or an
            observation that is open already.
        instruments: those of the catalogue, as INSTRUME has them; empty: any will do.

    Raises:
        QueryError: a file is missing or damaged, there is no photon in them, or they are of another instrument.
    """
    from chandraclip.observation import Observation
    from chandraclip.observation import open as open_observation

    if isinstance(files, Observation):
        observation = files
    else:
        names = [files] if isinstance(files, (str, Path)) else list(files)
        if not names:
            raise QueryError("there is no file to ask about")
        try:
            observation = open_observation(*names)
        except ValueError as error:  # InputFileError is one
            raise QueryError(" ".join(str(error).split())) from error
    if not _has_photons(observation):
        raise QueryError(f"{_names(observation)}: there is no photon in it")
    header = observation.header
    known = sorted({_instrument(name) for name in instruments})
    if known and header.instrument and _instrument(header.instrument) not in known:
        of = " ".join(filter(None, (header.telescope, header.instrument)))
        raise QueryError(
            f"{_names(observation)}: of {of}, and the catalogue and its model are of {', '.join(known)}: another "
            f"instrument's photons have no place in it (any_instrument asks all the same)"
        )
    return observation


def _instrument(name: str) -> str:
    """Without the detector: a simulated row is of ACIS-I or ACIS-S, a file's INSTRUME says ACIS."""
    return name.strip().upper().partition("-")[0]


def _has_photons(observation: Observation) -> bool:
    spectrum, events = observation.spectrum, observation.events
    return bool((spectrum is not None and spectrum.counts.sum() > 0) or (events is not None and len(events)))


def _names(observation: Observation) -> str:
    parts = (observation.spectrum, observation.events)
    return " and ".join(str(part.path) for part in parts if part is not None)


def _from_there(named: str, table: Path) -> str | Path:
    """A model's folder as the provenance has it: from the working folder, or from one above the embeddings."""
    path = Path(named)
    if path.is_absolute() or path.is_dir():
        return path
    above = (folder / path for folder in table.resolve().parents)
    return next((folder for folder in above if (folder / "config.json").is_file()), named)
