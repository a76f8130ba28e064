"""Count spectra of any instrument, with what their responses could have seen, in bins that all instruments share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from transformers.feature_extraction_utils import BatchFeature

from chandraclip.catalog.quality import good_channels
from chandraclip.catalog.ragged import Ragged, row_index
from chandraclip.data.schema import MODALITY_COLUMNS
from chandraclip.models.columns import (
    background_columns,
    column_names,
    exposure_column,
    list_column,
    scalar_column,
)
from chandraclip.models.feature_extraction import RESPONSE_COLUMN, ResponseFeatureExtractor
from chandraclip.models.folded_spectrum_autoencoder.detector_bins import BinnedResponse, DetectorBins
from chandraclip.models.folded_spectrum_autoencoder.folding import RESPONSE_KEYS, pack_responses
from chandraclip.ogip.response import Response

# Half-widths of the windows that a background is smoothed over, in bins, and the counts that one must hold.
WINDOWS = (0, 1, 2, 4, 8, 16, 32)
WINDOW_COUNTS = 15.0


class FoldedSpectrumFeatureExtractor(ResponseFeatureExtractor):
    """Raw counts, expected background and the response of each row, for `FoldedSpectrumAutoencoderModel`.

    A spectrum's channels are added up to bins of detected energy that are evenly spaced in the root of the energy, as
    the width of a CCD's line grows: 29 eV at 0.5 keV, 107 eV at 7 keV with 96 bins; counts stay counts. Beside them
    stands what the instrument would have counted of a power law (photon index 1.7) of 1 photon/cm2/s/keV at 1 keV: ARF,
    RMF, exposure and the aperture's share of the PSF (`psf_frac_aper_b`; 1 where null). A bin in which a channel is bad
    (`catalog.quality.good_channels`), or which has no channel, is left out. A row without response, area or counts has
    no spectrum for this model. Responses come as `models.feature_extraction.ResponseFeatureExtractor` says.

    The background is measured counts times `background_scale`, smoothed over as many bins as hold 15 counts.

    Args:
        num_bins: D.
        energy_min, energy_max: keV, the band.
    """

    model_input_names = [  # noqa: RUF012
        "spectrum_binned_counts", "spectrum_binned_background", "spectrum_reference", "spectrum_good",
        "spectrum_background_counts", "spectrum_area", "spectrum_response", *RESPONSE_KEYS,
        "spectrum_summary", "spectrum_mask",
    ]  # fmt: skip
    columns = (*MODALITY_COLUMNS["spectrum"], "arf", "response_id", "psf_frac_aper_b")
    optional_columns = (*MODALITY_COLUMNS["spectrum"][1:], "psf_frac_aper_b")

    def __init__(self, num_bins: int = 96, energy_min: float = 0.5, energy_max: float = 7.0, **kwargs: Any):
        if not 0 < energy_min < energy_max:
            raise ValueError(f"the band {energy_min}-{energy_max} keV is empty")
        if num_bins < 1:
            raise ValueError(f"num_bins must be positive, it is {num_bins}")
        super().__init__(**kwargs)
        self.num_bins = num_bins
        self.energy_min = energy_min
        self.energy_max = energy_max

    @property
    def bins(self) -> DetectorBins:
        return DetectorBins(self.energy_min, self.energy_max, self.num_bins)

    @property
    def energies(self) -> np.ndarray:
        """(num_bins,) keV, the logarithmic middles of the bins of detected energy."""
        return np.sqrt(self.bins.edges[:-1] * self.bins.edges[1:])

    def prepare_response(self, response: Response) -> BinnedResponse:
        return BinnedResponse.of(response, self.bins)

    def __call__(self, batch: Any, return_tensors: str | None = "pt") -> BatchFeature:
        """
        Args:
            batch: one row, a list of rows, dataset columns or a `Dataset` (see `as_columns`) with spectrum_counts
                (required), spectrum_background, background_scale, exposure in s (null: not known), arf in cm2,
                response_id or `response`, psf_frac_aper_b, spectrum_quality and spectrum_grouping.
            return_tensors: "pt", "np" or None.

        Returns:
            Float32, D bins: spectrum_binned_counts (B, D); spectrum_binned_background (B, D), counts expected in the
            source region; spectrum_reference (B, D), counts of the power law; spectrum_good (B, D), 1 or 0;
            spectrum_background_counts (B, 1), measured in the good bins of the background region; spectrum_area (B, E)
            cm2 s, ARF x exposure x share of the PSF; spectrum_response (B,) int64, which of the U responses; those, as
            `folding.pack_responses` gives them; spectrum_summary (B, 3): log10 photons/cm2/s/keV at 1 keV of the power
            law with the net counts (of at least half a count; NaN where the exposure is not known), log10 counts (of at
            least 0.5), background / counts in [0, 1]; spectrum_mask (B,) bool. Rows without a spectrum are 0.

        Raises:
            KeyError: no column spectrum_counts.
            ValueError: a response that is not at hand; an area that is not finite; an exposure that is given and not
                positive; lengths that do not match; a column that holds something else.
        """
        batch = self.resolve(batch)
        counts = list_column(batch, "spectrum_counts", np.float64)
        if counts is None:
            raise KeyError(f"a spectrum needs the column spectrum_counts, the batch has {column_names(batch)}")
        number, responses = self._responses(batch, counts)
        exposure = exposure_column(batch, counts)
        binned = self._binned(batch, counts, number, responses)
        area = _area(batch, number, responses, np.nan_to_num(exposure, nan=1.0))
        reference = np.zeros((len(counts), self.num_bins))
        for place, response in enumerate(responses):
            rows = np.flatnonzero(number == place)
            seen = area[rows, : response.energy.size] * response.reference
            reference[rows] = np.asarray(seen @ response.matrix)
        good = binned["good"] * (reference > 0)
        mask = (good.sum(axis=1) > 0) & (number >= 0)
        good *= mask[:, None]
        total, expected, seen = (
            (values * good).sum(axis=1) for values in (binned["counts"], binned["background"], reference)
        )
        net = np.maximum(total - expected, 0.5)
        share = np.divide(expected, total, out=np.where(expected > 0, 1.0, 0.0), where=total > 0)
        flux = np.where(np.isnan(exposure), np.nan, np.log10(net / np.where(mask, seen, 1.0)))
        summary = np.stack([flux, np.log10(np.maximum(total, 0.5)), np.clip(share, 0.0, 1.0)], axis=1)
        data = {
            "spectrum_binned_counts": binned["counts"] * good,
            "spectrum_binned_background": binned["background"] * good,
            "spectrum_reference": reference * good,
            "spectrum_good": good,
            "spectrum_background_counts": (binned["background_counts"] * good).sum(axis=1, keepdims=True),
            "spectrum_area": area * mask[:, None],
            "spectrum_summary": np.where(mask[:, None], summary, 0.0),
        }
        data = {name: values.astype(np.float32) for name, values in data.items()}
        data |= {"spectrum_response": np.maximum(number, 0), "spectrum_mask": mask}
        return BatchFeature({**data, **pack_responses(responses, self.num_bins)}, tensor_type=return_tensors)

    def _responses(self, batch: Mapping[str, Any], counts: Ragged) -> tuple[np.ndarray, list[BinnedResponse]]:
        """(B,) which response a row has, -1 for none, and the responses."""
        lengths = np.diff(counts.offsets)
        area = list_column(batch, "arf", np.float64)
        sizes = np.zeros(len(counts), np.int64) if area is None else np.diff(area.offsets)
        column = batch[RESPONSE_COLUMN]
        identity = np.array([0 if response is None else id(response) for response in column], np.int64)
        identity[(lengths == 0) | (sizes == 0)] = 0
        known, first, place = np.unique(identity, return_index=True, return_inverse=True)
        number = place - int(known[0] == 0) if known.size else place
        given = [column[row] for row, name in zip(first, known) if name]
        for name, found, wanted in (
            ("spectrum_counts", lengths, [response.num_channels for response in given]),
            ("arf", sizes, [response.arf.size for response in given]),
        ):
            expected = np.append(wanted, -1)[number]  # -1 picks the last, of rows without a response
            wrong = np.flatnonzero((expected >= 0) & (found != expected))
            if wrong.size:
                row = wrong[0]
                raise ValueError(f"row {row}: {name} has {found[row]} entries, and its response {expected[row]}")
        return number, [self.prepared(response) for response in given]

    def _binned(
        self, batch: Mapping[str, Any], counts: Ragged, number: np.ndarray, responses: list[BinnedResponse]
    ) -> dict[str, np.ndarray]:
        """(B, D) counts, background expected in the source region and counted in its own, and good."""
        rows = row_index(counts)
        lengths = np.diff(counts.offsets)
        places = [response.bin_of_channel for response in responses]
        starts = np.concatenate([[0], np.cumsum([len(place) for place in places])]).astype(np.int64)
        known = number[rows] >= 0
        channel = np.arange(len(rows)) - counts.offsets[rows]
        place = np.full(len(rows), -1)
        if responses:
            place[known] = np.concatenate(places)[starts[number[rows[known]]] + channel[known]]
        inside = place >= 0
        cell = rows[inside] * self.num_bins + place[inside]
        shape = (len(counts), self.num_bins)

        def added(values: np.ndarray) -> np.ndarray:
            return np.bincount(cell, values[inside], minlength=shape[0] * shape[1]).reshape(shape)

        quality, grouping = (list_column(batch, f"spectrum_{name}", np.int64) for name in ("quality", "grouping"))
        good = good_channels(counts, quality, grouping)
        channels = added(np.ones(len(rows)))
        bad = np.zeros(shape) if good is None else added((~good).astype(np.float64))
        background, scale = _background(batch, counts, lengths)
        measured = added(background)
        return {
            "counts": added(counts.values),
            "background": _smooth(measured, channels) * scale[:, None],
            "background_counts": measured * (scale > 0)[:, None],
            "good": ((channels > 0) & (bad == 0)).astype(np.float64),
        }


def _area(
    batch: Mapping[str, Any] | pa.Table, number: np.ndarray, responses: list[BinnedResponse], exposure: np.ndarray
) -> np.ndarray:
    """(B, E) cm2 s; 0 beyond a row's own energies."""
    size = max((response.energy.size for response in responses), default=1)
    result = np.zeros((len(number), size))
    areas = list_column(batch, "arf", np.float64)
    if areas is None or not responses:
        return result
    rows = row_index(areas)
    used = number[rows] >= 0
    wrong = rows[used & ~np.isfinite(areas.values)]
    if wrong.size:
        raise ValueError(f"row {wrong[0]}: arf holds a number that is not finite")
    result[rows[used], (np.arange(len(rows)) - areas.offsets[rows])[used]] = areas.values[used]
    share = scalar_column(batch, "psf_frac_aper_b")
    return result * (exposure * (1.0 if share is None else np.nan_to_num(share, nan=1.0)))[:, None]


def _background(
    batch: Mapping[str, Any] | pa.Table, counts: Ragged, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(total,) background counts of each channel of `counts`, and the scale (B,); 0 where there is none."""
    result, scales = np.zeros(len(counts.values)), np.zeros(len(counts))
    background, scale = background_columns(batch)
    if background is None or scale is None:
        return result, scales
    given = np.diff(background.offsets)
    has = (given > 0) & (lengths > 0) & np.isfinite(scale)
    wrong = np.flatnonzero(has & (given != lengths))
    if wrong.size:
        raise ValueError(
            f"row {wrong[0]}: {lengths[wrong[0]]} source and {given[wrong[0]]} background channels, of spectrum_counts "
            "and spectrum_background"
        )
    result[has[row_index(counts)]] = background.values[has[row_index(background)]]
    scales[has] = scale[has]
    return result, scales


def _smooth(background: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """(B, D) background counts expected, over the narrowest window about a bin that holds enough; the total is kept.

    Half a count is spread over the band, so that a background that was measured and counted nothing is not impossible.
    """
    number = background.shape[1]
    total = channels.sum(axis=1, keepdims=True)
    prior = 0.5 * channels / np.maximum(total, 1.0)
    sums = np.pad(np.cumsum(background + prior, axis=1), ((0, 0), (1, 0)))
    covered = np.pad(np.cumsum(channels, axis=1), ((0, 0), (1, 0)))
    rate = sums[:, -1:] / np.maximum(total, 1.0) * np.ones(number)  # of the whole band
    place = np.arange(number)
    for half in reversed(WINDOWS):
        low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, number)
        held, over = sums[:, high] - sums[:, low], covered[:, high] - covered[:, low]
        enough = (held >= WINDOW_COUNTS) & (over > 0)
        rate = np.where(enough, held / np.maximum(over, 1.0), rate)
    smooth = rate * channels  # a window that holds enough is one that has more than its due
    return smooth * (sums[:, -1:] / np.maximum(smooth.sum(axis=1, keepdims=True), 1e-300))
