"""What the page answers: the pictures of what is asked, its nearest detections, and their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from chandraclip.data.keys import KEY
from chandraclip.errors import QueryError
from chandraclip.evaluation.lookup import SUMMARY
from chandraclip.explorer.detections import Detections
from chandraclip.explorer.pictures import Autoencoder, pictures
from chandraclip.explorer.uploads import opened_uploads
from chandraclip.search import Catalog
from chandraclip.search.catalog import Question

MAX_NEIGHBOURS, NUM_TEXTS = 100, 3


@dataclass(frozen=True, eq=False)
class Answer:
    """Attributes:
    title: what was asked.
    facts: of the observation, as `print` shows it; empty where there is none.
    pictures: by the names in `pictures.PICTURES`.
    neighbours, texts: as `Catalog.search` and `search_texts` give them; texts empty without any.
    notes: what was odd, one sentence each.
    """

    title: str
    facts: str
    pictures: dict[str, Figure]
    neighbours: pd.DataFrame
    texts: pd.DataFrame
    notes: list[str] = field(default_factory=list)


class Explorer:
    """A catalogue that is asked from a page.

    Args:
        catalog: asked.
        detections: of its dataset; shows the nearest one to a text. None: a text has no pictures.
        autoencoder: draws reconstructions; None: there are none.
    """

    def __init__(self, catalog: Catalog, detections: Detections | None = None, autoencoder: Autoencoder | None = None):
        self.catalog, self.detections, self.autoencoder = catalog, detections, autoencoder

    def of_files(self, files: Sequence[str | Path], k: int = 10, nh_gal: float | None = None) -> Answer:
        """Detections and texts like one's own files, and the pictures of these.

        Args:
            files: that were uploaded. k: neighbours.
            nh_gal: Galactic column of the position, 1e20 cm-2; None: not known.

        Raises:
            QueryError: the files cannot be used, and why.
        """
        with opened_uploads(files, self.catalog.instruments) as observation:
            question = self.catalog.question(files=observation, nh_gal=nh_gal)
            drawn, reasons = pictures(observation, self.autoencoder)
            notes = [*question.notes, *reasons]
            return self._answer(question, k, str(observation), drawn, notes)

    def of_text(self, text: str, k: int = 10) -> Answer:
        """Detections and texts like a description, and the pictures of the nearest detection.

        Raises:
            QueryError: the text is empty, or the model reads none.
        """
        question = self.catalog.question(text=text)
        if self.detections is None:
            return self._answer(question, k, "", {}, [])
        nearest = self.catalog.answer(question, 1).iloc[0]
        key = {name: nearest[name] for name in KEY}
        observation = self.detections.observation(**key)
        drawn, reasons = pictures(observation, self.autoencoder)
        return self._answer(question, k, f"The nearest detection:\n{observation}", drawn, reasons)

    def _answer(self, question: Question, k: int, facts: str, drawn: dict[str, Figure], notes: Sequence[str]) -> Answer:
        if not 1 <= k <= MAX_NEIGHBOURS:
            raise QueryError(f"{k} neighbours; between 1 and {MAX_NEIGHBOURS} can be asked for")
        neighbours = self.catalog.answer(question, k).drop(columns=SUMMARY, errors="ignore")
        reasons = list(notes)
        texts = pd.DataFrame()
        try:
            found = self.catalog.answer(question, NUM_TEXTS, "distinct text")
        except QueryError as error:  # a catalogue without texts
            reasons.append(f"No texts: {error}")
        else:
            texts = found[[name for name in ("similarity", "name", "source_class", SUMMARY) if name in found]]
        return Answer(question.title, facts, drawn, neighbours, texts, reasons)
