"""The report as one HTML file: pictures inside, no script, nothing from the network, for any width, light or dark."""

from __future__ import annotations

import base64
import html
import mimetypes
import os
import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from chandraclip.errors import InputFileError

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_OPEN_ROWS = 30  # of a table; a longer one is folded
_CONTENTS = "h2"


def report_page(text: str, beside: Path) -> str:
    """A Markdown report as a page. Its HTML, if it has any, is shown as text.

    Args:
        text: CommonMark with tables; its first heading is the title.
        beside: the folder from which its pictures are linked.

    Raises:
        InputFileError: a picture is missing.
    """
    renderer = _renderer(beside)
    tokens = renderer.parse(text)
    contents, title = _name_headings(tokens), "Report"
    for first, second in pairwise(tokens):
        if first.type == "heading_open" and first.tag == "h1":
            title = second.content
            break
    items = "".join(f'<li><a href="#{name}">{html.escape(words)}</a></li>' for name, words in contents)
    return Template((files("chandraclip") / "templates" / "report.html").read_text()).substitute(
        title=html.escape(title), contents=items, body=renderer.renderer.render(tokens, renderer.options, {})
    )


def _name_headings(tokens: Sequence[Token]) -> list[tuple[str, str]]:
    """Gives every heading an id; (id, words) of those that the contents list."""
    listed, seen = [], set()
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        words = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
        stem = re.sub(r"\W+", "-", words.lower()).strip("-") or "section"
        name, number = stem, 2
        while name in seen:
            name, number = f"{stem}-{number}", number + 1
        seen.add(name)
        opening.attrSet("id", name)
        if opening.tag == _CONTENTS:
            listed.append((name, words))
    return listed


def _renderer(beside: Path) -> MarkdownIt:
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    # Data of our own pictures; the parser refuses data URIs, and so the file is read only when the page is written.
    renderer.add_render_rule("image", lambda own, tokens, index, options, env: _image(tokens[index], beside))
    renderer.add_render_rule("table_open", _table_open)
    renderer.add_render_rule("table_close", lambda own, tokens, index, options, env: "</table></div></details>\n")
    return renderer


def _image(token: Token, beside: Path) -> str:
    path = Path(os.path.normpath(beside.resolve() / unquote(str(token.attrs["src"]))))  # `beside` may not be there yet
    kind = mimetypes.guess_type(path.name)[0]
    if kind is None or not kind.startswith("image/") or not path.is_file():
        raise InputFileError(path, "a picture of the report is missing, or is none")
    data = base64.b64encode(path.read_bytes()).decode()
    words = html.escape(token.content)
    return f'<img src="data:{kind};base64,{data}" alt="{words}">'


def _table_open(own: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    rows = 0
    for token in tokens[index:]:
        rows += token.type == "tr_open"
        if token.type == "table_close":
            break
    number = rows - 1  # without the head
    opened = " open" if number <= _OPEN_ROWS else ""
    words = f"{number} rows" if number != 1 else "1 row"
    # A table that is wider than the page is scrolled by itself: by keys too, so it takes the focus.
    return f'<details{opened}><summary>{words}</summary><div class="wide" tabindex="0"><table>\n'
