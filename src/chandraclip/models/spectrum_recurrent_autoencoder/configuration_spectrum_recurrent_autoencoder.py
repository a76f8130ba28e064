"""Configuration of the recurrent spectrum autoencoder."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class SpectrumRecurrentAutoencoderConfig(ChandraConfig):
    """A recurrent autoencoder (GRU) of resampled count spectra, what the published transformer was compared with.

    Args:
        num_points: energies a spectrum is resampled at (`SpectrumFeatureExtractor.num_points`).
        patch_size: neighbouring points read in one step; divides `num_points`.
        hidden_size: of the recurrent state.
        num_hidden_layers, num_decoder_layers: recurrent layers of encoder and decoder.
        bidirectional: the encoder reads from both ends.
        latent_size: numbers in the bottleneck.
        hidden_dropout: rate between recurrent layers.
        reconstruction_loss: "mae" (as the transformer's) or "mse".
        summary_mean, summary_std: standardise `spectrum_summary` (log10 net counts/s, log10 counts, background share).

    The sizes are ours: the talk names a GRU and gives no widths.
    """

    model_type = "spectrum_recurrent_autoencoder"
    base_config_key = "spectrum_config"
    first_version = 2

    num_points: int = 400
    patch_size: int = 8
    hidden_size: int = 96
    num_hidden_layers: int = 1
    num_decoder_layers: int = 1
    bidirectional: bool = True
    latent_size: int = 64
    hidden_dropout: float = 0.0
    reconstruction_loss: str = "mae"
    summary_mean: list[float] | tuple[float, ...] = (-2.5, 2.0, 0.1)
    summary_std: list[float] | tuple[float, ...] = (1.0, 0.7, 0.2)

    def check(self) -> None:
        self.check_positive("num_points", "patch_size", "hidden_size", "latent_size", "num_hidden_layers")
        self.check_positive("num_decoder_layers")
        self.check_choice("reconstruction_loss", ("mae", "mse"))
        if self.num_points % self.patch_size:
            raise ValueError(f"num_points {self.num_points} is not a multiple of patch_size {self.patch_size}")

    @property
    def num_patches(self) -> int:
        return self.num_points // self.patch_size
