"""How many detections have which planted event; light, since command lines are read with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Rare, so that a kind that is found ten times as often as by chance can be.
SHARES = {"flare": 0.04, "dip": 0.04, "eclipse": 0.04, "pulsation": 0.04, "transient": 0.04}
COUNTS = (10.0, 3000.0)  # expected of a source


def checked_shares(shares: Mapping[str, Any] | None) -> dict[str, float]:
    """Share of each planted kind, every kind among them, those not given 0; the rest of the detections is constant.

    Raises:
        ValueError: another kind, what is no number from 0 to 1, or more than all.
    """
    if shares is None:
        return dict(SHARES)
    if unknown := set(shares) - set(SHARES):
        raise ValueError(f"{', '.join(sorted(unknown))} cannot be planted; there are {', '.join(SHARES)}")
    result = {kind: float(shares.get(kind, 0.0)) for kind in SHARES}
    if not all(0.0 <= share <= 1.0 for share in result.values()) or sum(result.values()) > 1.0 + 1e-9:
        raise ValueError(f"shares of all detections, 0 to 1, together 1 at most: {result}")
    return result
