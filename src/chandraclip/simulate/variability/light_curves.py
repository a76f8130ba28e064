"""Light curves as rates on time nodes, and arrival times drawn from them exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LightCurves:
    """Rates of V light curves, linear between nodes, times a sinusoidal modulation.

    ``rate(t) = envelope(t) (1 + amplitude cos(2 pi (t - epoch) / period))``

    Attributes:
        time: (V, K) s, nodes, increasing from 0 to the end of the observation.
        rate: (V, K) >= 0, in any unit.
        period, epoch: (V,) s, of the modulation; the period is infinite where there is none.
        amplitude: (V,) 0 to 1, of the modulation.
    """

    time: np.ndarray
    rate: np.ndarray
    period: np.ndarray
    epoch: np.ndarray
    amplitude: np.ndarray

    def __post_init__(self) -> None:
        if self.time.shape != self.rate.shape or self.time.ndim != 2:
            raise ValueError(f"time {self.time.shape} and rate {self.rate.shape} must be one (V, K) shape")

    def __len__(self) -> int:
        return len(self.time)

    def take(self, row: np.ndarray) -> LightCurves:
        """Those light curves."""
        return LightCurves(self.time[row], self.rate[row], self.period[row], self.epoch[row], self.amplitude[row])

    def cumulative(self) -> np.ndarray:
        """(V, K) integral of the envelope from time 0 to each node."""
        steps = 0.5 * (self.rate[:, 1:] + self.rate[:, :-1]) * np.diff(self.time, axis=1)
        return np.concatenate([np.zeros((len(self), 1)), np.cumsum(steps, axis=1)], axis=1)

    def mean_rate(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Mean of the envelope over good time; a modulation averages out over many periods.

        Args:
            start, stop: (V, G) s, good-time intervals; unused ones have start = stop.

        Returns:
            (V,) in the unit of the rate.
        """
        total = self._integral(stop).sum(axis=1) - self._integral(start).sum(axis=1)
        return total / np.maximum((stop - start).sum(axis=1), 1e-300)

    def _integral(self, time: np.ndarray) -> np.ndarray:
        """(V, G) integral of the envelope from 0 to each of G times a light curve, exact."""
        row = np.arange(len(self))[:, None]
        end = self.time[:, -1:]
        axis = 2.0 * row + self.time / end  # one increasing axis for all rows
        flat = np.searchsorted(axis.ravel(), (2.0 * row + time / end).ravel(), side="right") - 1
        last = row * self.time.shape[1] + self.time.shape[1] - 2
        left = np.clip(flat.reshape(time.shape), row * self.time.shape[1], last)
        below, elapsed = self.rate.ravel()[left], time - self.time.ravel()[left]
        slope = (self.rate.ravel()[left + 1] - below) / (self.time.ravel()[left + 1] - self.time.ravel()[left])
        return self.cumulative().ravel()[left] + elapsed * (below + 0.5 * slope * elapsed)

    def draw(self, rng: np.random.Generator, num_photons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Photons of an inhomogeneous Poisson process, by the inverse of the envelope's integral.

        The modulation thins the envelope times ``1 + amplitude``: draw ``num_photons`` with that factor in it, and the
        accepted ones follow the rate.

        Args:
            num_photons: (V,) int, before thinning.

        Returns:
            light curve (T,) and time (T,) s of the accepted photons, by light curve, unsorted in time.
        """
        row = np.repeat(np.arange(len(self)), num_photons)
        cumulative = self.cumulative()
        total = np.maximum(cumulative[:, -1:], 1e-300)
        num_nodes = self.time.shape[1]
        axis = (2.0 * np.arange(len(self))[:, None] + cumulative / total).ravel()
        share = rng.random(row.size)
        left = np.searchsorted(axis, 2.0 * row + share, side="right") - 1
        left = np.clip(left, row * num_nodes, row * num_nodes + num_nodes - 2)
        # Within a piece the integral is quadratic: y = rate0 x + slope x^2 / 2; its root without cancellation.
        rate, time = self.rate.ravel(), self.time.ravel()
        width = time[left + 1] - time[left]
        slope = (rate[left + 1] - rate[left]) / width
        area = share * total.ravel()[row] - cumulative.ravel()[left]
        root = rate[left] + np.sqrt(np.maximum(rate[left] ** 2 + 2.0 * slope * area, 0.0))
        elapsed = np.where(root > 0, 2.0 * area / np.maximum(root, 1e-300), 0.0)
        drawn = time[left] + np.clip(elapsed, 0.0, width)
        modulated = np.flatnonzero((self.amplitude > 0)[row])
        of = row[modulated]
        phase = 2.0 * np.pi * (drawn[modulated] - self.epoch[of]) / self.period[of]
        envelope = (1.0 + self.amplitude[of]) * rng.random(of.size)
        kept = np.ones(row.size, dtype=bool)
        kept[modulated] = envelope < 1.0 + self.amplitude[of] * np.cos(phase)
        return row[kept], drawn[kept]


def nodes_around(
    end: np.ndarray, centre: np.ndarray, width: np.ndarray, num_uniform: int = 256, num_clustered: int = 128
) -> np.ndarray:
    """Nodes from 0 to `end`, uniform ones and others that close in on an event, as close as a thousandth of its width.

    Args:
        end: (V,) s.
        centre, width: (V,) s; where the rate changes fast, and its time scale.

    Returns:
        (V, num_uniform + num_clustered) s, strictly increasing.
    """
    uniform = np.linspace(0.0, 1.0, num_uniform)[None, :] * end[:, None]
    half = np.geomspace(1e-3, 30.0, num_clustered // 2)
    offset = np.concatenate([-half[::-1], half])
    clustered = np.clip(centre[:, None] + width[:, None] * offset, 0.0, end[:, None])
    nodes = np.sort(np.concatenate([uniform, clustered], axis=1), axis=1)
    # Clipped nodes coincide; a piece of zero length has no slope. A nanosecond apart is as good as together.
    spread = 1e-9 * end[:, None] * np.arange(num_uniform + num_clustered) / (num_uniform + num_clustered)
    nodes = nodes * (1.0 - 1e-9) + spread
    nodes[:, 0], nodes[:, -1] = 0.0, end
    return nodes
