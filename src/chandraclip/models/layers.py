"""Layers that more than one family uses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from chandraclip.losses.gather import all_gather_mask, num_processes
from chandraclip.models.publishing import PublishingModel


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Softmax attention in plain matrix products, the reference for the other backends.

    Args:
        query, key, value: (B, heads, tokens, head_dim).
        attention_mask: added to the scores, (B, 1 or heads, queries, keys), or None.

    Returns:
        (B, queries, heads, head_dim) and the weights (B, heads, queries, keys).
    """
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class SelfAttention(nn.Module):
    """Bidirectional multi-head attention over a fixed number of tokens, (B, tokens, hidden_size) in and out."""

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False  # the backends read this from the module, and take True where it is missing
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape).transpose(1, 2)
        key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        attention: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, _ = attention(
            self,
            query,
            key,
            value,
            None,
            scaling=self.scaling,
            dropout=self.config.attention_dropout if self.training else 0.0,
            **kwargs,
        )
        return self.out_proj(output.reshape(hidden_states.shape))


class FeedForward(nn.Module):
    """Two linear layers with an activation between, on the last axis."""

    def __init__(self, config: Any):
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation(self.fc1(hidden_states))))


class EncoderLayer(GradientCheckpointingLayer):
    """Pre-norm transformer layer, (B, tokens, hidden_size) in and out."""

    def __init__(self, config: Any):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = SelfAttention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        hidden_states = hidden_states + self.self_attn(self.layer_norm1(hidden_states), **kwargs)
        return hidden_states + self.mlp(self.layer_norm2(hidden_states))


class ZeroLinear(nn.Linear):
    """Starts as zero. By its class: transformers passes modules without parameters of their own over when it
    initialises a model of another package, so that a parent cannot do it for its layers."""


class RateBlock(GradientCheckpointingLayer):
    """Pre-activation residual block of decoders of count rates, (..., width) in and out; starts as the identity.

    Source: PPAD, Song et al. 2025 (arXiv:2502.01627).
    """

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = ZeroLinear(width, width)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return hidden_states + self.fc2(F.relu(self.fc1(F.relu(hidden_states))))


class Standardize(nn.Module):
    """(x - mean) / std with constants of the config, kept beside the weights so that a checkpoint is complete.

    A value that is not known, NaN, becomes 0: the mean.
    """

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        self.constants = (list(mean), list(std))
        self.register_buffer("mean", torch.zeros(len(mean)))
        self.register_buffer("std", torch.ones(len(std)))
        self.mean: Tensor
        self.std: Tensor

    def forward(self, values: Tensor) -> Tensor:
        return torch.where(values.isnan(), 0.0, (values - self.mean) / self.std)


class ChandraPreTrainedModel(PublishingModel):
    """What every family shares: initialisation, the attention backends that are tested, publishing with a card."""

    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["EncoderLayer"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ZeroLinear):
            init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            # The library's std of 0.02 suits widths near 1,000; at 64 it starts every layer close to dead.
            init.xavier_uniform_(module.weight)
        elif isinstance(module, Standardize):
            init.copy_(module.mean, torch.tensor(module.constants[0]))
            init.copy_(module.std, torch.tensor(module.constants[1]))


class AttentionFreePreTrainedModel(ChandraPreTrainedModel):
    """Of families without attention: a backend that is asked for is refused, not passed by."""

    _supports_sdpa = False
    _supports_attention_backend = False


def fourier_features(position: Tensor, num_frequencies: int) -> Tensor:
    """[x, sin(pi 2^k x), cos(pi 2^k x)] for k = 0 ... num_frequencies - 1, (...,) to (..., 1 + 2 num_frequencies).

    Source: the positional encoding of PPAD, Song et al. 2025 (arXiv:2502.01627).
    """
    frequency = math.pi * 2.0 ** torch.arange(num_frequencies, device=position.device, dtype=position.dtype)
    angle = position[..., None] * frequency
    return torch.cat([position[..., None], angle.sin(), angle.cos()], dim=-1)


def at_least_float32(values: Tensor) -> Tensor:
    """What autocast made half as precise as sums and exponentials need; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def masked_mean(values: Tensor, mask: Tensor | None, across_processes: bool) -> Tensor:
    """Mean over the rows that count, weighted so that DDP's mean over processes is that of one process.

    Args:
        values: (B,) one number a row.
        mask: (B,) bool, or None where all rows count.
        across_processes: True in training, where all processes call this together with equal B.

    Returns:
        Scalar; 0 where no row counts.
    """
    if mask is None:
        mask = torch.ones(len(values), dtype=torch.bool, device=values.device)
    total = values.masked_fill(~mask, 0.0).sum()
    if not across_processes:
        return total / mask.sum().clamp(min=1)
    return total * num_processes() / all_gather_mask(mask).sum().clamp(min=1)
