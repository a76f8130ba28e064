"""Configuration of the variational autoencoder of unfolded spectra."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class SpectrumVaeConfig(ChandraConfig):
    """A variational autoencoder of unfolded spectra with a DeepONet decoder.

    Args:
        num_bins, energy_min, energy_max: logarithmic energy bins, keV, those of `UnfoldedSpectrumFeatureExtractor`.
        encoder_hidden_sizes: widths of the encoder's hidden layers.
        branch_hidden_sizes, trunk_hidden_sizes: of the two nets of the decoder: latents to coefficients, energy to
            templates.
        num_templates: that the trunk makes and the branch combines.
        num_frequencies: octaves of the Fourier features by which the trunk sees the logarithm of the energy; sharp
            features need them.
        latent_size: numbers in the bottleneck.
        hidden_act: activation of all hidden layers.
        variational: latents are drawn while training, z = mean + deviation x noise, and the loss has their divergence;
            without, a plain autoencoder.
        kl_weight: of the divergence from a unit Gaussian, in nats a spectrum, beside the mean loss of a bin.

    Published (Quintin, talk): 238 bins in 0.3-10 keV, an MLP encoder, two latents, a DeepONet, 475,206 parameters. The
    widths here are ours and give 473,541; so are the weight of the divergence and the Fourier features.
    """

    model_type = "spectrum_vae"
    base_config_key = "spectrum_config"
    first_version = 2

    num_bins: int = 238
    energy_min: float = 0.3
    energy_max: float = 10.0
    encoder_hidden_sizes: list[int] | tuple[int, ...] = (512, 128)
    branch_hidden_sizes: list[int] | tuple[int, ...] = (256, 256, 256)
    trunk_hidden_sizes: list[int] | tuple[int, ...] = (256, 256, 256)
    num_templates: int = 32
    num_frequencies: int = 8
    latent_size: int = 2
    hidden_act: str = "gelu"
    variational: bool = True
    kl_weight: float = 1e-3

    def check(self) -> None:
        self.check_positive("num_bins", "latent_size", "num_templates")
        if not 0 < self.energy_min < self.energy_max:
            raise ValueError(f"the band {self.energy_min}-{self.energy_max} keV is empty")
        for name in ("encoder_hidden_sizes", "branch_hidden_sizes", "trunk_hidden_sizes"):
            sizes = getattr(self, name)
            if not sizes or min(sizes) < 1:
                raise ValueError(f"{name} must be one or more positive widths, it is {list(sizes)}")
        for name in ("num_frequencies", "kl_weight"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, it is {getattr(self, name)}")
