"""How well models reconstruct count spectra: Cash a bin of the counts seen and of counts held out, and the MAE.

All models are scored on the same counts: the good channels of 0.5-7 keV, total counts, the number of channels as
denominator. Beside them stand models that need no training but sums, and what a perfect model would score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.statistics import cash, expected_cash
from chandraclip.evaluation.bootstrap import interval, resampled_sums
from chandraclip.evaluation.count_spectra import LEAST_SHARE, BandSpectra, ShapeModel
from chandraclip.evaluation.reconstructions import ReconstructionTable

CONSTANT, MEAN = "constant", "mean of train"
DECADES = (0, 10, 100, 1000, 10_000, np.inf)


def pca_name(num_components: int) -> str:
    """The name of PCA among the models."""
    return f"PCA {num_components}"


@dataclass(frozen=True, eq=False)
class Scores:
    """One model on N spectra, a bin where it is a Cash statistic; NaN where it does not say.

    Attributes:
        cash: (N,) of the counts that it saw.
        perfect: (N,) what counts drawn from its own expectation would score on average.
        held_out_cash: (N,) of the half that it did not see, given the other.
        held_out_perfect: (N,) the same for that half.
        mae: (N,) mean absolute error of the published points (400, min-max).
        excess: (N,) by how many standard deviations of Poisson noise `cash` exceeds `perfect`.
    """

    cash: np.ndarray
    perfect: np.ndarray
    held_out_cash: np.ndarray
    held_out_perfect: np.ndarray
    mae: np.ndarray
    excess: np.ndarray


@dataclass(frozen=True, eq=False)
class Observed:
    """The counts of N spectra that models are scored on.

    Attributes:
        band: their channels.
        counts: (total,) observed.
        held_out: (total,) those of the half that models did not see; the half they saw is the rest.
    """

    band: BandSpectra
    counts: np.ndarray
    held_out: np.ndarray

    @property
    def totals(self) -> np.ndarray:
        """(N,) counts in the band."""
        return self.band.sums(self.counts)

    def score(self, expected: np.ndarray, half: np.ndarray, mae: np.ndarray | None = None) -> Scores:
        """Scores of expectations.

        No channel is expected to have less than a thousandth of an equal share of the counts that were seen (of one
        count, where none were): a zero where a photon came would make the statistic infinite. The same for all models.

        Args:
            expected: (total,) given the whole spectrum.
            half: (total,) given one half, of either half.
            mae: (N,).
        """
        number = np.maximum(self.band.num_channels, 1)
        none = self.band.num_channels == 0  # which no model can miss
        parts = []
        for seen, counts, model in (
            (self.counts, self.counts, expected),
            (self.counts - self.held_out, self.held_out, half),
        ):
            least = LEAST_SHARE * np.maximum(self.band.sums(seen), 1.0) / number
            raised = np.maximum(model, least[self.band.rows])
            mean, variance = expected_cash(raised)
            value, perfect = self.band.sums(cash(counts, raised)), self.band.sums(mean)
            value[none] = np.nan
            parts.append((value, perfect, np.sqrt(self.band.sums(variance))))
        (value, perfect, scatter), (held_out, held_out_perfect, _) = parts
        return Scores(
            cash=value / number,
            perfect=perfect / number,
            held_out_cash=held_out / number,
            held_out_perfect=held_out_perfect / number,
            mae=np.full(len(value), np.nan) if mae is None else mae,
            excess=np.divide(value - perfect, scatter, out=np.full(len(value), np.nan), where=scatter > 0),
        )


def score_models(
    tables: Mapping[str, ReconstructionTable], observed: Observed, shapes: ShapeModel | None
) -> tuple[dict[str, Scores], dict[str, np.ndarray]]:
    """Scores and expected counts of every model and of the simple ones beside them.

    Args:
        tables: label -> reconstructions of the N detections of `observed`, in their order.
        observed: their counts.
        shapes: mean and components of train; None where train has no spectra to tell.

    Returns:
        model -> `Scores`, and model -> (total,) expected counts given the whole spectrum. The simple models have the
        total of the spectrum (or half) that they see.
    """
    scores, expected = {}, {}
    for label, table in tables.items():
        full, half = (
            np.asarray(part.values, dtype=np.float64)[observed.band.channels]
            for part in (table.expected, table.half_expected)
        )
        mae = np.abs(table.points - table.reconstruction).mean(axis=1)
        scores[label], expected[label] = observed.score(full, half, mae), full

    band, seen = observed.band, observed.counts - observed.held_out
    points = next(iter(tables.values())).points
    statistics = next((table.train_points for table in tables.values() if table.train_points is not None), None)
    sizes = dict.fromkeys(int(table.provenance.get("num_latents", 8)) for table in tables.values())

    def add(name: str, shape_of: Any, reconstruction: np.ndarray | None) -> None:
        parts = [band.spread(shape_of(given), band.sums(given)) for given in (observed.counts, seen)]
        mae = None if reconstruction is None else np.abs(points - reconstruction).mean(axis=1)
        scores[name], expected[name] = observed.score(parts[0], parts[1], mae), parts[0]

    mean, covariance = (None, None) if statistics is None else statistics
    flat = np.full(1, np.nan) if mean is None else np.full(1, mean.mean())
    add(CONSTANT, lambda given: np.ones(band.binned(given).shape[1]), None if mean is None else flat)
    if shapes is None:
        return scores, expected
    add(MEAN, lambda given: shapes.mean, mean)
    vectors = None if covariance is None else np.linalg.eigh(covariance)[1][:, ::-1]
    for size in sizes:
        reconstruction = None
        if mean is not None and vectors is not None:
            reconstruction = mean + (points - mean) @ vectors[:, :size] @ vectors[:, :size].T
        add(pca_name(size), lambda given, size=size: shapes.shapes(band.binned(given), size), reconstruction)
    return scores, expected


def decade_of(totals: np.ndarray) -> np.ndarray:
    """(N,) which of `DECADES` a number of counts is in."""
    return np.searchsorted(DECADES, totals, side="right") - 1


def decade_name(decade: int) -> str:
    """E.g. ``"10-100"``."""
    low, high = DECADES[decade], DECADES[decade + 1]
    return f"{low:g}-{high:g}" if np.isfinite(high) else f"{low:g}+"


def summarize(
    scores: Mapping[str, Scores], totals: np.ndarray, names: np.ndarray, num_resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Means by decade of counts, with 95 % intervals by resampling sources, and over all.

    Args:
        scores: model -> scores of N spectra.
        totals: (N,) counts in the band.
        names: (N,) sources.
        num_resamples, seed: of the bootstrap.

    Returns:
        One record a decade ("all" the last) and model, in order. ``held_out_excess`` is what a model loses to a perfect
        one on the counts that it did not see: `held_out_cash` less `held_out_perfect`.
    """
    decade = decade_of(totals)
    records = []
    present = [*np.unique(decade).tolist(), None]
    for number in present:
        rows = np.ones(len(totals), bool) if number is None else decade == number
        for model, values in scores.items():
            record: dict[str, Any] = {
                "counts": "all" if number is None else decade_name(number),
                "model": model,
                "num_rows": int(rows.sum()),
            }
            for name in ("cash", "held_out_cash", "mae"):
                record |= _mean(name, getattr(values, name)[rows], names[rows], num_resamples, seed)
            record["perfect"] = float(values.perfect[rows].mean())
            record["held_out_perfect"] = float(values.held_out_perfect[rows].mean())
            records.append(record)
    return records


def differences(
    scores: Mapping[str, Scores],
    first: str,
    others: Sequence[str],
    totals: np.ndarray,
    names: np.ndarray,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Held-out Cash a bin of other models less that of the first on the same spectra: above 0 the first is better.

    Arguments and records as `summarize`.
    """
    decade = decade_of(totals)
    records = []
    for number in [*np.unique(decade).tolist(), None]:
        rows = np.ones(len(totals), bool) if number is None else decade == number
        for other in others:
            change = scores[other].held_out_cash[rows] - scores[first].held_out_cash[rows]
            records.append(
                {
                    "counts": "all" if number is None else decade_name(number),
                    "model": other,
                    "less": first,
                    **_mean("held_out_cash", change, names[rows], num_resamples, seed),
                }
            )
    return records


def _mean(name: str, values: np.ndarray, names: np.ndarray, num_resamples: int, seed: int) -> dict[str, float]:
    known = np.isfinite(values)
    if not known.any():
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    sums = resampled_sums(np.stack([values[known], np.ones(known.sum())], axis=1), names[known], num_resamples, seed)
    low, high = interval(sums[:, 0] / sums[:, 1])
    return {name: float(values[known].mean()), f"{name}_low": low, f"{name}_high": high}


def observed_counts(columns: Any, table: ReconstructionTable) -> Observed:
    """The counts of a table's detections.

    Args:
        columns: Arrow table with `count_spectra.COLUMNS` of the same N detections, in their order.
        table: reconstructions.

    Raises:
        ValueError: a spectrum has another number of channels than its reconstruction, or a half more counts than the
            whole: the dataset is another.
    """
    counts = Ragged.from_arrow(columns["spectrum_counts"])
    if not np.array_equal(counts.offsets, table.held_out.offsets):
        raise ValueError("spectra have other numbers of channels than their reconstructions")
    if (counts.values < table.held_out.values).any():
        raise ValueError("halves of spectra have more counts than the spectra")
    band = BandSpectra.of(columns)
    return Observed(
        band, counts.values[band.channels].astype(np.float64), table.held_out.values[band.channels].astype(np.float64)
    )
