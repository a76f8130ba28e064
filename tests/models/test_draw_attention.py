"""scripts/draw_attention.py on models of random weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from chandraclip.errors import InputFileError, QueryError
from chandraclip.models.contract import make_feature_extractor, make_model

pytestmark = pytest.mark.slow
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 3}
MODELS = {
    "spectrum_autoencoder": SMALL,
    "spectrum_recurrent_autoencoder": {"hidden_size": 8, "latent_size": 3, "patch_size": 40},
    "spectrum_vae": {"encoder_hidden_sizes": [8], "branch_hidden_sizes": [8], "trunk_hidden_sizes": [8]},
    "folded_spectrum_autoencoder": {**SMALL, "decoder_hidden_size": 8, "num_energies": 40, "patch_size": 12},
}


@pytest.fixture
def script(repository: Path):
    spec = importlib.util.spec_from_file_location("draw_attention", repository / "scripts" / "draw_attention.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def draw(script):
    return script.main


class Extractor:
    """Finds a spectrum in some rows alone."""

    def __init__(self, *without: int):
        self.without = without

    def __call__(self, rows: pa.Table) -> dict[str, torch.Tensor]:
        number = torch.tensor(rows["number"].to_pylist())
        return {"number": number, "spectrum_mask": ~torch.isin(number, torch.tensor(self.without))}


def test_rows_in_which_a_model_finds_no_spectrum_are_left_out_for_all(script, capsys: pytest.CaptureFixture[str]):
    rows, classes = pa.table({"number": range(8)}), np.array([0, 0, 0, 2, 2, 5, 5, 5])
    batches, left = script.features_of([Extractor(0), Extractor(4)], rows, classes)
    assert left.tolist() == [0, 0, 5, 5, 5]
    assert all(batch["number"].tolist() == [1, 2, 5, 6, 7] for batch in batches)
    assert "3 of 8 detections are left out" in capsys.readouterr().out
    with pytest.raises(QueryError, match="no class has two of the 8 detections"):
        script.features_of([Extractor(0, 1, 3, 5, 6)], rows, classes)


def test_every_family_is_drawn_by_class_beside_an_untrained_one(draw, dataset: Path, tmp_path: Path):
    folders = []
    for number, (model_type, options) in enumerate(MODELS.items()):
        torch.manual_seed(number + 5)
        model = make_model(model_type, options)
        folders.append(tmp_path / model_type / "saved")
        model.save_pretrained(folders[-1])
        make_feature_extractor(type(model), {}).save_pretrained(folders[-1])
    output = tmp_path / "out"
    limits = ["--split", "train", "--min_counts", "50", "--rows_per_class", "4", "--num_steps", "2"]
    draw([*map(str, folders), str(dataset), "--output", str(output), *limits])
    content = json.loads((output / "attention.json").read_text())
    assert content["bands_kev"]["Fe K"] == [6.2, 7.1]
    assert len(content["rows"]) >= 2
    assert all(2 <= number <= 4 for number in content["rows"].values())
    shares = pd.DataFrame(content["shares"])
    measures = shares.groupby("model")["measure"].unique().map(sorted).to_dict()
    assert measures == {
        "spectrum_autoencoder/saved": ["attention", "gradient"],
        "spectrum_recurrent_autoencoder/saved": ["gradient"],
        "spectrum_vae/saved": ["gradient"],
        "folded_spectrum_autoencoder/saved": ["attention", "gradient"],
    }
    assert set(shares["weights"]) == {"trained", "untrained"}
    inside = shares[["soft", "medium", "hard"]].sum(axis=1)
    assert ((inside > 0.05) & (inside < 1 + 1e-9)).all()
    curves = pd.read_csv(output / "attention.csv")
    total = curves.groupby(["model", "weights", "measure", "class"])["share"].sum()
    assert total.to_numpy() == pytest.approx(1.0, abs=1e-3)
    inner = curves[(curves["energy"] > 0.6) & (curves["energy"] < 6.5)]  # bins that every model covers whole
    assert (inner["per_decade"] / inner["share"]).to_numpy() == pytest.approx(24.0, rel=1e-3)
    assert (output / "attention.png").stat().st_size > 50_000
    with pytest.raises(InputFileError, match="there is no split 'other'"):
        draw([str(folders[0]), str(dataset), "--split", "other"])
