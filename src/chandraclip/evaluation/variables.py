"""The physical variables that regression predicts, what may be used to predict them by hand, and published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chandraclip.data.schema import CATALOG_COLUMNS, TRUE_COLUMNS

# Named in arXiv:2603.04516 as far as it could be read; the other eleven of its twenty are not known.
CONFIRMED_VARIABLES = (
    "hard_hm",
    "hard_hs",
    "hard_ms",
    "powlaw_gamma",
    "powlaw_nh",
    "brems_nh",
    "bb_kt",
    "apec_kt",
    "flux_significance_b",
)
DEFAULT_VARIABLES = (
    *CONFIRMED_VARIABLES,
    # The Galactic column is known of every position, and models are told: nothing to predict.
    *(name for name in CATALOG_COLUMNS if name not in (*CONFIRMED_VARIABLES, "nh_gal")),
    *TRUE_COLUMNS,
)
# Over decades an absolute error means something only in log10: these errors are in dex. Published columns stay linear.
LOG10_VARIABLES = frozenset(
    {
        "src_cnts_aper_b",
        "flux_aper_b",
        "flux_aper_h",
        "flux_aper_m",
        "flux_aper_s",
        "true_flux_b",
        "true_nh",
        "true_kt",
        "true_period",
    }
)


@dataclass(frozen=True)
class PublishedError:
    """kNN (k = 3) mean absolute error on real CSC spectra and texts, arXiv:2603.04516, Table 3."""

    best_before_alignment: float
    selected: float  # per variable the best representation, their "MoE"


PUBLISHED = {
    "hard_hs": PublishedError(0.20, 0.12),
    "powlaw_gamma": PublishedError(0.65, 0.41),
    "powlaw_nh": PublishedError(33.08, 21.63),
    "brems_nh": PublishedError(23.31, 14.12),
    "flux_significance_b": PublishedError(7.36, 4.54),
}

# Hand-made features: what an astronomer has without any learning. True where the feature enters as log10.
HAND_FEATURES: dict[str, bool] = {
    "hard_hm": False,
    "hard_hs": False,
    "hard_ms": False,
    "src_cnts_aper_b": True,
    "flux_aper_b": True,
    "flux_significance_b": True,
    "var_prob_b": False,
    "var_index_b": False,
    "theta": False,
    "livetime": True,
    "nh_gal": True,
    "effective_area_s": True,
    "effective_area_m": True,
    "effective_area_h": True,
}
# A feature may not predict itself, nor what it is a direct function of. Any two hardness ratios fix the third; counts,
# flux and significance are one measurement (with livetime); the variability index follows from the probability.
_HARDNESS = frozenset({"hard_hm", "hard_hs", "hard_ms"})
_BRIGHTNESS = frozenset({"src_cnts_aper_b", "flux_aper_b", "flux_significance_b"})
_VARIABILITY = frozenset({"var_prob_b", "var_index_b"})
_AREAS = frozenset({"effective_area_s", "effective_area_m", "effective_area_h"})
EXCLUDED_FEATURES: dict[str, frozenset[str]] = {
    **dict.fromkeys(_HARDNESS, _HARDNESS),
    **dict.fromkeys(_BRIGHTNESS, _BRIGHTNESS),
    **dict.fromkeys(("flux_aper_h", "flux_aper_m", "flux_aper_s"), _BRIGHTNESS),  # parts of the same flux
    **dict.fromkeys(_VARIABILITY, _VARIABILITY),
    **{name: frozenset({name}) for name in ("nh_gal", "theta", "livetime")},
    **dict.fromkeys(_AREAS, _AREAS),
}


def target_values(columns: Mapping[str, np.ndarray], variable: str) -> np.ndarray:
    """(N,) float64 of a variable, NaN where missing; log10 for `LOG10_VARIABLES`, where a value <= 0 is missing.

    Raises:
        KeyError: the variable is not among the columns.
    """
    return _transformed(columns[variable], variable in LOG10_VARIABLES)


def hand_features(columns: Mapping[str, np.ndarray], variable: str) -> np.ndarray:
    """(N, F) float64 hand-made features allowed for a variable, of those among the columns; NaN where missing."""
    excluded = EXCLUDED_FEATURES.get(variable, frozenset())
    features = [
        _transformed(columns[name], log10)
        for name, log10 in HAND_FEATURES.items()
        if name in columns and name not in excluded
    ]
    size = len(next(iter(columns.values())))
    return np.stack(features, axis=1) if features else np.zeros((size, 0))


def _transformed(values: np.ndarray, log10: bool) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    if log10:
        return np.log10(np.where(values > 0, values, np.nan))
    return values
