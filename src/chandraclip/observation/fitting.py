"""`fit_spectrum`: a quick look at what a spectrum is, by maximum likelihood; not a rival of Sherpa or XSPEC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import astropy.units as u
import numpy as np
from astropy.units import Quantity
from scipy.ndimage import uniform_filter1d

from chandraclip.observation.fit_result import FitResult, Measurement
from chandraclip.observation.light_curve import band_of
from chandraclip.observation.likelihood import Likelihood
from chandraclip.observation.profile import BetterMinimum, Point, profile_limits, statistic_rise
from chandraclip.observation.spectral_models import COLUMN_RANGE, COLUMN_UNIT, AbsorbedModel
from chandraclip.observation.statistics import Cash, Statistic, WStatistic
from chandraclip.ogip.spectrum import Spectrum

STATISTICS = ("cash", "wstat")
BACKGROUND_CHANNELS, BACKGROUND_COUNTS = 15, 15  # least width of the windows that smooth a background, and counts in it
# Background counts a channel for wstat: with fewer, its own background of each channel takes up a part of the source (a
# tenth and more of 100 counts at a scale of 1), as the XSPEC manual warns for empty background bins.
LEAST_FOR_WSTAT = 3.0
MAX_RESTARTS = 5


def fit_spectrum(
    spectrum: Spectrum,
    model: str = "powerlaw",
    absorption: str | None = "tbabs",
    *,
    energy: tuple[float, float] | Quantity = (0.5, 7.0),
    redshift: float = 0.0,
    abundance: float = 1.0,
    statistic: str | None = None,
    fixed: Mapping[str, float | Quantity] | None = None,
    distance: Quantity | float | None = None,
    confidence: float = 0.68,
    background_window: int | None = None,
) -> FitResult:
    """Fits an absorbed model to the ungrouped counts of a spectrum through its response.

    Parameters are XSPEC's (`spectral_models` has the norms): powerlaw PhoIndex and norm (photons/keV/cm2/s at 1 keV);
    blackbody (bbody) kT and norm (1e39 erg/s at 10 kpc); diskbb Tin and norm; bremsstrahlung (bremss) kT and norm; apec
    kT and norm, its metals held at `abundance`; and the absorber's nH in 1e22 cm-2, whose cross section is built in.

    Args:
        spectrum: with a response. Channels of bad QUALITY are left out; GROUPING is not applied.
        model: "powerlaw", "blackbody", "bremsstrahlung", "apec" or "diskbb".
        absorption: "tbabs", "wabs", or None for no absorber.
        energy: keV or with a unit; a channel counts where its centre lies in it.
        redshift: of the source; the absorber is at 0.
        abundance: of apec's metals, solar (Anders & Grevesse 1989) = 1.
        statistic: "wstat" (background Poisson too, profiled out channel by channel) or "cash" (in the form that XSPEC
            and Sherpa call cstat, which is understood too), which takes a background as known: the scaled counts,
            smoothed (`background_window`). None: wstat where the background has 3 counts a channel or more on average,
            else cash, since wstat is biased where channels of the background are empty.
        fixed: parameters to hold, by name in any case: ``{"nH": 0.02}`` in the unit above, or with a unit of their own,
            ``{"nH": 2e20 / u.cm**2}``. The norm is always fitted.
        distance: luminosity distance for `FitResult.luminosity`, an astropy length or Mpc.
        confidence: of the intervals, by profile likelihood; 0.68 stands for one sigma, a rise of the statistic by 1.
        background_window: channels over which cash smooths a background; None for 15, or as many as hold 15 counts.

    Raises:
        ValueError: no response (and why), no usable channel or no counts in the band, "wstat" without a background, or
            an unknown model, absorption, statistic or parameter (with the known ones).
    """
    band = band_of(energy)
    if band is None or not (band[0] >= 0 and np.isfinite(band[1])):
        raise ValueError(f"energy is two energies in keV, from and to, not {energy!r}")
    absorbed = AbsorbedModel(model, absorption, redshift, abundance)
    rise = statistic_rise(confidence)
    held = _fixed(absorbed, fixed or {})
    megaparsec = _megaparsec(distance)
    if background_window is not None and background_window < 1:
        raise ValueError(f"background_window {background_window}: must be at least 1 channel")
    response = spectrum.response
    if response is None:
        raise ValueError(f"{spectrum.path} has no response: {spectrum.response_problem}")
    good = spectrum.good_channels
    chosen = _chosen(spectrum, good, band)
    background = _known_background(spectrum, good, chosen, background_window)
    likelihood = Likelihood(
        response,
        np.broadcast_to(spectrum.exposure * np.asarray(spectrum.area_scale, dtype=np.float64), spectrum.counts.shape),
        chosen,
        _statistic(spectrum, statistic, chosen, background),
        absorbed,
        held,
    )
    if not likelihood.matrix.size:
        raise ValueError(f"{spectrum.path}: the response reaches no channel in {band[0]:g}-{band[1]:g} keV")
    best = likelihood.best()
    for _ in range(MAX_RESTARTS):
        try:
            parameters = _measured(likelihood, best, rise)
            break
        except BetterMinimum as better:
            best = likelihood.minimise(better.point.position)
    else:
        raise ValueError(f"{spectrum.path}: the fit of {model} does not converge")
    return FitResult(
        spectrum=spectrum,
        model=absorbed.model,
        absorption=absorption,
        parameters=parameters,
        energy=band,
        confidence=confidence,
        distance=megaparsec,
        likelihood=likelihood,
        best=best,
        smooth_background=background,
    )


def _measured(likelihood: Likelihood, best: Point, rise: float) -> dict[str, Measurement]:
    """All parameters with their limits."""
    emission = likelihood.model.emission
    shape, column = (float(values[0]) for values in likelihood.outer(best.position[None]))
    named = [(0, emission.parameter, shape, emission.unit)]
    if likelihood.model.absorption is not None:
        named.append((1, "nH", column, "1e22 cm-2"))
    parameters = {}
    errors = likelihood.standard_errors(best)
    for index, name, value, unit in named:
        if not likelihood.free[index]:
            parameters[name] = Measurement(value, None, None, unit, fixed=True)
            continue

        def refit(at: float, start: np.ndarray, index: int = index) -> Point:
            position = start.copy()
            position[index] = at
            return likelihood.minimise(position, held=index)

        low, high = profile_limits(
            refit,
            best,
            best.position[index],
            errors[index],
            (likelihood.low[index], likelihood.high[index]),
            rise,
        )
        if index == 0 and emission.is_temperature:
            low, high = (None if limit is None else float(np.exp(limit)) for limit in (low, high))
        parameters[name] = Measurement(value, low, high, unit)
    low, high = likelihood.amount_limits(best, best.norm, None, rise)
    parameters["norm"] = Measurement(best.norm, low, high, emission.norm_unit)
    return parameters


def _chosen(spectrum: Spectrum, good: np.ndarray, energy: tuple[float, float]) -> np.ndarray:
    """(C,) bool, the channels of the fit."""
    assert spectrum.response is not None
    centre = 0.5 * (spectrum.response.channel_energy_lo + spectrum.response.channel_energy_hi)
    band = f"{energy[0]:g}-{energy[1]:g} keV"
    inside = (centre >= energy[0]) & (centre <= energy[1])
    if not inside.any():
        raise ValueError(f"{spectrum.path} has no channel in {band}")
    if not (inside & good).any():
        raise ValueError(f"{spectrum.path}: every channel in {band} is marked as bad by QUALITY")
    if not spectrum.counts[inside & good].sum() > 0:
        raise ValueError(f"{spectrum.path} has no counts in {band}")
    return inside & good


def _known_background(
    spectrum: Spectrum, good: np.ndarray, chosen: np.ndarray, window: int | None
) -> np.ndarray | None:
    """(C,) the scaled background, averaged over the good channels around each, in and outside the band apart.

    A channel's own few counts predict badly, above all where none fell: a spectrum of 100 counts with as many of
    background comes out a fifth too bright with windows of 15 channels that hold a count or two, and right where they
    hold 15.
    """
    if spectrum.background_counts is None:
        return None
    counts, scaled = np.asarray(spectrum.background_counts, dtype=np.float64), spectrum.expected_background
    return np.where(chosen, _smooth(counts, scaled, chosen, window), _smooth(counts, scaled, good & ~chosen, window))


def _smooth(counts: np.ndarray, scaled: np.ndarray, used: np.ndarray, window: int | None) -> np.ndarray:
    """`scaled` (C,) averaged over the used channels, in windows wide enough to hold some of `counts` (C,)."""
    result = np.zeros(counts.size)
    wanting = np.ones(counts.size, dtype=bool)
    width = window or BACKGROUND_CHANNELS
    while wanting.any():
        last = window is not None or width >= 2 * counts.size
        total, number, channels = (
            width * uniform_filter1d(np.where(used, values, 0.0), width, mode="constant")
            for values in (scaled, counts, np.ones(counts.size))
        )
        done = wanting & ((number > BACKGROUND_COUNTS - 0.5) | last)
        result[done] = np.maximum(total[done], 0.0) / np.maximum(channels[done], 1.0)
        wanting &= ~done
        width = 2 * width + 1
    return result


def _statistic(spectrum: Spectrum, name: str | None, chosen: np.ndarray, background: np.ndarray | None) -> Statistic:
    if name is None:
        outside = spectrum.background_counts
        name = "wstat" if outside is not None and outside[chosen].mean() >= LEAST_FOR_WSTAT else "cash"
    counts = spectrum.counts[chosen]
    if name in ("cash", "cstat"):
        return Cash(counts, None if background is None else background[chosen])
    if name != "wstat":
        raise ValueError(f"unknown statistic {name!r}: {', '.join(STATISTICS)}, or None")
    if spectrum.background_counts is None:
        raise ValueError(f"{spectrum.path} has no background, which the statistic wstat needs; cash does without")
    scale = np.broadcast_to(spectrum.background_scale, chosen.shape)[chosen]
    return WStatistic(counts, spectrum.background_counts[chosen], scale)


def _fixed(model: AbsorbedModel, fixed: Mapping[str, float | Quantity]) -> np.ndarray:
    """Shape and nH (2,) where they are held, else NaN; nH is 0 without an absorber."""
    emission = model.emission
    ranges = {emission.parameter: (emission.low, emission.high)}
    if model.absorption is not None:
        ranges["nH"] = COLUMN_RANGE
    given: dict[str, float] = {}
    if not isinstance(fixed, Mapping):
        raise ValueError(f'fixed is names with their values, as {{"nH": 0.02}}, not {fixed!r}')
    for name, wanted in fixed.items():
        known = next((parameter for parameter in ranges if parameter.casefold() == str(name).casefold()), None)
        if known is None:
            why = "the norm is always fitted" if str(name).casefold() == "norm" else f"{', '.join(ranges)}"
            raise ValueError(f"no parameter {name!r} to fix: {why}")
        low, high = ranges[known]
        unit = "1e22 cm-2" if known == "nH" else emission.unit
        value = _in_unit(known, wanted, unit)
        if not low <= value <= high:
            raise ValueError(f"{known} {wanted}: must be from {low:g} to {high:g} {unit}".rstrip())
        given[known] = value
    column = given.get("nH", np.nan) if model.absorption is not None else 0.0
    return np.array([given.get(emission.parameter, np.nan), column])


def _in_unit(name: str, value: Any, unit: str) -> float:
    """A parameter's value, given as a number in its unit or as a quantity."""
    here = {"1e22 cm-2": COLUMN_UNIT / u.cm**2, "keV": u.keV}.get(unit, u.dimensionless_unscaled)
    try:
        if isinstance(value, Quantity):
            return float(value.to_value(here, equivalencies=u.temperature_energy()))
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} {value}: must be a number{f' of {unit}' if unit else ''}") from error


def _megaparsec(distance: Quantity | float | None) -> float | None:
    if distance is None:
        return None
    try:
        value = float(u.Quantity(distance, u.Mpc).value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"distance {distance}: must be a length, or a number of Mpc") from error
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"distance {distance}: must be a length above 0")
    return value
