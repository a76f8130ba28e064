"""A saved model on disk: its folder, or that of a Hub id, and its name by content."""

from __future__ import annotations

from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.files import content_hash

# What defines a model on disk; logs, cards and checkpoints of a run do not.
_MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
_NOT_MODEL = ("metrics.json", "trainer_state.json", "train_config.json", "all_results.json")


def model_folder(model: str, revision: str | None = None) -> Path:
    """The folder of a model: itself, or the snapshot of a Hub id.

    Raises:
        InputFileError: neither holds a `config.json`.
    """
    folder = Path(model)
    if not folder.is_dir():
        import huggingface_hub

        try:
            patterns = list(_MODEL_FILES)
            folder = Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=patterns))
        except (OSError, ValueError) as error:
            raise InputFileError(model, f"no such folder, and the Hub does not give it ({error})") from error
    if not (folder / "config.json").is_file():
        raise InputFileError(model, "there is no config.json, so this is not a saved model")
    return folder


def model_id(folder: Path) -> str:
    """Content hash of a model's configuration, weights, processor and tokenizer."""
    files = {file for pattern in _MODEL_FILES for file in folder.glob(pattern) if file.name not in _NOT_MODEL}
    return content_hash(files, folder)
