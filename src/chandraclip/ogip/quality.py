"""Which channels of a spectrum may be used, by its QUALITY column (OGIP/92-007, section 3.1.2)."""

from __future__ import annotations

import numpy as np

GOOD, DUBIOUS = 0, 2


def is_good(quality: np.ndarray, grouped: bool | np.ndarray) -> np.ndarray:
    """True where a channel is good: QUALITY 0, or 2 in a grouped spectrum.

    1 and 5 are bad (by software, by the user), -1 bad for a reason unknown, 2 dubious. Programs that group (dmgroup,
    grppha, specgroup) give 2 to the channels of a last group that fell short of its goal: the group is dubious, its
    channels are as good as any, and we use them ungrouped. In a spectrum without groups 2 is about the channel.

    Args:
        quality: (C,) integers.
        grouped: whether the spectrum is grouped (`is_grouped`); or (C,) bool, of the spectrum of each channel.

    Returns:
        (C,) bool.
    """
    return (quality == GOOD) | ((quality == DUBIOUS) & grouped)


def is_grouped(grouping: np.ndarray | None) -> bool:
    """Whether GROUPING, (C,) or None, joins any channels: -1 continues a group that 1 begins."""
    return grouping is not None and bool((grouping == -1).any())


def turned_groups(grouping: np.ndarray | None) -> np.ndarray | None:
    """GROUPING of the channels in reverse: a group's last channel becomes its first, which carries the 1."""
    if grouping is None:
        return None
    goes_on = np.append(grouping[1:] == -1, False)  # the next channel belongs to this one's group
    first = np.where(grouping == 0, 0, 1)
    return np.where(goes_on, -1, first)[::-1].astype(grouping.dtype)
