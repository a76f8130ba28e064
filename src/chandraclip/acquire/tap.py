"""Queries of TAP services by pyvo, through a session with manners; what went wrong, in our own words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import pandas as pd
import requests
from astropy.table import Table

from chandraclip.acquire.http import PoliteSession, TransientError, in_words, shown
from chandraclip.errors import OptionError


class RowLimitError(Exception):
    """The answer was cut off at the service's limit of rows."""


class RefusedError(Exception):
    """The service refuses the query; what it says is the argument."""


def ask_tap(
    session: PoliteSession,
    url: str,
    query: str,
    uploads: Mapping[str, Table] | None = None,
    most_rows: int | None = None,
    advice: str = "pip install 'chandraclip[archive]'",
) -> pd.DataFrame:
    """One synchronous query.

    Args:
        session: makes the request.
        url: of the service, without ``/sync``.
        query: ADQL.
        uploads: tables that it finds in ``TAP_UPLOAD``.
        most_rows: rows to ask for; None for what the service gives by itself.
        advice: what to do where pyvo is missing.

    Raises:
        TransientError: what may be tried again.
        RowLimitError: there are more rows than came.
        RefusedError: it is no query that this service takes.
        OptionError: pyvo is missing.
    """
    try:
        import pyvo
    except ImportError:
        raise OptionError(f"tables of the archive need pyvo: {advice}") from None
    service = pyvo.dal.TAPService(url, session=session)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pyvo.dal.DALOverflowWarning)
            answer = service.search(query, maxrec=most_rows, uploads=dict(uploads) if uploads else None)
            return answer.to_table().to_pandas()
    except pyvo.dal.DALOverflowWarning:
        raise RowLimitError from None
    except pyvo.dal.DALQueryError as error:
        raise RefusedError(in_words(str(error.reason)).replace(url, shown(url))) from None
    except Exception as error:  # pyvo wraps what our session raises, and astropy's parser has errors of many kinds
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise
        raise _transient(error) from None


def _transient(error: BaseException) -> TransientError:
    """What our session raised, wherever in the chain; else that the answer cannot be read."""
    link: BaseException | None = error
    while link is not None:
        found = [link, *link.args, getattr(link, "reason", None)]
        for item in found:
            if isinstance(item, TransientError):
                return item
        link = link.__cause__ or link.__context__
    status = getattr(error, "code", None)
    reason = f"HTTP status {status}" if status else f"the answer is no table ({type(error).__name__})"
    return TransientError(reason, is_final=status is not None)
