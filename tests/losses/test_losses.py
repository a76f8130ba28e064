"""Losses of one process: against a direct formula, masks, gradients, precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from chandraclip.losses import (
    alignment_loss,
    check_neighbourhood_weights,
    check_pair_weights,
    distance_preservation,
    neighbourhood_preservation,
    symmetric_info_nce,
    variance_covariance,
)


def unit_vectors(rows: int, dimension: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dimension, generator=generator, dtype=torch.float64), dim=1)


def direct_info_nce(left: torch.Tensor, right: torch.Tensor, scale: float) -> float:
    """The formula, a row at a time."""
    total = 0.0
    for i in range(len(left)):
        positive = scale * (left[i] @ right[i])
        total -= float(positive - torch.log(sum(torch.exp(scale * (left[i] @ other)) for other in right)))
        total -= float(positive - torch.log(sum(torch.exp(scale * (other @ right[i])) for other in left)))
    return total / (2 * len(left))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(2, 9), dimension=st.integers(2, 6), scale=st.floats(0.5, 30.0), seed=st.integers(0, 99),
    data=st.data(),
)  # fmt: skip
def test_info_nce_is_the_formula_on_the_valid_rows(rows, dimension, scale, seed, data):
    left, right = unit_vectors(rows, dimension, seed), unit_vectors(rows, dimension, seed + 100)
    valid = torch.tensor(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    value = float(symmetric_info_nce(left, right, torch.tensor(scale, dtype=torch.float64), valid))
    expected = direct_info_nce(left[valid], right[valid], scale) if valid.any() else 0.0
    assert value == pytest.approx(expected, abs=1e-9)
    # Symmetric in its sides, and blind to the order of the rows.
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    swapped = symmetric_info_nce(right[order], left[order], torch.tensor(scale, dtype=torch.float64), valid[order])
    assert float(swapped) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("regularizer", ["variance_covariance", "distance", "none"])
def test_missing_rows_get_no_gradient_and_their_values_do_not_matter(regularizer):
    masks = {
        "spectrum": torch.tensor([True, True, False, True, True]),
        "text": torch.tensor([True, False, False, True, True]),
    }
    outcomes = []
    for filler in (0.0, float("nan")):
        embeds = {name: unit_vectors(5, 4, seed) for seed, name in enumerate(masks)}
        for name, rows in embeds.items():
            rows[~masks[name]] = filler
            rows.requires_grad_()
        features = {name: unit_vectors(5, 7, seed + 10) for seed, name in enumerate(masks)}
        loss, _ = alignment_loss(embeds, masks, torch.tensor(5.0), 0.3, regularizer, features)
        loss.backward()
        for name, rows in embeds.items():
            assert torch.equal(rows.grad[~masks[name]], torch.zeros_like(rows.grad[~masks[name]]))
            assert rows.grad[masks[name]].abs().sum() > 0
        outcomes.append(loss.item())
    assert outcomes[0] == outcomes[1]


def test_no_valid_row_gives_zero_loss_and_zero_gradient():
    left = unit_vectors(4, 3, 0).requires_grad_()
    scale = torch.tensor(3.0, requires_grad=True)
    loss, _ = alignment_loss(
        {"a": left, "b": unit_vectors(4, 3, 1)}, {"a": torch.zeros(4).bool(), "b": torch.ones(4).bool()}, scale, 0.0
    )
    loss.backward()
    assert loss.item() == 0
    assert left.grad.abs().sum() == 0
    assert scale.grad == 0


def test_half_precision_and_autocast_compute_in_float32():
    left, right = unit_vectors(8, 16, 0), unit_vectors(8, 16, 1)
    expected = symmetric_info_nce(left, right, torch.tensor(50.0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = symmetric_info_nce(left.float(), right.float(), torch.tensor(50.0))
        assert variance_covariance(left.float(), torch.ones(8).bool()).dtype == torch.float32
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert symmetric_info_nce(left.bfloat16(), right.bfloat16(), torch.tensor(50.0)).dtype == torch.float32


def test_parts_add_up_over_three_pairs():
    embeds = {name: unit_vectors(6, 4, seed) for seed, name in enumerate(("spectrum", "events", "text"))}
    masks = {name: torch.ones(6).bool() for name in embeds}
    loss, parts = alignment_loss(embeds, masks, torch.tensor(7.0), 0.5)
    assert set(parts) == {
        "info_nce_spectrum_events", "info_nce_spectrum_text", "info_nce_events_text", "regularizer",
    }  # fmt: skip
    pairs = sum(part for name, part in parts.items() if name != "regularizer")
    assert loss.item() == pytest.approx((pairs + 0.5 * parts["regularizer"]).item())


def test_variance_covariance_matches_numpy_and_punishes_collapse():
    rows = unit_vectors(200, 5, 3)
    mask = torch.ones(200).bool()
    mask[::7] = False
    covariance = torch.cov(rows[mask].T * 5**0.5)
    variance = covariance.diagonal()
    expected = F.relu(1 - (variance + 1e-4).sqrt()).mean() + (covariance.square().sum() - variance.square().sum()) / 5
    assert variance_covariance(rows, mask).item() == pytest.approx(expected.item(), rel=1e-9)
    collapsed = rows[:1].expand(200, 5)
    assert variance_covariance(collapsed, mask) > 0.9 > variance_covariance(rows, mask)
    assert variance_covariance(rows, torch.arange(200) < 1) == 0


def test_distance_preservation_is_zero_for_the_same_geometry_in_other_units():
    rows = unit_vectors(20, 5, 4)
    mask = torch.ones(20).bool()
    rotation, _ = torch.linalg.qr(unit_vectors(5, 5, 9))
    assert distance_preservation(rows, 40 * rows @ rotation + 3, mask).item() < 1e-10
    assert distance_preservation(rows, unit_vectors(20, 5, 5), mask).item() > 1e-2
    coincident = rows[:1].expand(20, 5).clone().requires_grad_()
    distance_preservation(coincident, rows, mask).backward()
    assert torch.isfinite(coincident.grad).all()


def direct_divergence(embeds: torch.Tensor, features: torch.Tensor, k: int, temperature: float) -> float:
    """The formula, a pair at a time."""
    features = (features - features.mean(dim=0)) / features.std(dim=0, correction=0)
    total = 0.0
    for i in range(len(embeds)):
        others = [j for j in range(len(embeds)) if j != i]
        distance = torch.stack([(features[i] - features[j]).norm() for j in others])
        nearest = distance.sort().values
        p = torch.exp(-(((distance - nearest[0]) / (nearest[k - 1] - nearest[0])) ** 2))
        q = torch.exp(torch.stack([embeds[i] @ embeds[j] for j in others]) / temperature)
        p, q = p / p.sum(), q / q.sum()
        total += float(sum(a * torch.log(a / b) for a, b in zip(p, q) if a > 0).detach())
    return total / len(embeds)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(8, 14), k=st.integers(2, 5), seed=st.integers(0, 99), data=st.data())
def test_neighbourhood_preservation_is_the_formula_whatever_rows_are_missing(rows, k, seed, data):
    embeds = unit_vectors(rows, 4, seed).requires_grad_()
    features = 3 * unit_vectors(rows, 5, seed + 1000) + 2
    mask = torch.ones(rows).bool()
    mask[data.draw(st.integers(0, rows - 1))] = False
    value = neighbourhood_preservation(embeds, features, mask, k, 0.3)
    assert value.item() == pytest.approx(direct_divergence(embeds[mask], features[mask], k, 0.3), abs=1e-9)
    value.backward()
    assert torch.all(embeds.grad[~mask] == 0)
    assert torch.isfinite(embeds.grad).all()
    broken = torch.where(mask[:, None], features, torch.nan)  # a row that lacks the modality may hold anything
    assert neighbourhood_preservation(embeds, broken, mask, k, 0.3) == value


def test_neighbourhoods_are_kept_by_the_same_geometry_only():
    centres = unit_vectors(6, 8, 2)
    rows = F.normalize(centres.repeat(5, 1) + 0.02 * unit_vectors(30, 8, 3), dim=1)
    mask = torch.ones(30).bool()
    kept = neighbourhood_preservation(rows, 7 * rows - 1, mask, num_neighbours=4)
    others = rows[torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    assert kept < 0.2 * neighbourhood_preservation(others, 7 * rows - 1, mask, 4)
    assert neighbourhood_preservation(rows, torch.zeros(30, 8), mask).isfinite()  # all at one place
    assert neighbourhood_preservation(rows, rows, torch.arange(30) < 6) == 0  # too few rows


def test_bad_arguments_are_named():
    embeds = {"a": unit_vectors(3, 2, 0), "b": unit_vectors(3, 2, 1)}
    masks = {name: torch.ones(3).bool() for name in embeds}
    with pytest.raises(ValueError, match="'l2'"):
        alignment_loss(embeds, masks, torch.tensor(1.0), 0.1, "l2")
    with pytest.raises(ValueError, match="features"):
        alignment_loss(embeds, masks, torch.tensor(1.0), 0.1, "distance")
    with pytest.raises(ValueError, match="features"):
        alignment_loss(embeds, masks, torch.tensor(1.0), neighbourhood_weights={"a": 1.0})
    with pytest.raises(ValueError, match="names events; the modalities here are event, text"):
        check_neighbourhood_weights({"events": 1.0}, ["event", "xray", "text"])
    with pytest.raises(ValueError, match="event must be 0 or more, it is nan"):
        check_neighbourhood_weights({"event": float("nan")}, ["event", "text"])
    with pytest.raises(ValueError, match="two modalities"):
        alignment_loss({"a": embeds["a"]}, masks, torch.tensor(1.0))
    with pytest.raises(ValueError, match="both be"):
        symmetric_info_nce(embeds["a"], embeds["b"][:2], torch.tensor(1.0))


def test_a_pair_weighs_in_the_loss_as_much_as_it_is_told():
    generator = torch.Generator().manual_seed(3)
    embeds = {
        name: F.normalize(torch.randn(6, 4, generator=generator), dim=1) for name in ("spectrum", "event", "text")
    }
    masks = {name: torch.ones(6, dtype=torch.bool) for name in embeds}

    def loss(weights):
        return alignment_loss(embeds, masks, torch.tensor(5.0), pair_weights=weights)

    plain, parts = loss(None)
    assert torch.equal(plain, loss(dict.fromkeys(("spectrum_event", "spectrum_text", "event_text"), 1.0))[0])
    assert torch.equal(plain, torch.stack(list(parts.values())).sum())
    weighted, same = loss({"spectrum_event": 0.25, "event_text": 0.0})
    torch.testing.assert_close(weighted, 0.25 * parts["info_nce_spectrum_event"] + parts["info_nce_spectrum_text"])
    assert all(torch.equal(part, same[name]) for name, part in parts.items())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"text_spectrum": 1.0}, "names text_spectrum; the pairs of modalities here are spectrum_event, spectrum_text"),
        ({"event_text": -1.0}, "weight of event_text must be 0 or more, it is -1.0"),
        ({"event_text": float("nan")}, "must be 0 or more, it is nan"),
        ({"event_text": 0.0, "spectrum_text": 0.0, "spectrum_event": 0.0}, "at least one"),
    ],
)
def test_weights_of_pairs_that_make_no_sense_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        check_pair_weights(weights, ("spectrum", "event", "text"))
    with pytest.raises(ValueError, match="spectrum_event; the pairs of modalities here are spectrum_text"):
        check_pair_weights({"spectrum_event": 1.0}, ("spectrum", "text"))
