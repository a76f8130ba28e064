"""Recurrent autoencoder of resampled spectra."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from chandraclip.models.layers import AttentionFreePreTrainedModel, Standardize
from chandraclip.models.spectrum_autoencoder.modeling_spectrum_autoencoder import SpectrumReconstructionModel
from chandraclip.models.spectrum_recurrent_autoencoder.configuration_spectrum_recurrent_autoencoder import (
    SpectrumRecurrentAutoencoderConfig,
)


class SpectrumRecurrentPreTrainedModel(AttentionFreePreTrainedModel):
    config: SpectrumRecurrentAutoencoderConfig
    # The annotation alone is a string here, and the library does not resolve it.
    config_class = SpectrumRecurrentAutoencoderConfig
    base_model_prefix = "spectrum_recurrent_autoencoder"
    main_input_name = "spectrum_values"
    _no_split_modules = ["RecurrentLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.GRU):
            for name, parameter in module.named_parameters():
                if "bias" in name:
                    init.zeros_(parameter)
                elif "weight_hh" in name:  # keeps the state's length over many steps
                    init.orthogonal_(parameter)
                else:
                    init.xavier_uniform_(parameter)


class RecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer: (B, steps, inputs) and the first state in; states of all steps and the last ones out."""

    def __init__(self, num_inputs: int, hidden_size: int, bidirectional: bool):
        super().__init__()
        self.gru = nn.GRU(num_inputs, hidden_size, batch_first=True, bidirectional=bidirectional)

    def forward(self, hidden_states: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
        # cuDNN has no backward pass outside training, where gradients are wanted too: which energies matter, say.
        with torch.backends.cudnn.flags(enabled=self.training or not torch.is_grad_enabled()):
            return self.gru(hidden_states, initial)


class SpectrumRecurrentEncoder(SpectrumRecurrentPreTrainedModel):
    """Spectrum to latents: patches of energies one after the other, starting from a state made of the summary."""

    def __init__(self, config: SpectrumRecurrentAutoencoderConfig):
        super().__init__(config)
        self.num_directions = 2 if config.bidirectional else 1
        width = self.num_directions * config.hidden_size
        self.standardize = Standardize(list(config.summary_mean), list(config.summary_std))
        self.summary_projection = nn.Linear(len(config.summary_mean), width)
        self.layers = nn.ModuleList(
            [
                RecurrentLayer(width if depth else config.patch_size, config.hidden_size, config.bidirectional)
                for depth in range(config.num_hidden_layers)
            ]
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.latent_projection = nn.Linear(width, config.latent_size)
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
        hidden_states = spectrum_values.unflatten(-1, (self.config.num_patches, -1))
        summary = self.summary_projection(self.standardize(spectrum_summary)).tanh()
        initial = summary.unflatten(-1, (self.num_directions, -1)).transpose(0, 1).contiguous()
        last = initial
        for depth, layer in enumerate(self.layers):
            hidden_states, last = layer(self.dropout(hidden_states) if depth else hidden_states, initial)
        return self.latent_projection(last.transpose(0, 1).flatten(1))


class SpectrumRecurrentDecoder(SpectrumRecurrentPreTrainedModel):
    """Latents to spectrum: the latents are the first state and the input of every step, a step gives a patch."""

    def __init__(self, config: SpectrumRecurrentAutoencoderConfig):
        super().__init__(config)
        self.state_projection = nn.Linear(config.latent_size, config.hidden_size)
        self.layers = nn.ModuleList(
            [
                RecurrentLayer(config.hidden_size if depth else config.latent_size, config.hidden_size, False)
                for depth in range(config.num_decoder_layers)
            ]
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.patch_projection = nn.Linear(config.hidden_size, config.patch_size)
        self.post_init()

    def forward(self, latents: Tensor) -> Tensor:
        """(B, latent_size) to (B, num_points)."""
        hidden_states = latents[:, None].expand(-1, self.config.num_patches, -1)
        initial = self.state_projection(latents).tanh()[None].contiguous()
        for depth, layer in enumerate(self.layers):
            hidden_states, _ = layer(self.dropout(hidden_states) if depth else hidden_states, initial)
        return self.patch_projection(hidden_states).flatten(1)


class SpectrumRecurrentAutoencoderModel(SpectrumRecurrentPreTrainedModel, SpectrumReconstructionModel):
    """Recurrent encoder, bottleneck and decoder, trained on the reconstruction.

    Source: Pinciroli Vago et al. 2025 (arXiv:2510.14102 and the talk) compare their transformer with a GRU autoencoder
    of the same 400 points and loss.
    """

    encoder_class = SpectrumRecurrentEncoder

    def __init__(self, config: SpectrumRecurrentAutoencoderConfig):
        super().__init__(config)
        self.encoder = SpectrumRecurrentEncoder(config)
        self.decoder = SpectrumRecurrentDecoder(config)
        self.post_init()
