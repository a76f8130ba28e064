"""To Sherpa and Stingray: the same numbers as the objects that those work with, without a file in between."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import astropy.units as u
import numpy as np

from chandraclip.errors import OptionError
from chandraclip.ogip.events import EventList
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import Spectrum
from chandraclip.ogip.writer import backscals
from chandraclip.ogip.written_tables import channel_groups, groups_in_file_order, in_file_order

_LOWEST_ENERGY = 1e-10  # keV: Sherpa takes no bin that begins at 0


def to_sherpa(spectrum: Spectrum) -> Any:
    """A spectrum as Sherpa's `DataPHA`, its background and responses set; ``sherpa.astro.ui.set_data(1, it)`` loads it.

    Counts, scales, GROUPING and QUALITY as they are: ungrouped, nothing subtracted, no channel left out
    (``ignore_bad()`` does that). The response folds as `Response.fold` does. Units are Sherpa's: keV, s, cm2.

    Raises:
        OptionError: Sherpa is not installed.
    """
    data = _module("sherpa.astro.data", "sherpa")
    channel, turn = in_file_order(spectrum.channel)

    def turned(values: Any) -> Any:
        return values[turn] if isinstance(values, np.ndarray) else values

    area_scale = turned(spectrum.area_scale)
    source, background = backscals(turned(spectrum.background_scale), area_scale, spectrum.exposure)
    header: dict[str, Any] = {"TELESCOP": spectrum.header.telescope, "INSTRUME": spectrum.header.instrument}
    header |= {"OBS_ID": spectrum.header.obs_id, "OBJECT": spectrum.header.object_name or ""}
    header |= {"DETCHANS": channel.size, "CHANTYPE": "PI"}
    result = data.DataPHA(
        spectrum.path.name,
        channel,
        turned(spectrum.counts),
        backscal=source,
        areascal=area_scale,
        exposure=spectrum.exposure,
        header=header,
        grouping=groups_in_file_order(spectrum.grouping, turn),
        quality=turned(spectrum.quality),
    )
    result.ungroup()
    responses = []
    if spectrum.response is not None:
        descending = turn.step is not None
        responses = [_arf(data, spectrum.response, spectrum.exposure), _rmf(data, spectrum.response, descending)]
        result.set_response(*responses)
        result.units = "energy"
    if spectrum.background_counts is not None:
        beside = data.DataPHA(
            f"background of {spectrum.path.name}",
            channel,
            turned(spectrum.background_counts),
            backscal=background,
            areascal=1.0,
            exposure=spectrum.exposure,
            header=dict(header),
        )
        if responses:
            beside.set_response(*responses)
        result.set_background(beside)
    return result


def to_stingray(events: EventList, bin: float | u.Quantity | None = None) -> Any:
    """Photons as Stingray's `EventList`, or counted in bins as its `Lightcurve`; times are mission elapsed time.

    Args:
        bin: s, or a time with its unit; None: the photons themselves.

    Raises:
        OptionError: Stingray is not installed.
        ValueError: `bin` is not positive.
    """
    stingray = _module("stingray", "stingray")
    bin = None if bin is None else float(u.Quantity(bin, u.s).value)
    if bin is not None and not bin > 0:
        raise ValueError(f"bin is {bin:g} s, and must be positive")
    result = stingray.EventList(
        time=events.time + events.tstart,
        energy=events.energy.astype(np.float64),
        gti=events.gti + events.tstart,
        mjdref=events.header.mjd_reference or 0.0,
        mission=events.header.telescope.lower() or None,
        instr=events.header.instrument.lower() or None,
    )
    if bin is None:
        return result
    start, stop = result.gti.min(), result.gti.max()
    return result.to_lc(bin, tstart=start, tseg=np.ceil((stop - start) / bin) * bin)


def _module(name: str, extra: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise OptionError(f"{extra} is not installed: pip install 'chandraclip[{extra}]' ({error})") from error


def _arf(data: ModuleType, response: Response, exposure: float) -> Any:
    arrays = (response.energy_lo, response.energy_hi, response.arf)
    low, high, area = (np.asarray(values, np.float64) for values in arrays)
    return data.DataARF("arf", low, high, area, exposure=exposure, ethresh=_LOWEST_ENERGY)


def _rmf(data: ModuleType, response: Response, descending: bool) -> Any:
    groups = channel_groups(response, descending)
    used = groups.sizes > 0
    return data.DataRMF(
        "rmf",
        response.num_channels,
        np.asarray(response.energy_lo, np.float64),
        np.asarray(response.energy_hi, np.float64),
        n_grp=groups.number.astype(np.uint64),
        f_chan=(groups.starts[used] + response.first_channel).astype(np.uint64),
        n_chan=groups.sizes[used].astype(np.uint64),
        matrix=np.asarray(groups.matrix.data, np.float64),
        offset=response.first_channel,
        e_min=groups.channel_energy_lo,
        e_max=groups.channel_energy_hi,
        ethresh=_LOWEST_ENERGY,
    )
