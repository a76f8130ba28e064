"""Configuration of Axia's encoder of photon lists."""

from __future__ import annotations

from chandraclip.models.configuration import ChandraConfig


class AxiaEncoderConfig(ChandraConfig):
    """Photons, a histogram of energies, a periodogram and three numbers, each through its own branch, to latents.

    Args:
        num_features: numbers a photon, the columns of `event_values`.
        max_events: photons of a list that are read, the first ones.
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, hidden_dropout, attention_dropout,
            hidden_act, layer_norm_eps: of the transformer over photons, whose layers normalise after the sum.
        num_spectrum_bins: of the histogram of energies.
        num_frequencies: of the periodogram.
        branch_size: width of each of the three small branches.
        fused_size: of the vector that all branches are projected to; Axia's language model reads it.
        latent_size: numbers in the bottleneck, a linear layer of that vector. Axia's embedding is its 64 principal
            components after division by its length, fitted when training has ended.
        num_bands, num_decoder_frequencies, decoder_hidden_size, num_decoder_blocks: of the field of the count rate that
            it is trained with here, that of the event transformer.
        max_likelihood_events, total_variation_weight, latent_weight: of that loss, as `EventTransformerConfig` has it.

    Published (repository AstroMind-Inc/axia): all sizes up to `fused_size`; as built there they are 7,555,840
    parameters, 2.6 million of them in the last projection. Axia's were trained through a language model, on questions
    about catalogue columns; the loss, the bottleneck and the decoder here are ours.
    """

    model_type = "axia_encoder"
    base_config_key = "event_config"
    first_version = 2

    num_features: int = 5
    max_events: int = 512
    hidden_size: int = 256
    intermediate_size: int = 1024
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_eps: float = 1e-5
    num_spectrum_bins: int = 64
    num_frequencies: int = 50
    branch_size: int = 128
    fused_size: int = 4096
    latent_size: int = 64
    num_bands: int = 3
    num_decoder_frequencies: int = 6
    decoder_hidden_size: int = 64
    num_decoder_blocks: int = 2
    max_likelihood_events: int | None = 512
    total_variation_weight: float = 0.005
    latent_weight: float = 0.01

    def check(self) -> None:
        self.check_heads()
        self.check_positive("max_events", "branch_size", "fused_size", "latent_size", "decoder_hidden_size")
        self.check_positive("num_spectrum_bins", "num_frequencies")
        if self.max_likelihood_events is not None:
            self.check_positive("max_likelihood_events")
