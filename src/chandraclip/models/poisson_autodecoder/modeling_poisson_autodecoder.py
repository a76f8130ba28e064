"""PPAD: latents of photon lists without an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from chandraclip.models.contract import TowerModel, TrainingPlan, TrainingStage
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.layers import ZeroLinear, masked_mean
from chandraclip.models.poisson_autodecoder.configuration_poisson_autodecoder import PoissonAutodecoderConfig
from chandraclip.models.poisson_autodecoder.feature_extraction_poisson_autodecoder import (
    PoissonAutodecoderFeatureExtractor,
)
from chandraclip.models.poisson_autodecoder.latent_fit import fit_latents
from chandraclip.models.poisson_autodecoder.point_process import (
    PhotonLists,
    autodecoder_loss,
    trapezoid_integral,
    with_background,
)
from chandraclip.models.poisson_autodecoder.rate_decoder import DecodedLists, RateDecoder
from chandraclip.models.poisson_autodecoder.window_rows import window_rows
from chandraclip.models.poisson_autodecoder.windows import bright_probability

# The published code has 10 times the decoder's learning rate for the latents.
LATENT_LEARNING_RATE_SCALE = 10.0


@dataclass
class PoissonAutodecoderOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, mean over the rows that have events.
        latents: (B, latent_size).
        log_rate: (B, mesh_size + 1, 3), log of photons per unit of time (8 h) in each band, over `event_duration`.
        loss_parts: the loss's parts before they are weighted, means as the loss.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    log_rate: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


class PoissonAutodecoderModel(TowerModel):
    """Photon lists to latents that are fitted, each list's by itself, under a decoder of the count rate (PPAD).

    There is no encoder. The latents of the lists that the decoder is trained on are a table of parameters
    (`training_latents`), trained along; those of any other list are found by `encode`: 400 steps of Adam with the
    decoder frozen. It can therefore not be a tower of an aligned model.

    Source: Song et al. 2025 (arXiv:2502.01627), and its public code (villrv/ppae).
    """

    config: PoissonAutodecoderConfig
    config_class = PoissonAutodecoderConfig
    base_model_prefix = "poisson_autodecoder"
    main_input_name = "event_time"
    modality = "event"
    feature_extractor_class = PoissonAutodecoderFeatureExtractor
    encoder_class = None
    _no_split_modules = ["RateBlock"]  # noqa: RUF012

    def __init__(self, config: PoissonAutodecoderConfig):
        super().__init__(config)
        self.decoder = RateDecoder(config)
        self.training_latents = nn.Parameter(torch.empty(config.num_training_lists, config.latent_size))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ZeroLinear):  # blocks start as the identity
            init.zeros_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            init.kaiming_normal_(module.weight, a=0.0, mode="fan_in")
            init.zeros_(module.bias)
        elif isinstance(module, PoissonAutodecoderModel):
            init.normal_(module.training_latents, std=1.0)

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        """Raises ValueError where the meshes differ."""
        if getattr(extractor, "mesh_size", None) != self.config.mesh_size:
            raise ValueError(
                f"this model has a mesh of {self.config.mesh_size} steps, its feature extractor gives the good time of "
                f"{getattr(extractor, 'mesh_size', None)}: give both the same mesh_size"
            )

    @property
    def start_latents(self) -> Tensor:
        """(latent_size,) where fits begin: the mean training latent; 0, that of the prior, before any training."""
        table = self.training_latents.detach()
        return table.mean(dim=0) if len(table) else table.new_zeros(self.config.latent_size)

    def encode(self, *inputs: Tensor, **batch: Tensor) -> Tensor:
        """(B, latent_size) latents fitted to the lists of a batch of the feature extractor, without gradient."""
        if inputs:
            raise TypeError("encode takes the keys of a batch by name")
        return fit_latents(self.decoder, photon_lists(batch), self.start_latents, self.config)

    def forward(self, row_index: Tensor | None = None, event_mask: Tensor | None = None, **batch: Any) -> Any:
        """
        Args:
            row_index: (B,) int64, rows of the table of latents; while training. Where it is not given, the latents are
                fitted first, and the loss is that at the fitted ones.
            event_mask: (B,) bool, rows that count in the loss; all by default.
            batch: of the feature extractor; other keys are accepted and not read.

        Returns:
            `PoissonAutodecoderOutput`; its loss is the published one, a sum over a list, of a mean over lists.
        """
        lists = photon_lists(batch)
        if row_index is not None and self.training:
            latents = self.training_latents[row_index]
        else:
            latents = fit_latents(self.decoder, lists, self.start_latents, self.config)
        points = DecodedLists(self.decoder, lists.mesh(self.config.mesh_size), lists.time, lists.row)
        on_mesh, at_photons = points.log_rate(latents)
        row_loss, parts = autodecoder_loss(
            on_mesh, at_photons, latents, lists, self.config.total_variation_weight, self.config.latent_weight
        )
        mean = {
            name: masked_mean(value, event_mask, across_processes=self.training)
            for name, value in {"loss": row_loss, **parts}.items()
        }
        return PoissonAutodecoderOutput(
            loss=mean.pop("loss"), latents=latents, log_rate=on_mesh.detach(), loss_parts=mean
        )

    def prepare_training(
        self,
        rows: Any,
        seed: int,
        *,
        windows: bool = True,
        max_lists: int | None = None,
        min_duration: float = 28_800.0,
        max_duration: float = 200_000.0,
        min_photons: int = 10,
        max_photons: int = 10_000,
        filter_location: float = 900.0,
        filter_power: float = 0.01,
        filtered_steps: int = 0,
        latent_steps: int = 0,
    ) -> TrainingPlan:
        """The published training: a table of latents, a tenth of their learning rate for the decoder, three stages.

        (1) `filtered_steps` on a subset of bright lists; (2) `latent_steps` on all with the decoder frozen, where those
        of (1) keep the latents they have; (3) all lists and parameters, until the run's last step.

        Args:
            rows: of the training split, in Arrow format.
            seed: of the latents' first values, of the windows' shifts and of the subset.
            windows: whether lists are cut in windows of 8 h, each from its first photon but for a random shift; if
                not, the lists are what they are.
            max_lists: how many of them, at random, are trained on; None for all. Each must be seen some tens of times,
                or its latents stay what was drawn.
            min_duration, max_duration, min_photons, max_photons: lists that are cut, `windows.cut_windows`.
            filter_location, filter_power: of the subset, `windows.bright_probability`.
            filtered_steps, latent_steps: 0 leaves a stage out.

        Raises:
            ValueError: no list is left.
        """
        generator = np.random.default_rng(np.random.SeedSequence([seed, 0x99AD]))
        if windows:
            rows = window_rows(rows, generator, (min_duration, max_duration), (min_photons, max_photons))
        if not len(rows):
            raise ValueError(
                f"no photon list of {min_photons} to {max_photons} photons in {min_duration:g} to {max_duration:g} s: "
                "set min_duration in training_options, or windows to false"
            )
        if max_lists is not None and len(rows) > max_lists:
            rows = rows.select(np.sort(generator.permutation(len(rows))[:max_lists]))
        self.config.num_training_lists = len(rows)
        drawn = torch.randn(
            len(rows), self.config.latent_size, generator=torch.Generator().manual_seed(int(generator.integers(2**62)))
        )
        self.training_latents = nn.Parameter(drawn.to(self.training_latents))
        stages = [TrainingStage()]
        if latent_steps:
            stages.insert(0, TrainingStage(latent_steps, frozen=("decoder.",)))
        if filtered_steps:
            counts = rows.select_columns(["event_time"])[:]["event_time"]
            lengths = np.concatenate([np.asarray(chunk.value_lengths()) for chunk in counts.chunks])
            bright = generator.random(len(rows)) < bright_probability(lengths, filter_location, filter_power)
            stages.insert(0, TrainingStage(filtered_steps, rows=np.flatnonzero(bright)))
        return TrainingPlan(rows, tuple(stages), {"training_latents": LATENT_LEARNING_RATE_SCALE})

    def log_rate(self, latents: Tensor, batch: Mapping[str, Tensor], time: Tensor, row: Tensor) -> Tensor:
        """See `TowerModel.log_rate`; the source's rate and the known background's.

        Outside of what the feature extractor keeps (`max_duration`) the model says nothing, and the rate is the mean
        of that inside.
        """
        scale = self._time_scale
        since = ((time - batch["event_start"][row]) / scale).to(latents)
        decoder = self.decoder
        rate = decoder(decoder.encode_time(since) + decoder.encode_latents(latents)[row]).float()
        background = batch.get("event_background")
        rate = with_background(rate, None if background is None else background[row])
        outside = since > batch["good_duration"][row]
        if bool(outside.any()):
            rate = torch.where(outside[:, None], self._mean_rate(latents, batch).log()[row], rate)
        return rate - np.log(scale)

    def expected_photons(self, latents: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """See `TowerModel.expected_photons`; of the good time whether the loss knows it or not."""
        inside = trapezoid_integral(self._rate_on_mesh(latents, batch), batch["good_duration"], batch["good_share"])
        return inside + batch["good_after"][:, None] * self._mean_rate(latents, batch)

    @property
    def _time_scale(self) -> float:
        return float(getattr(self.feature_extractor, "time_scale", 28_800.0))

    def _rate_on_mesh(self, latents: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, mesh_size + 1, 3) photons a unit of time over `good_duration`."""
        places = torch.linspace(0.0, 1.0, self.config.mesh_size + 1, device=latents.device)
        from_time = self.decoder.encode_time(batch["good_duration"][:, None] * places)
        log_rate = self.decoder(from_time + self.decoder.encode_latents(latents)[:, None]).float()
        background = batch.get("event_background")
        return with_background(log_rate, None if background is None else background[:, None]).exp()

    def _mean_rate(self, latents: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """(B, 3) mean rate over `good_duration`."""
        rate = self._rate_on_mesh(latents, batch)
        return trapezoid_integral(rate, torch.ones_like(batch["good_duration"]))


def photon_lists(batch: Mapping[str, Tensor]) -> PhotonLists:
    """The lists of a batch of the feature extractor; with good time and background where it gives them to the loss."""
    return PhotonLists(
        time=batch["event_time"].float(),
        band=batch["event_band"],
        cu_seqlens=batch["event_cu_seqlens"],
        duration=batch["event_duration"].float(),
        good_share=batch.get("event_share"),
        background=batch.get("event_background"),
    )
