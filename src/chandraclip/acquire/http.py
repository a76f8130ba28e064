"""Requests that are polite and patient: spaced out, timed, tried again, and never telling a secret.

What goes wrong is told in our own words: messages of the libraries hold addresses, which may hold passwords.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import tenacity
import urllib3

from chandraclip.errors import InputFileError
from chandraclip.versions import installed_versions

logger = logging.getLogger(__name__)

PIECE = 1 << 16  # bytes
SLOWEST = 256  # bytes a second, over the first minute and from then on: what is slower has stalled
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # RFC 9110; 425 is RFC 8470, 429 RFC 6585
_MAX_WORDS = 200  # of what a server says, for a message
Result = TypeVar("Result")


@dataclass(frozen=True)
class Manners:
    """How a server is asked.

    Attributes:
        seconds_between: s at least from one request of this process to the next.
        attempts: times that a request is made before it has failed.
        first_wait: s; the wait before attempt n + 1 is drawn from 0 to this x 2^n ("full jitter").
        longest_wait: s.
        longest_retry_after: s; a server that asks for a longer pause has failed.
        connect_timeout, read_timeout: s until a connection, and from one piece of the answer to the next.
    """

    seconds_between: float = 0.5
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 120.0
    longest_retry_after: float = 900.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0


class TransientError(Exception):
    """It went wrong in a way that may not happen again.

    Args:
        reason: in our own words.
        retry_after: s that the server asks to wait.
        is_away: the server as a whole does not answer, whatever it is asked.
        is_final: asking again at once is of no use.
    """

    def __init__(
        self, reason: str, retry_after: float | None = None, is_away: bool = False, is_final: bool = False
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.is_away = is_away
        self.is_final = is_final


class PoliteSession(requests.Session):
    """A `requests.Session` that keeps its distance and raises `TransientError` for what may be tried again."""

    def __init__(self, manners: Manners) -> None:
        super().__init__()
        self.manners = manners
        self.max_redirects = 5
        version = installed_versions("chandraclip").get("chandraclip", "unknown")
        # `identity`: the archive's files are gzip themselves, and are checked as such.
        self.headers.update({"User-Agent": f"chandraclip/{version}", "Accept-Encoding": "identity"})
        self._next = 0.0

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """As `requests` has it.

        Raises:
            TransientError: no connection, no answer in time, or a status of `TRY_AGAIN`.
        """
        wait = self._next - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._next = time.monotonic() + self.manners.seconds_between
        options.setdefault("timeout", (self.manners.connect_timeout, self.manners.read_timeout))
        try:
            response = super().request(*arguments, **options)
        except requests.Timeout:
            raise TransientError("no answer in time", is_away=True) from None
        except requests.RequestException as error:
            raise TransientError(f"no connection ({type(error).__name__})", is_away=True) from None
        status = response.status_code
        if status in TRY_AGAIN:
            pause = _retry_after(response)
            response.close()
            raise TransientError(f"HTTP status {status}", pause, is_away=status in (429, 502, 503, 504))
        return response


def patiently(manners: Manners, what: str, act: Callable[[], Result]) -> Result:
    """Calls `act` until it does not raise `TransientError`, with growing, random pauses.

    Args:
        what: for the log.

    Raises:
        TransientError: of the last attempt, or of one after which the server asks for too long a pause.
    """
    grow = tenacity.wait_random_exponential(multiplier=manners.first_wait, max=manners.longest_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        pause = grow(state)
        asked = getattr(state.outcome.exception() if state.outcome else None, "retry_after", None)
        return pause if asked is None else asked + random.uniform(0.0, manners.first_wait)

    def is_worth_it(error: BaseException) -> bool:
        if not isinstance(error, TransientError) or error.is_final:
            return False
        return (error.retry_after or 0.0) <= manners.longest_retry_after

    def tell(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        logger.info("%s: %s; again in %.1f s", what, error, pause)

    retry = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(manners.attempts),
        wait=wait,
        retry=tenacity.retry_if_exception(is_worth_it),
        before_sleep=tell,
        reraise=True,
    )
    return retry(act)


def pieces(response: requests.Response, limit: int) -> Iterator[bytes]:
    """The body as it comes over the line, not decoded.

    Raises:
        TransientError: it ends early or is longer than the header says, stalls, or exceeds `limit` bytes.
    """
    begin, total = time.monotonic(), 0
    try:
        while piece := response.raw.read1(PIECE, decode_content=False):
            total += len(piece)
            if total > limit:
                raise TransientError(f"the answer is longer than the {limit:,} bytes that are read")
            elapsed = time.monotonic() - begin
            if elapsed > 60.0 and total < SLOWEST * elapsed:
                raise TransientError(f"the answer stalls: {total:,} bytes in {elapsed:.0f} s")
            yield piece
    except urllib3.exceptions.ReadTimeoutError:
        raise TransientError(f"the answer stalls after {total:,} bytes") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise TransientError(f"the answer breaks off after {total:,} bytes ({type(error).__name__})") from None
    finally:
        response.close()


def read_text(response: requests.Response, limit: int) -> str:
    """The whole body as text; bytes that are no UTF-8 are replaced.

    Raises:
        TransientError: as `pieces`.
    """
    return b"".join(pieces(response, limit)).decode("utf-8", errors="replace")


def shown(url: str) -> str:
    """An address for messages: without user, password, query and fragment."""
    parts = urlsplit(url)
    place = parts.hostname or ""
    return f"{parts.scheme}://{place}{f':{parts.port}' if parts.port else ''}{parts.path}"


def check_base_url(url: str) -> str:
    """The address of a server, without a slash at the end.

    Raises:
        InputFileError: it is none, or has a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise InputFileError("--base_url", "not an address of the form https://HOST") from None
    if not is_good:
        raise InputFileError("--base_url", "not an address of the form https://HOST")
    if parts.query or parts.fragment:
        raise InputFileError(shown(url), "an address without ? and # is expected")
    return url.rstrip("/")


def in_words(text: str) -> str:
    """What a server says, for one line of a message: short, without control characters and passwords of addresses."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    line = re.sub(r"//[^/@\s]*@", "//", line)
    return line if len(line) <= _MAX_WORDS else f"{line[:_MAX_WORDS]}..."


def _retry_after(response: requests.Response) -> float | None:
    """s, from the header of that name: a number or a date (RFC 9110, section 10.2.3)."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, urllib3.Retry().parse_retry_after(value))
    except urllib3.exceptions.InvalidHeader:
        return None
