"""CCD pile-up: photons that fall in one detection cell within one readout frame are read as one event of summed energy.

`davis_counts` is the expected spectrum (Davis 2001, ApJ 562, 575, in the form and with the defaults of Sherpa's
`jdpileup`), `pile_up_photons` the random process that it is the expectation of. A share `fraction` of the photons falls
in `cells` independent cells, the rest in the wings of the PSF, where nothing piles up. An event of p photons keeps a
good grade with probability alpha^(p-1) (grade migration).

Photons a frame are counted as the ARF counts them, averaged over the exposure. Where the source is on the live part of
the chip only for the share `fractional_exposure` of it (FRACEXPO of the ARF), the photons come in that share of the
frames and that much denser. `frame_time` should be EXPTIME (3.2 s) where the exposure is live time, says Sherpa's
documentation; the default, as `jdpileup`'s, is TIMEDEL, 1.3 % more photons a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.sparse as sparse
from scipy.special import gammaln, pdtr, xlogy

from chandraclip.ogip.response import Response
from chandraclip.simulate.instrument.detector import FRAME_TIME

FRACTIONAL_EXPOSURE = 0.987  # default of Sherpa's jdpileup
MAX_PHOTONS = 30
MAX_BINS = 4096  # of the uniform energy grid of `fold_with_pileup`; as many as Davis takes for 0 to 15 keV
POISSON_CUTOFF = 0.99999
# What is left of the events that wrap around the padded grid; see `_piled_counts`. Tilting back multiplies the FFT's
# rounding by up to 1 / sqrt(1e-10): both errors are then about 1e-11 or less of the events.
WRAPPED_SHARE = 1e-10
POINTS_PER_BLOCK = 2**16  # of the FFT: half a MB a temporary, so that the few of them stay in the cache


class PiledUp(NamedTuple):
    """T photons after pile-up; an event stands in the place of the first of its photons.

    Attributes:
        kept: (T,) bool, whether an event is recorded in this place.
        energy: (T,) float64, keV, the event's summed energy; 0 where none is recorded.
        num_photons: (T,) int64, photons in the event; 0 where none is recorded.
    """

    kept: np.ndarray
    energy: np.ndarray
    num_photons: np.ndarray


def davis_counts(
    photons_per_frame: np.ndarray,
    exposure: np.ndarray | float,
    alpha: np.ndarray | float = 0.5,
    fraction: np.ndarray | float = 0.95,
    cells: np.ndarray | float = 1.0,
    frame_time: np.ndarray | float = FRAME_TIME,
    fractional_exposure: np.ndarray | float = FRACTIONAL_EXPOSURE,
    max_photons: int = MAX_PHOTONS,
) -> np.ndarray:
    """Expected counts of piled-up spectra on a uniform energy grid that starts at zero.

    With a the photons a frame, ``x = a f / (n fractional_exposure)`` those a frame and cell, X their sum and ``u^{*p}``
    the p-fold convolution of ``u = x / X``, the counts are (Davis 2001, and the wings)

        N_frames [ (1 - f) a + n fractional_exposure exp(-X) sum_{p=1..P} alpha^(p-1) X^p / p! u^{*p} ]

    P is the first p >= 2 with Poisson(N <= p | X) > 0.99999, or `max_photons`. Frames of more photons count as lost:
    under 3e-4 of the counts, or much where X is above 14 and alpha near 1.

    Bin i holds energies of [i, i + 1) dE, so photons of bins i and j sum to a triangle over [i + j, i + j + 2). Bin
    i + j makes an event of p photons (p - 1) dE / 2 too soft, bin i + j + 1 (as `jdpileup`, which adds upper edges) as
    much too hard. Here they are shared equally between the two, which is exact for two photons, and so on for each
    photon more: the mean energy is exact for all p.

    Args:
        photons_per_frame: (..., B) photons a frame in each bin, ARF x photon flux x `frame_time`.
        exposure: (...) s.
        alpha: (...) 0 to 1, grade migration.
        fraction: (...) 0 to 1, f, share of the photons in the piled region.
        cells: (...) n > 0, independent detection cells of the piled region; need not be an integer.
        frame_time: (...) s, one readout frame.
        fractional_exposure: (...) in (0, 1].
        max_photons: the most photons in an event.

    Returns:
        (..., B) counts. Events above the grid are not in it.

    Raises:
        ValueError: an argument out of range, or photons_per_frame negative or not finite.
    """
    photons = np.asarray(photons_per_frame, dtype=np.float64)
    single, counts = _recorded_per_frame(photons, alpha, fraction, cells, fractional_exposure, max_photons)
    counts += single[..., None] * photons
    return counts * _num_frames(exposure, frame_time)[..., None]


def pileup_fraction(
    total_photons_per_frame: np.ndarray | float,
    alpha: np.ndarray | float = 0.5,
    fraction: np.ndarray | float = 0.95,
    cells: np.ndarray | float = 1.0,
    fractional_exposure: np.ndarray | float = FRACTIONAL_EXPOSURE,
) -> np.ndarray:
    """Share of the recorded events of the piled region (no wings) that hold more than one photon.

    ``sum_{p>=2} w_p / sum_{p>=1} w_p`` with ``w_p = alpha^(p-1) X^p / p!``, that is ``1 - y / (e^y - 1)``, y = alpha X;
    without a `max_photons`, and whatever the energy of the events.

    Args:
        total_photons_per_frame: (...) photons a frame in all energies, in the piled region and the wings.
        alpha, fraction, cells, fractional_exposure: (...) as for `davis_counts`.

    Returns:
        (...) in 0 to 1.

    Raises:
        ValueError: an argument out of range.
    """
    total = np.asarray(total_photons_per_frame, dtype=np.float64)
    exponent = np.asarray(alpha) * _per_cell(total, alpha, fraction, cells, fractional_exposure)
    safe = np.where(exponent > 0, exponent, 1.0)
    with np.errstate(over="ignore"):
        return np.where(exponent > 0, np.maximum(1.0 - safe / np.expm1(safe), 0.0), 0.0)


def fold_with_pileup(
    response: Response,
    photon_flux: np.ndarray,
    exposure: np.ndarray | float,
    alpha: np.ndarray | float = 0.5,
    fraction: np.ndarray | float = 0.95,
    cells: np.ndarray | float = 1.0,
    frame_time: np.ndarray | float = FRAME_TIME,
    fractional_exposure: np.ndarray | float = FRACTIONAL_EXPOSURE,
    max_photons: int = MAX_PHOTONS,
) -> np.ndarray:
    """Expected piled-up counts a channel; for vanishing flux ``response.fold(photon_flux) * exposure``.

    Only events of several photons pass through the uniform grid of `davis_counts`: bins as wide as the narrowest of the
    response, 4,096 at most, rebinned as if flat within a bin. Single photons stay on the response's own grid. The RMF
    spreads an event of summed energy as a photon of that energy. Events above the RMF's energies are lost, as above
    an upper event threshold.

    Args:
        response: photon-energy bins must touch.
        photon_flux: (..., E) photons/cm2/s, integrated over each photon-energy bin.
        exposure: (...) s.
        alpha, fraction, cells, frame_time, fractional_exposure, max_photons: as for `davis_counts`.

    Returns:
        (..., C) counts.

    Raises:
        ValueError: as `davis_counts`, or the last axis is not the E bins of this response.
    """
    photon_flux = np.asarray(photon_flux, dtype=np.float64)
    if photon_flux.shape[-1:] != response.arf.shape:
        raise ValueError(f"photon_flux has shape {photon_flux.shape}; the last axis must be {response.arf.size} bins")
    edges = np.append(response.energy_lo, response.energy_hi[-1]).astype(np.float64)
    num_bins = min(int(np.rint(edges[-1] / np.diff(edges).min())), MAX_BINS)
    uniform = np.linspace(0.0, edges[-1], num_bins + 1)

    photons = photon_flux * response.arf * np.asarray(frame_time)[..., None]
    flat = photons.reshape(-1, photons.shape[-1])
    spread = (flat @ _rebinning(edges, uniform)).reshape(*photons.shape[:-1], num_bins)
    single, piled = _recorded_per_frame(spread, alpha, fraction, cells, fractional_exposure, max_photons)
    back = piled.reshape(-1, num_bins) @ _rebinning(uniform, edges)
    recorded = single[..., None] * photons + back.reshape(*piled.shape[:-1], edges.size - 1)
    counts = (recorded.reshape(-1, edges.size - 1) @ response.matrix).reshape(
        *recorded.shape[:-1], response.num_channels
    )
    return counts * _num_frames(exposure, frame_time)[..., None]


def pile_up_photons(
    rng: np.random.Generator,
    row: np.ndarray,
    frame: np.ndarray,
    energy: np.ndarray,
    alpha: np.ndarray,
    fraction: np.ndarray,
    cells: np.ndarray,
) -> PiledUp:
    """Merge the photons of one cell and frame into one event, photon by photon.

    Frames given as those in which the photons really came stand for a `fractional_exposure` of 1; the expected spectrum
    is then `davis_counts` with that value, for whole `cells` (up to its P). Bunching the photons in a share of the
    frames stands for a smaller one.

    Args:
        row: (T,) int, the detection of each photon; those of one detection stand together.
        frame: (T,) int, its readout frame, in any order.
        energy: (T,) keV.
        alpha, fraction: (D,) per detection, 0 to 1, as for `davis_counts`.
        cells: (D,) rounded to the nearest integer, 1 at least.

    Returns:
        `PiledUp`.

    Raises:
        ValueError: alpha, fraction or cells out of range, a detection's photons do not stand together, or more
            frames and cells than 63 bits can number.
    """
    row, frame = np.asarray(row, dtype=np.int64), np.asarray(frame, dtype=np.int64)
    alpha, fraction = np.asarray(alpha, dtype=np.float64), np.asarray(fraction, dtype=np.float64)
    _check_range(alpha, fraction, cells, 1.0)
    num_cells = np.maximum(np.rint(cells), 1.0).astype(np.int64)
    kept = np.ones(row.size, dtype=bool)
    recorded = np.array(energy, dtype=np.float64)
    num_photons = np.ones(row.size, dtype=np.int64)

    # One number decides both: below f the photon is in the piled region, and its place in (0, f) tells the cell.
    draw = rng.random(row.size)
    core = np.flatnonzero(draw < fraction[row])
    if core.size == 0:
        return PiledUp(kept, recorded, num_photons)
    of, at = row[core], frame[core]
    begins = np.flatnonzero(np.append(True, of[1:] != of[:-1]))
    owner = of[begins]
    if np.unique(owner).size < owner.size:
        raise ValueError("the photons of a detection must stand together")
    cell = (draw[core] * (num_cells / np.where(fraction > 0, fraction, 1.0))[of]).astype(np.int64)
    np.minimum(cell, num_cells[of] - 1, out=cell)  # rounding

    # Number the (row, frame, cell) one after another and append the photon's number: distinct keys, so that a plain
    # sort, twice as fast as an argsort, groups the photons and keeps their order within a group.
    first_frame = np.minimum.reduceat(at, begins)
    slots = (np.maximum.reduceat(at, begins) - first_frame + 1) * num_cells[owner]
    base = np.cumsum(slots) - slots - first_frame * num_cells[owner]
    num_bits = int(row.size).bit_length()
    if int(slots.sum()) >> (63 - num_bits):
        raise ValueError("too many frames and cells for the photons to be numbered in 63 bits")
    key = (np.repeat(base, np.diff(begins, append=of.size)) + at * num_cells[of] + cell) << num_bits
    key |= core
    key.sort()

    # Most photons are alone; the rest touches only the others.
    follows = np.append(False, (key[1:] ^ key[:-1]) < 1 << num_bits)  # its predecessor is of the same slot
    piled = follows | np.append(follows[1:], False)
    group = np.flatnonzero(~follows[piled])
    if group.size == 0:
        return PiledUp(kept, recorded, num_photons)
    photon = key[piled] & ((1 << num_bits) - 1)
    size = np.diff(group, append=photon.size)
    total = np.add.reduceat(recorded[photon], group)
    first = photon[group]
    good = rng.random(first.size) < alpha[row[first]] ** (size - 1)
    kept[photon], recorded[photon], num_photons[photon] = False, 0.0, 0
    event = first[good]
    kept[event], recorded[event], num_photons[event] = True, total[good], size[good]
    return PiledUp(kept, recorded, num_photons)


def _check_range(
    alpha: np.ndarray | float,
    fraction: np.ndarray | float,
    cells: np.ndarray | float,
    fractional_exposure: np.ndarray | float,
) -> None:
    if not np.all((np.asarray(alpha) >= 0) & (np.asarray(alpha) <= 1)):
        raise ValueError("alpha must be in 0 to 1")
    if not np.all((np.asarray(fraction) >= 0) & (np.asarray(fraction) <= 1)):
        raise ValueError("fraction must be in 0 to 1")
    if not np.all((np.asarray(cells) > 0) & np.isfinite(cells)):
        raise ValueError("cells must be positive")
    if not np.all((np.asarray(fractional_exposure) > 0) & (np.asarray(fractional_exposure) <= 1)):
        raise ValueError("fractional_exposure must be in (0, 1]")


def _num_frames(exposure: np.ndarray | float, frame_time: np.ndarray | float) -> np.ndarray:
    if not np.all(np.asarray(frame_time) > 0):
        raise ValueError("frame_time must be positive")
    frames = np.asarray(exposure, dtype=np.float64) / frame_time
    if not np.all(frames >= 0):
        raise ValueError("exposure must not be negative")
    return frames


def _per_cell(
    total: np.ndarray,
    alpha: np.ndarray | float,
    fraction: np.ndarray | float,
    cells: np.ndarray | float,
    fractional_exposure: np.ndarray | float,
) -> np.ndarray:
    """X: photons a frame and cell while the source is on the live chip."""
    _check_range(alpha, fraction, cells, fractional_exposure)
    if not np.all((total >= 0) & np.isfinite(total)):
        raise ValueError("photons a frame must be finite and not negative")
    return np.asarray(total * fraction / (np.asarray(cells) * fractional_exposure))


def _recorded_per_frame(
    photons: np.ndarray,
    alpha: np.ndarray | float,
    fraction: np.ndarray | float,
    cells: np.ndarray | float,
    fractional_exposure: np.ndarray | float,
    max_photons: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Share (...) of the photons recorded alone, and events (..., B) a frame of two photons or more."""
    if max_photons < 2:
        raise ValueError(f"max_photons must be 2 at least, not {max_photons}")
    if photons.size and not photons.min() >= 0:
        raise ValueError("photons a frame must be finite and not negative")
    total = photons.sum(axis=-1)
    rows = np.broadcast_shapes(
        total.shape, *(np.shape(value) for value in (alpha, fraction, cells, fractional_exposure))
    )

    def flat(values: np.ndarray | float) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), rows).reshape(-1)

    per_cell = np.broadcast_to(_per_cell(total, alpha, fraction, cells, fractional_exposure), rows)
    alone = 1.0 - np.asarray(fraction) + fraction * np.exp(-per_cell)
    spectra = np.broadcast_to(photons, (*rows, photons.shape[-1]))
    piled = _piled_counts(
        spectra.reshape(-1, photons.shape[-1]),
        flat(total),
        flat(per_cell),
        flat(alpha),
        flat(np.asarray(cells) * fractional_exposure),
        max_photons,
    )
    return alone, piled.reshape(spectra.shape)


def _piled_counts(
    photons: np.ndarray,
    total: np.ndarray,
    per_cell: np.ndarray,
    alpha: np.ndarray,
    live_cells: np.ndarray,
    max_photons: int,
) -> np.ndarray:
    """Events (R, B) a frame of two photons or more; photons (R, B), the rest (R,): sum, X, alpha, n frac. exposure.

    The sum over p is a polynomial in the Fourier transform of the shape: two FFTs a spectrum, whatever P. Every order p
    reaches p times as high, so that any padding is too short. The shapes are tilted by exp(-tilt i) before the
    transform and tilted back after it: sums of energies stay sums, and what wraps around M points shrinks by
    exp(-tilt M) (exponential tilting, Gruebel & Hermesmeier 1999, ASTIN Bull. 29, 197).
    """
    num_bins = photons.shape[1]
    num_points = scipy.fft.next_fast_len(2 * num_bins, real=True)
    tilt = np.exp(np.log(WRAPPED_SHARE) / num_points * np.arange(num_points))
    half = scipy.fft.rfft(0.5 * tilt[:2], num_points)  # an event's extra photon: half a bin, on average
    num_photons = np.arange(2, max_photons + 1)
    piled = np.zeros(photons.shape)
    order = np.argsort(per_cell)  # rows of a block need about as many terms
    order = order[per_cell[order] > 0]
    for block in np.split(order, range(0, order.size, max(POINTS_PER_BLOCK // num_points, 1))[1:]):
        mean = per_cell[block, None]
        migration = xlogy(num_photons - 1, alpha[block, None])
        log_weight = xlogy(num_photons, mean) - mean - gammaln(num_photons + 1) + migration
        # P(N <= p - 1) above the cut: the series ended before p; two photons are always in it.
        ended = (pdtr(num_photons - 1, mean) > POISSON_CUTOFF) & (num_photons > 2)
        weight = np.where(ended, 0.0, live_cells[block, None] * np.exp(log_weight))
        last = int(np.flatnonzero(weight.any(axis=0))[-1]) if weight.any() else 0
        one = scipy.fft.rfft(photons[block] / total[block, None] * tilt[:num_bins], num_points)
        further = one * half
        series = further * weight[:, last, None]
        for term in range(last - 1, -1, -1):
            series += weight[:, term, None]
            series *= further
        series *= one
        events = scipy.fft.irfft(series, num_points)[:, :num_bins] / tilt[:num_bins]
        piled[block] = np.maximum(events, 0.0)  # rounding, where there are none
    return piled


def _rebinning(old: np.ndarray, new: np.ndarray) -> sparse.csr_array:
    """(E, B) share of each bin of the edges `old` (E + 1,) that lies in each bin of the edges `new` (B + 1,)."""
    cuts = np.union1d(old, new)
    cuts = cuts[(cuts >= max(old[0], new[0])) & (cuts <= min(old[-1], new[-1]))]
    centre = 0.5 * (cuts[1:] + cuts[:-1])
    source, target = np.searchsorted(old, centre) - 1, np.searchsorted(new, centre) - 1
    share = np.diff(cuts) / np.diff(old)[source]
    return sparse.csr_array((share, (source, target)), shape=(old.size - 1, new.size - 1))
