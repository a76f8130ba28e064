"""Training that is stopped, that finds its folder in use or its disk full, and what it says while it runs."""

from __future__ import annotations

import logging
import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

import warm_python
from chandraclip.errors import InputFileError
from chandraclip.lock import LOCK_FILE
from chandraclip.training.checkpoint import newest_checkpoint

pytestmark = pytest.mark.slow

STEPS = ["--max_steps", "5000", "--eval_steps", "5000"]


@pytest.fixture
def training(towers, loop_command, environment, tmp_path):
    """A training of many steps into `tmp_path`/align, with its first checkpoint written; and its command."""
    command = [*loop_command("align"), "--config", str(towers / "align.yaml"), *STEPS]
    command += ["--output_dir", str(tmp_path / "align")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        end = time.monotonic() + 120
        while not list((tmp_path / "align" / "checkpoints").glob("step-*")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield process, command
        process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])
def test_a_stopped_run_says_the_step_it_goes_on_from(training, tmp_path, number, status):
    process, _ = training
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    found = re.fullmatch(rf"stopped by .*; run the same command again: {tmp_path}/align goes on from step (\d+)", last)
    assert found, last
    newest = newest_checkpoint(tmp_path / "align" / "checkpoints")
    assert newest is not None
    assert newest.name == f"step-{int(found[1]):08d}"
    assert not (tmp_path / "align" / LOCK_FILE).exists()
    assert not list((tmp_path / "align" / "checkpoints").glob(".*"))


def test_a_folder_in_use_is_refused_in_one_line(training, run_loop, environment, tmp_path):
    """By one process, which is this one, and by two."""
    process, command = training
    refused = rf"{tmp_path}/align: is being written by process {process.pid} on .* since "
    with pytest.raises(InputFileError, match=refused):
        run_loop("align", *command[2:])
    command = [command[0], "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *command[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert process.poll() is None
    assert done.returncode == 1
    ours = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(ours) == 1
    assert re.match(f"error: {refused}", ours[0])
    before_launcher = done.stderr[: done.stderr.index("error: ")]
    assert "Traceback" not in before_launcher


def test_a_full_disk_ends_a_run_in_one_line_and_leaves_whole_checkpoints(
    towers, loop_command, environment, tmp_path, run_loop
):
    size = (towers / "spectrum" / "model.safetensors").stat().st_size
    folder = tmp_path / "spectrum"
    options = ["--config", str(towers / "spectrum.yaml"), "--output_dir", str(folder)]

    def limit() -> None:  # the weights can be written, the optimizer, twice as large, cannot
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(1.3 * size), int(1.3 * size)))

    command = [*loop_command("pretrain"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    expected = f"raise the limit (ulimit -f), then run the same command again: {folder} goes on from step 0"
    assert done.stderr.splitlines()[-1].endswith(expected)
    assert not [path for path in (folder / "checkpoints").iterdir() if path.name != "run.json"]
    run_loop("pretrain", *options)
    assert (folder / "metrics.json").exists()


def test_stages_are_announced_and_the_next_command_is_given(
    towers, loop_command, run_loop, environment, tmp_path, monkeypatch, caplog
):
    for name, source in (("spectrum", "spectrum"), ("event", "events")):
        content = yaml.safe_load((towers / f"{source}.yaml").read_text())
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    content = yaml.safe_load((towers / "align.yaml").read_text())
    for name in ("dataset", "spectrum_model_name_or_path", "event_model_name_or_path"):
        del content[name]
    content |= {"num_detections": 250, "output_dir": "outputs/align"}
    content |= {"spectrum_config": "spectrum.yaml", "event_config": "event.yaml"}
    (tmp_path / "align.yaml").write_text(yaml.safe_dump(content))
    command = [*loop_command("align"), "--config", "align.yaml"]
    done = warm_python.run(command, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert re.findall("stage .*", output) == [
        "stage 1 of 4: simulate the dataset -> outputs/data/default",
        "stage 2 of 4: pre-train the spectrum tower -> outputs/spectrum",
        "stage 3 of 4: pre-train the event tower -> outputs/events",
        "stage 4 of 4: align spectrum, event, text -> outputs/align",
    ]
    assert "wrote outputs/align" in output
    assert done.stdout.count("now try:") == 1
    script = Path(loop_command("align")[1]).parents[1] / "scripts" / "embed.py"
    hint = done.stdout.splitlines()[-1].split()
    assert hint[1:] == [str(script), "outputs/align", "outputs/data/default", "outputs/embeddings/align/default"]
    embedded = warm_python.run(hint, env=environment, cwd=tmp_path)
    assert embedded.returncode == 0, embedded.stderr
    assert "now try:" in embedded.stdout
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO):
        run_loop("align", *command[2:], "--modalities", "spectrum", "text", "--output_dir", "outputs/other")
    assert "stage 3 of 3: align spectrum, text -> outputs/other" in caplog.text
