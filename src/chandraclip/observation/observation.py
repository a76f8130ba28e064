"""`Observation`: the spectrum and the photons of one source in one observation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from chandraclip.catalog.bands import BANDS
from chandraclip.observation.embedding import embeddings, joint
from chandraclip.observation.energy_time import ENERGY_BINS, TIME_BINS, EnergyTimeMap, energy_time_map
from chandraclip.observation.hardness import Hardness, hardness_of_events, hardness_of_spectrum
from chandraclip.observation.light_curve import LightCurve, band_of, light_curve
from chandraclip.observation.variability import Variability, variability
from chandraclip.ogip.events import EventList
from chandraclip.ogip.facts import Described, header_facts, title_of
from chandraclip.ogip.header import ObservationHeader
from chandraclip.ogip.regions import Region
from chandraclip.ogip.spectrum import Spectrum
from chandraclip.ogip.writer import to_ogip

if TYPE_CHECKING:
    from astropy.units import Quantity
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from transformers import PreTrainedModel

    from chandraclip.observation.fit_result import FitResult


@dataclass(frozen=True, eq=False, repr=False)
class Observation(Described):
    """One source in one observation: a spectrum, photons, or both. `chandraclip.open` makes it from files.

    Attributes:
        spectrum: counts, background and response, or None.
        events: photons inside `region`, or None.
        region: that the photons were cut with, or None.
        files: role ("spectrum", "background", "arf", "rmf", "events", "region") -> the file that was read for it.
        notes: how files were found and what was left out, one sentence each.

    Raises:
        ValueError: neither a spectrum nor events.
    """

    spectrum: Spectrum | None = None
    events: EventList | None = None
    region: Region | None = None
    files: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.spectrum is None and self.events is None:
            raise ValueError("an observation needs a spectrum or events")

    @property
    def header(self) -> ObservationHeader:
        """The spectrum's facts, the event list's where it is silent."""
        headers = [part.header for part in (self.spectrum, self.events) if part is not None]
        return headers[0] if len(headers) == 1 else headers[0].filled(headers[1])

    @property
    def title(self) -> str:
        return f"Observation of {self.header.object_name or 'a source'}"

    @property
    def facts(self) -> dict[str, str]:
        facts = header_facts(self.header)
        if self.spectrum is not None:
            facts |= {"spectrum": self.spectrum.path.name, **_own(self.spectrum.facts)}
        if self.events is not None:
            facts |= {"events": self.events.path.name, **_own(self.events.facts)}
        elif self.region is not None:
            facts["region"] = self.region.summary
        if self.notes:
            facts["notes"] = f"{len(self.notes)} (see .notes)"
        return facts

    def plot(
        self,
        unfolded: bool | str = False,
        min_significance: float | None = 3.0,
        background: bool = True,
        model: FitResult | str | None = None,
        residuals: bool = True,
        energy: tuple[float, float] | Quantity | None = None,
        *,
        min_counts: int | None = None,
        oversample: float | None = 3.0,
        figure: Figure | SubFigure | None = None,
    ) -> Axes:
        """The spectrum against energy, both axes logarithmic, the background taken away.

        Errors are 68.3 %: exact Poisson limits of the counts (Gehrels 1986), the background's in quadrature; an arrow:
        the upper limit of a group whose background is not exceeded. Channels of bad QUALITY are left out.

        Args:
            unfolded: False: counts/s/keV. "photons": photons/cm2/s/keV; "energy" or True: E F_E, erg/cm2/s. Unfolded
                is divided by what a flat photon spectrum would give in the same channels (Nowak et al. 2005, ApJ 626,
                1006), so that it depends on no model; the model is treated alike.
            min_significance: channels are joined until their net counts are so many times their error; None: not.
            background: draw it too.
            model: of `fit`, drawn over the data, or the name of one to fit.
            residuals: with a model, (data - model) / error below.
            energy: keV or with a unit; None: the band of the fit, else where the effective area is above 1 % of its
                highest.
            min_counts: channels are joined until they hold so many counts.
            oversample: channels are joined until they are as wide as the resolution (FWHM) over this; None: not.
            figure: to draw in; None: a new one.

        Returns:
            The upper axes; ``.figure.savefig("spectrum.png")`` saves the picture.

        Raises:
            ValueError: no spectrum, no response, or no good channel in the band.
        """
        from chandraclip.observation.plotting import plot_spectrum

        result = self.fit(model) if isinstance(model, str) else model
        if result is not None and result.spectrum is not self.spectrum:
            raise ValueError(f"this fit is of another spectrum, {result.spectrum.path}: fit this one")
        return plot_spectrum(
            self._need_spectrum("plot"),
            unfolded=unfolded,
            min_significance=min_significance,
            min_counts=min_counts,
            oversample=oversample,
            background=background,
            expected=None if result is None else result.expected_counts,
            label="model" if result is None else " * ".join(filter(None, (result.absorption, result.model))),
            residuals=residuals,
            energy=result.energy if energy is None and result is not None else band_of(energy),
            figure=figure,
        )

    def light_curve(
        self,
        bin: float | Quantity | str | None = None,
        energy: tuple[float, float] | Quantity | None = None,
        p0: float = 0.05,
    ) -> LightCurve:
        """Rates in bins of a width (s, or a time with its unit), or in ``"bayesian_blocks"``; see `light_curve`.

        Raises:
            ValueError: no events, or bins or energies that cannot be.
        """
        return light_curve(self._need_events("light_curve"), bin, energy, p0)

    def plot_light_curve(
        self,
        bin: float | Quantity | str | None = None,
        energy: tuple[float, float] | Quantity | None = None,
        p0: float = 0.05,
        *,
        figure: Figure | SubFigure | None = None,
    ) -> Axes:
        """`light_curve` as a picture: rates with their limits, times without good time in grey."""
        return self.light_curve(bin, energy, p0).plot(title=title_of(self.header), figure=figure)

    def energy_time_map(
        self, energy_bins: int | ArrayLike = ENERGY_BINS, time_bins: int | ArrayLike = TIME_BINS
    ) -> EnergyTimeMap:
        """Photons in cells of log energy and time (Dillmann et al. 2025); see `energy_time.energy_time_map`.

        Raises:
            ValueError: no events, or bins that cannot be.
        """
        return energy_time_map(self._need_events("energy_time_map"), energy_bins, time_bins)

    def plot_energy_time_map(
        self,
        energy_bins: int | ArrayLike = ENERGY_BINS,
        time_bins: int | ArrayLike = TIME_BINS,
        *,
        figure: Figure | SubFigure | None = None,
    ) -> Axes:
        """`energy_time_map` as a picture."""
        return self.energy_time_map(energy_bins, time_bins).plot(title=title_of(self.header), figure=figure)

    def hardness(self, origin: str | None = None) -> Hardness:
        """CSC's hardness ratios with 68 % limits: modes of their posteriors (Primini & Kashyap 2014).

        Args:
            origin: "spectrum" (its background is taken away, its channels of bad QUALITY left out) or "events" (no
                background is known); None: the spectrum where there is one.

        Raises:
            ValueError: there is no such part, or the energies of the channels are not known.
        """
        if origin not in (None, "spectrum", "events"):
            raise ValueError(f"origin is 'spectrum' or 'events', not {origin!r}")
        if origin == "spectrum" or (origin is None and self.spectrum is not None):
            return hardness_of_spectrum(self._need_spectrum("hardness"))
        response = None if self.spectrum is None else self.spectrum.response
        return hardness_of_events(self._need_events("hardness"), response)

    def variability(self, energy: tuple[float, float] | Quantity | None = BANDS["b"]) -> Variability:
        """CSC's tests of a constant rate: Gregory-Loredo's var_prob and var_index, Kuiper's, and the light curve.

        Args:
            energy: keV or with a unit, CSC's broad band by default; None: all photons.

        Raises:
            ValueError: no events.
        """
        return variability(self._need_events("variability"), band_of(energy))

    def fit(self, model: str = "powerlaw", absorption: str | None = "tbabs", **options: Any) -> FitResult:
        """An absorbed model fitted to the spectrum; `fitting.fit_spectrum` has the models and options.

        Raises:
            ValueError: no spectrum, no response, or options that cannot be.
        """
        spectrum = self._need_spectrum("fit")
        from chandraclip.observation.fitting import fit_spectrum

        return fit_spectrum(spectrum, model, absorption, **options)

    def embed(
        self, model: str | Path | PreTrainedModel, modality: str | None = None, processor: Any = None, **context: Any
    ) -> np.ndarray:
        """The observation's place in a model's shared space.

        Args:
            model: folder or Hub id of a saved model, or one that is loaded.
            modality: "spectrum", "events" or "xray" (of the joint head); None: that of the joint head where the model
                has one, else the unit vectors that there are, added and made one again. `embeddings` gives each.
            processor: of a loaded model; None: the one saved with it.
            context: for a model with an observation context: nh_gal, the Galactic column of the position (1e20 cm-2),
                which no file has; without_context, names of columns that are taken as not known.

        Returns:
            (64,) float32, of length 1; the latents of a model of one modality.

        Raises:
            InputFileError: no model or no processor loads from there.
            ValueError: the observation has nothing that the model reads, or not this modality.
        """
        vectors = self.embeddings(model, processor, **context)
        if modality is None:
            return joint(vectors)
        if modality not in vectors:
            raise ValueError(f"no {modality} to embed: the model and the observation share {' and '.join(vectors)}")
        return vectors[modality]

    def embeddings(
        self, model: str | Path | PreTrainedModel, processor: Any = None, **context: Any
    ) -> dict[str, np.ndarray]:
        """What `embed` takes from: "spectrum", "events", "xray" -> its vector, for each that there is."""
        return embeddings(self.spectrum, self.events, model, processor, **context)

    def to_ogip(self, folder: str | Path, **options: Any) -> dict[str, Path]:
        """Spectrum, background, responses, photons and region as OGIP files.

        Args:
            folder: made where it is missing.
            options: name, compress, overwrite and region of `ogip.writer.to_ogip`; the observation's region by default.

        Returns:
            What each file holds, e.g. ``"spectrum"`` -> its path.

        Raises:
            InputFileError: a file is there already, and `overwrite` is not set.
        """
        if self.events is None and self.region is not None:
            options.setdefault("region", self.region)
        return to_ogip(folder, self.spectrum, self.events, **options)

    def to_sherpa(self) -> Any:
        """The spectrum as Sherpa's `DataPHA`, background and responses set; see `handover.to_sherpa`.

        Raises:
            ValueError: no spectrum.
            OptionError: Sherpa is not installed (``pip install 'chandraclip[sherpa]'``).
        """
        from chandraclip.observation.handover import to_sherpa

        return to_sherpa(self._need_spectrum("to_sherpa"))

    def to_stingray(self, bin: float | Quantity | None = None) -> Any:
        """The photons as Stingray's `EventList`, or its `Lightcurve` in bins of so many s; see `handover.to_stingray`.

        Raises:
            ValueError: no events, or a bin that is not positive.
            OptionError: Stingray is not installed (``pip install 'chandraclip[stingray]'``).
        """
        from chandraclip.observation.handover import to_stingray

        return to_stingray(self._need_events("to_stingray"), bin)

    def _need_spectrum(self, what: str) -> Spectrum:
        if self.spectrum is None:
            raise ValueError(f"{what} needs a spectrum, and this observation has only events ({self._names()})")
        return self.spectrum

    def _need_events(self, what: str) -> EventList:
        if self.events is None:
            raise ValueError(f"{what} needs events, and this observation has only a spectrum ({self._names()})")
        return self.events

    def _names(self) -> str:
        return ", ".join(str(part.path) for part in (self.spectrum, self.events) if part is not None)


def _own(facts: dict[str, str]) -> dict[str, str]:
    """Without what the observation says once for both."""
    return {
        name: value for name, value in facts.items() if name not in ("instrument", "observation", "object", "notes")
    }
