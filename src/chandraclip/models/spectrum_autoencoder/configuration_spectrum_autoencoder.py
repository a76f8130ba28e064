"""Configuration of the spectrum autoencoder."""

from __future__ import annotations

from typing import Any

from chandraclip.models.configuration import ChandraConfig

# Pinciroli Vago et al. align 64 latents (2026, arXiv:2603.04516) and cluster 8 (2025, arXiv:2510.14102).
PRESETS: dict[str, dict[str, Any]] = {
    "small": {},
    "small_8_latents": {"latent_size": 8},
    "published": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_decoder_layers": 4},
}


class SpectrumAutoencoderConfig(ChandraConfig):
    """A transformer autoencoder of resampled count spectra.

    Args:
        num_points: energies a spectrum is resampled at (`SpectrumFeatureExtractor.num_points`).
        patch_size: neighbouring points that make one token; divides `num_points`.
        hidden_size, intermediate_size, num_attention_heads, hidden_act, layer_norm_eps: of the transformer layers.
        num_hidden_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        latent_size: numbers in the bottleneck.
        hidden_dropout, attention_dropout: rates.
        reconstruction_loss: "mae" (published) or "mse".
        summary_mean, summary_std: standardise `spectrum_summary` (log10 net counts/s, log10 counts, background share).

    The sizes are ours: the papers give 400 points, 64 or 8 latents and the MAE, and no layer counts or widths.
    """

    model_type = "spectrum_autoencoder"
    base_config_key = "spectrum_config"

    num_points: int = 400
    patch_size: int = 8
    hidden_size: int = 64
    intermediate_size: int = 128
    num_hidden_layers: int = 2
    num_decoder_layers: int = 1
    num_attention_heads: int = 4
    latent_size: int = 64
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    reconstruction_loss: str = "mae"
    summary_mean: list[float] | tuple[float, ...] = (-2.5, 2.0, 0.1)
    summary_std: list[float] | tuple[float, ...] = (1.0, 0.7, 0.2)

    def check(self) -> None:
        self.check_heads()
        self.check_positive("num_points", "patch_size", "latent_size", "intermediate_size")
        self.check_choice("reconstruction_loss", ("mae", "mse"))
        if self.num_points % self.patch_size:
            raise ValueError(f"num_points {self.num_points} is not a multiple of patch_size {self.patch_size}")

    @property
    def num_patches(self) -> int:
        return self.num_points // self.patch_size
