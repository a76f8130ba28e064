"""Hundreds of damaged files, the same each time; `make fuzz N=10000` tries as many as one likes."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

import numpy as np
import pytest

import fuzzing

CASES = 800


@pytest.fixture(autouse=True)
def no_log():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def check(outcomes, num_cases):
    assert not outcomes.failures, outcomes.failures[0]
    assert sum(outcomes.counts.values()) == num_cases
    results = sum(count for (_, kind), count in outcomes.counts.items() if kind == "result")
    assert num_cases / 10 < results < num_cases * 9 / 10  # damage that is seen and damage that is not
    assert outcomes.slowest[0] < fuzzing.MAX_SECONDS
    assert outcomes.peak_bytes < fuzzing.MAX_BYTES


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path):
    check(fuzzing.run(fuzzing.made_samples(tmp_path), seed=0, numbers=range(CASES)), CASES)


def test_damaged_real_files_too(real_data, tmp_path):
    check(fuzzing.run(fuzzing.real_samples(real_data, tmp_path), seed=1, numbers=range(200)), 200)


def test_a_case_is_the_same_each_time(tmp_path):
    samples = fuzzing.made_samples(tmp_path)
    content = samples[0].path.read_bytes()
    first, again, other = (fuzzing.mutate(content, np.random.default_rng([3, number])) for number in (7, 7, 8))
    assert first == again != other


@pytest.mark.parametrize(
    "fault, kind",
    [
        (lambda: 1 / 0, "ZeroDivisionError"),
        (lambda: np.float64(1e308) * 10, "RuntimeWarning"),
        (lambda: time.sleep(5), "TooSlow"),
    ],
)
def test_a_fault_is_found_and_can_be_made_again(tmp_path, monkeypatch, fault, kind):
    monkeypatch.setattr(fuzzing, "MAX_SECONDS", 0.1)
    path = fuzzing.made_samples(tmp_path)[0].path
    good = path.read_bytes()
    for numbers in (range(3), [2]):
        calls: list[None] = []

        def read(calls: list[None] = calls) -> None:
            calls.append(None)
            if len(calls) > 1:  # the first is the undamaged file
                fault()

        outcomes = fuzzing.run([fuzzing.Sample("broken", path, read)], 0, numbers)
        assert [number for number, _, _ in outcomes.failures] == list(numbers)
        assert {outcome for _, outcome in outcomes.counts} == {kind}
        assert path.read_bytes() == good


def test_the_program_prints_a_table(repository):
    run = [sys.executable, str(repository / "tests" / "fuzzing.py"), "40", "--seed", "5"]
    done = subprocess.run(run, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["result", "InputFileError"]
    assert sum(map(int, next(line for line in lines if line.startswith("all ")).split()[1:])) == 40
    assert "slowest" in lines[-1]
