#!/usr/bin/env python
"""Latents of 1,000 photon lists fitted under PPAD's decoder: all in one call, against one list after another.

The other side is the published procedure: the positional encoding once a list, then at each step of Adam the encoding
and the latents side by side through the whole network, autograd back to the latents, decoder frozen. Both sides start
at 0 and must end at the same latents. Each of the (published 400) steps takes the same time, so a few tell the ratio.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from chandraclip.models import PoissonAutodecoderConfig, PoissonAutodecoderFeatureExtractor, PoissonAutodecoderModel
from chandraclip.models.layers import fourier_features
from chandraclip.models.poisson_autodecoder.modeling_poisson_autodecoder import photon_lists
from chandraclip.models.poisson_autodecoder.point_process import PhotonLists
from chandraclip.models.poisson_autodecoder.rate_decoder import RateDecoder
from result_files import write_result

DURATION = 28_800.0  # s


def simulate(num_lists: int, median_counts: int, seed: int) -> dict[str, list[np.ndarray]]:
    """Dataset columns of lists of lognormal length, constant in time."""
    rng = np.random.default_rng(seed)
    counts = np.maximum(rng.lognormal(np.log(median_counts), 1.0, num_lists).astype(int), 11)
    return {
        "event_time": [np.sort(rng.uniform(0, DURATION, count)) for count in counts],
        "event_energy": [rng.uniform(0.5, 7.0, count).astype(np.float32) for count in counts],
    }


def fit_one(decoder: RateDecoder, lists: PhotonLists, config: PoissonAutodecoderConfig) -> Tensor:
    """The published fit of one list."""
    places = torch.linspace(0, 1, config.mesh_size + 1, device=lists.time.device)
    time = torch.cat([lists.duration * places, lists.time])
    encoding = fourier_features(time, config.num_frequencies)
    latents = torch.zeros(1, config.latent_size, device=time.device, requires_grad=True)
    optimizer = torch.optim.Adam([latents], lr=config.fit_learning_rate)
    for _ in range(config.num_fit_steps):
        optimizer.zero_grad(set_to_none=True)
        points = torch.cat([encoding, latents.expand(len(encoding), -1)], dim=1)
        log_rate = decoder(decoder.input_projection(points))
        on_mesh, at_photons = log_rate[: len(places)], log_rate[len(places) :]
        rate = on_mesh.exp()
        integral = 0.5 * (rate[1:].sum() + rate[:-1].sum()) * lists.duration[0] / config.mesh_size
        likelihood = at_photons[torch.arange(len(lists.time)), lists.band].sum() - integral
        variation = rate.diff(dim=0).abs().mean() + at_photons.exp().diff(dim=0).abs().mean()
        loss = config.total_variation_weight * variation + config.latent_weight * latents.square().sum() - likelihood
        loss.backward()
        optimizer.step()
    return latents.detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_lists", type=int, default=1_000)
    parser.add_argument("--median_counts", type=int, default=41, help="as the published windows")
    parser.add_argument("--decoder_hidden_size", type=int, default=32, help="32: events_ppad_small.yaml; published 512")
    parser.add_argument("--mesh_size", type=int, default=2048, help="steps of the trapezoid rule, as published")
    parser.add_argument("--num_steps", type=int, default=10, help="of Adam; published 400")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    config = PoissonAutodecoderConfig(
        decoder_hidden_size=options.decoder_hidden_size,
        mesh_size=options.mesh_size,
        num_fit_steps=options.num_steps,
    )
    model = PoissonAutodecoderModel(config).to(options.device).eval()
    extractor = PoissonAutodecoderFeatureExtractor(mesh_size=options.mesh_size)
    columns = simulate(options.num_lists, options.median_counts, options.seed)
    batch = {name: value.to(options.device) for name, value in extractor(columns).items()}
    lists = photon_lists(batch)

    def finished() -> float:
        if options.device != "cpu":
            torch.cuda.synchronize()
        return perf_counter()

    model.encode(**{name: value.to(options.device) for name, value in extractor(simulate(8, 41, 1)).items()})  # warm up
    begin = finished()
    ours = model.encode(**batch)
    ours_s = finished() - begin
    decoder = model.decoder.frozen()
    begin = finished()
    alone = torch.cat([fit_one(decoder, lists.slice(row, row + 1), config) for row in range(len(lists))])
    alone_s = finished() - begin

    difference = float((ours - alone).abs().max())
    result = {
        "ratio": alone_s / ours_s,
        "equal": difference < 1e-3,
        "against": "the published fit, one list after another",
        "ours_s": ours_s,
        "one_at_a_time_s": alone_s,
        "largest_difference": difference,
        "largest_latent": float(alone.abs().max()),
        "num_lists": options.num_lists,
        "num_photons": len(lists.time),
        "decoder_hidden_size": options.decoder_hidden_size,
        "mesh_size": options.mesh_size,
        "num_steps": options.num_steps,
        "seconds_a_list_of_400_steps": ours_s / options.num_lists * 400 / options.num_steps,
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
    }
    print(f"{options.num_lists} lists, {len(lists.time)} photons, {options.num_steps} steps, {result['device']}")
    for name, seconds in (("one after another", alone_s), ("encode", ours_s)):
        print(f"{name:<20}{seconds:>10.2f} s{options.num_lists / seconds:>12,.1f} lists/s")
    print(f"ratio {result['ratio']:.2f}, largest difference of a latent {difference:.1e}, equal: {result['equal']}")
    write_result(__file__, result)


if __name__ == "__main__":
    main()
