"""Transformer autoencoder of resampled spectra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from chandraclip.catalog.ragged import Ragged
from chandraclip.models.contract import TowerModel
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.layers import ChandraPreTrainedModel, EncoderLayer, Standardize, masked_mean
from chandraclip.models.spectrum_autoencoder.configuration_spectrum_autoencoder import SpectrumAutoencoderConfig
from chandraclip.models.spectrum_autoencoder.feature_extraction_spectrum_autoencoder import SpectrumFeatureExtractor


@dataclass
class SpectrumAutoencoderOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, mean reconstruction error of the rows that have a spectrum.
        latents: (B, latent_size).
        reconstruction: (B, num_points), in the units of `spectrum_values`.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    reconstruction: Tensor | None = None


class SpectrumAutoencoderPreTrainedModel(ChandraPreTrainedModel):
    config: SpectrumAutoencoderConfig
    config_class = (
        SpectrumAutoencoderConfig  # the annotation alone is a string here, and the library does not resolve it
    )
    base_model_prefix = "spectrum_autoencoder"
    main_input_name = "spectrum_values"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SpectrumEncoder | SpectrumDecoder):
            init.normal_(module.position_embedding, std=0.02)


class SpectrumEncoder(SpectrumAutoencoderPreTrainedModel):
    """Spectrum to latents: a token a patch of energies and one of the summary, a transformer, a bottleneck."""

    def __init__(self, config: SpectrumAutoencoderConfig):
        super().__init__(config)
        self.patch_projection = nn.Linear(config.patch_size, config.hidden_size)
        self.standardize = Standardize(list(config.summary_mean), list(config.summary_std))
        self.summary_projection = nn.Linear(len(config.summary_mean), config.hidden_size)
        self.position_embedding = nn.Parameter(torch.empty(config.num_patches + 1, config.hidden_size))
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(config.num_hidden_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.latent_projection = nn.Linear((config.num_patches + 1) * config.hidden_size, config.latent_size)
        self.post_init()

    def forward(self, spectrum_values: Tensor, spectrum_summary: Tensor, **kwargs: Any) -> Tensor:
        """
        Args:
            spectrum_values: (B, num_points), from `SpectrumFeatureExtractor`.
            spectrum_summary: (B, 3), as it gives them; standardised here.

        Returns:
            (B, latent_size).
        """
        if spectrum_values.shape[-1] != self.config.num_points:
            raise ValueError(f"a spectrum has {self.config.num_points} points, this has {spectrum_values.shape[-1]}")
        patches = self.patch_projection(spectrum_values.unflatten(-1, (self.config.num_patches, -1)))
        summary = self.summary_projection(self.standardize(spectrum_summary))
        hidden_states = torch.cat([summary[:, None], patches], dim=1) + self.position_embedding
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return self.latent_projection(self.layer_norm(hidden_states).flatten(1))


class SpectrumDecoder(SpectrumAutoencoderPreTrainedModel):
    """Latents to spectrum: one token a patch, a transformer, and the points of each patch."""

    def __init__(self, config: SpectrumAutoencoderConfig):
        super().__init__(config)
        self.latent_projection = nn.Linear(config.latent_size, config.num_patches * config.hidden_size)
        self.position_embedding = nn.Parameter(torch.empty(config.num_patches, config.hidden_size))
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(config.num_decoder_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.patch_projection = nn.Linear(config.hidden_size, config.patch_size)
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        """(B, latent_size) to (B, num_points)."""
        tokens = self.latent_projection(latents).unflatten(-1, (self.config.num_patches, -1))
        hidden_states = tokens + self.position_embedding
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return self.patch_projection(self.layer_norm(hidden_states)).flatten(1)


class SpectrumReconstructionModel(TowerModel):
    """What the autoencoders of resampled spectra share: `encoder`, `decoder`, and the error of the reconstruction.

    The configuration's `reconstruction_loss` is "mae" or "mse".
    """

    modality = "spectrum"
    feature_extractor_class = SpectrumFeatureExtractor
    feature_extractor: SpectrumFeatureExtractor | None
    decoder: nn.Module

    def decode(self, latents: Tensor) -> Tensor:
        """(B, latent_size) latents to (B, num_points), in the units of `spectrum_values`."""
        return self.decoder(latents)

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        if isinstance(extractor, SpectrumFeatureExtractor) and extractor.num_points != self.config.num_points:
            raise ValueError(
                f"the model reads {self.config.num_points} points, the feature extractor gives {extractor.num_points}"
            )

    def forward(
        self, spectrum_values: Tensor, spectrum_summary: Tensor, spectrum_mask: Tensor | None = None, **kwargs: Any
    ) -> SpectrumAutoencoderOutput:
        """
        Args:
            spectrum_values: (B, num_points).
            spectrum_summary: (B, 3).
            spectrum_mask: (B,) bool, rows that count in the loss; all by default.

        Other keys of a batch are accepted and not read.
        """
        latents = self.encoder(spectrum_values, spectrum_summary)
        reconstruction = self.decoder(latents)
        error = reconstruction.float() - spectrum_values.float()
        row_loss = (error.abs() if self.config.reconstruction_loss == "mae" else error.square()).mean(dim=-1)
        loss = masked_mean(row_loss, spectrum_mask, across_processes=self.training)
        return SpectrumAutoencoderOutput(loss=loss, latents=latents, reconstruction=reconstruction)

    @torch.no_grad()
    def expected_counts(self, columns: Mapping[str, Any] | pa.Table, batch: Mapping[str, Any]) -> Ragged:
        """As the contract has it; by the inverse of the feature extractor (`SpectrumFeatureExtractor.expected_counts`).

        Raises:
            ValueError: `feature_extractor` is not set.
        """
        if self.feature_extractor is None:
            raise ValueError("set model.feature_extractor, or load both with chandraclip.models.load_reconstructing")
        values, summary = (batch[name].to(self.device) for name in ("spectrum_values", "spectrum_summary"))
        reconstruction = self.decoder(self.encoder(values, summary)).float().cpu().numpy()
        return self.feature_extractor.expected_counts(columns, reconstruction)


class SpectrumAutoencoderModel(SpectrumAutoencoderPreTrainedModel, SpectrumReconstructionModel):
    """A transformer autoencoder of X-ray count spectra, trained on the reconstruction; its bottleneck is the latents.

    Source: Pinciroli Vago et al. 2025 (arXiv:2510.14102) and 2026 (arXiv:2603.04516): a transformer autoencoder of 400
    points on the mean absolute error. Layers and widths are not published; ours are in the configuration.
    """

    encoder_class = SpectrumEncoder

    def __init__(self, config: SpectrumAutoencoderConfig):
        super().__init__(config)
        self.encoder = SpectrumEncoder(config)
        self.decoder = SpectrumDecoder(config)
        self.post_init()
