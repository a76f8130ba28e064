"""The pictures of one observation: spectrum, what an autoencoder makes of it, light curve, energy against time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from chandraclip.data.rows import detection_columns
from chandraclip.errors import InputFileError
from chandraclip.model_folder import model_folder
from chandraclip.observation import Observation

SPECTRUM, RECONSTRUCTION, LIGHT_CURVE, ENERGY_TIME = "spectrum", "reconstruction", "light curve", "energy and time"
PICTURES = (SPECTRUM, RECONSTRUCTION, LIGHT_CURVE, ENERGY_TIME)


def pictures(observation: Observation, autoencoder: Autoencoder | None = None) -> tuple[dict[str, Figure], list[str]]:
    """What can be drawn of an observation, by the names in `PICTURES`, and why the rest cannot.

    Args:
        observation: spectrum, events or both.
        autoencoder: draws the reconstruction; None: there is none.
    """
    drawn, reasons = {}, []
    draw: dict[str, Callable[[Figure], Any]] = {}
    if observation.spectrum is not None:
        draw[SPECTRUM] = lambda figure: observation.plot(figure=figure)
        if autoencoder is not None:
            draw[RECONSTRUCTION] = lambda figure: autoencoder.plot(observation, figure)
    if observation.events is not None:
        draw[LIGHT_CURVE] = lambda figure: observation.plot_light_curve(figure=figure)
        draw[ENERGY_TIME] = lambda figure: observation.plot_energy_time_map(figure=figure)
    for name, act in draw.items():
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")  # not pyplot's: several visitors, several threads
        try:
            act(figure)
        except ValueError as error:
            reasons.append(f"No {name}: {' '.join(str(error).split())}")
        else:
            drawn[name] = figure
    return drawn, reasons


class Autoencoder:
    """A pre-trained model of spectra, with its decoder, which an aligned model has left behind.

    Args:
        model: folder or Hub id.

    Raises:
        InputFileError: none loads from there, or it has no decoder of spectra.
    """

    def __init__(self, model: str | Path):
        import torch
        import transformers

        from chandraclip.models import FoldedSpectrumAutoencoderModel  # which registers the families

        folder = model_folder(str(model))
        self.network = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
        if getattr(self.network, "modality", None) != "spectrum" or not hasattr(self.network, "decoder"):
            kind = self.network.config.model_type
            raise InputFileError(folder, f"a model of type {kind!r} has no decoder of spectra; give a pre-trained one")
        self.prepare = transformers.AutoFeatureExtractor.from_pretrained(folder)
        self.folds = isinstance(self.network, FoldedSpectrumAutoencoderModel)
        normalization = getattr(self.prepare, "normalization", "as the model does")
        self.quantity = "counts/s/keV" if self.folds else f"rate, normalised ({normalization})"

    def reconstruct(self, observation: Observation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energies (keV), the spectrum as the model reads it, and as its decoder gives it back; (num_points,) each.

        Of a model that folds: counts of source and background a detector bin that is good, and those expected.

        Raises:
            ValueError: no spectrum, or none with a good channel in the model's band; no response, where one is needed.
        """
        import torch

        row = detection_columns(observation.spectrum, None)
        if observation.spectrum is not None:
            row["response"] = observation.spectrum.response
        batch = self.prepare(row)
        if observation.spectrum is None or not bool(batch["spectrum_mask"][0]):
            needs = " or no response, through which it folds" if self.folds else ""
            raise ValueError(f"the spectrum has no good channel in the band of the autoencoder{needs}")
        with torch.inference_mode():
            output = self.network(**batch)
        if self.folds:
            good = batch["spectrum_good"][0].numpy() > 0
            edges = self.prepare.bins.edges
            per = (np.diff(edges) * observation.spectrum.exposure)[good]
            read, given = batch["spectrum_binned_counts"][0].numpy()[good], output.expected[0].numpy()[good]
            return (0.5 * (edges[:-1] + edges[1:]))[good], read / per, given / per
        given = output.reconstruction[0].float().numpy()
        return self.prepare.energies, batch["spectrum_values"][0].numpy(), given

    def plot(self, observation: Observation, figure: Figure) -> None:
        """`reconstruct` as a picture, with the mean absolute difference."""
        from chandraclip.observation.plotting import ROUND_ENERGIES

        energies, read, given = self.reconstruct(observation)
        axes = figure.subplots()
        axes.plot(energies, read, color="#1f3b57", linewidth=1.2, label="spectrum, as the model reads it")
        axes.plot(energies, given, color="#c1440e", linewidth=1.2, label="reconstruction from the latents")
        axes.set(xscale="log", xlabel="energy (keV)", ylabel=self.quantity)
        axes.set(title=f"Reconstruction, mean absolute difference {np.abs(given - read).mean():.3g}")
        axes.set_xticks([energy for energy in ROUND_ENERGIES if energies[0] <= energy <= energies[-1]])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, fontsize="small")
