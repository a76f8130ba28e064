"""Which energies the latents of a spectrum model depend on: by gradient, and by attention where there is any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chandraclip.models.contract import TowerModel
from chandraclip.models.layers import SelfAttention

# keV. Those of the catalogue, and the lines of iron: neutral 6.4 to hydrogen-like 6.97, at a CCD's resolution.
BANDS_OF_INTEREST = {"soft": (0.5, 1.2), "medium": (1.2, 2.0), "hard": (2.0, 7.0), "Fe K": (6.2, 7.1)}


def saliency(model: TowerModel, batch: Mapping[str, Tensor], num_steps: int = 1) -> np.ndarray:
    """How much each latent changes with each energy of a spectrum, summed over the latents.

    With one step the plain gradient at the spectrum, times the scatter of that energy over the rows: what a usual
    change there does. With more, integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) from the mean
    spectrum to the row's own: which energies make this row's latents what they are. Mean and scatter are those of the
    shapes, times the row's own total, so that counts of faint and bright rows do not mix. Each latent counts in units
    of its scatter.

    Args:
        model: in evaluation; its encoder's `main_input_name` is the spectrum, (B, N).
        batch: of its feature extractor, two rows or more; those without a spectrum should be left out.
        num_steps: points of the integral.

    Returns:
        (B, N) float64 >= 0, of sum 1 in each row; 0 in a row that no latent depends on.

    Raises:
        ValueError: fewer than two rows, whose scatter sets the scales.
    """
    if model.encoder_class is None:
        raise ValueError(f"a {model.config.model_type} has no encoder to look into")
    key = model.encoder_class.main_input_name
    values = batch[key].detach().float()
    if values.ndim != 2 or len(values) < 2:
        raise ValueError(f"saliency takes (B, N) spectra of two rows or more, {key} is {tuple(values.shape)}")
    others = {name: value for name, value in batch.items() if name != key}
    with torch.no_grad():
        scatter = model.encode(**{key: values}, **others).float().std(dim=0)
    # A latent that does not change between rows says nothing, whatever its gradient.
    weight = torch.where(scatter > 0, 1.0 / scatter, 0.0)
    total = values.abs().sum(dim=1, keepdim=True)
    shapes = values / total.clamp(min=torch.finfo(values.dtype).tiny)
    middle = shapes.mean(dim=0) * total
    along = values - middle if num_steps > 1 else shapes.std(dim=0) * total
    jacobian = torch.zeros(len(weight), *values.shape, dtype=torch.float64, device=values.device)
    for step in range(num_steps):
        share = (step + 0.5) / num_steps if num_steps > 1 else 1.0
        place = (middle + share * (values - middle)).requires_grad_()
        latents = model.encode(**{key: place}, **others).float()
        for number in range(latents.shape[1]):
            (gradient,) = torch.autograd.grad(latents[:, number].sum(), place, retain_graph=True)
            jacobian[number] += gradient / num_steps
    result = ((jacobian * along).abs() * weight[:, None, None]).sum(dim=0)
    return _of_sum_one(result.cpu().numpy())


@torch.no_grad()
def attention(model: TowerModel, batch: Mapping[str, Tensor]) -> np.ndarray | None:
    """Attention of a transformer on each energy, rolled out through its layers.

    After Abnar & Zuidema 2020 (arXiv:2005.00928): the weights of a layer, mean over the heads, are mixed half and half
    with the token itself, which the residual carries on; the product over the layers says how much of each input token
    is in each output token. The latents are made of all output tokens, so their mean is taken. The tokens are those of
    the patches of energies, last, and others before them.

    Returns:
        (B, N) float64, of sum 1 in each row; every energy of a patch has the same. None for a model without attention.
    """
    layers = [module for module in model.encoder.modules() if isinstance(module, SelfAttention)]
    if not layers:
        return None
    seen: dict[nn.Module, Tensor] = {}
    hooks = [
        projection.register_forward_hook(lambda module, _, output: seen.__setitem__(module, output))
        for layer in layers
        for projection in (layer.q_proj, layer.k_proj)
    ]
    try:
        model.encode(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    rolled: Any = None
    for layer in layers:
        query, key = (
            seen[part].float().unflatten(-1, (-1, layer.head_dim)).transpose(1, 2)
            for part in (layer.q_proj, layer.k_proj)
        )
        weights = (query @ key.transpose(-1, -2) * layer.scaling).softmax(dim=-1).mean(dim=1)
        mixed = 0.5 * (weights + torch.eye(weights.shape[-1], device=weights.device))
        rolled = mixed if rolled is None else mixed @ rolled
    config = model.config
    on_patches = rolled.mean(dim=1)[:, -config.num_patches :]
    return _of_sum_one(on_patches.double().cpu().numpy().repeat(config.patch_size, axis=1))


def _of_sum_one(values: np.ndarray) -> np.ndarray:
    total = values.sum(axis=1, keepdims=True)
    return np.divide(values, total, out=np.zeros_like(values, dtype=np.float64), where=total > 0)


def bin_edges(energies: np.ndarray) -> np.ndarray:
    """(N + 1,) keV: half-way in logarithm between the energies of a spectrum, and as far beyond the outermost."""
    logarithm = np.log(energies)
    between = 0.5 * (logarithm[1:] + logarithm[:-1])
    return np.exp(np.concatenate([[2 * logarithm[0] - between[0]], between, [2 * logarithm[-1] - between[-1]]]))


def share_in_band(weights: np.ndarray, energies: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """(B,) of the (B, N) weights on N energies, the share in a band (keV); bins on its border count in part."""
    edges = np.log(bin_edges(energies))
    low, high = np.log(band)
    inside = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None) / np.diff(edges)
    return weights @ inside


def shares_in_bins(
    weights: np.ndarray, energies: np.ndarray, bins_per_decade: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """The weights on N energies in fewer bins, logarithmic and the same for every grid: single ones scatter.

    Returns:
        (M + 1,) edges, keV, that cover the energies, and (B, M) shares.
    """
    own = np.log10(bin_edges(energies))
    first, last = np.floor(own[0] * bins_per_decade), np.ceil(own[-1] * bins_per_decade)
    edges = np.arange(first, last + 1) / bins_per_decade
    running = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
    at_edges = np.stack([np.interp(edges, own, row) for row in running])
    return 10.0**edges, np.diff(at_edges, axis=1)
