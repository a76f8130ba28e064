"""Young stars or AGN by their folded spectrum: a feed-forward network, and hardness ratios beside it.

After Hebbar & Heinke 2023, ApJ 949, 12 (arXiv:2304.00158), whose layers, optimiser and binning are not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from chandraclip.catalog.bands import ACIS_CHANNEL_WIDTH, BANDS
from chandraclip.evaluation.bootstrap import interval, resampled_sums
from chandraclip.evaluation.count_spectra import FIRST_BIN, NUM_BINS

NETWORK, HARDNESS = "network", "hardness ratios"
PUBLISHED_ACCURACY = 0.92  # of simulated spectra of moderate brightness
MODERATE = (100.0, 1000.0)  # net counts; what "moderate" was is not published
NUM_ENERGIES = 48
HIDDEN = (64, 32)
# What accuracy is read against, and its bins.
BINS: dict[str, tuple[float, ...]] = {
    "net_counts": (10, 30, 100, 300, 1000, 3000),
    "background_share": (0.01, 0.05, 0.15, 0.3, 0.6),
    "log_nh": (20, 21, 21.5, 22, 22.5, 23, 24),
    "kt": (0.4, 0.8, 1.2, 2, 3, 6),
    "gamma": (1.2, 1.6, 1.8, 2, 2.4),
    "redshift": (0.2, 0.5, 1, 2, 3),
}
_MIN_ROWS = 20


def spectral_features(counts: np.ndarray, background: np.ndarray) -> np.ndarray:
    """What the network reads: square roots of the shares of counts in log-spaced energies, and how many there are.

    Args:
        counts: (N, NUM_BINS) in the channels of ACIS in 0.5-7 keV, source and background.
        background: (N, NUM_BINS) expected of the background.

    Returns:
        (N, NUM_ENERGIES + 2): shares, log10 counts, background share. A square root has the same Poisson scatter at any
        number of counts (Anscombe 1948).
    """
    counts, background = np.asarray(counts, dtype=np.float64), np.asarray(background, dtype=np.float64)
    if counts.shape[1] != NUM_BINS or counts.shape != background.shape:
        raise ValueError(f"spectra have {NUM_BINS} channels, these have {counts.shape[1]} and {background.shape[1]}")
    middle = ACIS_CHANNEL_WIDTH * (FIRST_BIN + 0.5 + np.arange(NUM_BINS))
    edges = np.geomspace(*BANDS["b"], NUM_ENERGIES + 1)
    starts = np.searchsorted(middle, edges[:-1])
    binned = np.add.reduceat(counts, starts, axis=1)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    share = np.clip(background.sum(axis=1, keepdims=True) / total, 0.0, 1.0)
    return np.concatenate([np.sqrt(binned / total), np.log10(total), share], axis=1)


def hardness_features(counts: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(N, 3) hand-made features: hard - medium, hard - soft and medium - soft over their sums, of net counts."""
    middle = ACIS_CHANNEL_WIDTH * (FIRST_BIN + 0.5 + np.arange(NUM_BINS))
    net = {}
    for name in "smh":
        inside = (middle >= BANDS[name][0]) & (middle < BANDS[name][1])
        net[name] = np.maximum((counts[:, inside] - background[:, inside]).sum(axis=1), 0.5)
    pairs = (("h", "m"), ("h", "s"), ("m", "s"))
    return np.stack([(net[x] - net[y]) / (net[x] + net[y]) for x, y in pairs], axis=1)


@dataclass(frozen=True, eq=False)
class StarAgnClassifier:
    """Both classifiers, trained.

    Attributes:
        models: name -> scikit-learn classifier of its features.
    """

    models: dict[str, Any]

    @classmethod
    def fit(
        cls, counts: np.ndarray, background: np.ndarray, is_agn: np.ndarray, max_epochs: int = 200, seed: int = 0
    ) -> StarAgnClassifier:
        """Train the network (Adam, stopped where a tenth held back gets no better) and boosting of hardness ratios.

        Args:
            counts, background: as `spectral_features`.
            is_agn: (N,) bool.
            max_epochs: of the network.
            seed: of both.

        Raises:
            ValueError: one of the classes is not there.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if is_agn.all() or not is_agn.any():
            raise ValueError("there are spectra of one class only")
        network = MLPClassifier(HIDDEN, early_stopping=True, alpha=1e-3, max_iter=max_epochs, random_state=seed)
        models = {
            NETWORK: make_pipeline(StandardScaler(), network).fit(spectral_features(counts, background), is_agn),
            HARDNESS: HistGradientBoostingClassifier(random_state=seed).fit(
                hardness_features(counts, background), is_agn
            ),
        }
        return cls(models)

    def predict(self, counts: np.ndarray, background: np.ndarray) -> dict[str, np.ndarray]:
        """Classifier -> (N,) bool, True for an AGN."""
        features = {NETWORK: spectral_features(counts, background), HARDNESS: hardness_features(counts, background)}
        return {name: np.asarray(model.predict(features[name]), dtype=bool) for name, model in self.models.items()}


def accuracy_records(
    predicted: Mapping[str, np.ndarray],
    is_agn: np.ndarray,
    truth: Mapping[str, np.ndarray],
    names: np.ndarray,
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Accuracies with 95 % intervals, over all and by each quantity.

    Args:
        predicted: classifier -> (N,) bool.
        is_agn: (N,) bool.
        truth: quantity -> (N,), NaN where a spectrum has none; those of `BINS` are used.
        names: (N,) sources.
        num_resamples, seed: of the bootstrap.

    Returns:
        A record a bin of at least 20 spectra; ``chance`` is the larger class's share in it, which for kT (of stars) and
        Gamma (of AGN) is 1: there the accuracy is the class's recall.
    """
    everything = [("all", "", np.ones(len(is_agn), dtype=bool))]
    for quantity, edges in BINS.items():
        if quantity in truth:
            for low, high in pairwise(edges):
                inside = (truth[quantity] >= low) & (truth[quantity] < high)
                everything.append((quantity, f"{low:g}-{high:g}", inside))
    if "net_counts" in truth:
        low, high = MODERATE
        inside = (truth["net_counts"] >= low) & (truth["net_counts"] < high)
        everything.append(("moderate brightness", f"{low:g}-{high:g} net counts", inside))
    records = []
    for quantity, place, rows in everything:
        if rows.sum() < (_MIN_ROWS if quantity != "all" else 1):
            continue
        share = is_agn[rows].mean()
        record: dict[str, Any] = {"quantity": quantity, "range": place, "num_spectra": int(rows.sum())}
        record["chance"] = float(max(share, 1.0 - share))
        for name, values in predicted.items():
            right = values[rows] == is_agn[rows]
            sums = resampled_sums(np.stack([right, np.ones(len(right))], axis=1), names[rows], num_resamples, seed)
            low_limit, high_limit = interval(sums[:, 0] / sums[:, 1])
            record |= {name: float(right.mean()), f"{name}_low": low_limit, f"{name}_high": high_limit}
        records.append(record)
    return records
