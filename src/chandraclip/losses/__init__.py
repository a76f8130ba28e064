"""Losses: pure functions of tensors, with no model knowledge, equal for one process and several."""

from chandraclip.losses.alignment import (
    JOINT,
    REGULARIZERS,
    aligned_pairs,
    alignment_loss,
    check_neighbourhood_weights,
    check_pair_weights,
)
from chandraclip.losses.gather import all_gather_with_gradient
from chandraclip.losses.info_nce import symmetric_info_nce
from chandraclip.losses.regularizers import distance_preservation, neighbourhood_preservation, variance_covariance

__all__ = [
    "JOINT",
    "REGULARIZERS",
    "aligned_pairs",
    "alignment_loss",
    "all_gather_with_gradient",
    "check_neighbourhood_weights",
    "check_pair_weights",
    "distance_preservation",
    "neighbourhood_preservation",
    "symmetric_info_nce",
    "variance_covariance",
]
