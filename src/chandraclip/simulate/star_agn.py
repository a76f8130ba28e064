"""Simulated ACIS spectra of young stars like those of COUP and of AGN like those of the Chandra Deep Field South.

The two populations that Hebbar & Heinke (2023, ApJ 949, 12) tell apart: through one ACIS-I response, each parameter
drawn independently of the counts, so that what a classifier does can be read against any of them. Their distributions
are ours, from the surveys' papers: the ones that were used there are not published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chandraclip.catalog.bands import BANDS
from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.emission.incident import SPECTRAL_MODELS, incident_spectrum
from chandraclip.simulate.instrument.detector import background_shape
from chandraclip.simulate.instrument.response import builtin_response

CLASSES = ("star", "AGN")
MJD = 52650.0  # January 2003, when COUP was observed; the CDF-S of 2000 to 2010 is around it
COUNTS = (10.0, 3000.0)  # net, log-uniform
BACKGROUND_SHARE = (0.01, 0.6)  # of all counts, log-uniform
# COUP (Getman et al. 2005, ApJS 160, 319; Preibisch et al. 2005, ApJS 160, 401): wide in N_H, about 10 and 30 MK.
STAR_LOG_NH = (20.3, 23.3)  # log10 cm-2
COOL_KT, HOT_KT, KT_SCATTER = 0.85, 2.6, 0.18  # keV, keV, dex
TWO_TEMPERATURES = 0.6  # share of stars
# CDF-S (Tozzi et al. 2006, A&A 451, 457): Gamma about 1.8, N_H at the source; a Galactic column of 0.9e20.
GAMMA, GAMMA_SCATTER = 1.8, 0.2
AGN_LOG_NH = (20.0, 23.8)
REDSHIFT = (0.2, 3.0)
CDFS_GALACTIC_NH = 0.9  # 1e20 cm-2
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class StarAgnSpectra:
    """N spectra, with what they were made of.

    Attributes:
        counts: (N, C) int, source and background, in the channels of ACIS in 0.5-7 keV.
        background: (N, C) background counts expected there, as a large background region gives them.
        is_agn: (N,) bool.
        truth: name -> (N,): `net_counts` (expected), `background_share`, `log_nh` (cm-2, at the source), `kt` (keV, of
            the brighter plasma; NaN for AGN), `gamma` and `redshift` (NaN for stars).
    """

    counts: np.ndarray
    background: np.ndarray
    is_agn: np.ndarray
    truth: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.is_agn)


def draw_star_agn(num_spectra: int, seed: int = 0) -> StarAgnSpectra:
    """Draw spectra, half of them stars.

    Args:
        num_spectra: N.
        seed: of all draws.

    Raises:
        ValueError: fewer than two spectra.
    """
    if num_spectra < 2:
        raise ValueError(f"{num_spectra} spectra: at least one of each class is needed")
    rng = np.random.default_rng(seed)
    is_agn = rng.permutation(np.arange(num_spectra) % 2 == 1)

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, num_spectra)

    net = 10.0 ** uniform(*np.log10(COUNTS))
    share = 10.0 ** uniform(*np.log10(BACKGROUND_SHARE))
    log_nh = np.where(is_agn, uniform(*AGN_LOG_NH), uniform(*STAR_LOG_NH))
    cool, hot = (kt * 10.0 ** rng.normal(0, KT_SCATTER, num_spectra) for kt in (COOL_KT, HOT_KT))
    hot_share = np.where(rng.uniform(size=num_spectra) < TWO_TEMPERATURES, uniform(0.2, 0.9), 0.0)
    single = rng.uniform(size=num_spectra) < 0.5  # one temperature: the cool or the hot one
    hot_share = np.where((hot_share == 0) & single, 1.0, hot_share)
    gamma = rng.normal(GAMMA, GAMMA_SCATTER, num_spectra)
    redshift = np.where(is_agn, uniform(*REDSHIFT), 0.0)

    response = builtin_response("ACIS-I", 3.0, MJD)
    middle = 0.5 * (response.channel_energy_lo + response.channel_energy_hi)
    band = (middle >= BANDS["b"][0]) & (middle <= BANDS["b"][1])
    matrix = response.matrix[:, np.flatnonzero(band)]
    background_rate = background_shape(response.channel_energy_edges)[band]
    background_rate = background_rate / background_rate.sum()
    shapes = np.empty((num_spectra, int(band.sum())))
    for start in range(0, num_spectra, _CHUNK):  # a block's incident spectra are some tens of MB
        rows = slice(start, start + _CHUNK)
        flux = _incident(is_agn[rows], cool[rows], hot[rows], hot_share[rows], gamma[rows], redshift[rows])
        energy = 0.5 * (response.energy_lo + response.energy_hi)
        column = 10.0 ** (log_nh[rows] - 20.0)
        flux *= transmission(energy, column, redshift=redshift[rows])
        flux *= transmission(energy, np.where(is_agn[rows], CDFS_GALACTIC_NH, 0.0))
        shapes[rows] = (flux * response.arf) @ matrix
    shapes /= shapes.sum(axis=1, keepdims=True)
    background = (net * share / (1.0 - share))[:, None] * background_rate
    truth = {
        "net_counts": net,
        "background_share": share,
        "log_nh": log_nh,
        "kt": np.where(is_agn, np.nan, np.where(hot_share > 0.5, hot, cool)),
        "gamma": np.where(is_agn, gamma, np.nan),
        "redshift": np.where(is_agn, redshift, np.nan),
    }
    return StarAgnSpectra(rng.poisson(net[:, None] * shapes + background), background, is_agn, truth)


def _incident(
    is_agn: np.ndarray,
    cool: np.ndarray,
    hot: np.ndarray,
    hot_share: np.ndarray,
    gamma: np.ndarray,
    redshift: np.ndarray,
) -> np.ndarray:
    """(S, E) photons a bin before absorption: a power law, or two plasmas that share the energy flux."""
    response = builtin_response("ACIS-I", 3.0, MJD)
    grid = response.energy_lo, response.energy_hi
    power, plasma = SPECTRAL_MODELS.index("powerlaw"), SPECTRAL_MODELS.index("plasma")
    first = incident_spectrum(*grid, np.where(is_agn, power, plasma), gamma, cool, redshift=redshift)
    second = incident_spectrum(*grid, np.where(is_agn, -1, plasma), gamma, hot)
    share = np.where(is_agn, 0.0, hot_share)[:, None]
    return (1.0 - share) * first + share * second
