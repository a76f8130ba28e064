"""Configuration of the event transformer."""

from __future__ import annotations

from typing import Any, ClassVar

from chandraclip.models.configuration import ChandraConfig

NUM_LEVELS = 3  # latents that hold the mean rate and its colour
MIN_LEARNED = 2  # of the others


class EventTransformerConfig(ChandraConfig):
    """Photon lists to latents in one pass, and a count rate as decoder whose resolution follows the photons.

    Args:
        num_queries: learned queries that read a list; the cost in photons is linear in it.
        hidden_size, intermediate_size, num_attention_heads, hidden_act, layer_norm_eps: of the layers.
        num_hidden_layers: blocks of cross-attention to the photons and self-attention among the queries.
        latent_size: numbers in the bottleneck. The first three are the mean rate and its colour, the next `num_bursts`
            the centres of the bursts, the rest are learned.
        num_scales: neighbours 1, 2, 4, ..., 2 ** (num_scales - 1) places away that a photon's features look at. 0: the
            form of configuration version 2, whose photons know the next alone, and whose latents know no rate.
        list_statistics: whether the queries are told the statistics of the list as a whole (`list_statistics`),
            extremes among them; without, attention has to find them.
        spread_over_frames, power_oversampling: how the powers among these statistics are worked out; see there.
        num_time_frequencies: Fourier frequencies of a photon's time, given to the encoder.
        num_energy_frequencies: the same for its energy.
        num_decoder_frequencies: Fourier frequencies of time in the decoder's smooth field. The highest has a period of
            2 ** (2 - num_decoder_frequencies) of the observation, which the mesh must resolve.
        num_bursts: added to the field, each as short as the photons are close.
        decoder_hidden_size, num_decoder_blocks: width and residual blocks of the field (PPAD: 512 and 5).
        chunk_size: photons handled together; changes speed and memory, never the result.
        max_likelihood_events: photons a list whose rate is evaluated in the training loss, evenly spaced in order and
            weighted up to stand for all; None for all. The encoder always reads every photon.
        min_thinning: the loss is the likelihood of photons that the latents have not seen: each list is cut in two at
            random, in shares from this to one less this. 0: that of the photons which they have seen, and nothing else:
            statistics, consistency and planting are of the two parts.
        total_variation_weight: weight of the total variation of the rate (PPAD: 10 x mean |step| of 2,049 points).
        latent_weight: weight of the mean squared learned latent (PPAD: 1, for losses that are sums over a list).
        statistics_weight: weight of the squared error with which the latents of a part give, linearly, the statistics
            of the other part; `own_statistics_weight`: of the whole list's.
        consistency_weight: weight of the squared distance between the learned latents of the two parts, over the sum of
            their squares.
        planted_share: of the training lists, in which a burst, a flare, a dip or a pulsation is planted.
        planted_weight: weight of telling its kind and time scale, linearly, from the latents of a part; 0 plants
            nothing.
        count_weight: the likelihood of a list of N photons weighs as (N / 50) ** count_weight, from 1/4 to 8; its
            likelihood is a photon's.
        summary_mean, summary_std: standardise `event_summary` (log10 of photons, of exposure in s, of duration in s).
        rate_mean, rate_std: standardise log10 of the mean rate in photons/s, the first latent.
    """

    model_type = "event_transformer"
    base_config_key = "event_config"
    current_version: ClassVar[int] = 4

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
    num_scales: int = 10
    list_statistics: bool = True
    spread_over_frames: bool = True
    power_oversampling: int = 2
    num_time_frequencies: int = 8
    num_energy_frequencies: int = 3
    num_decoder_frequencies: int = 8
    num_bursts: int = 3
    decoder_hidden_size: int = 64
    num_decoder_blocks: int = 2
    chunk_size: int = 64
    max_likelihood_events: int | None = 512
    min_thinning: float = 0.1
    total_variation_weight: float = 0.0
    latent_weight: float = 0.0
    statistics_weight: float = 0.3
    own_statistics_weight: float = 0.3
    consistency_weight: float = 0.1
    planted_share: float = 0.4
    planted_weight: float = 0.5
    count_weight: float = 0.5
    summary_mean: list[float] | tuple[float, ...] = (1.7, 4.5, 4.5)
    summary_std: list[float] | tuple[float, ...] = (0.7, 0.6, 0.6)
    rate_mean: float = -2.7
    rate_std: float = 0.8

    def check(self) -> None:
        self.check_heads()
        self.check_positive("num_queries", "latent_size", "intermediate_size", "chunk_size", "decoder_hidden_size")
        self.check_positive("power_oversampling")
        if self.max_likelihood_events is not None:
            self.check_positive("max_likelihood_events")
        if not 0.0 <= self.min_thinning < 0.5:
            raise ValueError(f"min_thinning must be 0 or more and less than 1/2, it is {self.min_thinning}")
        if not 0.0 <= self.planted_share <= 1.0:
            raise ValueError(f"planted_share must be between 0 and 1, it is {self.planted_share}")
        if self.num_scales and self.latent_size < NUM_LEVELS + self.num_bursts + MIN_LEARNED:
            raise ValueError(
                f"latent_size {self.latent_size} has no room for {NUM_LEVELS} numbers of the mean rate, the centres of "
                f"{self.num_bursts} bursts and {MIN_LEARNED} more"
            )
        if not self.num_scales and (self.num_bursts or self.min_thinning):
            raise ValueError("num_scales 0, the earlier form, has neither num_bursts nor min_thinning: set both to 0")

    @classmethod
    def upgrade(cls, config_dict: dict[str, Any], version: int) -> dict[str, Any]:
        if version == 2:
            config_dict.pop("num_features", None)
            earlier = {"num_scales": 0, "list_statistics": False, "num_bursts": 0, "min_thinning": 0.0}
            earlier |= {"statistics_weight": 0.0, "own_statistics_weight": 0.0, "consistency_weight": 0.0}
            earlier |= {"planted_share": 0.0, "planted_weight": 0.0, "count_weight": 0.0}
            written = {"num_decoder_frequencies": 6, "total_variation_weight": 0.005, "latent_weight": 0.01}
            config_dict = {**written, **config_dict, **earlier}
        if version == 3:
            config_dict = {**config_dict, "spread_over_frames": False, "power_oversampling": 1}
        return config_dict
