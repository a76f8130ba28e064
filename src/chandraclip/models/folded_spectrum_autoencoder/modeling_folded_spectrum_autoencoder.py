"""Autoencoder of count spectra that decodes an incident spectrum and folds it through each row's response."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.utils import ModelOutput

from chandraclip.catalog.ragged import Ragged
from chandraclip.losses.gather import shared_uniform
from chandraclip.losses.poisson import cash
from chandraclip.models.contract import TowerModel
from chandraclip.models.feature_extraction import ColumnFeatureExtractor
from chandraclip.models.folded_spectrum_autoencoder.channels import expected_in_channels
from chandraclip.models.folded_spectrum_autoencoder.configuration_folded_spectrum_autoencoder import (
    FoldedSpectrumAutoencoderConfig,
)
from chandraclip.models.folded_spectrum_autoencoder.detector_bins import REFERENCE_INDEX, DetectorBins
from chandraclip.models.folded_spectrum_autoencoder.feature_extraction_folded_spectrum_autoencoder import (
    FoldedSpectrumFeatureExtractor,
)
from chandraclip.models.folded_spectrum_autoencoder.folding import RESPONSE_KEYS, fold
from chandraclip.models.folded_spectrum_autoencoder.latent_fits import fit_latents
from chandraclip.models.folded_spectrum_autoencoder.thinning import area_tilt, normal_of, row_uniforms, thin
from chandraclip.models.layers import ChandraPreTrainedModel, EncoderLayer, Standardize, masked_mean

NUM_CHANNELS = 6  # numbers a detector bin that the encoder sees
SMALLEST_EXPECTED = 1e-6  # counts a bin, so that a photon where none is expected is unlikely and not impossible
MAX_LOG_LEVEL = 1.0  # of the background's factor
MAX_LOG_SHAPE = 25.0  # of the continuum over a power law: absorbed down to nothing, or up from it
MAX_LOG_AMPLITUDE = 3.0  # of the flux over the one estimated from the net counts


@dataclass
class FoldedSpectrumAutoencoderOutput(ModelOutput):
    """
    Attributes:
        loss: scalar, Cash's statistic a good bin, mean of the rows that have a spectrum. In training with the other
            terms of the loss, and of photons that the latents have not seen.
        latents: (B, latent_size).
        log_flux: (B, num_energies) natural log of the incident photons/cm2/s/keV at the configuration's energies;
            where the exposure is not known, of photons/cm2/keV.
        expected: (B, D) counts expected in each bin, source and background.
        background_level: (B, 1) factor on the measured background.
        loss_parts: name -> scalar without gradient.
    """

    loss: Tensor | None = None
    latents: Tensor | None = None
    log_flux: Tensor | None = None
    expected: Tensor | None = None
    background_level: Tensor | None = None
    loss_parts: dict[str, Tensor] | None = None


@dataclass
class Seen:
    """What one look at each source recorded: (B, D) each, 0 in bins that are not good.

    Attributes:
        counts: of source and background.
        background: expected of the background.
        reference: what a power law of 1 photon/cm2/s/keV at 1 keV would have given.
        good: 1 or 0.
        unknown: (B,) bool, rows whose exposure is not known; None: none.
        looked: (B, 1 or D) share of the row's area x exposure that this look had; None: all.
    """

    counts: Tensor
    background: Tensor
    reference: Tensor
    good: Tensor
    unknown: Tensor | None = None
    looked: Tensor | None = None

    @property
    def net(self) -> Tensor:
        """(B, 1) source counts, more than 0: the net counts where they are many, about half their error where not."""
        total = self.counts.sum(dim=1, keepdim=True)
        net = total - self.background.sum(dim=1, keepdim=True)
        return 0.5 * (net + (net.square() + total + 1.0).sqrt())

    @property
    def flux(self) -> Tensor:
        """(B, 1) photons/cm2/s/keV at 1 keV of the reference's power law with those counts."""
        return self.net / self.reference.sum(dim=1, keepdim=True).clamp(min=1e-12)

    def share(self, counts: Tensor, share: Tensor) -> Seen:
        """A copy that has `counts` and looked with a share of the area: (B, 1), or (B, D), its own in each bin."""
        return Seen(counts, self.background * share, self.reference * share, self.good, self.unknown, share)


@dataclass
class Decoded:
    """What the decoder makes of latents.

    Attributes:
        knots: (B, num_knots) log of the continuum over the reference's power law, at its knots.
        log_shape: (B, num_energies) log flux density, up to a factor.
        lines: (B, num_energies), 0 or more, log of flux over continuum.
        log_amplitude: (B, 1) log of the flux over the one estimated from the net counts.
    """

    knots: Tensor
    log_shape: Tensor
    lines: Tensor
    log_amplitude: Tensor


class FoldedSpectrumPreTrainedModel(ChandraPreTrainedModel):
    config: FoldedSpectrumAutoencoderConfig
    # The annotation alone is a string here, and the library does not resolve it.
    config_class = FoldedSpectrumAutoencoderConfig
    base_model_prefix = "folded_spectrum_autoencoder"
    main_input_name = "spectrum_binned_counts"

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, FoldedSpectrumEncoder):
            init.normal_(module.position_embedding, std=0.02)
            init.zeros_(module.level_projection.weight)
        elif isinstance(module, IncidentDecoder):
            init.copy_(module.log_energy, module.energies().log())
            for layer in (module.continuum, module.lines, module.amplitude):
                init.normal_(layer.weight, std=0.01)


class FoldedSpectrumEncoder(FoldedSpectrumPreTrainedModel):
    """Counts, and what the instrument could have seen, to latents: patches of detector bins, a transformer."""

    def __init__(self, config: FoldedSpectrumAutoencoderConfig):
        super().__init__(config)
        self.patch_projection = nn.Linear(config.patch_size * NUM_CHANNELS, config.hidden_size)
        self.standardize = Standardize(list(config.summary_mean), list(config.summary_std))
        self.summary_projection = nn.Linear(len(config.summary_mean), config.hidden_size)
        self.position_embedding = nn.Parameter(torch.empty(config.num_patches + 1, config.hidden_size))
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(config.num_hidden_layers)])
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        width = (config.num_patches + 1) * config.hidden_size
        self.latent_projection = nn.Linear(width, config.latent_size)
        self.level_projection = nn.Linear(config.hidden_size, 1)
        self.log_variance_projection = nn.Linear(width, config.latent_size) if config.variational else None
        self.post_init()

    def forward(
        self,
        spectrum_binned_counts: Tensor,
        spectrum_binned_background: Tensor,
        spectrum_reference: Tensor,
        spectrum_good: Tensor,
        spectrum_summary: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """
        Args:
            spectrum_binned_counts, spectrum_binned_background, spectrum_reference, spectrum_good: (B, D), from
                `FoldedSpectrumFeatureExtractor`.
            spectrum_summary: (B, 3); its first is NaN in rows whose exposure is not known. None: all are.

        Returns:
            (B, latent_size); the mean, where the model is variational.
        """
        unknown = None if spectrum_summary is None else spectrum_summary[:, 0].isnan()
        seen = Seen(spectrum_binned_counts, spectrum_binned_background, spectrum_reference, spectrum_good, unknown)
        return self.look(seen)[0]

    def look(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor | None]:
        """(B, latent_size) latents, (B, 1) log of the background's level, and the log variance of the latents."""
        if seen.counts.shape[-1] != self.config.num_bins:
            raise ValueError(f"a spectrum has {self.config.num_bins} bins, this has {seen.counts.shape[-1]}")
        channels = torch.stack(self._channels(seen), dim=-1).to(self.patch_projection.weight.dtype)
        patches = self.patch_projection(channels.unflatten(1, (self.config.num_patches, -1)).flatten(2))
        summary = self.summary_projection(self.standardize(self._summary(seen)).to(patches))
        hidden_states = torch.cat([summary[:, None], patches], dim=1) + self.position_embedding
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        hidden_states = self.layer_norm(hidden_states)
        flat = hidden_states.flatten(1)
        level = MAX_LOG_LEVEL * self.level_projection(hidden_states[:, 0]).float().tanh()
        variance = None if self.log_variance_projection is None else self.log_variance_projection(flat).float()
        return self.latent_projection(flat), level, variance

    def _channels(self, seen: Seen) -> list[Tensor]:
        """What is known of each bin, (B, D) each: how it differs from the reference's power law, and how well."""
        source = seen.flux * seen.reference
        expected = source + seen.background
        difference = seen.counts - expected
        share = seen.counts.shape[1] * difference / (seen.net + 10.0)
        return [
            torch.asinh(difference / (expected + 0.25).sqrt()),
            torch.asinh(share),
            torch.asinh(difference / (source + 0.5)),
            source.log1p(),
            seen.background.log1p(),
            seen.good,
        ]

    def _summary(self, seen: Seen) -> Tensor:
        """(B, 3) as the feature extractor's `spectrum_summary`, of the net counts of `Seen`."""
        total, background = seen.counts.sum(dim=1), seen.background.sum(dim=1)
        share = (background / (total + 0.5)).clamp(max=1.0)
        flux = seen.flux[:, 0].clamp(min=1e-12).log10()
        if seen.unknown is not None:
            flux = flux.masked_fill(seen.unknown, torch.nan)
        return torch.stack([flux, total.clamp(min=0.5).log10(), share], dim=1)


class IncidentDecoder(FoldedSpectrumPreTrainedModel):
    """Latents to an incident spectrum: a continuum that is a power law between knots, and lines on top of it."""

    def __init__(self, config: FoldedSpectrumAutoencoderConfig):
        super().__init__(config)
        width = config.decoder_hidden_size
        self.fc1 = nn.Linear(config.latent_size, width)
        self.fc2 = nn.Linear(width, width)
        self.activation = ACT2FN[config.hidden_act]
        self.continuum = nn.Linear(width, config.num_knots)
        self.lines = nn.Linear(width, config.num_energies)
        self.amplitude = nn.Linear(width, 1)
        self.register_buffer("log_energy", torch.zeros(config.num_energies))
        self.log_energy: Tensor
        self.post_init()

    def energies(self) -> Tensor:
        """(num_energies,) keV."""
        low, high = math.log(self.config.energy_min), math.log(self.config.energy_max)
        return torch.linspace(low, high, self.config.num_energies, dtype=torch.float64).exp()

    def forward(self, latents: Tensor) -> Decoded:
        """
        Args:
            latents: (B, latent_size).
        """
        # The log of a flux to three digits of bfloat16 is the flux to a tenth of itself.
        with torch.autocast(latents.device.type, enabled=False):
            hidden_states = self.activation(self.fc1(latents.float()))
            hidden_states = hidden_states + self.activation(self.fc2(hidden_states))
            knots = MAX_LOG_SHAPE * (self.continuum(hidden_states) / MAX_LOG_SHAPE).tanh()
            lines = F.softplus(self.lines(hidden_states).float() - 5.0)
            size = self.config.num_energies
            smooth = F.interpolate(knots[:, None], size, mode="linear", align_corners=True)[:, 0]
            amplitude = MAX_LOG_AMPLITUDE * self.amplitude(hidden_states).float().tanh()
            log_shape = smooth - REFERENCE_INDEX * self.log_energy.float() + lines
        return Decoded(knots, log_shape, lines, amplitude)


class FoldedSpectrumAutoencoderModel(FoldedSpectrumPreTrainedModel, TowerModel):
    """Counts to latents to an incident spectrum (photons/cm2/s/keV), which is folded through ARF, RMF and exposure.

    Ours. The loss is Cash's statistic of the counts, with a background whose level is fitted along: the counts of the
    background's region pay for it. In training each spectrum is cut in two at random, photon by photon; the latents of
    one part have to expect the photons of the other, whose noise they cannot know.
    """

    modality = "spectrum"
    fits_latents = True
    feature_extractor_class = FoldedSpectrumFeatureExtractor
    encoder_class = FoldedSpectrumEncoder
    encoder: FoldedSpectrumEncoder

    def __init__(self, config: FoldedSpectrumAutoencoderConfig):
        super().__init__(config)
        self.encoder = FoldedSpectrumEncoder(config)
        self.decoder = IncidentDecoder(config)
        self.post_init()

    def forward(
        self,
        spectrum_binned_counts: Tensor,
        spectrum_binned_background: Tensor,
        spectrum_reference: Tensor,
        spectrum_good: Tensor,
        spectrum_background_counts: Tensor,
        spectrum_area: Tensor,
        spectrum_response: Tensor,
        spectrum_summary: Tensor | None = None,
        spectrum_mask: Tensor | None = None,
        **batch: Any,
    ) -> FoldedSpectrumAutoencoderOutput:
        """
        Args:
            spectrum_binned_counts, spectrum_binned_background, spectrum_reference, spectrum_good: (B, D).
            spectrum_background_counts: (B, 1).
            spectrum_area: (B, E) cm2 s.
            spectrum_response: (B,) int64.
            spectrum_summary: (B, 3); its first is NaN in rows whose exposure is not known. None: all are.
            spectrum_mask: (B,) bool, rows that count in the loss; all by default.
            batch: `response_*`, as `folding.pack_responses` gives them; other keys are not read.
        """
        whole, instrument = self.looks(
            spectrum_binned_counts,
            spectrum_binned_background,
            spectrum_reference,
            spectrum_good,
            spectrum_area,
            spectrum_response,
            spectrum_summary,
            **batch,
        )
        if not self.training:
            latents, log_level, _ = self.encoder.look(whole)
            log_flux, expected = self.expect(self.decoder(latents), whole, log_level, instrument)[:2]
            statistic = per_bin(cash(whole.counts, expected), whole)
            loss = masked_mean(statistic, spectrum_mask, across_processes=False)
            return FoldedSpectrumAutoencoderOutput(
                loss=loss, latents=latents, log_flux=log_flux, expected=expected, background_level=log_level.exp()
            )
        parts = self.halves(whole, spectrum_background_counts, instrument)
        latents = parts.pop("latents")
        means = {name: masked_mean(part, spectrum_mask, across_processes=True) for name, part in parts.items()}
        loss = torch.stack(list(means.values())).sum()
        reported = {name: part.detach() for name, part in means.items()}
        return FoldedSpectrumAutoencoderOutput(loss=loss, latents=latents, loss_parts=reported)

    @staticmethod
    def looks(
        spectrum_binned_counts: Tensor,
        spectrum_binned_background: Tensor,
        spectrum_reference: Tensor,
        spectrum_good: Tensor,
        spectrum_area: Tensor,
        spectrum_response: Tensor,
        spectrum_summary: Tensor | None = None,
        **batch: Any,
    ) -> tuple[Seen, Instrument]:
        """What was recorded, and through what, of a batch as `forward` takes it."""
        whole = Seen(
            spectrum_binned_counts.float(),
            spectrum_binned_background.float(),
            spectrum_reference.float(),
            spectrum_good.float(),
            None if spectrum_summary is None else spectrum_summary[:, 0].isnan(),
        )
        return whole, Instrument(spectrum_area, spectrum_response, {name: batch[name] for name in RESPONSE_KEYS})

    def halves(self, whole: Seen, background_counts: Tensor, instrument: Instrument) -> dict[str, Tensor]:
        """The terms of the training loss (B,), and latents (B, latent_size), from two parts of each spectrum."""
        config = self.config
        draw = shared_uniform(whole.counts.device)
        least = math.log(config.min_thinning / (1 - config.min_thinning))
        place = row_uniforms(whole.counts, draw, 1, stream=0)
        tilt = config.area_scatter * area_tilt(whole.counts, draw, self.bins.edges)
        share = torch.sigmoid(least * (1 - 2 * place) + tilt)
        kept = thin(whole.counts, share, row_uniforms(whole.counts, draw, whole.counts.shape[1], stream=1))
        looks = whole.share(kept, share), whole.share(whole.counts - kept, 1 - share)
        latents, levels, variances = zip(*map(self.encoder.look, looks))
        names = ("cash", "background", "smoothness", "lines", "kl")
        terms: dict[str, list[Tensor]] = {name: [] for name in names}
        for number, (seen, other) in enumerate((looks, looks[::-1])):
            code = latents[number]
            if config.variational:
                variance = variances[number].clamp(-10.0, 5.0)
                noise = normal_of(row_uniforms(whole.counts, draw, code.shape[1], stream=2 + number))
                divergence = 0.5 * (code.float().square() + variance.exp() - 1.0 - variance).mean(dim=1)
                terms["kl"].append(config.kl_weight * divergence)
                code = code + noise * (0.5 * variance).exp()
            decoded = self.decoder(code)
            expected = self.expect(decoded, seen, levels[number], instrument, other)[1]
            weight = (config.max_loss_counts / other.counts.sum(dim=1).clamp(min=1.0)).clamp(max=1.0)
            terms["cash"].append(weight * per_bin(cash(other.counts, expected), other))
            terms["background"].append(weight * level_cost(levels[number], background_counts, whole))
            terms["smoothness"].append(config.smoothness_weight * decoded.knots.diff(n=2, dim=1).square().sum(dim=1))
            terms["lines"].append(config.line_weight * decoded.lines.mean(dim=1))
        rows = {name: 0.5 * (values[0] + values[1]) for name, values in terms.items() if values}
        if config.consistency_weight:
            one, two = (code.float() for code in latents)
            size = one.square().sum(dim=1) + two.square().sum(dim=1)
            rows["consistency"] = config.consistency_weight * (one - two).square().sum(dim=1) / (size + 1e-6)
        return {**rows, "latents": latents[0]}

    def expect(
        self,
        decoded: Decoded,
        seen: Seen,
        log_level: Tensor,
        instrument: Instrument,
        other: Seen | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The incident spectrum and the counts that it gives.

        Args:
            decoded: of the latents.
            seen: what the latents were made of; its net counts and area say how bright the source is.
            log_level: (B, 1) of the background.
            instrument: of the rows.
            other: the look whose counts are expected; by default the same.

        Returns:
            (B, num_energies) log photons/cm2/s/keV, (B, D) counts.
        """
        log_shape, log_amplitude = decoded.log_shape, decoded.log_amplitude
        other = seen if other is None else other
        shape = instrument.fold(log_shape, self.decoder.log_energy.float()) * seen.good
        own, others = (shape if look.looked is None else shape * look.looked for look in (seen, other))
        total = own.sum(dim=1, keepdim=True).clamp(min=1e-30)
        amplitude = seen.net * log_amplitude.exp()
        source = others / total * amplitude
        expected = (source + other.background * log_level.exp()).clamp(min=SMALLEST_EXPECTED)
        log_flux = log_shape + (amplitude / total).clamp(min=1e-30).log()
        return log_flux, expected

    @property
    def bins(self) -> DetectorBins:
        return DetectorBins(self.config.band_min, self.config.band_max, self.config.num_bins)

    def check_feature_extractor(self, extractor: ColumnFeatureExtractor) -> None:
        if isinstance(extractor, FoldedSpectrumFeatureExtractor) and extractor.bins != self.bins:
            raise ValueError(f"the model's detector bins are {self.bins}, the feature extractor's {extractor.bins}")

    @torch.no_grad()
    def expected_counts(self, columns: Mapping[str, Any], batch: Mapping[str, Tensor], fit_steps: int = 0) -> Ragged:
        """Counts that the model expects in every channel of `spectrum_counts`, of source and background.

        Args:
            columns: the rows, with their responses: `FoldedSpectrumFeatureExtractor.resolve` of them.
            batch: what the feature extractor made of them.
            fit_steps: of a fit of the latents to the counts (`latent_fits`); 0: those of the encoder.

        Returns:
            Float64, of the lengths of spectrum_counts; empty where a row has no spectrum for this model. Outside the
            model's good bins the background is the scaled counts.
        """
        was_training = self.training
        self.eval()
        try:
            whole, instrument = self.looks(**batch)
            background_counts = batch["spectrum_background_counts"].float()
            latents, log_level = fit_latents(self, whole, instrument, background_counts, fit_steps)
            log_flux = self.expect(self.decoder(latents), whole, log_level, instrument)[0]
        finally:
            self.train(was_training)
        level, of_bins = log_level.exp(), batch["spectrum_binned_background"]
        return expected_in_channels(
            columns,
            self.decoder.energies().log().numpy(),
            log_flux.double().cpu().numpy(),
            (level * of_bins).double().cpu().numpy(),
            batch["spectrum_area"].double().cpu().numpy(),
            batch["spectrum_mask"].cpu().numpy().astype(bool),
            self.bins,
        )


@dataclass
class Instrument:
    """ARF, exposure and RMF of each row.

    Attributes:
        area: (B, E) cm2 s.
        row_response: (B,) which of the U responses.
        responses: as `folding.pack_responses` gives them.
    """

    area: Tensor
    row_response: Tensor
    responses: dict[str, Tensor]

    def fold(self, log_flux: Tensor, log_energy: Tensor) -> Tensor:
        """Counts (B, D) of log photons/cm2/s/keV (B, G) at (G,) evenly spaced log keV, a power law between them."""
        energy, width = self.responses["response_energy"], self.responses["response_width"]
        # float64: a place among 160 points is good to 1e-5 only in float32, and so would the folding be.
        first, last = log_energy[0].double(), log_energy[-1].double()
        end = len(log_energy) - 1.0
        place = (end * (energy.double().log() - first) / (last - first)).clamp(0.0, end)
        left = place.floor().clamp(max=end - 1.0)
        right_share = (place - left).to(log_flux.dtype)[self.row_response]
        index = left.long()[self.row_response]
        density = torch.lerp(log_flux.gather(1, index), log_flux.gather(1, index + 1), right_share).exp()
        return fold(density * width[self.row_response] * self.area, self.row_response, self.responses)


def per_bin(statistic: Tensor, seen: Seen) -> Tensor:
    """(B,) mean over the good bins of (B, D)."""
    return (statistic * seen.good).sum(dim=1) / seen.good.sum(dim=1).clamp(min=1.0)


def level_cost(log_level: Tensor, background_counts: Tensor, seen: Seen) -> Tensor:
    """(B,) Cash's statistic of the background region's counts, a good bin; free of cost where the level is 1."""
    expected = background_counts * log_level.exp()
    cost = 2.0 * (expected - background_counts - background_counts * log_level)
    return cost[:, 0] / seen.good.sum(dim=1).clamp(min=1.0)
