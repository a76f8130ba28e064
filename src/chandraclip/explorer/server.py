"""Page and map as one web application on one port."""

from __future__ import annotations

import ipaddress
from typing import Any

import pandas as pd

from chandraclip.explorer.answers import Explorer
from chandraclip.explorer.atlas import atlas_app
from chandraclip.explorer.page import MAP_PATH, build_page, import_gradio
from chandraclip.explorer.uploads import MAX_FILE_BYTES

LOOPBACK, PORT = "127.0.0.1", 7860


def explorer_app(explorer: Explorer, map_frame: pd.DataFrame | None = None, host: str = LOOPBACK) -> Any:
    """The application (ASGI): the page at ``/``, and the map at ``/map/``.

    Args:
        explorer: answers the page.
        map_frame: of `atlas.map_table`; None: no map.
        host: that it will be bound to; on loopback only requests that name this machine are answered, so that no page
            of another site reaches it under a name of its own (DNS rebinding).

    Raises:
        OptionError: gradio or embedding-atlas is not installed.
    """
    gradio = import_gradio()
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(OwnPagesOnly)
    if is_loopback(host):
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["localhost", LOOPBACK, host])
    if map_frame is not None:
        app.mount(MAP_PATH.rstrip("/"), atlas_app(map_frame))
    fonts = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # Gradio's own come from Google
    return gradio.mount_gradio_app(
        app,
        build_page(explorer, map_frame is not None),
        path="/",
        theme=gradio.themes.Base(font=fonts[0], font_mono=fonts[1]),
        max_file_size=MAX_FILE_BYTES,
        show_error=False,
        ssr_mode=False,
        footer_links=[],
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )


class OwnPagesOnly:
    """Refuses what a page of another site has the visitor's browser send; browsers say so in Sec-Fetch-Site."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        foreign = dict(scope.get("headers", ())).get(b"sec-fetch-site") == b"cross-site"
        if foreign and scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"sent by a page of another site"})
        else:
            await self.app(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether a host to bind to is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
