"""Queries that read the photons of their list: by chunks anywhere, by the flash kernel where it applies."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from chandraclip.models.event_transformer.packed_attention import Chunks, packed_attention
from chandraclip.models.event_transformer.varlen_attention import Lists, varlen_attention


class PhotonKeys(nn.Module):
    """Keys and values of the photons, made once: they are most of the work, and every block reads the same ones."""

    def __init__(self, config: Any):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, photons: Tensor) -> tuple[Tensor, Tensor]:
        """Photons in chunks, (chunks, size, hidden_size) to twice (chunks, heads, size, head_dim), or as they lie,
        (T, hidden_size) to twice (T, heads, head_dim)."""
        key, value = (
            projection(photons).unflatten(-1, (self.num_heads, -1)) for projection in (self.k_proj, self.v_proj)
        )
        if photons.dim() == 2:
            return key, value
        return key.transpose(1, 2).contiguous(), value.transpose(1, 2).contiguous()


class PackedCrossAttention(nn.Module):
    """Multi-head attention from (B, queries, hidden_size) to the photons of each list."""

    def __init__(self, config: Any):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, queries: Tensor, key: Tensor, value: Tensor, layout: Chunks | Lists) -> Tensor:
        """
        Args:
            queries: (B, queries, hidden_size).
            key, value: from `PhotonKeys`, of photons in chunks or as they lie.
            layout: which of the two, and the lists they belong to.

        Returns:
            (B, queries, hidden_size).
        """
        query = self.q_proj(queries).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        if isinstance(layout, Lists):
            output = varlen_attention(query, key, value, layout)
        else:
            output = packed_attention(query, key, value, layout, self.scaling)
        return self.out_proj(output.transpose(1, 2).flatten(2).to(queries.dtype))
