"""`make gpu` without its stages: a stage that fails costs its own line only, and nothing measured is lost."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BROKEN = "broken_stages"


@pytest.fixture(autouse=True)
def importable(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(repository / "benchmarks"), str(Path(__file__).parent), *sys.path])


@pytest.fixture
def worker(importable: None) -> Any:
    worker = import_module("gpu_stages.worker").Worker()
    yield worker
    worker.stop()


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_failed_stage_is_named_and_the_next_has_a_fresh_process(worker: Any) -> None:
    _, (first,) = worker.run(BROKEN, "good", None, 60)
    _, (second,) = worker.run(BROKEN, "good", None, 60)
    assert first == second
    kind, reason = worker.run(BROKEN, "raises", None, 60)
    assert (kind, reason) == ("failed", "RuntimeError: CUDA error: an illegal memory access was encountered")
    kind, (third,) = worker.run(BROKEN, "good", None, 60)
    assert third["process"] != first["process"]
    assert worker.run(BROKEN, "dies", None, 60) == ("failed", "the process died, exit code 7")
    assert worker.run(BROKEN, "lacks_a_package", None, 60) == ("unavailable", "needs no_such_package")
    assert worker.run(BROKEN, "lacks_a_module_of_ours", None, 60)[0] == "failed"


def test_a_stage_that_hangs_is_ended_with_what_it_started(worker: Any, tmp_path: Path) -> None:
    worker.run(BROKEN, "good", tmp_path, 60)
    assert worker.run(BROKEN, "hangs", tmp_path, 2) == ("failed", "not done after 2 s")
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not is_running(child):
            break
        time.sleep(0.05)
    assert not is_running(child)
    assert worker.run(BROKEN, "good", tmp_path, 60)[0] == "rows"


def test_results_are_written_after_every_stage_and_the_budget_ends_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = import_module("gpu")
    stages = [gpu.Stage(name, BROKEN, name, 60) for name in ("good", "raises", "dies")]
    monkeypatch.setattr(gpu, "STAGES", tuple(stages))
    monkeypatch.setattr(gpu.signal, "signal", lambda *args: None)
    output = tmp_path / "results" / "gpu.json"
    job = import_module("gpu_stages.job").Job("cuda", "tiny", tmp_path)
    result: dict[str, Any] = {"budget_s": 100, "stages": {}}
    gpu.run_stages(job, ["good", "raises"], result, output)
    written = json.loads(output.read_text())["stages"]
    assert [written[name]["status"] for name in ("good", "raises")] == ["rows", "failed"]
    assert "dies" not in written
    result = {"budget_s": 1, "stages": {}}
    gpu.run_stages(job, ["good"], result, output)
    assert result["stages"]["good"]["reason"] == "the time was used up before"


def test_the_section_replaces_the_last_one_and_nothing_else(tmp_path: Path) -> None:
    table = import_module("gpu_stages.table")
    result = {
        "date": "2026-01-01",
        "size": "full",
        "device_name": "Card",
        "cores": 4,
        "python": "3.12",
        "versions": {"torch": "2.11"},
        "missing": ["datasets"],
        "stages": {
            "steps": {
                "status": "rows",
                "rows": [{"measure": "step", "seconds": 0.5, "throughput": 2048.0, "unit": "rows/s", "mfu": 0.0123}],
            },
            "runs": {"status": "unavailable", "reason": "needs datasets"},
        },
    }
    file = tmp_path / "RESULTS.md"
    file.write_text("# Benchmarks\n\n| a table |\n")
    table.write_section(file, {**result, "device_name": "Old"})
    table.write_section(file, result)
    text = file.read_text()
    assert text.startswith("# Benchmarks\n\n| a table |\n\n## On a GPU\n")
    assert text.count("## On a GPU") == 1
    assert "Old" not in text
    assert "| step |  |  | 500 | 2,048 rows/s | 1.23% |" in text
    assert "unavailable: needs datasets" in text
    assert table.without_section(text) == "# Benchmarks\n\n| a table |\n"


def test_flops_are_of_forward_and_backward() -> None:
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(8, 16, bias=False)

        def forward(self, values: torch.Tensor) -> Any:
            return type("Output", (), {"loss": self.linear(values).sum()})

    count = import_module("gpu_stages.steps").count_flops(Model(), {"values": torch.ones(4, 8)})
    assert count == 2 * (2 * 4 * 8 * 16)  # values need no gradient, so one product back


def test_cards_and_their_peaks() -> None:
    job = import_module("gpu_stages.job")
    names = {"NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA H200": 989e12, "NVIDIA T4": None}
    assert {name: job.peak_flops(name) for name in names} == names


def test_requirements_and_programs_are_those_of_the_repository(repository: Path) -> None:
    names = import_module("gpu_stages.environment").requirements()
    assert {"torch", "datasets", "huggingface_hub", "lazy-loader"} <= set(names)
    runs = import_module("gpu_stages.runs")
    for name in ("spectrum", "events", "align"):
        for argument in runs.program(name):
            assert argument.startswith("--") or (repository / argument).is_file()


def test_no_gpu_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("PYTHONPATH", "")
    assert import_module("gpu").main(["--device", "cuda"]) == 1
    assert capsys.readouterr().err == "error: PyTorch sees no CUDA device; a rehearsal goes by --device cpu\n"
