"""The likelihood of counts."""

from __future__ import annotations

from torch import Tensor

_NO_COUNTS = 1e-20


def cash(counts: Tensor, expected: Tensor) -> Tensor:
    """Cash's statistic of each bin, ``2 (m - n + n ln(n / m))``, 0 where the counts are those expected.

    Source: Cash 1979 (ApJ 228, 939), in the form that XSPEC and Sherpa call cstat.

    Args:
        counts: n, of whole or real numbers, 0 or more.
        expected: m, more than 0.

    Returns:
        Of their shape.
    """
    # Of 0 counts the logarithm does not count, and its gradient must be finite.
    return 2.0 * (expected - counts + counts * (counts.clamp(min=_NO_COUNTS) / expected).log())
