#!/usr/bin/env python
"""Publishes a finished model or dataset folder on the Hugging Face Hub, with its card.

    python scripts/push.py outputs/align USER/NAME
    python scripts/push.py outputs/data/real USER/NAME --dataset --private

Log in first (`hf auth login`). Of a model go weights, configuration, processor, metrics, card; of a dataset, all files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chandraclip.errors import InputFileError
from chandraclip.program import now_try, run_program


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a trained model, or of a dataset")
    parser.add_argument("repo_id", metavar="REPO_ID", help="USER/NAME")
    parser.add_argument("--dataset", action="store_true", help="the folder is a dataset")
    parser.add_argument("--private", action="store_true", help="a new repository is private")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    # slow to import: --help is not
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    private = options.private or None
    try:
        url = (push_dataset if options.dataset else push_model)(options.folder, options.repo_id, private)
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError) as error:
        raise InputFileError(options.repo_id, str(error)) from error
    print(f"{options.folder}: published at {url}")
    if options.dataset:
        now_try(
            ["training/align.py", "--dataset", options.repo_id, "--output_dir", f"outputs/{options.folder.name}_align"]
        )
    else:
        embeddings = Path("outputs/embeddings") / options.folder.name / "default"
        now_try(["scripts/embed.py", options.repo_id, "outputs/data/default", embeddings])


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

    from chandraclip.data.shards import STAGING

    if (folder / STAGING).exists():
        raise InputFileError(folder, "its build is not finished: give the command again to go on")
    if not (folder / "README.md").is_file():
        raise InputFileError(folder, "there is no README.md, so this is no dataset with a card")
    api = HfApi()
    url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(repo_id=url.repo_id, folder_path=folder, repo_type="dataset", ignore_patterns=[".*", "**/.*"])
    return str(url)


if __name__ == "__main__":
    run_program(main)
