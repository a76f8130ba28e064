"""The thinning of count spectra, with random numbers that are a row's own (`models.draws`)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from chandraclip.models.draws import GOLDEN, keyed_uniforms, mix

_LARGEST_EXACT = 24  # counts of a bin that are thinned by adding up the binomial's terms


def row_uniforms(counts: Tensor, draw: Tensor, number: int, stream: int) -> Tensor:
    """Uniform numbers, a function of a row's counts, the shared draw and the stream.

    Args:
        counts: (B, D) whole numbers.
        draw: scalar in [0, 1), the same for the whole batch (`losses.gather.shared_uniform`).
        number: of them, a row.
        stream: tells one use from another.

    Returns:
        (B, number) float32 in (0, 1).
    """
    place = torch.arange(counts.shape[1], device=counts.device, dtype=torch.int64)
    key = (counts.long() * mix(place * GOLDEN)).sum(dim=1)
    index = torch.arange(1, number + 1, device=counts.device, dtype=torch.int64)
    return keyed_uniforms(key[:, None], draw, index, stream)


def normal_of(uniform: Tensor) -> Tensor:
    """Standard normal numbers of uniform ones."""
    return torch.special.ndtri(uniform)


def thin(counts: Tensor, share: Tensor, uniform: Tensor) -> Tensor:
    """A binomial number of each bin's counts.

    Exact up to 24 counts; beyond, the normal approximation with the term of its skewness (Cornish & Fisher 1938), which
    is off by less than one count in mean and width.

    Args:
        counts: (B, D) whole numbers.
        share: (B, 1 or D) in (0, 1), the probability that a photon is kept.
        uniform: (B, D) in (0, 1).

    Returns:
        (B, D) whole numbers, 0 to `counts`.
    """
    few = counts.clamp(max=_LARGEST_EXACT)
    odds = share / (1 - share)
    term = (1 - share) ** few
    total, kept = term, torch.zeros_like(counts)
    for number in range(_LARGEST_EXACT):
        kept = kept + (uniform > total)
        term = term * odds * (few - number).clamp(min=0) / (number + 1)
        total = total + term
    normal = normal_of(uniform)
    width = (counts * share * (1 - share)).clamp(min=0.0).sqrt()
    many = counts * share + width * normal + (1 - 2 * share) * (normal.square() - 1) / 6
    return torch.minimum(torch.where(counts > _LARGEST_EXACT, many.round().clamp(min=0.0), kept), counts)


def area_tilt(counts: Tensor, draw: Tensor, edges: np.ndarray) -> Tensor:
    """Log odds of a photon to go to one of two parts: random smooth curves over the log of the energy, a row's own.

    A share of its own in each bin is an instrument of another area, exactly: photons are lost one by one. So the two
    parts see one source with areas that complement each other.

    Args:
        counts: (B, D). draw: as `row_uniforms`.
        edges: (D + 1,) keV, of the bins.

    Returns:
        (B, D), the sum of three Chebyshev polynomials times standard normal numbers.
    """
    logarithm = torch.from_numpy(np.log(edges)).to(counts)
    middle = logarithm[1:] + logarithm[:-1]
    place = (middle - logarithm[0] - logarithm[-1]) / (logarithm[-1] - logarithm[0])  # -1 to 1
    curves = torch.stack([place, 2 * place.square() - 1, 4 * place**3 - 3 * place])
    return normal_of(row_uniforms(counts, draw, len(curves), stream=4)) @ curves
