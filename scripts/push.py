#!/usr/bin/env python
"""Publishes a finished model or dataset folder on the Hugging Face Hub, with its card.

    python scripts/push.py outputs/align USER/NAME
    python scripts/push.py outputs/data/real USER/NAME --dataset --private

Log in first (`hf auth login`). Of a model go weights, configuration, processor, metrics, card; of a dataset that this
package built, its Parquet files, manifest and card, and of another one all files. No message tells a token or password.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.program import now_try, run_program

CARD_FILE = "README.md"
TOKEN = r"hf_[A-Za-z0-9]{8,}"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a trained model, or of a dataset")
    parser.add_argument("repo_id", metavar="REPO_ID", help="USER/NAME")
    parser.add_argument("--dataset", action="store_true", help="the folder is a dataset")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    if "://" in options.repo_id:
        raise InputFileError(without_secrets(options.repo_id), "USER/NAME is meant, not a URL")
    if re.search(TOKEN, options.repo_id):
        raise InputFileError("REPO_ID", "looks like a token, which would become the name of a repository")
    private = options.private or None
    try:
        url = (push_dataset if options.dataset else push_model)(options.folder, options.repo_id, private)
    except InputFileError:
        raise
    except Exception as error:
        if not is_of_the_hub(error):
            raise
        # Without its cause, whose traceback tells what the Hub answered word for word.
        raise InputFileError(without_secrets(options.repo_id), without_secrets(str(error) or repr(error))) from None
    url = without_secrets(url)
    print(f"{options.folder}: published at {url}")
    if options.dataset:
        now_try(
            ["training/align.py", "--dataset", options.repo_id, "--output_dir", f"outputs/{options.folder.name}_align"]
        )
    else:
        embeddings = Path("outputs/embeddings") / options.folder.name / "default"
        now_try(["scripts/embed.py", options.repo_id, "outputs/data/default", embeddings])


def is_of_the_hub(error: Exception) -> bool:
    """Whether the Hub refuses, or cannot be reached; its client's client has had several names."""
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, ValueError) or bool(packages & {"huggingface_hub", "httpx", "httpx2", "requests"})


def without_secrets(text: str) -> str:
    """A message without the token of this process, anything like a token, and the user in a URL."""
    from huggingface_hub import get_token

    token = get_token()
    if token:
        text = text.replace(token, "***")
    return re.sub(TOKEN, "hf_***", re.sub(r"(://)[^/@\s]+@", r"\1***@", text))


def push_model(folder: Path, repo_id: str, private: bool | None) -> str:
    """Publish a model; its url.

    Raises:
        InputFileError: the folder holds none, or a run that is not finished.
    """
    from chandraclip.model_folder import model_folder

    if not folder.is_dir():
        raise InputFileError(folder, "there is no such folder")
    if (folder / "train_config.yaml").exists() and not (folder / "metrics.json").exists():
        raise InputFileError(folder, "this run is not finished (no metrics.json): give its command again to go on")
    model_folder(str(folder))  # says what is missing

    from transformers import AutoModel

    import chandraclip.models  # noqa: F401, registers the Auto classes

    return str(AutoModel.from_pretrained(folder).push_to_hub(repo_id, private=private).repo_url)


def push_dataset(folder: Path, repo_id: str, private: bool | None) -> str:
    """Publish a dataset; its url.

    Raises:
        InputFileError: the folder holds none, or one whose build is not finished.
    """
    from huggingface_hub import HfApi

    from chandraclip.data.card import NAME_IN_CARD
    from chandraclip.data.provenance import MANIFEST, read_manifest
    from chandraclip.data.shards import STAGING

    if (folder / STAGING).exists():
        raise InputFileError(folder, "its build is not finished: give the command again to go on")
    if not (folder / CARD_FILE).is_file():
        raise InputFileError(folder, "there is no README.md, so this is no dataset with a card")
    api = HfApi()
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    # Of ours, what else lies in the folder is its owner's.
    ours = ["data/*.parquet", "responses/*.parquet", MANIFEST] if read_manifest(str(folder)) is not None else None
    api.upload_folder(
        repo_id=url.repo_id,
        folder_path=folder,
        repo_type="dataset",
        allow_patterns=ours,
        ignore_patterns=[".*", "**/.*", CARD_FILE],
        delete_patterns=None if ours is None else ours[:2],  # shards of an earlier push would load beside these
        commit_message="Upload with chandraclip",
    )
    # The card last, which makes the rest load; its code asks for the dataset by the name that it has there.
    card = (folder / CARD_FILE).read_text().replace(f'"{NAME_IN_CARD}"', f'"{url.repo_id}"')
    api.upload_file(
        path_or_fileobj=card.encode(),
        path_in_repo=CARD_FILE,
        repo_id=url.repo_id,
        repo_type="dataset",
        commit_message="Upload the card",
    )
    return str(url)


if __name__ == "__main__":
    run_program(main)
