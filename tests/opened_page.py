"""A page in a real browser, and what it says and asks for while it is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class OpenedPage:
    """Attributes:
    page: playwright's.
    said: what stands on the console, and errors of scripts.
    asked: the URLs that were asked for, without data URIs.
    """

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def scrolls_sideways(self) -> bool:
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


@contextmanager
def opened_page(browser: Any, url: str, width: int = 400, scheme: str = "light") -> Iterator[OpenedPage]:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = OpenedPage(context.new_page())
    opened.page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
    opened.page.on("pageerror", lambda error: opened.said.append(f"error: {error}"))
    opened.page.on("request", lambda request: request.url.startswith("data:") or opened.asked.append(request.url))
    opened.page.goto(url)
    yield opened
    context.close()
