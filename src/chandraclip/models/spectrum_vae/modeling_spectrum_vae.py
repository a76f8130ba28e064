"""Variational autoencoder of unfolded spectra, an MLP encoder and a DeepONet decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from chandraclip.catalog.ragged import Ragged
from chandraclip.models.columns import column_names
from chandraclip.models.contract import TowerModel
from chandraclip.models.feature_extraction import RESPONSE_COLUMN, ColumnFeatureExtractor
from chandraclip.models.layers import AttentionFreePreTrainedModel, fourier_features, masked_mean
from chandraclip.models.spectrum_vae.configuration_spectrum_vae import SpectrumVaeConfig
from chandraclip.models.spectrum_vae.feature_extraction_spectrum_vae import UnfoldedSpectrumFeatureExtractor
from chandraclip.models.spectrum_vae.folding import expected_counts

# Of the logarithm of a decoded value: beyond, a step that went wrong would overflow.
_MAX_LOG = 30.0


@dataclass
class SpectrumVaeOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, mean over the rows that have a spectrum of the reconstruction's loss and the weighted divergence.
        latents: (B, latent_size), the mean of each row's distribution.
        log_variance: (B, latent_size), of the distribution.
        reconstruction: (B, num_bins), positive, in the units of `spectrum_values`.
        loss_parts: reconstruction_loss, of a bin, and divergence from the unit Gaussian, nats a spectrum; both the
            mean over the same rows.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    log_variance: Tensor | None = None
    reconstruction: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


class SpectrumVaePreTrainedModel(AttentionFreePreTrainedModel):
    config: SpectrumVaeConfig
    config_class = SpectrumVaeConfig  # the annotation alone is a string here, and the library does not resolve it
    base_model_prefix = "spectrum_vae"
    main_input_name = "spectrum_values"
    _no_split_modules = ["HiddenLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, DeepONet):
            init.zeros_(module.bias)


class HiddenLayer(GradientCheckpointingLayer):
    """A linear layer and an activation, on the last axis."""

    def __init__(self, num_inputs: int, num_outputs: int, activation: str):
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs)
        self.activation = ACT2FN[activation]

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.activation(self.linear(hidden_states))


def _perceptron(num_inputs: int, hidden_sizes: Sequence[int], num_outputs: int, activation: str) -> nn.Sequential:
    sizes = [num_inputs, *hidden_sizes]
    hidden = [HiddenLayer(before, after, activation) for before, after in pairwise(sizes)]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], num_outputs))


class SpectrumVaeEncoder(SpectrumVaePreTrainedModel):
    """Unfolded spectrum to the mean and variance of its latents. As a tower it gives the mean."""

    def __init__(self, config: SpectrumVaeConfig):
        super().__init__(config)
        self.layers = _perceptron(
            config.num_bins, config.encoder_hidden_sizes, 2 * config.latent_size, config.hidden_act
        )
        self.post_init()

    def distribution(self, spectrum_values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, num_bins) to the mean and the logarithm of the variance of the latents, (B, latent_size) each.

        Raises:
            ValueError: a spectrum of another number of bins.
        """
        if spectrum_values.shape[-1] != self.config.num_bins:
            raise ValueError(f"a spectrum has {self.config.num_bins} bins, this has {spectrum_values.shape[-1]}")
        # A bright line or the soft end of a steep spectrum is a hundred times the mean.
        mean, log_variance = self.layers(spectrum_values.log1p()).chunk(2, dim=-1)
        return mean, log_variance

    def forward(self, spectrum_values: Tensor, **kwargs: Any) -> Tensor:
        """(B, num_bins), from `UnfoldedSpectrumFeatureExtractor`, to (B, latent_size)."""
        return self.distribution(spectrum_values)[0]


class DeepONet(SpectrumVaePreTrainedModel):
    """Latents to a spectrum at any energies: exp(sum over k of branch_k(latents) trunk_k(energy)).

    The trunk makes template spectra of the energy, the branch says how to combine them (Lu et al. 2021, Nature Machine
    Intelligence 3, 218). Their sum is the logarithm of the spectrum: positive, and absorption, which multiplies, adds.
    """

    def __init__(self, config: SpectrumVaeConfig):
        super().__init__(config)
        self.branch = _perceptron(
            config.latent_size, config.branch_hidden_sizes, config.num_templates, config.hidden_act
        )
        self.trunk = _perceptron(
            1 + 2 * config.num_frequencies, config.trunk_hidden_sizes, config.num_templates, config.hidden_act
        )
        self.bias = nn.Parameter(torch.empty(()))
        self.post_init()

    def forward(self, latents: Tensor, energies: Tensor | None = None) -> Tensor:
        """Logarithm of the spectrum.

        Args:
            latents: (B, latent_size).
            energies: (N,) keV; the middles of the bins by default.

        Returns:
            (B, N) logarithm of photons/cm2/s in a bin of the configuration's width around each energy, in units of the
            row's mean.
        """
        config = self.config
        if energies is None:
            place = (torch.arange(config.num_bins, device=latents.device) + 0.5) / config.num_bins
        else:
            place = (energies / config.energy_min).log() / math.log(config.energy_max / config.energy_min)
        # bfloat16 holds neither neighbouring bins nor the phase of the highest octaves.
        exact = place.to(torch.promote_types(latents.dtype, torch.float32))
        features = fourier_features(exact, config.num_frequencies).to(self.bias.dtype)
        templates = self.trunk(features) / math.sqrt(config.num_templates)
        return (self.branch(latents) @ templates.T + self.bias).clamp(max=_MAX_LOG)


class SpectrumVaeModel(SpectrumVaePreTrainedModel, TowerModel):
    """A variational autoencoder of unfolded X-ray spectra; the mean of the distribution is the latents.

    Source: Quintin (ESA, conference talk), on EPIC-pn spectra of 4XMM-DR14: 238 bins in 0.3-10 keV, MLP encoder, a
    two-dimensional variational latent, a DeepONet decoder, trained on S_hat - S log S_hat.
    """

    modality = "spectrum"
    feature_extractor_class = UnfoldedSpectrumFeatureExtractor
    feature_extractor: UnfoldedSpectrumFeatureExtractor | None = None
    encoder_class = SpectrumVaeEncoder
    encoder: SpectrumVaeEncoder

    def __init__(self, config: SpectrumVaeConfig):
        super().__init__(config)
        self.encoder = SpectrumVaeEncoder(config)
        self.decoder = DeepONet(config)
        self.post_init()

    def forward(
        self,
        spectrum_values: Tensor,
        spectrum_seen_bins: Tensor | None = None,
        spectrum_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> SpectrumVaeOutput:
        """
        In training latents are drawn from each row's distribution by torch's generator; in evaluation they are its
        mean.

        Args:
            spectrum_values: (B, num_bins), not negative.
            spectrum_seen_bins: (B, num_bins) bool, bins that count in the loss; all by default.
            spectrum_mask: (B,) bool, rows that count in the loss; all by default.

        Other keys of a batch are accepted and not read.
        """
        mean, log_variance = self.encoder.distribution(spectrum_values)
        latents = mean
        if self.training and self.config.variational:
            latents = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        logarithm = self.decoder(latents).float()
        reconstruction = logarithm.exp()
        # Of the Poisson kind: least, for S in the mean, at S_hat = S.
        bin_loss = reconstruction - spectrum_values.float() * logarithm
        if spectrum_seen_bins is None:
            row_loss = bin_loss.mean(dim=-1)
        else:
            row_loss = (bin_loss * spectrum_seen_bins).sum(dim=-1) / spectrum_seen_bins.sum(dim=-1).clamp(min=1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).float().sum(dim=-1)
        parts = {
            name: masked_mean(part, spectrum_mask, across_processes=self.training)
            for name, part in (("reconstruction_loss", row_loss), ("divergence", divergence))
        }
        loss = parts["reconstruction_loss"]
        if self.config.variational:
            loss = loss + self.config.kl_weight * parts["divergence"]
        return SpectrumVaeOutput(
            loss=loss,
            latents=mean,
            log_variance=log_variance,
            reconstruction=reconstruction,
            loss_parts={name: part.detach() for name, part in parts.items()},
        )

    def decode(self, latents: Tensor) -> Tensor:
        """(B, latent_size) latents to (B, num_bins), in the units of `spectrum_values`."""
        return self.decoder(latents).exp()

    @torch.no_grad()
    def expected_counts(self, columns: Mapping[str, Any] | pa.Table, batch: Mapping[str, Any]) -> Ragged:
        """Counts expected in every channel: the reconstruction folded and rescaled, see `folding.expected_counts`.

        Args:
            columns: the dataset's columns of the rows, with `response` or, where `feature_extractor` is set,
                response_id.
            batch: the tensors that the feature extractor made of them.

        Returns:
            float64, as long as spectrum_counts; empty in rows without counts, ARF or RMF.

        Raises:
            ValueError: neither `feature_extractor` nor `response` is at hand.
        """
        if self.feature_extractor is not None:
            columns = self.feature_extractor.resolve(columns)
        elif RESPONSE_COLUMN not in column_names(columns):
            raise ValueError("set model.feature_extractor, or load both with chandraclip.models.load_reconstructing")
        values = batch["spectrum_values"].to(self.device)
        photons = self.decode(self.encoder(values)).double().cpu().numpy()
        return expected_counts(columns, photons, self.energy_edges)

    @property
    def energy_edges(self) -> np.ndarray:
        """(num_bins + 1,) keV."""
        return np.geomspace(self.config.energy_min, self.config.energy_max, self.config.num_bins + 1)

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        if not isinstance(extractor, UnfoldedSpectrumFeatureExtractor):
            return
        given = extractor.energy_edges
        if len(given) != len(self.energy_edges) or not np.allclose(given, self.energy_edges):
            raise ValueError(
                f"the model has {self.config.num_bins} bins of {self.config.energy_min}-{self.config.energy_max} keV, "
                f"the feature extractor's {extractor.num_bins} of {extractor.energy_min}-{extractor.energy_max} keV"
            )
