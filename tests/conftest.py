"""Fixtures every test may use. Thread counts are set before torch loads: two processes of two threads each spin."""

from __future__ import annotations

import logging
import os
import shutil
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A shell starts what runs in its background with Ctrl-C ignored, and so would every program that the tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_server import HubServer
from ogip_files import ogip  # noqa: F401, a fixture

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def log_of_the_next_test() -> Iterator[None]:
    """What a notebook, a benchmark or a script that ran in this process has done to the loggers ends with its test."""
    before = {name: logging.getLogger(name).level for name in ("", "chandraclip", "chandraclip.data")}
    yield
    logging.disable(logging.NOTSET)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def find_data_dir() -> Path | None:
    """The folder of real mission files: $CHANDRACLIP_DATA ("none": do without), else ../shared/data."""
    if os.environ.get("CHANDRACLIP_DATA") == "none":
        return None
    places = [os.environ.get("CHANDRACLIP_DATA"), REPOSITORY.parent / "shared" / "data"]
    return next((Path(place) for place in places if place and Path(place).is_dir()), None)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real Chandra, XMM and NICER files. A stranger's clone skips; CI must have them, or say "none"."""
    folder = find_data_dir()
    if folder is None:
        message = "no real data: set CHANDRACLIP_DATA, or put it in ../shared/data"
        if os.environ.get("CI", "").lower() == "true" and os.environ.get("CHANDRACLIP_DATA") != "none":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def traps(real_data: Path) -> Path:
    """Small made-up files that readers got wrong; they lie beside the real ones."""
    folder = real_data.parent / "traps"
    if not folder.is_dir():
        message = f"no trap files at {folder}"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture
def hub_server() -> Iterator[HubServer]:
    """A Hub on loopback, empty."""
    with HubServer() as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven by playwright; where there is none the tests that look at pages are skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright, which the extra dev installs")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on the PATH")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
