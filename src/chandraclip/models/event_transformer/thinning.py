"""Two parts of each photon list, at random, photon by photon."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from chandraclip.models.draws import keyed_uniforms
from chandraclip.models.event_transformer.photon_features import PhotonLists


def halves(lists: PhotonLists, key: Tensor, draw: Tensor, smallest_share: float) -> tuple[PhotonLists, PhotonLists]:
    """Cut each list in two.

    The share of the first part is drawn a list, evenly in its logit from `smallest_share` to 1 - `smallest_share`, and
    then each photon's side. Both are functions of the list and the draw alone.

    Args:
        lists: whole ones.
        key: (B,) int64, a hash of each list.
        draw: scalar in [0, 1), of the whole batch.
        smallest_share: in (0, 1/2].
    """
    widest = math.log(smallest_share / (1.0 - smallest_share))
    place = keyed_uniforms(key, draw, torch.ones_like(key), stream=0)
    share = torch.sigmoid(widest * (1.0 - 2.0 * place))
    row = lists.row
    rank = torch.arange(len(row), device=row.device) - lists.cu_seqlens[:-1][row] + 1
    first = keyed_uniforms(key[row], draw, rank, stream=1) < share[row]
    return lists.part(first, share), lists.part(~first, 1.0 - share)
