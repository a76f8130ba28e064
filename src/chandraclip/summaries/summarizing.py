"""From papers to checked summaries: each question asked once, whatever is killed, and nothing kept that is not checked.

    OUT.parquet                a row a source with an abstract
    OUT.cache/answers.sqlite   questions that were answered, by model, prompt and papers
    OUT.cache/ranks/           those that ranks (`chandraclip.ranks`) have answered, until they are merged
    OUT.prompts.jsonl          a dry run: what would be asked

| column | |
|---|---|
| `name` | of the source |
| `summary` | null where no answer was accepted |
| `bibcodes` | papers that the model was shown |
| `summary_model`, `prompt_version`, `prompt_sha256` | who was asked, and how |
| `problems` | why the last answer was not accepted; null where it was |
| `num_tries`, `num_input_tokens`, `num_output_tokens` | answers that were judged, and the tokens of all of them |
| `num_withheld` | sentences of the papers that speak to a model and were not shown to it |
| `question` | hash of papers and names; sources with the same papers share a question and a summary |
| `written` | date (UTC) |
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from chandraclip.acquire.store import Store, today
from chandraclip.errors import InputFileError, OptionError
from chandraclip.files import atomic_path
from chandraclip.lock import locked, shared
from chandraclip.ranks import WHOLE, Share
from chandraclip.summaries.chat_models import Answer, ChatModel
from chandraclip.summaries.checking import CHARACTERS_PER_TOKEN, MAX_TOKENS, judge
from chandraclip.summaries.names import Names
from chandraclip.summaries.prompting import Prompt, Question, ask_about

logger = logging.getLogger(__name__)

CHECKS = 1  # of `checking`: a later one judges anew
NEEDED = ("name", "identifiers", "bibcodes", "titles", "abstracts")
ROWS_PER_PART = 500
COUNTED = 200  # questions whose tokens are counted for the estimate; the others are taken to be alike
RANKS = "ranks"
SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("summary", pa.string()),
        pa.field("bibcodes", pa.list_(pa.string())),
        pa.field("summary_model", pa.string()),
        pa.field("prompt_version", pa.string()),
        pa.field("prompt_sha256", pa.string()),
        pa.field("problems", pa.string()),
        pa.field("num_tries", pa.int32()),
        pa.field("num_input_tokens", pa.int64()),
        pa.field("num_output_tokens", pa.int64()),
        pa.field("num_withheld", pa.int32()),
        pa.field("question", pa.string()),
        pa.field("written", pa.string()),
    ]
)


@dataclass(frozen=True)
class Estimate:
    """What is to be asked, each question once.

    Attributes:
        num_sources: of the table; num_with_papers: with an abstract.
        num_questions: different ones; num_left: not yet answered.
        num_input_tokens: of those; num_output_tokens: at most.
        is_counted: by the model's own tokenizer; else from the number of characters.
    """

    num_sources: int
    num_with_papers: int
    num_questions: int
    num_left: int
    num_input_tokens: int
    num_output_tokens: int
    is_counted: bool

    def cost(self, price_input: float, price_output: float) -> float:
        """At most, if every first answer is accepted.

        Args:
            price_input, price_output: of a million tokens.
        """
        return (self.num_input_tokens * price_input + self.num_output_tokens * price_output) / 1e6


@dataclass(frozen=True)
class Summarized:
    """Sources with a summary, those without since none was accepted, and the reasons of those: (name, problems).

    Of a rank, which writes no table, `num_asked`: the questions that it has asked.
    """

    num_written: int
    num_failed: int
    failed: list[tuple[str, str]]
    num_asked: int | None = None


@dataclass(frozen=True)
class _Item:
    """A question, with all names that its answer must not tell."""

    key: str
    question: Question
    names: tuple[str, ...]


class Summarizer:
    """Asks a model about the sources of a table.

    Args:
        literature: as `acquire.literature` writes it.
        output: Parquet file.
        model: who is asked. A dry run may give one that never answers.
        prompt: how.
        max_tries: answers to a question until it is given up.
        batch_size: questions that are asked together.
        cache: folder for the answers; None for the one beside `output`.
        retry_failed: ask again what was given up in an earlier run.
        share: of the groups of `batch_size` questions, which are asked together.

    Raises:
        InputFileError: the table is none of these.
    """

    def __init__(
        self,
        literature: str | Path,
        output: str | Path,
        model: ChatModel,
        prompt: Prompt,
        max_tries: int = 3,
        batch_size: int = 8,
        cache: str | Path | None = None,
        retry_failed: bool = False,
        progress: bool = True,
        share: Share = WHOLE,
    ) -> None:
        self.share = share
        self.literature, self.output = Path(literature), Path(output)
        self.model, self.prompt = model, prompt
        self.max_tries, self.batch_size, self.progress = max_tries, batch_size, progress
        self.cache = Path(cache) if cache is not None else self.output.with_suffix(".cache")
        if max_tries < 1 or batch_size < 1:
            raise OptionError("--max_tries and --batch_size must be at least 1")
        self._kind = json.dumps([model.name, prompt.version, prompt.sha256[:16], max_tries, CHECKS])
        self._retry_failed = retry_failed
        self._check_table()
        self._names = self._shared_names()

    def estimate(self) -> Estimate:
        """What is left to ask; nothing is."""
        with Store(self.cache / "answers.sqlite") as store:
            missing = set(self._missing(store))
        characters = counted_characters = 0
        tokens = 0.0
        num_counted = 0
        for item in self._items(missing):
            messages = item.question.messages(self.prompt)
            size = sum(len(message["content"]) for message in messages)
            characters += size
            if num_counted < COUNTED:
                num_counted += 1
                tokens += self.model.count_tokens(messages)
                counted_characters += size
        share = tokens / counted_characters if counted_characters else 1 / CHARACTERS_PER_TOKEN
        return Estimate(
            num_sources=pq.ParquetFile(self.literature).metadata.num_rows,
            num_with_papers=self._num_with_papers,
            num_questions=len(self._names),
            num_left=len(missing),
            num_input_tokens=round(characters * share),
            num_output_tokens=len(missing) * MAX_TOKENS,
            is_counted=self.model.counts_exactly,
        )

    def write_prompts(self) -> Path:
        """What would be asked, one question a line; the file."""
        path = self.output.with_suffix(".prompts.jsonl")
        with Store(self.cache / "answers.sqlite") as store:
            missing = set(self._missing(store))
        with atomic_path(path) as temporary, temporary.open("w") as stream:
            for item in self._items(missing):
                facts = {
                    "question": item.key,
                    "names": item.names,
                    "bibcodes": item.question.bibcodes,
                    "num_withheld": item.question.num_withheld,
                    "messages": item.question.messages(self.prompt),
                }
                stream.write(json.dumps(facts, ensure_ascii=False) + "\n")
        return path

    def summarize(self) -> Summarized:
        """Asks what is left and writes the table; a rank asks its share and writes none, and a merge asks nothing.

        Goes on where a run that was killed stopped; the bytes depend neither on that nor on ranks.

        Raises:
            InputFileError: the model does not answer: run the same again; or a merge lacks what a rank was to ask.
        """
        if self.share.is_rank:
            job = "summarize-" + hashlib.sha256(self._kind.encode()).hexdigest()[:8]
            with (
                shared(self.cache, job, self.share.name, lambda: None),
                Store(self.cache / RANKS / f"{self.share.name}.sqlite") as store,
            ):
                return Summarized(0, 0, [], num_asked=self._ask(store))
        with locked(self.cache), Store(self.cache / "answers.sqlite") as store:
            for path in self._rank_files():
                with Store(path) as ranks_own:
                    # Later answers are of a rank that was told to ask again.
                    store.put(self._kind, ranks_own.get(self._kind, self._names))
            if self.share.only_merge and (missing := store.missing(self._kind, self._names)):
                reason = f"{len(missing):,} of {len(self._names):,} questions are not answered yet: run the ranks again"
                raise InputFileError(self.cache, reason)
            if not self.share.only_merge:
                self._ask(store)
            written = self._write(store)
            for path in self._rank_files():
                path.unlink()
            return written

    def _ask(self, store: Store) -> int:
        """Asks what is left of the share, into a store; how many questions that were."""
        missing = self._missing(store)
        wanted, num_asked = set(missing), 0
        with tqdm(
            total=len(self._names),
            initial=len(self._names) - len(missing),
            desc="summarize",
            unit="question",
            disable=not self.progress,
        ) as bar:
            # Groups are of all questions, answered or not: so a batch is the same after a kill, and by any ranks.
            for number, group in enumerate(self._groups()):
                if number % self.share.num_ranks == (self.share.rank or 0):
                    num_asked += (asked := self._ask_group(store, group, wanted))
                    bar.update(asked)
        return num_asked

    def _groups(self) -> Iterator[list[_Item]]:
        items = self._items(set(self._names))
        while group := list(islice(items, self.batch_size)):
            yield group

    def _rank_files(self) -> list[Path]:
        return sorted((self.cache / RANKS).glob("*.sqlite"))

    def _ask_group(self, store: Store, group: list[_Item], wanted: set[str]) -> int:
        """Asks about those of a group that are wanted; how many that were."""
        items = [item for item in group if item.key in wanted]
        if not items:
            return 0
        finished: dict[str, Any] = {}
        pending = [(item, [0, 0, 0], [""]) for item in items]  # tries and tokens, problems of the last answer
        num_refused = 0
        for number in range(self.max_tries):
            conversations = [
                item.question.messages(self.prompt, problems if number else ()) for item, _, problems in pending
            ]
            again = []
            for place, answer in self.model.answers(conversations):
                item, counts, _ = pending[place]
                record, problems = self._judged(item, answer, counts)
                num_refused += answer.refused is not None
                if answer.refused is not None or not problems or number + 1 == self.max_tries:
                    finished[item.key] = record
                    if self.model.answers_alone and answer.refused is None:
                        store.put(self._kind, {item.key: record})
                else:
                    again.append((place, (item, counts, problems)))
            pending = [entry for _, entry in sorted(again, key=lambda pair: pair[0])]
            if not pending:
                break
        if num_refused == len(items) and len(items) > 1:
            reason = next(iter(finished.values()))["problems"]
            raise InputFileError(self.model.name, f"not one of {len(items)} questions is taken; {reason}")
        store.put(self._kind, finished)
        return len(items)

    def _judged(self, item: _Item, answer: Answer, counts: list[int]) -> tuple[dict[str, Any], list[str]]:
        """The record of a question after an answer, and what is wrong with it."""
        counts[0] += 1
        counts[1] += answer.num_input or 0
        counts[2] += answer.num_output or 0
        if answer.refused is not None:
            problems, summary = [answer.refused], None
        else:
            judged = judge(answer.text, item.question.evidence, Names(item.names), answer.num_output, answer.is_cut_off)
            problems, summary = judged.problems, judged.summary
        record = {
            "summary": None if problems else summary,
            "problems": "; ".join(problems) or None,
            "num_tries": counts[0],
            "num_input_tokens": counts[1],
            "num_output_tokens": counts[2],
            "written": today(),
        }
        return record, problems

    def _write(self, store: Store) -> Summarized:
        facts = {"model": self.model.name, "prompt_version": self.prompt.version, "max_tries": self.max_tries}
        schema = SCHEMA.with_metadata({"chandraclip_summaries": json.dumps(facts, sort_keys=True)})
        failed, num_written = [], 0
        with atomic_path(self.output) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for part in self._parts():
                asked = [(name, question) for name, _, question in part if question is not None]
                records = store.get(self._kind, {self._key_of[question.key] for _, question in asked})
                rows = []
                for name, question in asked:
                    key = self._key_of[question.key]
                    record = records[key]
                    num_written += record["summary"] is not None
                    if record["summary"] is None:
                        failed.append((name, record["problems"]))
                    rows.append(
                        {
                            **record,
                            "name": name,
                            "bibcodes": list(question.bibcodes),
                            "summary_model": self.model.name,
                            "prompt_version": self.prompt.version,
                            "prompt_sha256": self.prompt.sha256,
                            "num_withheld": question.num_withheld,
                            "question": key,
                        }
                    )
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        return Summarized(num_written, len(failed), failed)

    def _missing(self, store: Store) -> list[str]:
        """The questions that have no answer, in this store, that of earlier runs, or those of ranks."""
        records: dict[str, Any] = {}
        for path in (self.cache / "answers.sqlite", *self._rank_files()):
            if path.exists() and path != store.path:
                with Store(path) as other:
                    records.update(other.get(self._kind, self._names))
        records.update(store.get(self._kind, self._names))
        given_up = {key for key, record in records.items() if record["summary"] is None and self._retry_failed}
        return [key for key in self._names if key not in records or key in given_up]

    def _shared_names(self) -> dict[str, tuple[str, ...]]:
        """Question -> names of all sources that share it, in the order of the table."""
        names: dict[str, set[str]] = {}
        self._num_with_papers = 0
        for part in self._parts():
            for name, others, question in part:
                if question is not None:
                    self._num_with_papers += 1
                    names.setdefault(question.key, set()).update((name, *others))
        # What may not be told belongs to the question: with other names the same answer may be none.
        self._key_of = {
            key: hashlib.sha256(json.dumps([key, sorted(known)]).encode()).hexdigest() for key, known in names.items()
        }
        return {self._key_of[key]: tuple(sorted(known)) for key, known in names.items()}

    def _items(self, keys: Iterable[str]) -> Iterator[_Item]:
        """The questions of some keys, each once, in the order of the table."""
        left = set(keys)
        for part in self._parts():
            for _, _, question in part:
                key = None if question is None else self._key_of[question.key]
                if key in left:
                    left.remove(key)
                    assert question is not None
                    yield _Item(key, question, self._names[key])
            if not left:
                return

    def _parts(self) -> Iterator[list[tuple[str, list[str], Question | None]]]:
        """(name, other names, question) of some rows at a time."""
        for batch in pq.ParquetFile(self.literature).iter_batches(ROWS_PER_PART, columns=list(NEEDED)):
            yield [
                (
                    row["name"],
                    [name for name in row["identifiers"] or () if name],
                    ask_about(row["bibcodes"] or (), row["titles"] or (), row["abstracts"] or ()),
                )
                for row in batch.to_pylist()
            ]

    def _check_table(self) -> None:
        try:
            schema = pq.read_schema(self.literature)
        except (OSError, pa.ArrowInvalid) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise InputFileError(self.literature, "is no readable Parquet file") from None
        if missing := [name for name in NEEDED if name not in schema.names]:
            reason = f"has no column {', '.join(missing)}; scripts/literature.py makes such tables"
            raise InputFileError(self.literature, reason)
