"""The explorer as its visitor meets it: on loopback, offline, in a browser."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time

import pytest

from chandraclip.errors import OptionError
from opened_page import opened_page

gradio = pytest.importorskip("gradio", reason="gradio is not installed; the extra explore has it")
import uvicorn  # noqa: E402, comes with it

from chandraclip.explorer.server import explorer_app, is_loopback  # noqa: E402


@pytest.fixture(scope="module")
def served(explorer):
    """URL of an explorer, without its map."""
    server = uvicorn.Server(uvicorn.Config(explorer_app(explorer), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


def test_words_and_files_are_answered_in_a_browser(served, browser, sample_files):
    with opened_page(browser, served, width=400) as opened:
        page = opened.page
        words = page.get_by_role("button", name="Look up the words")
        words.click()
        page.get_by_text("the text is empty").wait_for()
        page.get_by_label("A source in words").fill("soft <b>and</b> variable")
        words.click()
        page.locator("#status h3", has_text="'soft <b>and</b> variable'").wait_for()
        page.locator("#status code", has_text="The nearest detection").wait_for()
        page.locator("#texts h3").wait_for()
        page.set_input_files("input[type=file]", sample_files)
        page.get_by_text("flare_arf").first.wait_for()
        page.get_by_role("button", name="Look up the files").click()
        page.locator("#status h3", has_text="flare_pha.fits.gz and flare_evt.fits.gz").wait_for()
        page.wait_for_function("[...document.images].filter(one => one.src.startsWith('data:')).length == 4")
        page.locator("#neighbours").get_by_text("similarity").first.wait_for()
        assert not opened.scrolls_sideways
        assert [line for line in opened.said if line.startswith("error")] == []
        assert [url for url in opened.asked if not url.startswith((served, "blob:"))] == []


def test_pages_of_other_sites_are_refused(served):
    import httpx

    assert httpx.get(served).status_code == 200
    assert httpx.get(served, headers={"Host": "evil.example"}).status_code == 400
    assert httpx.post(served + "gradio_api/upload", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    too_large = {"files": ("large.fits", b"0" * ((64 << 20) + 1))}
    assert httpx.post(served + "gradio_api/upload", files=too_large, timeout=60).status_code == 413
    assert httpx.get(served + "gradio_api/file=/etc/hostname").status_code in (403, 404)


def test_loopback_is_told_from_the_rest():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "192.168.1.2", "example.org", "::")] == [False] * 4


@pytest.fixture
def script(repository):
    path = repository / "scripts" / "explore.py"
    spec = importlib.util.spec_from_file_location("script_explore", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_the_program_listens_on_this_machine(script, made, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    bound = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: bound.append(options))
    script([str(made.embeddings), str(made.dataset), "--no_map"])
    script([str(made.embeddings), str(made.dataset), "--no_map", "--host", "0.0.0.0"])
    assert [(one["host"], one["port"]) for one in bound] == [("127.0.0.1", 7860), ("0.0.0.0", 7860)]
    out = capsys.readouterr().out
    assert "explorer: http://127.0.0.1:7860/ (Ctrl-C ends it)" in out
    assert out.count("there is no password") == 1


def test_what_is_not_installed_is_said_at_once(script, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(OptionError, match=r"pip install 'chandraclip\[explore\]'"):
        script(["nowhere", "nowhere"])
