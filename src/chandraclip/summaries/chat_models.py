"""Chat models: one of `transformers`, here, or an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chandraclip.acquire.http import TRY_AGAIN, Manners, TransientError, in_words, patiently, shown
from chandraclip.acquire.secrets import private_url, redacted
from chandraclip.errors import InputFileError, OptionError
from chandraclip.model_folder import model_id
from chandraclip.summaries.checking import CHARACTERS_PER_TOKEN, MAX_TOKENS
from chandraclip.summaries.cleaning import without_tokens
from chandraclip.summaries.prompting import Message

logger = logging.getLogger(__name__)

SEED = 0
_NO_TOKEN = "none"  # else huggingface_hub would send the user's own Hub token to whatever server is asked


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        num_input, num_output: tokens; None where they are not known.
        is_cut_off: it was stopped at the limit of its length.
        refused: why this question cannot be asked, e.g. since it is too long; None where it was answered.
    """

    text: str = ""
    num_input: int | None = None
    num_output: int | None = None
    is_cut_off: bool = False
    refused: str | None = None


class ChatModel(Protocol):
    """Answers conversations.

    Attributes:
        name: for the provenance.
        answers_alone: an answer does not depend on what is asked beside it, so that each may be kept as it comes.
    """

    name: str
    answers_alone: bool

    def answers(self, conversations: Sequence[list[Message]]) -> Iterator[tuple[int, Answer]]:
        """(number of the conversation, answer), in any order."""

    def count_tokens(self, messages: list[Message]) -> float:
        """Tokens of a conversation, or an estimate."""

    @property
    def counts_exactly(self) -> bool: ...


class Endpoint:
    """A server with ``/chat/completions``, by `huggingface_hub.InferenceClient`.

    Args:
        base_url: up to ``/v1``.
        model: as the server calls it.
        token: sent to it and told nowhere; None for a server that wants none.
        num_parallel: requests at a time.
        manners: how it is asked, of all threads together.
    """

    answers_alone = True
    counts_exactly = False

    def __init__(
        self,
        base_url: str,
        model: str,
        token: str | None = None,
        num_parallel: int = 4,
        manners: Manners | None = None,
    ) -> None:
        from huggingface_hub import InferenceClient

        self.name = model
        self.base_url = private_url(base_url, has_token=token is not None)
        self.manners = manners or Manners(seconds_between=0.0, read_timeout=300.0)
        self._client = InferenceClient(
            base_url=self.base_url, api_key=token or _NO_TOKEN, timeout=self.manners.read_timeout
        )
        self._token, self._num_parallel = token, num_parallel
        self._lock, self._next = threading.Lock(), 0.0

    def count_tokens(self, messages: list[Message]) -> float:
        return sum(len(message["content"]) for message in messages) / CHARACTERS_PER_TOKEN

    def answers(self, conversations: Sequence[list[Message]]) -> Iterator[tuple[int, Answer]]:
        with ThreadPoolExecutor(self._num_parallel) as pool:
            futures = {pool.submit(self._ask, item): number for number, item in enumerate(conversations)}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _ask(self, messages: list[Message]) -> Answer:
        try:
            return patiently(self.manners, "the chat model", lambda: self._attempt(messages))
        except TransientError as error:
            reason = f"{error.reason}; run the same command again, it goes on from here"
            raise InputFileError(shown(self.base_url), reason) from None

    def _attempt(self, messages: list[Message]) -> Answer:
        self._keep_distance()
        try:
            reply: Any = self._client.chat_completion(
                messages,
                model=self.name,
                max_tokens=MAX_TOKENS,
                temperature=0.0,
                seed=SEED,
            )
        except Exception as error:  # of httpx, of the Hub's client and of its parser; all hold addresses
            explained = self._explained(error)
            if isinstance(explained, Answer):
                return explained
            raise explained from None
        try:
            choice = reply.choices[0]
            text, reason, usage = choice.message.content, choice.finish_reason, reply.usage
        except (AttributeError, IndexError, TypeError):
            raise TransientError(f"no answer of a model: {self._told(repr(reply))}") from None
        if not isinstance(text, str):
            raise TransientError("an answer without a text")
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        num_input, num_output = (count if isinstance(count, int) else None for count in counts)
        return Answer(text, num_input, num_output, reason == "length")

    def _explained(self, error: Exception) -> Exception | Answer:
        """Our own error in the place of a library's; what is wrong with this one question is its answer."""
        response: Any = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if status is None:
            kind = type(error).__name__
            is_ours = isinstance(error, (json.JSONDecodeError, TypeError, KeyError, AttributeError, UnicodeDecodeError))
            return TransientError(
                f"the answer is no JSON of a chat model ({kind})" if is_ours else f"no answer ({kind})"
            )
        if status in (401, 403):
            return InputFileError(shown(self.base_url), f"refuses the token (HTTP status {status})")
        try:
            said = self._told(response.text)
        except Exception:  # the body was not read to its end
            said = ""
        reason = f"HTTP status {status}{f': {said}' if said else ''}"
        if status in (400, 413, 422):
            return Answer(refused=reason)
        if status not in TRY_AGAIN:
            return InputFileError(shown(self.base_url), reason)
        return TransientError(reason, _seconds(response.headers.get("Retry-After")))

    def _told(self, text: str) -> str:
        return in_words(redacted(text, self._token))

    def _keep_distance(self) -> None:
        with self._lock:
            now = time.monotonic()
            wait, self._next = self._next - now, max(self._next, now) + self.manners.seconds_between
        if wait > 0:
            time.sleep(wait)


class LocalModel:
    """A chat model of `transformers`, greedy: the same answers each time, for the same batches.

    Args:
        model_name_or_path: folder or Hub id of a causal model whose tokenizer has a chat template.
        device: e.g. "cuda"; None for a GPU where there is one.

    Raises:
        OptionError: it is none, or has no chat template.
    """

    answers_alone = False
    counts_exactly = True

    def __init__(self, model_name_or_path: str, device: str | None = None) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model_name_or_path, padding_side="left")
            model: Any = AutoModelForCausalLM.from_pretrained(model_name_or_path, dtype="auto")
        except (OSError, ValueError, KeyError) as error:
            reason = in_words(str(error))
            raise OptionError(f"{model_name_or_path} is no causal language model of transformers: {reason}") from None
        if self._tokenizer.chat_template is None:
            raise OptionError(f"{model_name_or_path} has no chat template: a chat (instruct) model is needed")
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(device).eval()
        path = Path(model_name_or_path)
        # No folder of this machine in what is published; and two models in folders of one name are two.
        self.name = f"{path.resolve().name} ({model_id(path)[:12]})" if path.is_dir() else model_name_or_path
        vocabulary = self._tokenizer.get_added_vocab()
        self._tokens = tuple({*self._tokenizer.all_special_tokens, *vocabulary} - {""})

    def count_tokens(self, messages: list[Message]) -> float:
        return len(self._encoded([messages])[0])

    def answers(self, conversations: Sequence[list[Message]]) -> Iterator[tuple[int, Answer]]:
        import torch

        encoded = self._encoded(conversations)
        limit = getattr(self._model.config, "max_position_embeddings", None) or 10**9
        asked = [number for number, tokens in enumerate(encoded) if len(tokens) + MAX_TOKENS <= limit]
        for number in set(range(len(encoded))).difference(asked):
            needed = len(encoded[number]) + MAX_TOKENS
            yield number, Answer(refused=f"papers and answer need {needed} tokens, the model takes {limit}")
        if not asked:
            return
        batch = self._tokenizer.pad({"input_ids": [encoded[number] for number in asked]}, return_tensors="pt")
        batch = batch.to(self._model.device)
        with torch.inference_mode():
            output = self._model.generate(
                **batch,
                max_new_tokens=MAX_TOKENS,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        ends = self._model.generation_config.eos_token_id
        ends = {*(ends if isinstance(ends, list) else [ends]), self._tokenizer.eos_token_id}
        length = batch["input_ids"].shape[1]
        for number, tokens in zip(asked, output[:, length:].tolist()):
            stop = next((place for place, token in enumerate(tokens) if token in ends), None)
            own = tokens if stop is None else tokens[:stop]
            text = str(self._tokenizer.decode(own, skip_special_tokens=True))
            yield number, Answer(text, len(encoded[number]), len(own), stop is None)

    def _encoded(self, conversations: Sequence[list[Message]]) -> list[list[int]]:
        """Tokens by the model's own template; texts cannot open a turn, since none of its tokens is left in them."""
        safe = [
            [{**message, "content": without_tokens(message["content"], self._tokens)} for message in conversation]
            for conversation in conversations
        ]
        texts = []
        for conversation in safe:
            try:
                texts.append(self._template(conversation))
            except Exception:  # some templates know no system turn, and say so in errors of Jinja's
                system, user = (message["content"] for message in conversation)
                texts.append(self._template([{"role": "user", "content": f"{system}\n\n{user}"}]))
        return [self._tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]

    def _template(self, conversation: list[Message]) -> str:
        return str(self._tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True))


def _seconds(value: str | None) -> float | None:
    """s, of a Retry-After header."""
    import urllib3

    if value is None:
        return None
    try:
        return max(0.0, urllib3.Retry().parse_retry_after(value))
    except urllib3.exceptions.InvalidHeader:
        return None
