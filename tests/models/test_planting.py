"""What is planted into training lists."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chandraclip.models import EventFeatureExtractor, EventTransformerConfig, EventTransformerModel
from chandraclip.models.event_transformer.event_encoder import photon_lists
from chandraclip.models.event_transformer.planting import BURST, DIP, FLARE, NOTHING, PULSATION, places_of, plant

from .conftest import make_columns

NUM_LISTS = 120


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    return dict(EventFeatureExtractor()(make_columns(0, (300,) * NUM_LISTS)))


def planted(batch: dict, draw: float = 0.4, share: float = 1.0):
    good_time = batch["event_gti"], batch["event_gti_row"]
    return plant(photon_lists(**batch), batch["event_key"], torch.tensor(draw), share, good_time)


def test_each_kind_changes_the_times_as_it_should(batch: dict) -> None:
    lists, kind, log_scale = planted(batch)
    assert torch.bincount(kind, minlength=5)[NOTHING] == 0
    assert (torch.bincount(kind, minlength=5)[1:] > NUM_LISTS // 8).all()
    exposure = 1.5e4
    for row in range(NUM_LISTS):
        begin, end = lists.cu_seqlens[row : row + 2].tolist()
        time, place = lists.time[begin:end].numpy(), lists.values[begin:end, 0].numpy()
        scale = exposure * 10.0 ** log_scale[row].item()
        assert (np.diff(time) >= 0).all()
        assert ((place <= 0.25) | (place >= 0.75)).all()  # the good time: photons that moved stay in it
        if kind[row] in (BURST, FLARE):
            assert len(time) == 300
            width = 6.0 * scale
            within = np.searchsorted(time, time + width) - np.arange(len(time))
            # At least a tenth of the photons, less those beyond the end; noise alone has the mean and 5 sigma.
            mean = 300 * width / exposure
            assert within.max() > min(20 + mean * 0.6, 300 * 0.9), (row, kind[row])
        if kind[row] == BURST:
            assert 1.0 <= scale <= 61.0
        if kind[row] == DIP:
            lulls = np.diff(np.concatenate([[0.0], time, [exposure]]))
            starts = np.arange(0, exposure - scale, 50.0)
            counts = np.searchsorted(time, starts + scale) - np.searchsorted(time, starts)
            assert lulls.max() > 0.9 * scale or counts.min() < 0.7 * 300 * scale / exposure
        if kind[row] == PULSATION:
            phase = 2 * np.pi * time / scale
            assert np.hypot(np.cos(phase).sum(), np.sin(phase).sum()) > 0.12 * len(time)


def test_the_energies_stay_and_a_draw_decides(batch: dict) -> None:
    lists, kind, _ = planted(batch)
    moved = kind <= FLARE
    energy = photon_lists(**batch).values[:, 2]
    for row in moved.nonzero()[:10, 0].tolist():
        before = energy[slice(*batch["event_cu_seqlens"][row : row + 2].tolist())]
        after = lists.values[slice(*lists.cu_seqlens[row : row + 2].tolist()), 2]
        assert torch.equal(before.sort().values, after.sort().values)
    again, same_kind, _ = planted(batch)
    assert torch.equal(again.time, lists.time)
    assert torch.equal(same_kind, kind)
    assert not torch.equal(planted(batch, 0.41)[1], kind)
    _, some, scale = planted(batch, share=0.3)
    assert 0.15 < (some != NOTHING).float().mean() < 0.45
    assert not scale[some == NOTHING].any()
    untouched, nothing, _ = planted(batch, share=0.0)
    assert (nothing == NOTHING).all()
    torch.testing.assert_close(untouched.time, batch["event_time"])


def test_faint_lists_get_nothing_and_a_row_does_not_depend_on_its_batch(batch: dict) -> None:
    columns = make_columns(1, (5, 300, 11, 40))
    whole = dict(EventFeatureExtractor()(columns))
    lists, kind, _ = planted(whole)
    assert kind[[0, 2]].tolist() == [NOTHING, NOTHING]
    alone = dict(EventFeatureExtractor()({name: values[1:2] for name, values in columns.items()}))
    part, its_kind, _ = planted(alone)
    assert its_kind[0] == kind[1]
    torch.testing.assert_close(part.time, lists.time[slice(*lists.cu_seqlens[1:3].tolist())])


def test_places_undo_the_elapsed_share(batch: dict) -> None:
    lists = photon_lists(**batch)
    share = lists.time / 1.5e4
    places = places_of(share, lists.row, batch["event_gti"], batch["event_gti_row"])
    torch.testing.assert_close(places.float(), lists.values[:, 0], rtol=0, atol=1e-6)


def test_the_kind_is_learned_without_labels() -> None:
    batch = dict(EventFeatureExtractor()(make_columns(2, (80,) * 48)))
    torch.manual_seed(0)
    model = EventTransformerModel(
        EventTransformerConfig(hidden_size=16, intermediate_size=16, num_attention_heads=2, latent_size=16,
                               num_queries=4, decoder_hidden_size=8, planted_share=0.8)
    ).train()  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    costs = []
    for _ in range(30):
        output = model(**batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        costs.append(output.loss_parts["planted"].item())
    assert np.mean(costs[-5:]) < 0.75 * np.mean(costs[:5])


def test_photons_that_move_stay_in_the_frames_of_their_list() -> None:
    """Else a remainder of the frame would tell which were moved."""
    frame, rng = 3.2, np.random.default_rng(3)
    columns = make_columns(0, (300,) * 40)
    for row in range(40):
        begin = rng.uniform(0.0, frame)
        of_frame = np.sort(rng.integers(0, int((30_000.0 - begin) / frame), 300))
        columns["event_time"][row] = begin + of_frame * frame
        columns["gti_start"][row], columns["gti_stop"][row] = np.array([0.0]), np.array([30_000.0])
    batch = dict(EventFeatureExtractor()(columns))
    before = photon_lists(**batch)
    lists, kind, _ = planted(batch)
    assert (kind <= FLARE).any()
    told = before.frame > 0
    assert told.sum() > 20  # ties are rare at 300 photons: a list may not tell its frame
    for row in torch.nonzero(told & (kind <= FLARE)).flatten().tolist():
        first = before.time[before.cu_seqlens[row]]
        time = lists.time[lists.cu_seqlens[row] : lists.cu_seqlens[row + 1]]
        rest = ((time - first) / float(before.frame[row])).numpy()
        np.testing.assert_allclose(rest, np.round(rest), rtol=0, atol=2e-2)
