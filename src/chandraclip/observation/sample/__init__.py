"""A small observation that ships with the package, to try things on: simulated, and written as OGIP files."""

from __future__ import annotations

from pathlib import Path


def sample() -> Path:
    """The PHA file of the sample; its background, ARF, RMF, event list and region lie beside it.

    A simulated star that flares, as Chandra's ACIS would see it: between one and two thousand counts in several
    good time intervals. ``chandraclip.open(chandraclip.sample())`` finds all six files.
    `scripts/make_sample.py` makes them.

    Returns:
        ``flare_pha.fits.gz``; with it ``flare_bkg``, ``flare_arf``, ``flare_rmf``, ``flare_evt`` (the photons of the
        box around the star) and ``flare_reg`` (the region that holds the star's).
    """
    return Path(__file__).with_name("flare_pha.fits.gz")
