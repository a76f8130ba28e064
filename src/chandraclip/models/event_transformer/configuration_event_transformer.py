"""Configuration of the event transformer."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class EventTransformerConfig(ChandraConfig):
    """Photon lists to latents in one pass, and a neural field of the count rate as decoder.

    Args:
        num_features: numbers a photon, the columns of `event_values` (`EventFeatureExtractor.FEATURES`).
        num_queries: learned queries that read a list; the cost in photons is linear in it.
        hidden_size, intermediate_size, num_attention_heads, hidden_act, layer_norm_eps: of the layers.
        num_hidden_layers: blocks of cross-attention to the photons and self-attention among the queries.
        latent_size: numbers in the bottleneck.
        num_time_frequencies: Fourier frequencies of a photon's time, given to the encoder.
        num_energy_frequencies: the same for its energy.
        num_decoder_frequencies: Fourier frequencies of time in the decoder. The highest has a period of
            2 ** (2 - num_decoder_frequencies) of the observation, which the mesh must resolve.
        decoder_hidden_size, num_decoder_blocks: width and residual blocks of the decoder (PPAD: 512 and 5).
        chunk_size: photons handled together; changes speed and memory, never the result.
        max_likelihood_events: photons a list whose rate is evaluated in the training loss, evenly spaced in order and
            weighted up to stand for all; None for all. The encoder always reads every photon.
        total_variation_weight: weight of the total variation of the rate (PPAD: 10 x mean |step| of 2,049 points).
        latent_weight: weight of the mean squared latent (PPAD: 1, for losses that are sums over a list of median 41).
        summary_mean, summary_std: standardise `event_summary` (log10 of photons, of exposure in s, of duration in s).
    """

    model_type = "event_transformer"
    base_config_key = "event_config"

    num_features: int = 5
    num_bands: int = 3
    num_queries: int = 16
    hidden_size: int = 64
    intermediate_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    latent_size: int = 64
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    num_time_frequencies: int = 8
    num_energy_frequencies: int = 3
    num_decoder_frequencies: int = 6
    decoder_hidden_size: int = 64
    num_decoder_blocks: int = 2
    chunk_size: int = 64
    max_likelihood_events: int | None = 512
    total_variation_weight: float = 0.005
    latent_weight: float = 0.01
    summary_mean: list[float] | tuple[float, ...] = (1.7, 4.5, 4.5)
    summary_std: list[float] | tuple[float, ...] = (0.7, 0.6, 0.6)

    def check(self) -> None:
        self.check_heads()
        self.check_positive("num_queries", "latent_size", "intermediate_size", "chunk_size", "decoder_hidden_size")
        if self.max_likelihood_events is not None:
            self.check_positive("max_likelihood_events")
