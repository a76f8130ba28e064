"""Validation on fixed rows: the mean loss of an autoencoder, and the retrieval of an aligned model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from chandraclip.evaluation.retrieval import rank_positives
from chandraclip.losses import aligned_pairs

if TYPE_CHECKING:
    from chandraclip.models import ChandraClipModel

Batches = Iterable[tuple[slice, dict[str, Tensor]]]


@torch.inference_mode()
def mean_loss(model: nn.Module, batches: Batches, mask: str, accelerator: Accelerator) -> float:
    """Mean of the model's loss over all rows of all processes.

    Args:
        model: unwrapped; its loss is the mean over the rows of a batch that count.
        batches: of this process, from `data.validation_batches`.
        mask: key of the rows that count.
    """
    model.eval()
    total = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
    for _, batch in batches:
        count = batch[mask].sum()
        total += torch.stack([model(**batch).loss.double() * count, count.double()])
    loss, rows = accelerator.reduce(total, reduction="sum").tolist()
    return loss / rows if rows else math.nan


@torch.inference_mode()
def embed(
    model: ChandraClipModel, batches: Batches, modalities: Sequence[str], num_rows: int, accelerator: Accelerator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Embeddings of the rows of all processes, the same in each.

    Args:
        model: unwrapped; its output has `<modality>_embeds`.
        batches: of this process, from `data.validation_batches`; they or the output have `<modality>_mask`.
        modalities: of spectrum, event, xray (the joint embedding) and text.
        num_rows: N, of all processes.

    Returns:
        modality -> (N, D) float32 and (N,) bool.
    """
    model.eval()
    size = model.config.projection_dim + 1  # and the mask
    whole = torch.zeros(num_rows, len(modalities), size, device=accelerator.device)
    for share, batch in batches:
        output = model(**batch)
        for place, name in enumerate(modalities):
            whole[share, place, :-1] = getattr(output, f"{name}_embeds").float()
            rows_with = batch[f"{name}_mask"] if f"{name}_mask" in batch else getattr(output, f"{name}_mask")
            whole[share, place, -1] = rows_with.float()
    result = accelerator.reduce(whole, reduction="sum").cpu().numpy()  # a row is non-zero in one process only
    return {name: (result[:, place, :-1], result[:, place, -1] > 0) for place, name in enumerate(modalities)}


def retrieval(embeddings: Mapping[str, tuple[np.ndarray, np.ndarray]], texts: Sequence[str | None]) -> dict[str, float]:
    """Recall@1 %, @5 % and median rank as a share of the pool, of each aligned pair, left to right.

    The protocol of `evaluation.retrieval`, without intervals: among texts the pool holds each distinct one once, and
    the right answer is the row's own text; between others it is the row itself.

    Args:
        embeddings: modality -> (N, D) and (N,) bool, rows that have it; "text" last.
        texts: (N,) the texts, None or blank in rows without one.

    Returns:
        "<left>_<right>/<metric>" -> value, for the pairs that some row has both of.
    """
    distinct: dict[str, int] = {}
    text_group = np.array([distinct.setdefault(text, len(distinct)) if text else -1 for text in texts])
    metrics = {}
    for left, right in aligned_pairs(embeddings):
        (queries, has_query), (candidates, has_candidate) = embeddings[left], embeddings[right]
        asked, pool = np.flatnonzero(has_query & has_candidate), np.flatnonzero(has_candidate)
        if not asked.size:
            continue
        group = text_group if right == "text" else np.arange(len(texts))
        pool = pool[np.unique(group[pool], return_index=True)[1]]
        ranks = rank_positives(queries[asked], candidates[pool], group[asked], group[pool])
        for percentage in (1, 5):
            recall = ranks.recall(math.ceil(percentage / 100 * len(pool)))
            metrics[f"{left}_{right}/recall@{percentage}%"] = float(recall.mean())
        metrics[f"{left}_{right}/median_rank_share"] = ranks.median_rank() / len(pool)
        metrics[f"{left}_{right}/num_candidates"] = float(len(pool))
    return metrics
