"""Configuration of the autoencoders of E-t maps and E-t-dt cubes."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig

CONVOLUTIONAL, FULLY_CONNECTED, COMPONENTS = "convolutional", "fully_connected", "principal_components"


class EventCubeAutoencoderConfig(ChandraConfig):
    """E-t maps or E-t-dt cubes to latents, three ways.

    Args:
        architecture: "convolutional" (maps to 12 latents, as published), "fully_connected" (cubes to 24; published as
            "sparse", widths and weight not) or "principal_components" (15 of maps, 22 of cubes; fitted by
            training/fit_event_components.py, not trained).
        num_time_bins, num_energy_bins: of a map or cube.
        num_interval_bins: of a cube (16); 0 for maps.
        latent_size: numbers in the bottleneck.
        channels: of the two convolutional stages, each a 3 x 3 layer and a 2 x 2 one of stride 2.
        hidden_sizes: widths between the cells, or the last convolution, and the latents; the decoder is their mirror.
        activation_slope: of the LeakyReLU below 0.
        batch_norm: after the 3 x 3 convolutions, as published; the statistics are of the rows that have photons.
        kernel_penalty: of the sum of the squared weights of the layer that gives the latents, added to the loss, as
            Keras' L2 does.
        sparsity_weight: of the mean absolute latent, added to the loss.

    Published (code of Dillmann et al. 2025): the convolutional encoder, layer for layer, and its penalty of 0.1. Not
    published: its decoder, the fully connected network, the weight of its sparsity, losses, optimizer and epochs.
    """

    model_type = "event_cube_autoencoder"
    base_config_key = "event_config"
    first_version = 2

    architecture: str = CONVOLUTIONAL
    num_time_bins: int = 24
    num_energy_bins: int = 16
    num_interval_bins: int = 0
    latent_size: int = 12
    channels: list[int] | tuple[int, ...] = (32, 16)
    hidden_sizes: list[int] | tuple[int, ...] = (192, 48)
    activation_slope: float = 0.1
    batch_norm: bool = True
    kernel_penalty: float = 0.1
    sparsity_weight: float = 0.0

    @property
    def num_bins(self) -> tuple[int, ...]:
        """Bins of time, energy and, of a cube, intervals."""
        bins = self.num_time_bins, self.num_energy_bins
        return (*bins, self.num_interval_bins) if self.num_interval_bins else bins

    def check(self) -> None:
        self.check_choice("architecture", (CONVOLUTIONAL, FULLY_CONNECTED, COMPONENTS))
        self.check_positive("num_time_bins", "num_energy_bins", "latent_size")
        for name in ("num_interval_bins", "activation_slope", "kernel_penalty", "sparsity_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, it is {getattr(self, name)}")
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise ValueError(f"hidden_sizes must be one or more positive widths, it is {list(self.hidden_sizes)}")
        if self.architecture == CONVOLUTIONAL:
            if self.num_interval_bins:
                raise ValueError(f"a {CONVOLUTIONAL} network reads maps; for cubes: architecture {FULLY_CONNECTED!r}")
            if len(self.channels) != 2 or min(self.channels) < 1:
                raise ValueError(f"channels must be two positive widths, it is {list(self.channels)}")
            if self.num_time_bins % 4 or self.num_energy_bins % 4:
                raise ValueError(
                    f"{self.num_time_bins} x {self.num_energy_bins} bins: two strides of 2 need multiples of 4"
                )
