"""`FitResult`: a fitted model, its parameters, fluxes and how well it fits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from astropy.units import Quantity

from chandraclip.observation.light_curve import HIGHEST_ENERGY, band_of
from chandraclip.observation.likelihood import Likelihood
from chandraclip.observation.profile import BetterMinimum, Point, statistic_rise
from chandraclip.observation.statistics import Cash, Statistic, WStatistic
from chandraclip.ogip.spectrum import Spectrum

CM_PER_MPC = 3.0856775814913674e24


def _band(low: Any, high: Any) -> tuple[float, float]:
    """keV, as `band_of`, of a model's flux."""
    band = band_of((low, high))
    if band is None or not (band[0] > 0 and band[1] <= HIGHEST_ENERGY):
        raise ValueError(f"band {low} to {high}: must be two increasing energies above 0, up to {HIGHEST_ENERGY:g} keV")
    return band


@dataclass(frozen=True)
class Measurement:
    """A value and its interval.

    Attributes:
        value: the best one.
        low, high: ends of the interval; None where it is open, because the likelihood falls too little up to the end of
            the parameter's range, and where the value was fixed.
        unit: in words; "" for a pure number.
        fixed: whether it was held.
    """

    value: float
    low: float | None
    high: float | None
    unit: str
    fixed: bool = False

    def __str__(self) -> str:
        if self.fixed:
            interval = "fixed"
        elif self.low is not None and self.high is not None:
            interval = f"{self.low:.4g} to {self.high:.4g}"
        elif self.high is not None:
            interval = f"< {self.high:.4g}"
        else:
            interval = "no limit" if self.low is None else f"> {self.low:.4g}"
        return f"{self.value:.4g} ({interval}) {self.unit}".rstrip()


class Parameters(dict[str, Measurement]):
    """Measurements by XSPEC's name of the parameter; looked up in any case."""

    def __missing__(self, name: str) -> Measurement:
        for known in self:
            if known.casefold() == str(name).casefold():
                return self[known]
        raise KeyError(f"no parameter {name!r}: {', '.join(self)}")


@dataclass(frozen=True, eq=False, repr=False)
class FitResult:
    """A fit of one spectrum: `fitting.fit_spectrum` makes it.

    Attributes:
        spectrum: what was fitted.
        model, absorption: of the fit.
        parameters: by XSPEC's name, value, low, high and unit; ``fit.parameters["nH"].high``.
        energy: keV, the channels' range.
        confidence: of the intervals.
        distance: Mpc as given, or None.
    """

    spectrum: Spectrum
    model: str
    absorption: str | None
    parameters: dict[str, Measurement]
    energy: tuple[float, float]
    confidence: float
    distance: float | None
    likelihood: Likelihood = field(repr=False)
    best: Point = field(repr=False)
    smooth_background: np.ndarray | None = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", Parameters(self.parameters))

    @property
    def statistic(self) -> float:
        """Of the best fit, summed over channels."""
        return self.best.statistic

    @property
    def statistic_name(self) -> str:
        """ "cash" or "wstat"."""
        return self.likelihood.statistic.name

    @property
    def num_bins(self) -> int:
        """Channels fitted."""
        return self.likelihood.statistic.counts.size

    @property
    def degrees_of_freedom(self) -> int:
        """Channels less fitted parameters."""
        return self.num_bins - sum(not parameter.fixed for parameter in self.parameters.values())

    @property
    def redshift(self) -> float:
        return self.likelihood.model.redshift

    @property
    def photon_flux(self) -> np.ndarray:
        """(E,) absorbed photons/cm2/s in each photon-energy bin of the response."""
        response = self.spectrum.response
        assert response is not None
        shape, column = self.likelihood.outer(self.best.position[None])
        model = self.likelihood.model
        return self.best.norm * model.photon_flux(response.energy_lo, response.energy_hi, shape, column)[0]

    @property
    def expected_counts(self) -> np.ndarray:
        """(C,) counts of the source in each channel of the spectrum, also outside the band; no background."""
        return self.spectrum.expected_counts(self.photon_flux)

    @property
    def expected_background(self) -> np.ndarray:
        """(C,) background counts in the source region that the fit goes with.

        For wstat the most likely ones a channel given its counts in both regions; for cash the smoothed scaled ones;
        zeros without a background.
        """
        spectrum = self.spectrum
        if spectrum.background_counts is None or self.smooth_background is None:
            return np.zeros(spectrum.counts.shape)
        if self.statistic_name == "cash":
            return self.smooth_background
        scale = np.broadcast_to(spectrum.background_scale, spectrum.counts.shape)
        return WStatistic(spectrum.counts, spectrum.background_counts, scale).background(self.expected_counts)

    def flux(self, low: float | Quantity, high: float | Quantity, absorbed: bool = True) -> Measurement:
        """Energy flux in a band, erg/cm2/s, with its interval by profile likelihood.

        Args:
            low, high: keV or with a unit, as observed; they may lie outside the fit's band, where the flux is
                extrapolated.
            absorbed: as observed (True), or before the absorber (False).

        Raises:
            ValueError: a band that is not two increasing energies above 0, up to 1000 keV.
        """
        low, high = _band(low, high)
        model = self.likelihood.model

        def amount(shape: np.ndarray, column: np.ndarray) -> np.ndarray:
            return model.energy_flux((low, high), shape, column, absorbed)

        value = self.best.norm * float(amount(*self.likelihood.outer(self.best.position[None]))[0])
        try:
            limits = self.likelihood.amount_limits(self.best, value, amount, statistic_rise(self.confidence))
        except BetterMinimum:
            raise ValueError("a better fit than this one exists: fit again with one parameter fixed near it") from None
        return Measurement(value, *limits, "erg/cm2/s")

    def luminosity(self, low: float | Quantity, high: float | Quantity) -> Measurement:
        """Unabsorbed luminosity in a band of the source's frame, erg/s, isotropic.

        The distance is the one given to the fit, else the luminosity distance of its redshift (Planck Collaboration
        2020, astropy's Planck18).

        Args:
            low, high: keV, or with a unit, in the source's frame.

        Raises:
            ValueError: the fit has neither distance nor redshift, or a bad band.
        """
        distance = self.distance
        if distance is None:
            if not self.redshift > 0:
                raise ValueError("a luminosity needs a distance: fit with distance=..., or redshift=...")
            from astropy.cosmology import Planck18

            distance = float(Planck18.luminosity_distance(self.redshift).to_value("Mpc"))
        low, high = _band(low, high)
        stretch = 1.0 + self.redshift
        flux = self.flux(low / stretch, high / stretch, absorbed=False)
        area = 4.0 * np.pi * (distance * CM_PER_MPC) ** 2
        low_end, high_end = (None if limit is None else area * limit for limit in (flux.low, flux.high))
        return Measurement(area * flux.value, low_end, high_end, "erg/s")

    def goodness(self, num_simulations: int = 1000, seed: int = 0) -> float:
        """Share of spectra simulated from the fit that fit better (lower statistic) than the real one.

        Near 1 the model is a bad one; for a true model it is uniform from 0 to 1. Source and background region are
        drawn from the best fit and the smoothed background. Each simulated spectrum is fitted anew to first order: one
        step of Fisher's scoring in all free parameters, from the best fit.

        Raises:
            ValueError: fewer than one simulation.
        """
        if num_simulations < 1:
            raise ValueError(f"num_simulations {num_simulations}: must be at least 1")
        rng = np.random.default_rng(seed)
        statistic = self.likelihood.statistic
        source, derivative = self.likelihood.tangent(self.best)
        size = (num_simulations, source.size)
        if isinstance(statistic, WStatistic):
            assert self.smooth_background is not None
            inside = np.where(statistic.covered, self.smooth_background[self.likelihood.channels], 0.0)
            outside = inside / statistic.scale
            drawn: Statistic = WStatistic(
                rng.poisson(source + inside, size), rng.poisson(outside, size), statistic.raw_scale
            )
            typical: Statistic = WStatistic(source + inside, outside, statistic.raw_scale)
        else:
            assert isinstance(statistic, Cash)
            inside = statistic.known_background
            drawn = Cash(rng.poisson(source + inside, size), inside)
            typical = Cash(source + inside, inside)
        information = (derivative * typical.curvature(source)) @ derivative.T
        step = -(drawn.slope(source) @ derivative.T) @ np.linalg.pinv(information, hermitian=True)
        refitted = np.maximum(source + step @ derivative, 0.0)
        simulated = np.minimum(drawn.value(refitted), drawn.value(source))
        return float((simulated < self.statistic).mean())

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain numbers and strings, ready for JSON."""
        return {
            "file": str(self.spectrum.path),
            "model": self.model,
            "absorption": self.absorption,
            "redshift": self.redshift,
            "parameters": {name: asdict(parameter) for name, parameter in self.parameters.items()},
            "confidence": self.confidence,
            "energy": list(self.energy),
            "statistic": self.statistic,
            "statistic_name": self.statistic_name,
            "num_bins": self.num_bins,
            "degrees_of_freedom": self.degrees_of_freedom,
        }

    def __repr__(self) -> str:
        name = self.model if self.absorption is None else f"{self.absorption} * {self.model}"
        lines = [f"{name} fitted to {self.spectrum.path.name}, {self.energy[0]:g}-{self.energy[1]:g} keV"]
        lines += [f"  {parameter} {measurement}" for parameter, measurement in self.parameters.items()]
        lines.append(f"  {self.statistic_name} {self.statistic:.2f} for {self.degrees_of_freedom} degrees of freedom")
        return "\n".join(lines)
