"""Tokens: from the environment to the one server that is to have them, and into no message.

Libraries put headers into their errors, servers repeat a wrong key in theirs; so a token is checked before anything
is sent, and taken out of whatever is told.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from chandraclip.acquire.http import check_base_url, shown
from chandraclip.errors import InputFileError, OptionError

_LEAST = 6  # characters: what is shorter would be taken out of ordinary words


def token_of(variable: str) -> str | None:
    """The token in a variable of the environment; None where it is not set or empty.

    Raises:
        OptionError: it holds characters that no token has, such as a line break within.
    """
    token = os.environ.get(variable, "").strip()
    if not token:
        return None
    if len(token) < _LEAST or not all("!" <= character <= "~" for character in token):
        raise OptionError(f"{variable} holds no token: one is expected, in plain characters without spaces")
    return token


def private_url(url: str, has_token: bool) -> str:
    """The address of a server that is sent a token.

    Raises:
        InputFileError: it is none, holds a user or a password, or would have the token in clear over a network.
    """
    url = check_base_url(url)
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise InputFileError(
            shown(url), "an address without user and password is expected; tokens are for the environment"
        )
    if has_token and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise InputFileError(
            shown(url), "the token would cross the network unencrypted; an https:// address is expected"
        )
    return url


def redacted(text: str, token: str | None) -> str:
    """The text without the token."""
    return text.replace(token, "[token]") if token else text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
