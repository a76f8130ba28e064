"""`Catalog`: the nearest detections and texts to a key, a source, a text or one's own files, as pandas tables."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandraclip.data.keys import KEY
from chandraclip.errors import InputFileError, QueryError
from chandraclip.evaluation.dataset import join_columns
from chandraclip.evaluation.embeddings import EmbeddingTable
from chandraclip.evaluation.indexes import EXACT
from chandraclip.evaluation.lookup import JOINT, TEXT, Found, References, describe, direction, xray_columns
from chandraclip.search.query_model import QueryModel, open_files

Key = tuple[int, int, int] | tuple[str, int, int, int]
ANY_DATASET = ("ACIS",)  # what a dataset that does not say is of
_WAYS = ("text", "files", "key", "name")


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked, as vectors.

    Attributes:
        title: in words.
        vectors: column of the embeddings file -> (D,).
        own: rows of the catalogue that are no answer: the detection itself, or those of the source.
        notes: what was odd about the files.
    """

    title: str
    vectors: dict[str, np.ndarray]
    own: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    notes: tuple[str, ...] = ()


class Catalog:
    """Embeddings of a dataset, with its facts and texts, to be asked.

    Made by `from_pretrained`.

    Attributes:
        table: the embeddings.
        facts: one row a detection, in the table's order: key, split, class, counts, hardness, variability, summary.
        instruments: what the detections were observed with.
    """

    def __init__(
        self,
        table: EmbeddingTable,
        facts: pd.DataFrame,
        *,
        model: str | None = None,
        revision: str | None = None,
        index: str = EXACT,
        device: str = "cpu",
        instruments: Sequence[str] = (),
    ):
        self.table, self.facts, self.instruments = table, facts, tuple(instruments) or ANY_DATASET
        self.references = References(table, index, device)
        self._model, self._revision = model, revision

    @classmethod
    def from_pretrained(
        cls,
        embeddings: str | Path,
        dataset: str | Path | None = None,
        *,
        model: str | Path | None = None,
        revision: str | None = None,
        index: str = EXACT,
        device: str = "cpu",
    ) -> Catalog:
        """The catalogue of an embeddings folder.

        Args:
            embeddings: folder that `scripts/embed.py` wrote, or its Parquet file, or a dataset repository on the Hub
                that holds one.
            dataset: folder or Hub id of what was embedded: its facts and texts stand beside the answers. None: only
                keys and classes do.
            model: folder or Hub id of the model, where it is not what the embeddings folder says. It is loaded for the
                first question of text or files, and checked to be the one that made the embeddings.
            revision: of a model on the Hub.
            index: ``"exact"``, or of faiss ``"flat"``, ``"ivf"``, ``"hnsw"``.
            device: torch device.

        Raises:
            InputFileError: no embeddings, dataset or model there, or they do not belong together.
            OptionError: no such index, or faiss is not installed.
        """
        table = EmbeddingTable.load(_local(str(embeddings)))
        if not xray_columns(table):
            raise InputFileError(table.path, "there is no embedding of X-rays in it, so nothing to search")
        if dataset is None:
            facts, instruments = describe(table), []
        else:
            facts = describe(table, str(dataset))
            column = join_columns(str(dataset), "catalog", ["instrument"], table).get("instrument", ())
            instruments = sorted({name for name in column if name})
        wanted = None if model is None else str(model)
        catalog = cls(
            table, facts, model=wanted, revision=revision, index=index, device=device, instruments=instruments
        )
        if model is not None:
            catalog.model  # noqa: B018, so that a wrong one is said at once
        return catalog

    @cached_property
    def model(self) -> QueryModel:
        """The model that made the embeddings; found when first asked for, and loaded when it first has to work."""
        return QueryModel.of(self.table, self._model, self._revision, self.references.device)

    def __len__(self) -> int:
        return len(self.table)

    def search(
        self,
        *,
        text: str | None = None,
        files: Any = None,
        key: Key | None = None,
        name: str | None = None,
        k: int = 10,
        by: str = "xray",
        any_instrument: bool = False,
        nh_gal: float | None = None,
    ) -> pd.DataFrame:
        """The k detections nearest to what is asked. Give one of text, files, key and name.

        Args:
            text: in words; compared with the detections' X-rays, spectrum and events together.
            files: a spectrum, an event list or both (`chandraclip.open`), or an `Observation`; compared with detections
                that have the same, by the mean of the cosines.
            key: ``(obsid, obi, region_id)``, or with the source's name in front; the detection itself is no answer.
            name: of a source; the mean of its detections is compared, and these are no answer.
            k: how many.
            by: ``"xray"``, or ``"text"``: compared with the detections' texts instead.
            any_instrument: files of instruments that the catalogue has none of are asked all the same.
            nh_gal: with files: the Galactic column of the position, 1e20 cm-2, which no file has; not known by default.

        Returns:
            The most similar first: similarity (cosine), name, obsid, obi, region_id, split, source_class, counts,
            hardness, variability, ..., summary, as far as the dataset has them. Its ``attrs`` say what was asked
            ("query"), what was compared ("compared"), and what was odd about the files ("notes").

        Raises:
            QueryError: nothing or two things are asked, the key or name is unknown, the text empty, the files damaged,
                without photons or of another instrument; or no detection can be compared.
        """
        question = self.question(
            text=text, files=files, key=key, name=name, any_instrument=any_instrument, nh_gal=nh_gal
        )
        return self.answer(question, k, by)

    def search_texts(
        self,
        *,
        text: str | None = None,
        files: Any = None,
        key: Key | None = None,
        name: str | None = None,
        k: int = 3,
        any_instrument: bool = False,
        nh_gal: float | None = None,
    ) -> pd.DataFrame:
        """The k distinct texts nearest to what is asked, each with a detection it is about; the rest as `search`."""
        question = self.question(
            text=text, files=files, key=key, name=name, any_instrument=any_instrument, nh_gal=nh_gal
        )
        return self.answer(question, k, "distinct text")

    def question(
        self,
        *,
        text: str | None = None,
        files: Any = None,
        key: Key | None = None,
        name: str | None = None,
        any_instrument: bool = False,
        nh_gal: float | None = None,
    ) -> Question:
        """What `search` asks, as vectors; to be asked several times by `answer`."""
        given = {"text": text, "files": files, "key": key, "name": name}
        asked = [way for way, value in given.items() if value is not None]
        if len(asked) != 1:
            raise QueryError(f"ask by one of {', '.join(_WAYS)}; given {' and '.join(asked) or 'none'}")
        if files is None and nh_gal is not None:
            raise QueryError("nh_gal is of files; a detection of the catalogue has its own, and a text none")
        if text is not None:
            return Question(repr(text), {TEXT: self.model.of_text(text)})
        if files is not None:
            if nh_gal is not None and not 0 < nh_gal < 1e4:
                raise QueryError(f"nh_gal {nh_gal:g} is no Galactic column in 1e20 cm-2: above 0, such as 1.6")
            observation = open_files(files, () if any_instrument else self.instruments)
            vectors = self.model.of_observation(observation, nh_gal)
            names = [part.path.name for part in (observation.spectrum, observation.events) if part is not None]
            notes = [*observation.notes]
            if nh_gal is None and self.model.uses("nh_gal"):
                notes.append("the Galactic column of the position is not known (nh_gal); the model does without it.")
            return Question(" and ".join(names), vectors, notes=tuple(notes))
        if key is not None:
            row = self._row(key)
            return self._of_rows(f"{self._words(row)}", np.array([row]))
        return self._of_rows(f"{name}", self._rows_of_source(str(name)))

    def answer(self, question: Question, k: int = 10, by: str = "xray") -> pd.DataFrame:
        """The k nearest to a question, by ``"xray"``, ``"text"`` or ``"distinct text"``; as `search` returns them."""
        if k < 1:
            raise QueryError(f"k is {k}, and must be at least 1")
        if by not in ("xray", "text", "distinct text"):
            raise QueryError(f"by is {by!r}, and must be 'xray' or 'text'")
        try:
            found = self._found(question, k, by)
        except ValueError as error:
            raise QueryError(str(error)) from error
        rows = found.rows[0]
        frame = self.facts.iloc[rows].reset_index(drop=True)
        frame.insert(0, "similarity", found.similarity[0].astype(float))
        frame.attrs = {"query": question.title, "compared": list(found.compared), "notes": list(question.notes)}
        return frame

    def _found(self, question: Question, k: int, by: str) -> Found:
        without = question.own[None, :] if by != "distinct text" else None
        vectors = {name: vector[None, :] for name, vector in question.vectors.items()}
        if by == "xray" and TEXT not in vectors:
            views = {name: vector for name, vector in vectors.items() if name != JOINT}
            same = {name: vector for name, vector in views.items() if name in self.table.arrays}
            return self.references.like_xrays(same or views, k, without)
        if any(name.endswith("_latents") for name in vectors):
            raise ValueError("these are latents of one modality, which no text can be compared with")
        return self.references.along(direction(vectors), k, by, without)

    def _of_rows(self, title: str, rows: np.ndarray) -> Question:
        """A question from detections of the catalogue: the mean of their vectors."""
        own = [name for name in (*xray_columns(self.table), JOINT) if name in self.table.arrays]
        columns = [name for name in own if self.table.masks[name][rows].any()]
        if not columns and TEXT in self.table.arrays and self.table.masks[TEXT][rows].any():
            columns = [TEXT]
        if not columns:
            raise QueryError(f"{title} is in {self.table.path}, but nothing of it is embedded")
        mask = {name: self.table.masks[name][rows] for name in columns}
        vectors = {name: self.table.arrays[name][rows[mask[name]]].mean(axis=0) for name in columns}
        return Question(title, vectors, rows)

    def _row(self, key: Key) -> int:
        parts: tuple[Any, ...] = tuple(key) if isinstance(key, Sequence) and not isinstance(key, str) else ()
        if len(parts) not in (3, 4):
            raise QueryError(f"a key is (obsid, obi, region_id), or with the name in front; this is {key!r}")
        try:
            obsid, obi, region = (int(part) for part in parts[-3:])
        except (TypeError, ValueError) as error:
            raise QueryError(f"obsid, obi and region_id are whole numbers; the key is {key!r}") from error
        keys = self.table.keys
        in_observation = keys["obsid"] == obsid
        match = in_observation & (keys["obi"] == obi) & (keys["region_id"] == region)
        if len(parts) == 4:
            match &= keys["name"] == str(parts[0])
        rows = np.flatnonzero(match)
        if rows.size == 1:
            return int(rows[0])
        where = f"among the {len(self):,} detections of {self.table.path}"
        if rows.size:
            names = ", ".join(keys["name"][rows])
            raise QueryError(f"{rows.size} detections have the key {parts}: give the name in front, one of {names}")
        others = sorted(zip(keys["obi"][in_observation].tolist(), keys["region_id"][in_observation].tolist()))[:5]
        known = f"; of obsid {obsid} there are (obi, region_id) {others}" if others else f"; none is of obsid {obsid}"
        raise QueryError(f"no detection has the key {parts} {where}{known}")

    def _rows_of_source(self, name: str) -> np.ndarray:
        if not name.strip():
            raise QueryError("the name is empty")
        rows = np.flatnonzero(self.table.name == name)
        if rows.size:
            return rows
        # As people write them: without the catalogue's prefix, in any case.
        plain = {known: _plain(known) for known in np.unique(self.table.name).tolist()}
        same = [known for known, other in plain.items() if other == _plain(name)]
        if len(same) == 1:
            return np.flatnonzero(self.table.name == same[0])
        close = difflib.get_close_matches(_plain(name), plain.values(), n=3, cutoff=0.8)
        known = [known for known, other in plain.items() if other in close]
        hint = f"; did you mean {' or '.join(known)}?" if known else ""
        raise QueryError(f"no source is named {name!r} among the {len(plain):,} of {self.table.path}{hint}")

    def _words(self, row: int) -> str:
        values = {name: self.table.keys[name][row] for name in KEY}
        return f"{values['name']} (obsid {values['obsid']}, obi {values['obi']}, region {values['region_id']})"


def _plain(name: str) -> str:
    """A source's name without spaces, case and catalogue: what remains is its position."""
    return "".join(name.split()).upper().removeprefix("2CXO").removeprefix("CXO")


def _local(embeddings: str) -> Path:
    """The folder or file itself, or the snapshot of a dataset repository on the Hub."""
    path = Path(embeddings)
    if path.exists() or embeddings.count("/") != 1 or embeddings.startswith((".", "/")):
        return path
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(embeddings, repo_type="dataset", allow_patterns="embeddings.*"))
    except (OSError, ValueError) as error:
        raise InputFileError(embeddings, f"no such folder, and the Hub does not give it ({error})") from error
