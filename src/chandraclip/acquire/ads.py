"""Titles and abstracts of papers from NASA ADS (https://api.adsabs.harvard.edu/v1), 2,000 bibcodes a request.

``search/bigquery`` takes lists of bibcodes, about a hundred of them a day: what is left of that, and when it is
renewed, stands in the headers X-RateLimit-Remaining and X-RateLimit-Reset of every answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import requests
from requests.auth import AuthBase

from chandraclip.acquire.http import Manners, PoliteSession, TransientError, in_words, patiently, read_text, shown
from chandraclip.acquire.secrets import private_url, redacted
from chandraclip.errors import InputFileError

BASE_URL = "https://api.adsabs.harvard.edu/v1"
TOKEN = "ADS_API_TOKEN"  # the variable, not the token
BIBCODES_PER_REQUEST = 2000  # ADS' own limit
FIELDS = "bibcode,alternate_bibcode,identifier,title,abstract,year"
_MAX_BYTES = 256 << 20


class QuotaSpentError(Exception):
    """ADS answers no more today; the argument says until when."""


class _Bearer(AuthBase):
    """Not a header of the session: requests would let a .netrc file overrule it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class AdsClient:
    """Asks ADS.

    Args:
        token: of the account; sent to `base_url`, never to where that redirects, and told nowhere.
        base_url: https, or on this machine.
        manners: how it is asked.
    """

    def __init__(self, token: str, base_url: str = BASE_URL, manners: Manners | None = None):
        self.base_url = private_url(base_url, has_token=True)
        self.manners = manners or Manners(seconds_between=1.0)
        self.session = PoliteSession(self.manners)
        self.session.auth = _Bearer(token)
        self.session.hooks["response"].append(self._note_quota)
        self._token = token
        self._remaining: int | None = None
        self._reset = 0.0

    def papers(self, bibcodes: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """What ADS has of at most `BIBCODES_PER_REQUEST` papers, as it has it.

        Returns:
            bibcode -> {"bibcode": the one that ADS uses, "title", "abstract": text or None, "year"}; None for a paper
            that it does not have.

        Raises:
            QuotaSpentError: of this day.
            InputFileError: ADS does not answer in any attempt, or refuses the token.
        """
        if len(bibcodes) > BIBCODES_PER_REQUEST:
            raise ValueError(f"a request has at most {BIBCODES_PER_REQUEST} bibcodes")
        by_name: dict[str, dict[str, Any]] = {}
        start, total = 0, 1
        while start < total:
            begin = start
            try:
                total, documents = patiently(self.manners, "ADS", lambda: self._ask(bibcodes, begin))  # noqa: B023
            except TransientError as error:
                reason = f"{error.reason}; run the same command again, it goes on from here"
                raise InputFileError(shown(self.base_url), reason) from None
            start = begin + len(documents) if documents else total
            for document in documents:
                paper = {name: document[name] for name in ("bibcode", "title", "abstract", "year")}
                for name in (*document["others"], document["bibcode"]):
                    by_name[name] = paper
        return {bibcode: by_name.get(bibcode) for bibcode in bibcodes}

    def _ask(self, bibcodes: Sequence[str], start: int) -> tuple[int, list[dict[str, Any]]]:
        """How many papers there are, and those from `start` on."""
        self._check_quota()
        try:
            response = self.session.post(
                f"{self.base_url}/search/bigquery",
                params={"q": "*:*", "fl": FIELDS, "rows": str(BIBCODES_PER_REQUEST), "start": str(start)},
                data="\n".join(["bibcode", *bibcodes]).encode(),
                headers={"Content-Type": "big-query/csv"},
                stream=True,
                allow_redirects=False,
            )
        except TransientError:
            self._check_quota()  # a 429 that says that nothing is left today
            raise
        if response.status_code in (401, 403):
            response.close()
            reason = f"refuses the token in {TOKEN} (HTTP status {response.status_code})"
            raise InputFileError(shown(self.base_url), reason)
        if response.status_code != 200:
            response.close()
            raise TransientError(f"HTTP status {response.status_code}", is_final=True)
        text = read_text(response, _MAX_BYTES)
        try:
            content = json.loads(text)
            header, answer = content["responseHeader"], content["response"]
            if header["status"] != 0 or header.get("partialResults"):
                raise ValueError
            return int(answer["numFound"]), [_document(entry) for entry in answer["docs"]]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            said = in_words(redacted(text, self._token)) or "nothing"
            raise TransientError(f"ADS answers with no list of papers: {said}") from None

    def _note_quota(self, response: requests.Response, **options: Any) -> None:
        try:
            self._remaining = int(response.headers["X-RateLimit-Remaining"])
            self._reset = float(response.headers["X-RateLimit-Reset"])
        except (KeyError, ValueError):
            self._remaining = None  # it does not say

    def _check_quota(self) -> None:
        if self._remaining is not None and self._remaining <= 0 and self._reset > time.time():
            until = datetime.fromtimestamp(min(self._reset, 4e9), UTC).strftime("%Y-%m-%d %H:%M UTC")
            raise QuotaSpentError(f"the day's quota is spent; it is renewed at {until}")


def _document(entry: dict[str, Any]) -> dict[str, Any]:
    """A paper of an answer, checked.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is none.
    """
    title, abstract = entry.get("title"), entry.get("abstract")
    if isinstance(title, list):
        title = " ".join(title)
    if not all(value is None or isinstance(value, str) for value in (title, abstract)):
        raise TypeError
    others = [*(entry.get("alternate_bibcode") or ()), *(entry.get("identifier") or ())]
    year = entry.get("year")
    return {
        "bibcode": entry["bibcode"].strip(),
        "others": [name for name in others if isinstance(name, str)],
        "title": title,
        "abstract": abstract,
        "year": None if year is None else int(year),
    }
