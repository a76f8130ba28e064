"""Configuration of the Poisson process autodecoder."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class PoissonAutodecoderConfig(ChandraConfig):
    """PPAD: latents that are fitted, list by list, and a residual network of the count rate. The defaults are those
    published: 2,645,507 parameters of the decoder.

    Args:
        latent_size: numbers a list.
        num_frequencies: of time in the positional encoding; the highest has a period of 2 ** (2 - num_frequencies) of
            8 h, which the mesh must resolve.
        decoder_hidden_size, num_decoder_blocks: width and residual blocks of the decoder.
        mesh_size: equal steps of the trapezoid rule over a list.
        total_variation_weight: of the rate's mean step on the mesh plus that from photon to photon.
        latent_weight: of the squared length of the latents.
        num_fit_steps, fit_learning_rate: Adam's, for the latents of lists that the model was not trained on.
        max_fit_points: points of time (mesh and photons) whose rate is evaluated together in a fit; changes speed and
            memory, never the result. None: as many as a CPU's cache holds there, else 2 ** 18.
        num_training_lists: rows of the table of latents; training sets it.
    """

    model_type = "poisson_autodecoder"
    base_config_key = "event_config"
    first_version = 2

    num_bands: int = 3
    latent_size: int = 8
    num_frequencies: int = 12
    decoder_hidden_size: int = 512
    num_decoder_blocks: int = 5
    mesh_size: int = 2048
    total_variation_weight: float = 10.0
    latent_weight: float = 1.0
    num_fit_steps: int = 400
    fit_learning_rate: float = 0.01
    max_fit_points: int | None = None
    num_training_lists: int = 0

    def check(self) -> None:
        self.check_positive(
            *("latent_size", "decoder_hidden_size", "num_decoder_blocks", "mesh_size"),
            *("num_frequencies", "fit_learning_rate"),
        )
        if self.max_fit_points is not None:
            self.check_positive("max_fit_points")
        for name in ("num_fit_steps", "num_training_lists", "total_variation_weight", "latent_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, it is {getattr(self, name)}")
