"""Publishing a model whole: its card, its metrics and the processor beside it go where the weights go.

transformers saves and pushes the weights alone, under a card that says "More Information Needed". Here a model that was
loaded takes along what lies in the folder or repository it came from, and one that was made in memory gets a card that
says what is known of it. A card names the weights it describes by their hash, so that numbers measured on some weights
are never published with others.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, snapshot_download
from huggingface_hub.errors import EntryNotFoundError
from transformers import PreTrainedModel
from transformers.utils import logging

from chandraclip.files import content_hash, sha256_of
from chandraclip.models.cards import BLANK, CARD_FILE, plain_card

logger = logging.get_logger(__name__)

METRICS_FILE = "metrics.json"
PROCESSOR_FILES = (
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
)
# Only these are published: what else lies in a folder (logs, options with paths, notes) is its owner's.
PUBLISHED = ("config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", CARD_FILE,
             METRICS_FILE, *PROCESSOR_FILES)  # fmt: skip
_WEIGHTS = re.compile(r"SHA-256 `([0-9a-f]{64})`")


@dataclass(frozen=True)
class Origin:
    """Where a model was loaded from.

    Attributes:
        name: what a card may call it: the Hub id, or the last name of the folder.
        folder: None where it came from the Hub.
        revision: of the Hub.
    """

    name: str
    folder: Path | None = None
    revision: str | None = None

    @property
    def repo_id(self) -> str | None:
        return None if self.folder else self.name

    def files(self, fetch: bool, token: bool | str | None = None) -> Path | None:
        """The folder, or what the cache holds of the repository; None where there is neither.

        Args:
            fetch: get card, metrics and processor from the Hub first.
            token: for that.
        """
        if self.folder:
            return self.folder if self.folder.is_dir() else None
        patterns = [CARD_FILE, METRICS_FILE, *PROCESSOR_FILES]
        try:
            options: Any = {"allow_patterns": patterns, "local_files_only": not fetch, "token": token}
            return Path(snapshot_download(self.name, revision=self.revision, **options))
        except (OSError, ValueError) as error:
            logger.warning(f"card and processor of {self.name} cannot be had ({type(error).__name__})")
            return None


class PublishingModel(PreTrainedModel):
    """`save_pretrained` and `push_to_hub` of a `PreTrainedModel`, with card, metrics and processor.

    Attributes:
        origin: None for a model made in memory.
    """

    origin: Origin | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """See `PreTrainedModel.from_pretrained`; the model remembers where it came from."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # with output_loading_info
        if pretrained_model_name_or_path is not None:
            folder = Path(pretrained_model_name_or_path).resolve()
            on_hub = Origin(str(pretrained_model_name_or_path), revision=kwargs.get("revision"))
            model.origin = Origin(folder.name, folder) if folder.is_dir() else on_hub
        return loaded

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        push_to_hub: bool = False,
        **kwargs: Any,
    ) -> None:
        """As transformers does it; and of the folder or repository the model was loaded from, the processor, the card
        and the metrics (the last two only if the weights are still those they tell of). Nothing is overwritten.

        Args:
            save_directory, is_main_process, state_dict, push_to_hub, kwargs: see `PreTrainedModel.save_pretrained`;
                `repo_id` and the options of `push_to_hub` are among kwargs.
        """
        names = ("repo_id", "commit_message", "commit_description", "private", "revision", "create_pr", "tags")
        hub = {name: kwargs.pop(name) for name in names if name in kwargs}
        super().save_pretrained(save_directory, is_main_process, state_dict, **kwargs)
        if not is_main_process:
            return
        folder = Path(save_directory)
        if self.origin is not None:
            carry(self.origin.files(fetch=False), folder)
        if push_to_hub:
            repo_id = hub.pop("repo_id", folder.name)
            publish(self, folder, repo_id, token=kwargs.get("token"), **hub)

    def push_to_hub(  # type: ignore[override]
        self, repo_id: str, *, max_shard_size: int | str = "50GB", **kwargs: Any
    ) -> Any:
        """Publish weights, configuration, processor, metrics and card, as one commit.

        Args:
            repo_id: ``"user/name"``, or ``"name"`` for one's own.
            max_shard_size: of one file of weights.
            kwargs: `commit_message`, `commit_description`, `private`, `token`, `revision`, `create_pr`, `tags`, see
                `PreTrainedModel.push_to_hub`.

        Returns:
            `huggingface_hub.CommitInfo`.
        """
        if self.origin is not None:
            self.origin.files(fetch=True, token=kwargs.get("token"))  # into the cache, where saving looks
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            return publish(self, Path(folder), repo_id, **kwargs)


class ProcessorPublishingMixin:
    """`push_to_hub` of a processor or feature extractor: its files, and no card, which is the model's to give."""

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Publish the processor beside its model.

        Args:
            repo_id: of the model.
            kwargs: `commit_message`, `commit_description`, `private`, `token`, `revision`, `create_pr`.

        Returns:
            `huggingface_hub.CommitInfo`.
        """
        processor: Any = self
        with tempfile.TemporaryDirectory() as folder:
            processor.save_pretrained(folder)
            return commit(Path(folder), repo_id, PROCESSOR_FILES, **kwargs)


def carry(origin: Path | None, folder: Path) -> None:
    """Copy a model's processor, and its card and metrics if the weights in `folder` are theirs; overwrites nothing."""
    if origin is None or origin.resolve() == folder.resolve():
        return
    found = [file for pattern in PROCESSOR_FILES for file in sorted(origin.glob(pattern))]
    card = origin / CARD_FILE
    if card.is_file() and describes(card.read_text(), folder):
        found += [file for file in (card, origin / METRICS_FILE) if file.is_file()]
    for file in found:
        if not (folder / file.name).exists():
            shutil.copyfile(file, folder / file.name)


def weights_id(folder: Path) -> str:
    """SHA-256 of `model.safetensors`, or of names and content of its shards."""
    files = sorted(folder.glob("model*.safetensors"))
    return sha256_of(files[0]) if len(files) == 1 else content_hash(files, folder)


def describes(card: str, folder: Path) -> bool:
    """Whether a card can be published with the weights in a folder: it says something, and not of other weights."""
    told = _WEIGHTS.search(card)
    return BLANK not in card and (told is None or told[1] == weights_id(folder))


def publish(
    model: Any, folder: Path, repo_id: str, *, token: bool | str | None = None, tags: Sequence[str] = (), **options: Any
) -> Any:
    """Commit a saved model to the Hub; the arguments are those of `push_to_hub`."""
    repo_id = HfApi(token=token).create_repo(repo_id, private=options.pop("private", None), exist_ok=True).repo_id
    card: Any = _card(model, folder, repo_id, token)
    card.data.tags = list(dict.fromkeys([*(card.data.tags or []), *tags]))
    # The code in the card loads the model by the name under which it was saved; here it has another.
    text = re.sub(r'(?m)^(path = )"[^"]*"', rf'\1"{repo_id}"', str(card))
    return commit(folder, repo_id, PUBLISHED, {CARD_FILE: text.encode()}, token=token, **options)


def commit(
    folder: Path,
    repo_id: str,
    patterns: Sequence[str],
    contents: Mapping[str, bytes] = MappingProxyType({}),
    *,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> Any:
    """Commit the files of a folder that fit a pattern, and `contents` (name -> bytes) in place of files, to the Hub."""
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if revision is not None and not revision.startswith("refs/pr"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    found = [file for pattern in patterns for file in sorted(folder.glob(pattern)) if file.is_file()]
    files: dict[str, Any] = {file.name: file for file in found}
    return api.create_commit(
        repo_id,
        [CommitOperationAdd(name, content) for name, content in {**files, **contents}.items()],
        commit_message=commit_message or "Upload with chandraclip",
        commit_description=commit_description,
        revision=revision,
        create_pr=create_pr,
    )


def _card(model: Any, folder: Path, repo_id: str, token: Any) -> ModelCard:
    """The card beside the weights, else the one of the repository, else one that says the little that is known."""
    if (folder / CARD_FILE).is_file() and describes(text := (folder / CARD_FILE).read_text(), folder):
        return ModelCard(text)
    try:
        card = ModelCard.load(repo_id, token=token)
        if describes(card.content, folder):
            return card
    except EntryNotFoundError:
        pass
    has_processor = any((folder / name).is_file() for name in PROCESSOR_FILES[:2])
    return ModelCard(plain_card(model, repo_id, weights_id(folder), has_processor))
