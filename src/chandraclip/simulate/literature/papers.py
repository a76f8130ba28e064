"""What papers found out about each source: its true values, scattered, at another epoch, in another mission's band.

All that the literature can know is `LiteratureFacts`, the sources' truth; what a detection measured never comes here.
The scatters and shares are chosen, not measured from papers: no published study of them is known to us.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from chandraclip.data.schema import RARE_CLASSES, SOURCE_CLASSES
from chandraclip.simulate.emission.absorption import transmission
from chandraclip.simulate.literature.subtypes import choose

CLASSES = (*SOURCE_CLASSES, *RARE_CLASSES)
SPECTRA = ("powerlaw", "blackbody", "diskbb", "bremsstrahlung", "plasma")
VARIABILITY = ("constant", "red_noise", "flare", "dip", "eclipse", "pulsation", "eruption", "transient")
LONG_TERM = ("steady", "red_noise", "states", "flares", "decay")

# 1 sigma of published values about a source's own: dex, but for the slope and the share above 2 keV.
NH_SCATTER, GAMMA_SCATTER, KT_SCATTER, FLUX_SCATTER = 0.15, 0.20, 0.08, 0.25
HARD_SCATTER, AMPLITUDE_SCATTER, PERIOD_SCATTER = 0.06, 0.10, 0.003
WRONG_CLASS_SHARE = 0.10  # of sources that can be mistaken for something
WRONG_VALUE_SHARE = 0.03  # of each kind of value: drawn with the usual scatter times this factor
WRONG_VALUE_FACTOR = 4.0

# Where the literature's epoch lies about the mean, in units of the log of the ratio of highest and lowest flux: a
# faint and a bright choice, and the chance of the bright one. Red noise and decay lie uniformly within half a unit.
EPOCH_OFFSETS = {"states": (-0.5, 0.5, 0.5), "flares": (-0.2, 0.8, 0.25)}

BANDS = ("0.5-7", "0.5-8", "0.3-8", "0.5-2", "2-8", "0.3-10", "0.5-10", "2-10", "0.1-2.4", "0.2-2.3", "3-10")
# Name, share of papers, bands, and about the faintest 0.5-7 keV flux it could measure (orders of magnitude, from
# memory).
MISSIONS = (
    ("Chandra", 0.50, ("0.5-7", "0.5-7", "0.5-8", "0.3-8", "0.5-2", "2-8"), 0.0),
    ("XMM-Newton", 0.28, ("0.3-10", "0.5-10", "2-10", "0.5-2"), 3e-15),
    ("Swift", 0.10, ("0.3-10",), 5e-14),
    ("NuSTAR", 0.03, ("3-10",), 1e-13),
    ("ROSAT", 0.05, ("0.1-2.4",), 2e-14),
    ("eROSITA", 0.04, ("0.2-2.3",), 2e-14),
)
MIN_BAND_SHARE = 0.25  # a band with less of the 0.5-7 keV flux is not the one quoted

# How papers take a source: for what its label says, outright or with doubt; for that or for something else, undecided
# or with others who disagree; or for nothing.
STANCES = {"named": 0.20, "tentative": 0.08, "argued": 0.15, "disputed": 0.06, "silent": 0.51}
UNDECIDED = ("argued", "disputed")  # which of two things it is

# Galactic classes and ULX: median distance (kpc), its scatter (dex), and the luminosities (log erg/s) that such
# objects have, roughly and from memory; where flux and distance disagree with those, the distance gives way.
DISTANCES = {
    "CV": (0.8, 0.4, 29.5, 34.0),
    "HM-STAR": (1.6, 0.3, 30.0, 34.0),
    "HMXB": (5.0, 0.2, 32.0, 38.5),
    "LM-STAR": (0.12, 0.4, 27.0, 31.0),
    "LMXB": (7.0, 0.15, 31.0, 38.5),
    "NS": (2.5, 0.35, 30.0, 36.0),
    "YSO": (0.6, 0.3, 28.5, 31.8),
    "ULX": (6000.0, 0.3, 39.0, 41.0),
}
REDSHIFTED = ("AGN", "TDE", "FXT")  # whose papers quote one; of a ULX they quote the host's distance
MAX_ABSORPTION_CORRECTION = 2.0  # dex: a hundredth is scattered around the thickest gas
NEARBY = 0.1  # redshift, at most, of a host in which single binaries are seen

CM_PER_KPC = 3.0857e21
HUBBLE_DISTANCE = 299792.458 / 70.0 * 1e3  # kpc
OMEGA_M = 0.3


@dataclass(frozen=True)
class LiteratureFacts:
    """What is true of S sources, as far as papers could find out; (S,) arrays. A quantity that does not exist is NaN.

    Attributes:
        source_class: of `CLASSES`.
        spectrum: the main component, of `SPECTRA`, and perhaps a second: "blackbody+powerlaw".
        nh: 1e20 cm-2.
        gamma: of the power law.
        kt: keV, of the thermal component; of the main one, where both are thermal.
        redshift: NaN for Galactic sources.
        flux: mean observed 0.5-7 keV flux, erg/s/cm2.
        hard_share: share of that flux above 2 keV.
        variability: of `VARIABILITY`, within an observation.
        period: s.
        long_term: of `LONG_TERM`, between observations.
        long_term_amplitude: highest over lowest flux, at least 1.

    Raises:
        ValueError: lengths differ, a name is unknown, or nh, flux, hard_share or amplitude is out of range.
    """

    source_class: np.ndarray
    spectrum: np.ndarray
    nh: np.ndarray
    gamma: np.ndarray
    kt: np.ndarray
    redshift: np.ndarray
    flux: np.ndarray
    hard_share: np.ndarray
    variability: np.ndarray
    period: np.ndarray
    long_term: np.ndarray
    long_term_amplitude: np.ndarray

    def __post_init__(self) -> None:
        if len({len(getattr(self, field.name)) for field in fields(self)}) != 1:
            raise ValueError("all facts must have one value a source")
        components = [part for name in np.unique(self.spectrum).tolist() for part in name.split("+")]
        for found, known in (
            (np.unique(self.source_class).tolist(), CLASSES),
            (components, SPECTRA),
            (np.unique(self.variability).tolist(), VARIABILITY),
            (np.unique(self.long_term).tolist(), LONG_TERM),
        ):
            if unknown := set(found) - set(known):
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
        if not ((self.nh > 0).all() and (self.flux > 0).all() and (self.long_term_amplitude >= 1).all()):
            raise ValueError("nh and flux must be above zero, long_term_amplitude at least 1")
        if not ((self.hard_share >= 0) & (self.hard_share <= 1)).all():
            raise ValueError("hard_share must lie between 0 and 1")

    def __len__(self) -> int:
        return len(self.flux)


def literature_scatter(facts: LiteratureFacts) -> dict[str, np.ndarray]:
    """The least 1-sigma scatter of published values about the truth; rounding and wrong values come on top.

    Returns:
        (S,) each: nh, kt, flux (dex; of the flux, that of the epoch included), gamma, hard_share.
    """
    spread = {name: np.sqrt(p * (1 - p)) * (high - low) for name, (low, high, p) in EPOCH_OFFSETS.items()}
    spread |= {"steady": 0.0, "red_noise": 12**-0.5, "decay": 12**-0.5}
    epoch = np.array([spread[name] for name in facts.long_term.tolist()])
    ones = np.ones(len(facts))
    return {
        "nh": NH_SCATTER * ones,
        "kt": KT_SCATTER * ones,
        "flux": np.hypot(FLUX_SCATTER, epoch * np.log10(facts.long_term_amplitude)),
        "gamma": GAMMA_SCATTER * ones,
        "hard_share": HARD_SCATTER * ones,
    }


class Paper(NamedTuple):
    """What papers found about one source; units as in `LiteratureFacts`.

    `label` is the class they take it for, `kind` the phrase for it, `stance` how sure they are (of `STANCES`), `rival`
    and `rival_kind` what else it may be, empty where nothing else is plausible. `second` is empty without a second
    component; `flux` is 0.5-7 keV, `band_flux` that in `band`, keV; `epoch` is 0 for a faint and 1 for a bright one;
    `redshift` NaN and `distance` (kpc) 0 where papers adopt none; `log_lx` (erg/s) as in `subtypes`, NaN without a
    distance; `num_visits` is how often it was observed, as papers count.
    """

    label: str
    main: str
    second: str
    nh: float
    gamma: float
    kt: float
    flux: float
    band_flux: float
    band: str
    mission: str
    hard_share: float
    variability: str
    period: float
    long_term: str
    amplitude: float
    epoch: int
    redshift: float
    distance: float
    kind: str
    stance: str
    rival: str
    rival_kind: str
    log_lx: float
    num_visits: int


def publish(rng: np.random.Generator, facts: LiteratureFacts) -> list[Paper]:
    """What papers found about each of S sources."""
    size = len(facts)

    def scatter(sigma: float) -> np.ndarray:
        wrong = rng.random(size) < WRONG_VALUE_SHARE
        return sigma * rng.standard_normal(size) * np.where(wrong, WRONG_VALUE_FACTOR, 1.0)

    parts = [f"{name}+".split("+") for name in facts.spectrum.tolist()]
    true = _properties(facts, parts)
    alternative = choose(rng, "rivals", facts.source_class, [true])
    wrong = (rng.random(size) < WRONG_CLASS_SHARE) & (alternative != "")
    label = np.where(wrong, alternative, facts.source_class)
    rival = np.where(wrong, facts.source_class, choose(rng, "rivals", facts.source_class, [true]))
    offset = _epoch_offset(rng, facts)
    flux = facts.flux * 10.0 ** (scatter(FLUX_SCATTER) + offset * np.log10(facts.long_term_amplitude))
    shares = band_shares(facts)
    band, mission = _instrument(rng, shares, flux)
    band_flux = flux * shares[np.arange(size), band]
    redshift, distance = _distance(rng, facts, label.astype(str), band_flux)
    # Who takes a source for another kind of object has not seen the period that would have told.
    period = np.where(wrong, np.nan, facts.period * 10.0 ** (PERIOD_SCATTER * rng.standard_normal(size)))
    amplitude = facts.long_term_amplitude * 10.0 ** (AMPLITUDE_SCATTER * rng.standard_normal(size))
    nh = facts.nh * 10.0 ** scatter(NH_SCATTER)
    gamma = facts.gamma + scatter(GAMMA_SCATTER)
    kt = facts.kt * 10.0 ** scatter(KT_SCATTER)
    hard_share = np.clip(facts.hard_share + scatter(HARD_SCATTER), 0.0, 1.0)
    correction = absorption_correction(facts)

    def log_luminosity(flux: np.ndarray) -> np.ndarray:
        reached = np.where(distance > 0, distance, np.nan) * CM_PER_KPC
        return np.log10(4.0 * np.pi * flux) + 2.0 * np.log10(reached) + correction

    # A kind of object must suit both the source and what the text will say of it.
    found = true | {
        "log_nh": np.log10(nh) + 20.0,
        "log_flux": np.log10(flux),
        "gamma": gamma,
        "kt": kt,
        "hard_share": hard_share,
        "redshift": redshift,
        "period": period,
        "amplitude": amplitude,
    }
    told = [true | {"log_lx": log_luminosity(facts.flux), "redshift": redshift}]
    told += [found | {"log_lx": log_luminosity(flux)}]
    kind = choose(rng, "subtypes", label.astype(str), told)
    doubted = np.flatnonzero(rival != "")
    rival_kind = np.full(size, "", dtype=object)
    # How luminous a rival would be is not known: nobody adopts a distance for it.
    rival_kind[doubted] = choose(
        rng,
        "subtypes",
        rival[doubted].astype(str),
        [{name: values[doubted] for name, values in known.items()} for known in (true, found)],
    )
    stance = rng.choice(list(STANCES), size, p=list(STANCES.values()))
    stance = np.where(np.isin(stance, UNDECIDED) & (rival == ""), "tentative", stance)
    # Bright sources have been looked at more often.
    num_visits = 1 + rng.poisson(np.clip(1.5 + 1.5 * (np.log10(facts.flux) + 14.0), 0.3, 9.0))
    columns: list[Any] = [
        label.tolist(),
        [part[0] for part in parts],
        [part[1] for part in parts],
        nh,
        gamma,
        kt,
        flux,
        band_flux,
        np.array(BANDS)[band],
        np.array([name for name, *_ in MISSIONS])[mission],
        hard_share,
        facts.variability,
        period,
        facts.long_term,
        np.maximum(amplitude, 1.0),
        (offset > 0).astype(np.int64),
        redshift,
        distance,
        kind.tolist(),
        stance,
        rival.tolist(),
        rival_kind.tolist(),
        log_luminosity(flux),
        num_visits,
    ]
    return [
        Paper(*row) for row in zip(*(column if isinstance(column, list) else column.tolist() for column in columns))
    ]


def _properties(facts: LiteratureFacts, parts: list[list[str]]) -> dict[str, np.ndarray]:
    """What `subtypes` sets conditions on, of the sources themselves; the luminosity is not known yet."""
    return {
        "log_nh": np.log10(facts.nh) + 20.0,
        "log_lx": np.full(len(facts), np.nan),
        "log_flux": np.log10(facts.flux),
        "gamma": facts.gamma,
        "kt": facts.kt,
        "hard_share": facts.hard_share,
        "redshift": facts.redshift,
        "period": facts.period,
        "amplitude": facts.long_term_amplitude,
        "model": np.array([part[0] for part in parts]),
        "second": np.array([part[1] for part in parts]),
        "variability": facts.variability,
        "long_term": facts.long_term,
    }


def _epoch_offset(rng: np.random.Generator, facts: LiteratureFacts) -> np.ndarray:
    """(S,) log flux of the papers' epoch about the mean, in units of the log amplitude."""
    size = len(facts)
    offset = np.where(facts.long_term == "steady", 0.0, rng.random(size) - 0.5)
    for name, (low, high, chance) in EPOCH_OFFSETS.items():
        rows = facts.long_term == name
        offset[rows] = np.where(rng.random(size) < chance, high, low)[rows]
    return offset


def _instrument(rng: np.random.Generator, shares: np.ndarray, flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices into `BANDS` and `MISSIONS` of what each paper used; Chandra's broad band where no other would do."""
    size = len(flux)
    mission = rng.choice(len(MISSIONS), size, p=[share for _, share, _, _ in MISSIONS])
    pick = rng.integers(0, 2**31, size)
    band = np.zeros(size, np.int64)
    seen = np.ones(size, bool)
    for number, (_, _, bands, faintest) in enumerate(MISSIONS):
        rows = mission == number
        band[rows] = np.array([BANDS.index(name) for name in bands])[pick[rows] % len(bands)]
        seen &= ~rows | (flux >= faintest)
    seen &= shares[np.arange(size), band] >= MIN_BAND_SHARE
    return np.where(seen, band, 0), np.where(seen, mission, 0)


def band_shares(facts: LiteratureFacts) -> np.ndarray:
    """(S, bands) observed energy flux in each of `BANDS` over that in 0.5-7 keV.

    The split at 2 keV is the source's own. Beyond 0.5-7 keV, and within its halves, the absorbed main component is
    followed, with disc and plasma in their simplest form (``E^(-2/3)`` or ``E^-1.3`` photons with the exponential
    cut-off): papers convert with no better knowledge of the spectrum.
    """
    edges = sorted({2.0, *(float(edge) for band in BANDS for edge in band.split("-"))})
    grid = np.unique(np.concatenate([np.geomspace(low, high, 9) for low, high in pairwise(edges)]).round(12))
    energy = np.sqrt(grid[:-1] * grid[1:])
    shape = _main_component(facts, energy)
    # Not zero: ratios of nothing to nothing in spectra cut off far below 2 keV.
    shape = np.maximum(shape * transmission(energy, facts.nh) * np.diff(np.log(grid)), 1e-280)

    def between(low: float, high: float) -> np.ndarray:
        begin, end = (int(np.argmin(abs(grid - edge))) for edge in (low, high))
        return shape[:, begin:end].sum(axis=1)

    soft, hard = (1.0 - facts.hard_share) / between(0.5, 2.0), facts.hard_share / between(2.0, 7.0)
    shares = []
    for band in BANDS:
        low, high = (float(edge) for edge in band.split("-"))
        share = soft * between(low, min(high, 2.0)) if low < 2.0 else np.zeros(len(facts))
        shares.append(share + hard * between(max(low, 2.0), high) if high > 2.0 else share)
    return np.stack(shares, axis=1)


def _main_component(facts: LiteratureFacts, energy: np.ndarray) -> np.ndarray:
    """(S, E) energy flux per log energy of the main component before absorption, on any scale."""
    main = np.array([name.split("+")[0] for name in facts.spectrum.tolist()])[:, None]
    slope, kt = np.nan_to_num(facts.gamma, nan=1.9)[:, None], np.nan_to_num(facts.kt, nan=1.0)[:, None]
    ratio = energy / kt
    shape = energy ** (2.0 - slope)
    for name, power in (("plasma", 0.7), ("bremsstrahlung", 0.7), ("diskbb", 4.0 / 3.0)):
        shape = np.where(main == name, energy**power * np.exp(-ratio), shape)
    shape = np.where(main == "blackbody", energy**4 / np.expm1(np.minimum(ratio, 600.0)), shape)
    return shape


def absorption_correction(facts: LiteratureFacts) -> np.ndarray:
    """(S,) dex, from the observed 0.5-7 keV flux to that of the main component before absorption."""
    grid = np.geomspace(0.5, 7.0, 41)
    energy = np.sqrt(grid[:-1] * grid[1:])
    shape = _main_component(facts, energy)
    seen = np.maximum((shape * transmission(energy, facts.nh)).sum(axis=1), 1e-280)
    return np.clip(np.log10(shape.sum(axis=1) / seen), 0.0, MAX_ABSORPTION_CORRECTION)


def _distance(
    rng: np.random.Generator, facts: LiteratureFacts, label: np.ndarray, flux: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Redshift (NaN: none) and distance (kpc; 0: none) that papers adopt; they go by what they take the source for."""
    size = len(facts)
    photometric = 0.05 * (1.0 + facts.redshift) * rng.standard_normal(size)
    redshift = facts.redshift + np.where(rng.random(size) < 0.3, photometric, 0.0)
    guess = 10.0 ** (-0.1 + 0.3 * rng.standard_normal(size))  # of what is not extragalactic at all
    redshift = np.where(np.isnan(redshift) & (label == "AGN"), guess, np.maximum(redshift, 0.3 * facts.redshift))
    distance = np.where(np.isfinite(redshift), luminosity_distance(np.nan_to_num(redshift)), 0.0)
    for name, (median, sigma, low, high) in DISTANCES.items():
        rows = (label == name) & ~((name == "ULX") & (redshift < NEARBY))
        drawn = median * 10.0 ** (sigma * rng.standard_normal(size))
        luminosity = 4.0 * np.pi * (drawn * CM_PER_KPC) ** 2 * flux
        drawn *= np.sqrt(np.clip(luminosity, 10.0**low, 10.0**high) / luminosity)
        distance[rows] = drawn[rows]
    return np.where(np.isin(label, REDSHIFTED), redshift, np.nan), distance


def luminosity_distance(redshift: np.ndarray) -> np.ndarray:
    """kpc, for a flat universe with H0 = 70 km/s/Mpc and Omega_m = 0.3."""
    grid = np.linspace(0.0, max(float(redshift.max(initial=0.0)), 0.1), 2000)
    inverse = 1.0 / np.sqrt(OMEGA_M * (1.0 + grid) ** 3 + 1.0 - OMEGA_M)
    comoving = np.concatenate([[0.0], np.cumsum(0.5 * (inverse[1:] + inverse[:-1]) * np.diff(grid))])
    return HUBBLE_DISTANCE * (1.0 + redshift) * np.interp(redshift, grid, comoving)
