"""scripts/validate_instruments.py: triples and regressions over looks at sources through several instruments."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from chandraclip.errors import InputFileError, QueryError
from chandraclip.models import EventFeatureExtractor, FoldedSpectrumFeatureExtractor, SpectrumFeatureExtractor
from chandraclip.models.contract import make_model
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.spectrum import Spectrum
from chandraclip.ogip.writer import to_ogip
from chandraclip.simulate.instrument.response import builtin_response

SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "latent_size": 8}


@pytest.fixture(scope="module")
def script(repository: Path) -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(repository / "scripts" / "validate_instruments.py")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folded autoencoder and one of resampled spectra, untrained."""
    folders = []
    extractors = {
        "folded_spectrum_autoencoder": FoldedSpectrumFeatureExtractor,
        "spectrum_autoencoder": SpectrumFeatureExtractor,
    }
    for model_type, extractor in extractors.items():
        torch.manual_seed(0)
        folders.append(tmp_path_factory.mktemp("models") / model_type)
        make_model(model_type, SMALL).save_pretrained(folders[-1])
        extractor().save_pretrained(folders[-1])
    return folders


def test_triples_of_points_that_are_the_same_and_of_points_at_random(script: SimpleNamespace):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 4))
    same = {name: points + 1e-3 * rng.standard_normal(points.shape) for name in "abc"}
    rows = script.measure_triples(same, seed=0)
    assert [row["through"] for row in rows] == ["all", "a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]
    assert all(row["nearer to itself"] > 0.999 for row in rows)
    apart = script.measure_triples({name: rng.standard_normal((200, 4)) for name in "abc"}, seed=0)
    assert apart[0]["nearer to itself"] == pytest.approx(0.5, abs=0.03)
    assert apart[0]["low"] < apart[0]["nearer to itself"] < apart[0]["high"]
    shifted = script.measure_triples({"a": points, "b": points + 5.0}, seed=0)  # what an instrument adds
    assert shifted[1]["nearer to itself"] < 0.7


def test_a_source_without_a_point_in_one_look_is_left_out(script: SimpleNamespace):
    points = np.random.default_rng(0).standard_normal((50, 3))
    lost = points.copy()
    lost[7] = np.nan
    assert script.measure_triples({"a": points, "b": lost}, seed=0)[0]["sources"] == 49


def test_fewer_than_two_sources_with_points_are_no_triple(script: SimpleNamespace):
    points = np.random.default_rng(0).standard_normal((5, 3))
    lost = np.full_like(points, np.nan)
    lost[3] = 1.0
    with pytest.raises(QueryError, match=r"1 of 5 sources .* needs two: there are 5 in a, 1 in b"):
        script.measure_triples({"a": points, "b": lost}, seed=0)


def test_hardness_ratios_are_points_of_their_own(script: SimpleNamespace):
    rows = pa.table({"hard_hm": [0.1, None], "hard_hs": [0.2, 0.3], "hard_ms": [0.4, 0.5]})
    np.testing.assert_array_equal(script.by_hand(rows), [[0.1, 0.2, 0.4], [np.nan, 0.3, 0.5]])


def test_a_regression_of_few_sources_has_no_score(script: SimpleNamespace):
    truth = pa.table({"true_nh": [10.0] * 12, "true_gamma": [2.0, *[None] * 11]})
    points = np.random.default_rng(0).standard_normal((12, 2))
    rows = script.measure_regressions({"a": points, "b": points, "c": points}, dict.fromkeys("abc", truth), seed=0)
    assert [row["R2 a"] for row in rows] == [None, None]


def test_a_model_without_spectrum_latents_is_refused_by_name(script: SimpleNamespace, tmp_path: Path):
    make_model("event_transformer", SMALL).save_pretrained(tmp_path)
    EventFeatureExtractor().save_pretrained(tmp_path)
    paths = ["--arf", str(tmp_path / "one.arf"), "--rmf", str(tmp_path / "one.rmf")]
    builtin = SimpleNamespace(responses=(), names=("made up",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chandraclip.simulate.instrument.response.instrument_from_files", lambda *_: builtin)
        with pytest.raises(InputFileError, match=f"{tmp_path}: the model gives event_latents and no spectrum_latents"):
            script.main([str(tmp_path), *paths])


def test_the_regression_has_seen_the_first_two_instruments_alone(script: SimpleNamespace):
    rng = np.random.default_rng(0)
    gamma = rng.normal(1.9, 0.4, 300)
    truth = pa.table({"true_nh": 10 ** rng.normal(1.5, 0.5, 300), "true_gamma": gamma})
    points = np.stack([gamma, rng.standard_normal(300)], axis=1)
    looks = dict.fromkeys(("a", "b", "c"), truth)
    rows = script.measure_regressions({"a": points, "b": points, "c": points + np.array([3.0, 0.0])}, looks, seed=0)
    gamma_row = next(row for row in rows if row["quantity"] == "Gamma")
    assert gamma_row["R2 a"] > 0.99
    assert gamma_row["R2 c"] < 0
    assert next(row for row in rows if row["quantity"] != "Gamma")["R2 a"] < 0.2


def test_models_are_put_side_by_side(
    script: SimpleNamespace, models: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    response = builtin_response("ACIS-I")
    spectrum = Spectrum(
        counts=np.ones(1024, np.int64),
        channel=np.arange(1, 1025),
        exposure=1e4,
        background_counts=None,
        background_scale=1.0,
        area_scale=1.0,
        response=response,
        response_problem=None,
        grouping=None,
        quality=None,
        header=ObservationHeader(telescope="CHANDRA", instrument="ACIS"),
        path=Path("made_up.pha"),
    )
    files = to_ogip(tmp_path / "files", spectrum, name="made_up")
    paths = ["--arf", str(files["arf"]), "--rmf", str(files["rmf"])]
    script.main([*map(str, models), *paths, "--num_sources", "40", "--output", str(tmp_path / "results")])
    content = json.loads((tmp_path / "results" / "metrics.json").read_text())
    triples = content["results"]["triples"]
    hand = next(row["nearer to itself"] for row in triples if row["model"] == "hardness ratios")
    assert [(item["chance"], item["baseline"]) for item in content["headline"]] == [(0.5, hand)] * 2
    assert hand > 0.75  # three ACIS looks of 300 counts and more
    assert len(triples) == 3 * 7
    assert {row["model"] for row in content["results"]["regressions"]} == {"hardness ratios", *map(str, models)}
    assert all(row["sources"] == 40 for row in triples if row["model"] in set(map(str, models)))
    assert "nearer to itself" in capsys.readouterr().out


def test_looks_are_of_the_same_sources_with_other_photons(script: SimpleNamespace):
    from chandraclip.simulate.instrument.response import builtin_instrument

    options = SimpleNamespace(num_sources=20, seed=3, counts=[300.0, 3000.0])
    one, two = (script.simulate_look(options, look, builtin_instrument(), look, 0.3, 52000.0) for look in (0, 1))
    for name in ("name", "true_nh", "true_class", "nh_gal"):
        assert one[name].to_pylist() == two[name].to_pylist(), name
    assert one["spectrum_counts"].to_pylist() != two["spectrum_counts"].to_pylist()
    counts = [sum(row) for row in one["spectrum_counts"].to_pylist()]
    assert min(counts) > 200


def test_few_sources_are_refused(script: SimpleNamespace, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        script.parse_arguments(["model", "--arf", "a", "--rmf", "b", "--num_sources", "3"])
    assert "at least 40" in capsys.readouterr().err
