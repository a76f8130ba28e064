"""An explorer of a small catalogue, with an autoencoder that was never trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalog_files import Made, made  # noqa: F401, a fixture


@pytest.fixture(scope="session")
def autoencoder_folder(tmp_path_factory) -> Path:
    from chandraclip.models import SpectrumAutoencoderConfig, SpectrumAutoencoderModel, SpectrumFeatureExtractor

    folder = tmp_path_factory.mktemp("autoencoder")
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 8, "patch_size": 40}
    SpectrumAutoencoderModel(SpectrumAutoencoderConfig(**tower)).save_pretrained(folder)
    SpectrumFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def explorer(made: Made, autoencoder_folder, tmp_path_factory):  # noqa: F811
    from chandraclip.explorer.answers import Explorer
    from chandraclip.explorer.detections import Detections
    from chandraclip.explorer.pictures import Autoencoder
    from chandraclip.search import Catalog

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        catalog = Catalog.from_pretrained(made.embeddings, made.dataset)
        return Explorer(catalog, Detections(made.dataset), Autoencoder(autoencoder_folder))


@pytest.fixture(scope="session")
def sample_files(tmp_path_factory) -> list[Path]:
    """Spectrum, background, responses, photons and region of the sample, under the names that its headers give."""
    from importlib.resources import files

    folder = tmp_path_factory.mktemp("sample")
    for file in (files("chandraclip") / "observation" / "sample").iterdir():
        if file.name.endswith(".gz"):
            (folder / file.name).write_bytes(file.read_bytes())
    return sorted(folder.iterdir())
