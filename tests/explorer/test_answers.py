"""What the page answers, and what of a visitor's files it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits

import chandraclip
from chandraclip.errors import InputFileError, QueryError
from chandraclip.explorer import uploads
from chandraclip.explorer.answers import Explorer
from chandraclip.explorer.pictures import ENERGY_TIME, LIGHT_CURVE, PICTURES, RECONSTRUCTION, SPECTRUM, Autoencoder


def test_files_give_pictures_neighbours_and_texts(explorer, sample_files):
    answer = explorer.of_files(sample_files, k=7)
    assert tuple(answer.pictures) == PICTURES
    assert len(answer.neighbours) == 7
    assert "summary" not in answer.neighbours
    assert answer.neighbours["similarity"].is_monotonic_decreasing
    assert len(answer.texts) == 3
    assert answer.texts["summary"].str.len().min() > 20
    assert answer.title == "flare_pha.fits.gz and flare_evt.fits.gz"
    assert f"OBS_ID {chandraclip.open(chandraclip.sample()).header.obs_id}" in answer.facts
    same = explorer.catalog.search(files=sample_files, k=7)
    assert answer.neighbours["name"].tolist() == same["name"].tolist()


def test_a_galactic_column_goes_to_the_model(explorer, sample_files, monkeypatch):
    asked = {}
    question = explorer.catalog.question

    def remember(**kwargs):
        asked.update(kwargs)
        return question(files=kwargs["files"])

    monkeypatch.setattr(explorer.catalog, "question", remember)
    explorer.of_files(sample_files, nh_gal=3.5)
    assert asked["nh_gal"] == 3.5


def test_a_part_of_the_files_gives_its_part_of_the_pictures(explorer, sample_files):
    named = {file.name.split("_")[1].split(".")[0]: file for file in sample_files}
    assert set(explorer.of_files([named["evt"]]).pictures) == {LIGHT_CURVE, ENERGY_TIME}
    alone = explorer.of_files([named["pha"]])  # its response was not uploaded
    assert set(alone.pictures) == {RECONSTRUCTION}
    assert any("No spectrum: " in note and "response" in note for note in alone.notes)
    three = [named[role] for role in ("pha", "arf", "rmf")]
    assert set(explorer.of_files(three).pictures) == {SPECTRUM, RECONSTRUCTION}


def test_words_give_the_pictures_of_the_nearest_detection(explorer):
    answer = explorer.of_text("soft and variable", k=4)
    nearest = answer.neighbours.iloc[0]
    assert str(nearest["name"]) in answer.facts
    assert f"OBS_ID {nearest['obsid']}" in answer.facts
    assert SPECTRUM in answer.pictures
    without = Explorer(explorer.catalog).of_text("soft and variable", k=4)
    assert without.pictures == {}
    assert without.neighbours.equals(answer.neighbours)


def test_the_reconstruction_is_that_of_the_decoder(explorer, autoencoder_folder):
    observation = chandraclip.open(chandraclip.sample())
    energies, read, given = explorer.autoencoder.reconstruct(observation)
    assert (energies[0], energies[-1]) == (pytest.approx(0.5), pytest.approx(8.0))
    assert (read.min(), read.max()) == (0.0, 1.0)
    network = explorer.autoencoder.network
    latents = torch.as_tensor(observation.embed(autoencoder_folder, "spectrum"))[None]
    with torch.no_grad():
        np.testing.assert_allclose(network.decoder(latents)[0].numpy(), given, atol=1e-5)


def test_a_model_that_folds_shows_counts_and_those_it_expects(tmp_path):
    from matplotlib.figure import Figure

    from chandraclip.models.contract import make_feature_extractor, make_model

    model = make_model("folded_spectrum_autoencoder", {"hidden_size": 16, "intermediate_size": 16, "latent_size": 8})
    model.save_pretrained(tmp_path)
    make_feature_extractor(type(model), {}).save_pretrained(tmp_path)
    observation = chandraclip.open(chandraclip.sample())
    autoencoder = Autoencoder(tmp_path)
    energies, read, given = autoencoder.reconstruct(observation)
    middle = 0.5 * (observation.spectrum.channel_energy_edges[1:] + observation.spectrum.channel_energy_edges[:-1])
    in_band = observation.spectrum.counts[(middle >= 0.5) & (middle <= 7.0)].sum()
    edges = autoencoder.prepare.bins.edges
    assert len(energies) == 96
    assert (read * np.diff(edges)).sum() * observation.spectrum.exposure == pytest.approx(in_band, rel=1e-4)
    assert (given > 0).all()
    figure = Figure()
    autoencoder.plot(observation, figure)
    assert figure.axes[0].get_ylabel() == "counts/s/keV"
    spectrum = replace(observation.spectrum, response=None, response_problem="no RESPFILE")
    with pytest.raises(ValueError, match="no response, through which it folds"):
        autoencoder.reconstruct(replace(observation, spectrum=spectrum))


def test_a_detection_is_the_row_of_the_dataset(explorer, made):
    import pyarrow.parquet as pq

    table = pq.read_table(next((made.dataset / "data").glob("validation-*.parquet")))
    row = table.slice(table.num_rows - 1).to_pylist()[0]
    key = {name: row[name] for name in ("name", "obsid", "obi", "region_id")}
    observation = explorer.detections.observation(**key)
    assert observation.spectrum.counts.tolist() == row["spectrum_counts"]
    assert observation.spectrum.response is not None
    with pytest.raises(QueryError, match="no detection"):
        explorer.detections.observation(**{**key, "region_id": 99999})


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda it: it.of_text("  "), "the text is empty"),
        (lambda it: it.of_files([]), "there is no file"),
        (lambda it: it.of_text("soft", k=0), "between 1 and 100"),
    ],
)
def test_a_question_without_an_answer_is_one_sentence(explorer, ask, reason):
    with pytest.raises(QueryError, match=reason):
        ask(explorer)


def test_an_aligned_model_has_no_decoder(made):
    with pytest.raises(InputFileError, match="'chandraclip' has no decoder"):
        Autoencoder(made.model)


class TestUploads:
    def refused(self, files, reason):
        with pytest.raises(QueryError, match=reason) as told, uploads.opened_uploads(files):
            pytest.fail("it was opened")
        assert "/tmp" not in str(told.value)
        assert "\n" not in str(told.value)

    def test_number_size_and_name(self, sample_files, tmp_path, monkeypatch):
        self.refused([*sample_files, *sample_files], "12 files")
        program = tmp_path / "run.py"
        program.write_text("raise SystemExit")
        self.refused([program], r"run\.py: no name of a spectrum")
        (tmp_path / "again").mkdir()
        again = shutil.copy(sample_files[0], tmp_path / "again")
        self.refused([sample_files[0], again], "two files are named flare_arf")
        monkeypatch.setattr(uploads, "MAX_FILE_BYTES", 1000)
        self.refused(sample_files[:1], r"flare_arf.fits.gz: \d+ bytes, and at most 1000")

    def test_what_is_no_fits(self, tmp_path):
        text = tmp_path / "it.fits"
        text.write_text("import os; os.remove('x')")
        self.refused([text], r"^it\.fits: ")

    def test_a_header_that_names_a_file_of_the_server(self, sample_files, tmp_path):
        named = {file.name.split("_")[1].split(".")[0]: file for file in sample_files}
        spectrum = tmp_path / "mine.fits"
        with fits.open(named["pha"]) as hdus:
            hdus["SPECTRUM"].header["BACKFILE"] = str(named["bkg"])
            hdus.writeto(spectrum, checksum=True)
        self.refused([spectrum], "the background named in a header is none of the uploaded files")

    def test_a_photon_list_without_photons(self, sample_files, tmp_path):
        path = tmp_path / "none.fits"
        with fits.open(next(file for file in sample_files if "evt" in file.name)) as hdus:
            hdus["EVENTS"].data = hdus["EVENTS"].data[:0]
            hdus.writeto(path, checksum=True)
        self.refused([path], r"none\.fits: ")

    def test_nothing_is_left_behind(self, sample_files, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with uploads.opened_uploads(sample_files) as observation:
            assert {path.parent.parent for path in observation.files.values()} == {tmp_path}
        assert list(tmp_path.iterdir()) == []
