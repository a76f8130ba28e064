"""The benchmark of PPAD's fits, small: both sides end at the same latents, and what it writes says so."""

from __future__ import annotations

import json
import sys


def test_both_sides_fit_the_same_latents(repository, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import fit_ppad
    import result_files

    monkeypatch.setattr(result_files, "RESULTS", tmp_path)
    options = {"num_lists": 12, "mesh_size": 32, "decoder_hidden_size": 8, "num_steps": 20}
    monkeypatch.setattr(sys, "argv", ["fit_ppad.py", *(f"--{name}={value}" for name, value in options.items())])
    fit_ppad.main()
    result = json.loads((tmp_path / "fit_ppad.json").read_text())
    assert result["equal"] is True
    assert result["largest_latent"] > 0.05  # they have moved
    assert result["largest_difference"] < 1e-4
    assert result["num_lists"] == 12
