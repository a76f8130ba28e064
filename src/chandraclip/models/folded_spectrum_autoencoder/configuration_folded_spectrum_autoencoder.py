"""Configuration of the folded spectrum autoencoder."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class FoldedSpectrumAutoencoderConfig(ChandraConfig):
    """An autoencoder whose decoder gives an incident photon spectrum, seen through the response of each row.

    Args:
        num_bins: detector bins a spectrum comes in (`FoldedSpectrumFeatureExtractor.num_bins`).
        band_min, band_max: keV, of the detector bins (the feature extractor's energy_min and energy_max).
        patch_size: neighbouring bins a token; divides `num_bins`.
        hidden_size: width of the tokens.
        num_hidden_layers: transformer layers of the encoder.
        num_attention_heads: a divisor of `hidden_size`.
        intermediate_size: width of the feed-forward layers.
        latent_size: numbers in the bottleneck.
        decoder_hidden_size: width of the decoder, a network of two hidden layers.
        num_energies: points of the incident spectrum, evenly spaced in the log of the energy.
        energy_min, energy_max: keV, the first and the last of them; outside, the flux density is that of the end.
        num_knots: of the continuum, evenly spaced in the log of the energy; between them it is a power law.
        hidden_act, hidden_dropout, attention_dropout, layer_norm_eps: as in BERT-like models.
        variational: the latents are the mean of a normal distribution, from which training draws.
        kl_weight: of its divergence from a standard normal, per latent.
        consistency_weight: of the distance between the latents of two thinned copies of one spectrum.
        smoothness_weight: of the squared second differences of the log continuum.
        line_weight: of the mean line, an excess over the continuum in the log.
        min_thinning: a thinned copy has this share of the photons or more; 0.5 or less.
        area_scatter: in training the two copies of a spectrum have areas of their own: scatter of the log odds of a
            photon to go to one, as each of three smooth curves over the energy. 0: the same share at all energies.
        max_loss_counts: a row with more counts than these counts as if it had so many, in training.
        summary_mean, summary_std: standardise `spectrum_summary` (log10 photon flux density at 1 keV, log10 counts,
            background share).
    """

    model_type = "folded_spectrum_autoencoder"
    base_config_key = "spectrum_config"
    first_version = 2

    num_bins: int = 96
    band_min: float = 0.5
    band_max: float = 7.0
    patch_size: int = 4
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 128
    latent_size: int = 64
    decoder_hidden_size: int = 256
    num_energies: int = 160
    energy_min: float = 0.3
    energy_max: float = 10.0
    num_knots: int = 32
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-6
    variational: bool = False
    kl_weight: float = 1e-3
    consistency_weight: float = 0.1
    smoothness_weight: float = 1e-3
    line_weight: float = 1e-2
    min_thinning: float = 0.05
    area_scatter: float = 0.0
    max_loss_counts: float = 200.0
    summary_mean: list[float] | tuple[float, ...] = (-4.5, 2.0, 0.1)
    summary_std: list[float] | tuple[float, ...] = (1.0, 0.7, 0.2)

    def check(self) -> None:
        self.check_positive("num_bins", "patch_size", "latent_size", "intermediate_size", "num_hidden_layers")
        self.check_positive("decoder_hidden_size", "energy_min", "max_loss_counts")
        self.check_heads()
        if self.num_bins % self.patch_size:
            raise ValueError(f"num_bins {self.num_bins} is not a multiple of patch_size {self.patch_size}")
        if not 0 < self.band_min < self.band_max:
            raise ValueError(f"the band {self.band_min}-{self.band_max} keV is empty")
        if len(self.summary_mean) != 3 or len(self.summary_std) != 3:
            raise ValueError("summary_mean and summary_std have three numbers each")
        if not self.energy_min < self.energy_max:
            raise ValueError(f"the energies {self.energy_min}-{self.energy_max} keV are none")
        if not 3 <= self.num_knots <= self.num_energies:
            raise ValueError(f"num_knots must be 3 to num_energies {self.num_energies}, it is {self.num_knots}")
        if not 0 < self.min_thinning <= 0.5:
            raise ValueError(f"min_thinning must be in (0, 0.5], it is {self.min_thinning}")
        for name in ("kl_weight", "consistency_weight", "smoothness_weight", "line_weight", "area_scatter"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, it is {getattr(self, name)}")

    @property
    def num_patches(self) -> int:
        return self.num_bins // self.patch_size
