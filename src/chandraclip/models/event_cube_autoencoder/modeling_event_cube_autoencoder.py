"""Autoencoders of E-t maps and E-t-dt cubes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from chandraclip.models.contract import TowerModel
from chandraclip.models.event_cube_autoencoder.configuration_event_cube_autoencoder import (
    COMPONENTS,
    CONVOLUTIONAL,
    EventCubeAutoencoderConfig,
)
from chandraclip.models.event_cube_autoencoder.feature_extraction_event_cube_autoencoder import (
    RAW,
    EventCubeFeatureExtractor,
)
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.layers import ChandraPreTrainedModel, masked_mean

# Before the sigmoid of every cell at the start of training: nearly all cells are empty.
_EMPTY = -4.0


@dataclass
class EventCubeAutoencoderOutput(ModelOutput):
    """
    Attributes:
        loss: scalar: the mean squared error of a cell, over the rows that count, and what penalties add to it.
        latents: (B, latent_size).
        reconstruction: of the shape and in the units of `event_values`.
        loss_parts: reconstruction_loss, the error alone.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    reconstruction: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


class EventCubeAutoencoderPreTrainedModel(ChandraPreTrainedModel):
    config: EventCubeAutoencoderConfig
    config_class = EventCubeAutoencoderConfig  # the annotation alone is a string, which the library does not resolve
    base_model_prefix = "event_cube_autoencoder"
    main_input_name = "event_values"
    _supports_sdpa = False
    _supports_attention_backend = False
    _no_split_modules = ["Layer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            init.xavier_uniform_(module.weight)  # Keras' default
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, Components):
            init.zeros_(module.mean)
            init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)
        elif isinstance(module, EventCubeDecoder):
            init.constant_(module.offset, _EMPTY)


class Layer(GradientCheckpointingLayer):
    """A linear layer or convolution, and a LeakyReLU."""

    def __init__(self, layer: nn.Module, slope: float):
        super().__init__()
        self.layer = layer
        self.slope = slope

    def forward(self, hidden_states: Tensor) -> Tensor:
        return F.leaky_relu(self.layer(hidden_states), self.slope)


class MaskedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of the rows that count: an empty map is no photon list."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.training or mask is None or bool(mask.all()):
            return super().forward(input)
        others = F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return others.index_put((mask,), super().forward(input[mask])) if bool(mask.any()) else others


def _dense(sizes: Sequence[int], slope: float) -> list[nn.Module]:
    return [Layer(nn.Linear(before, after), slope) for before, after in pairwise(sizes)]


class MapStages(nn.Module):
    """The published convolutions: Conv 3 x 3, batch normalisation, Conv 2 x 2 of stride 2, twice."""

    def __init__(self, config: EventCubeAutoencoderConfig):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((1, *config.channels)):
            layers.append(Layer(nn.Conv2d(before, after, 3, padding=1), config.activation_slope))
            if config.batch_norm:
                layers.append(MaskedBatchNorm(after, momentum=0.01, eps=1e-3))  # Keras' 0.99 and 1e-3
            layers.append(Layer(nn.Conv2d(after, after, 2, stride=2), config.activation_slope))
        self.layers = nn.ModuleList(layers)
        self.num_outputs = config.channels[-1] * config.num_time_bins * config.num_energy_bins // 16

    def forward(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, time, energy) to (B, num_outputs)."""
        hidden_states = maps[:, None]
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask) if isinstance(layer, MaskedBatchNorm) else layer(hidden_states)
        return hidden_states.flatten(1)


class Components(nn.Module):
    """Cells to principal components and back."""

    def __init__(self, num_cells: int, num_components: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_cells))
        self.mean: Tensor
        self.weight = nn.Parameter(torch.empty(num_components, num_cells))

    def forward(self, cells: Tensor) -> Tensor:
        return (cells - self.mean) @ self.weight.T

    def inverse(self, latents: Tensor) -> Tensor:
        return latents @ self.weight + self.mean


class EventCubeEncoder(EventCubeAutoencoderPreTrainedModel):
    """Map or cube to latents."""

    def __init__(self, config: EventCubeAutoencoderConfig):
        super().__init__(config)
        num_cells, slope = math.prod(config.num_bins), config.activation_slope
        if config.architecture == COMPONENTS:
            self.components = Components(num_cells, config.latent_size)
        else:
            if config.architecture == CONVOLUTIONAL:
                self.stages = MapStages(config)
                num_cells = self.stages.num_outputs
            self.layers = nn.ModuleList(_dense((num_cells, *config.hidden_sizes), slope))
            self.latent_layer = Layer(nn.Linear(config.hidden_sizes[-1], config.latent_size), slope)
        self.post_init()

    @property
    def kernel_of_latents(self) -> Tensor:
        """(latent_size, width before) weights of the layer that gives the latents."""
        kernel = self.latent_layer.layer.weight
        assert isinstance(kernel, Tensor)
        return kernel

    def forward(self, event_values: Tensor, event_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """
        Args:
            event_values: (B, time, energy) or (B, time, energy, interval), from `EventCubeFeatureExtractor`.
            event_mask: (B,) bool, rows whose statistics count in batch normalisation; all by default.

        Returns:
            (B, latent_size).

        Raises:
            ValueError: bins of another number than the configuration's.
        """
        if tuple(event_values.shape[1:]) != self.config.num_bins:
            raise ValueError(f"bins {self.config.num_bins} are read, these are {tuple(event_values.shape[1:])}")
        if self.config.architecture == COMPONENTS:
            return self.components(event_values.flatten(1))
        convolve = self.config.architecture == CONVOLUTIONAL
        hidden_states = self.stages(event_values, event_mask) if convolve else event_values.flatten(1)
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return self.latent_layer(hidden_states)


class EventCubeDecoder(EventCubeAutoencoderPreTrainedModel):
    """Latents to map or cube in [0, 1]: the encoder's mirror, with a sigmoid at the end."""

    def __init__(self, config: EventCubeAutoencoderConfig):
        super().__init__(config)
        slope, sizes = config.activation_slope, (config.latent_size, *reversed(config.hidden_sizes))
        self.is_convolutional = config.architecture == CONVOLUTIONAL
        self.shape = (config.channels[-1], config.num_time_bins // 4, config.num_energy_bins // 4)
        num_outputs = math.prod(self.shape if self.is_convolutional else config.num_bins)
        if not self.is_convolutional:
            self.layers = nn.ModuleList(_dense(sizes, slope))
            self.output: nn.Module = nn.Linear(sizes[-1], num_outputs)
        else:
            self.layers = nn.ModuleList(_dense((*sizes, num_outputs), slope))
            stages: list[nn.Module] = []
            for before, after in pairwise((*reversed(config.channels), config.channels[0])):
                stages.append(Layer(nn.ConvTranspose2d(before, before, 2, stride=2), slope))
                stages.append(Layer(nn.Conv2d(before, after, 3, padding=1), slope))
            self.stages = nn.ModuleList(stages)
            self.output = nn.Conv2d(config.channels[0], 1, 3, padding=1, bias=False)
        self.offset = nn.Parameter(torch.empty(()))
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        """(B, latent_size) to (B, time, energy) or (B, time, energy, interval)."""
        hidden_states = latents
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        if self.is_convolutional:
            hidden_states = hidden_states.unflatten(1, self.shape)
            for layer in self.stages:
                hidden_states = layer(hidden_states)
        return (self.output(hidden_states).reshape(-1, *self.config.num_bins) + self.offset).sigmoid()


class EventCubeAutoencoderModel(EventCubeAutoencoderPreTrainedModel, TowerModel):
    """An autoencoder of photon lists as E-t maps or E-t-dt cubes; its bottleneck is the latents.

    Source: Dillmann et al. 2025, MNRAS 537, 931 (arXiv:2412.01150): maps of 24 x 16 cells through convolutions to 12
    latents, cubes of 24 x 16 x 16 through a fully connected sparse network to 24, or principal components, 15 and 22.
    """

    modality = "event"
    feature_extractor_class = EventCubeFeatureExtractor
    encoder_class = EventCubeEncoder
    encoder: EventCubeEncoder

    def __init__(self, config: EventCubeAutoencoderConfig):
        super().__init__(config)
        self.encoder = EventCubeEncoder(config)
        if config.architecture != COMPONENTS:
            self.decoder = EventCubeDecoder(config)
        self.post_init()

    def forward(
        self, event_values: Tensor, event_mask: Tensor | None = None, **kwargs: Any
    ) -> EventCubeAutoencoderOutput:
        """
        Args:
            event_values: (B, time, energy) or (B, time, energy, interval).
            event_mask: (B,) bool, rows that count in the loss; all by default.

        Other keys of a batch are accepted and not read.

        Raises:
            ValueError: principal components are asked to be trained.
        """
        latents = self.encoder(event_values, event_mask)
        if self.config.architecture == COMPONENTS:
            if self.training:
                raise ValueError("principal components are fitted, not trained: training/fit_event_components.py")
            reconstruction = self.encoder.components.inverse(latents).reshape(event_values.shape)
        else:
            reconstruction = self.decoder(latents)
        error = (reconstruction.float() - event_values.float()).square().flatten(1).mean(dim=1)
        loss = reconstruction_loss = masked_mean(error, event_mask, across_processes=self.training)
        if self.config.architecture != COMPONENTS:
            activity = latents.float().abs().mean(dim=1)
            loss = loss + self.config.sparsity_weight * masked_mean(activity, event_mask, self.training)
            loss = loss + self.config.kernel_penalty * self.encoder.kernel_of_latents.float().square().sum()
        return EventCubeAutoencoderOutput(
            loss=loss,
            latents=latents,
            reconstruction=reconstruction,
            loss_parts={"reconstruction_loss": reconstruction_loss.detach()},
        )

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        if not isinstance(extractor, EventCubeFeatureExtractor):
            return
        if extractor.num_bins != self.config.num_bins:
            raise ValueError(
                f"the model reads bins {self.config.num_bins}, the feature extractor's {extractor.num_bins}"
            )
        if extractor.normalization == RAW and self.config.architecture != COMPONENTS:
            raise ValueError("the decoder ends in [0, 1]: autoencoders need the normalization 'min_max'")

    @torch.no_grad()
    def fit_components(self, batches: Iterable[np.ndarray]) -> float:
        """Principal components of maps or cubes, exactly, in the place of weights that are trained.

        Args:
            batches: (n, ...) arrays of the cells of photon lists, all together more than `latent_size` rows.

        Returns:
            The share of the variance that they hold.

        Raises:
            ValueError: another architecture, or too few lists.
        """
        from scipy.sparse import csr_array, vstack
        from sklearn.decomposition import PCA

        if self.config.architecture != COMPONENTS:
            raise ValueError(f"architecture {self.config.architecture!r} is trained: training/pretrain.py")
        # Cells of a cube are nearly all empty: 10,000 dense ones are half a gigabyte.
        cells = vstack([csr_array(np.asarray(batch, dtype=np.float64).reshape(len(batch), -1)) for batch in batches])
        if cells.shape[0] <= self.config.latent_size:
            raise ValueError(f"{cells.shape[0]} photon lists are too few for {self.config.latent_size} components")
        fitted = PCA(self.config.latent_size, svd_solver="arpack", random_state=0).fit(cells.tocsr())
        components = self.encoder.components
        components.mean.copy_(torch.from_numpy(np.asarray(fitted.mean_).ravel()))
        components.weight.copy_(torch.from_numpy(fitted.components_.copy()))  # torch knows no negative strides
        return float(fitted.explained_variance_ratio_.sum())
