"""The dataset's columns: the only place they are written.

One row is a detection (a source in an observation). The files hold one wide table; the configs `catalog`, `spectra`,
`flux_spectra`, `events`, `texts` and `pairs` are column views of it, each with the key columns, so nothing is stored
twice and a reader of one modality reads only its columns. The RMFs stand beside it in the config `responses`, one row
each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from chandraclip.catalog.ragged import Ragged

SCHEMA_VERSION = 5

# 8 classes of MUWCLASS (Yang et al. 2022, ApJ 941, 104).
SOURCE_CLASSES = ("AGN", "CV", "HM-STAR", "HMXB", "LM-STAR", "LMXB", "NS", "YSO")

# Planted in simulated datasets: too rare in the catalogue to be classes of a training set.
RARE_CLASSES = ("ULX", "TDE", "FXT")

KEY_FIELDS = [
    pa.field("name", pa.string(), nullable=False),
    pa.field("obsid", pa.int32(), nullable=False),
    pa.field("obi", pa.int16(), nullable=False),
    pa.field("region_id", pa.int32(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
]
POINTING_FIELDS = [
    pa.field("healpix", pa.int32()),  # order 4, nested, ICRS
    pa.field("ra", pa.float64()),  # deg, ICRS
    pa.field("dec", pa.float64()),  # deg, ICRS
    pa.field("theta", pa.float32()),  # off-axis angle, arcmin
    pa.field("mjd_obs", pa.float64()),  # d
    pa.field("livetime", pa.float32()),  # s, dead time taken off
    pa.field("instrument", pa.string()),
]
# CSC columns; null where CSC has none. Fluxes erg/s/cm2, *_nh 1e20 cm-2 (total column of the fit), *_kt keV.
CATALOG_COLUMNS = (
    "src_cnts_aper_b",
    "flux_aper_b",
    "flux_aper_h",
    "flux_aper_m",
    "flux_aper_s",
    "flux_significance_b",
    "hard_hm",
    "hard_hs",
    "hard_ms",
    "var_prob_b",
    "var_index_b",
    "powlaw_gamma",
    "powlaw_nh",
    "powlaw_stat",
    "bb_kt",
    "bb_nh",
    "bb_stat",
    "brems_kt",
    "brems_nh",
    "brems_stat",
    "apec_kt",
    "apec_nh",
    "apec_abund",
    "apec_stat",
    "nh_gal",
)
# What the simulator put in; null for real detections. true_nh 1e20 cm-2, true_kt keV, true_flux_b erg/s/cm2 (observed).
TRUE_COLUMNS = ("true_nh", "true_gamma", "true_kt", "true_flux_b", "true_period", "true_pileup_fraction")
CATALOG_FIELDS = [
    *POINTING_FIELDS,
    *(pa.field(name, pa.float32()) for name in CATALOG_COLUMNS),
    pa.field("source_class", pa.int64()),  # a ClassLabel over SOURCE_CLASSES
    *(pa.field(name, pa.float32()) for name in TRUE_COLUMNS),
    pa.field("true_class", pa.string()),  # SOURCE_CLASSES or RARE_CLASSES; source_class is null for the rare
    pa.field("true_spectrum", pa.string()),  # e.g. "powerlaw", "blackbody+plasma"
    pa.field("true_variability", pa.string()),  # within the observation, e.g. "constant", "flare"
    # s since `tstart`, and s, of an event planted in the observation; null where none was.
    pa.field("true_event_time", pa.float32()),
    pa.field("true_event_duration", pa.float32()),
]
# cm2, arf x psf_frac_aper_b at CSC's effective energy of the band (`catalog.bands`); null without an arf.
AREA_FIELDS = [
    pa.field("effective_area_s", pa.float32()),
    pa.field("effective_area_m", pa.float32()),
    pa.field("effective_area_h", pa.float32()),
]
SPECTRUM_FIELDS = [
    pa.field("spectrum_counts", pa.list_(pa.int32())),  # ungrouped, a PI channel
    pa.field("spectrum_background", pa.list_(pa.float64())),  # counts; models and means of regions are not whole
    pa.field("background_scale", pa.float32()),  # source / background: area x exposure
    pa.field("spectrum_quality", pa.list_(pa.int16())),  # OGIP's QUALITY, 0 is good; null: all are
    pa.field("spectrum_grouping", pa.list_(pa.int16())),  # OGIP's GROUPING, 1 begins a group, -1 goes on; null: none
    pa.field("exposure", pa.float32()),  # s, of the spectrum
    pa.field("arf", pa.list_(pa.float32())),  # cm2, on the response's energy grid
    # Share of the PSF in the source aperture (CSC's name): counts are that share of what flux, arf and exposure give.
    # null: not known, and then taken as 1.
    pa.field("psf_frac_aper_b", pa.float32()),
    *AREA_FIELDS,
    pa.field("response_id", pa.string()),  # names the RMF in the config `responses`
    # keV, one more than there are channels; null: the ACIS grid, channel n from 14.6 (n - 1) to 14.6 n eV.
    pa.field("channel_energy_edges", pa.list_(pa.float32())),
]
# Spectra that somebody else has subtracted, grouped or unfolded, as they were published. No counts can be had from
# them, so that no model reads them: they stand beside `spectrum_counts`, never in it.
FLUX_SPECTRUM_FIELDS = [
    pa.field("flux_energy_lo", pa.list_(pa.float32())),  # keV, a bin each
    pa.field("flux_energy_hi", pa.list_(pa.float32())),
    pa.field("flux_density", pa.list_(pa.float32())),  # in `flux_unit`; may be below 0
    pa.field("flux_error", pa.list_(pa.float32())),
    pa.field("flux_unit", pa.string()),  # as astropy.units writes it
]
EVENT_FIELDS = [
    # float64: a float32 resolves 8 ms at 100 ks, too coarse for pulsars and for NICER.
    pa.field("event_time", pa.list_(pa.float64())),  # s since `tstart`, sorted
    pa.field("event_energy", pa.list_(pa.float32())),  # keV; null where a list gives times alone
    pa.field("gti_start", pa.list_(pa.float64())),  # s since `tstart`; null: the good time is not known
    pa.field("gti_stop", pa.list_(pa.float64())),
    pa.field("tstart", pa.float64()),  # s, mission elapsed time of the first GTI start
    pa.field("events_note", pa.string()),  # why photons are not the spectrum's, or what they lack; else null
]
TEXT_FIELDS = [
    pa.field("summary", pa.string()),
    pa.field("bibcodes", pa.list_(pa.string())),
    pa.field("summary_model", pa.string()),
    pa.field("prompt_version", pa.string()),
]

# Columns that models read, by modality; the first says whether a row has it. The feature extractors say which of them a
# dataset may lack.
MODALITY_COLUMNS: dict[str, tuple[str, ...]] = {
    "spectrum": (
        "spectrum_counts",
        "spectrum_background",
        "background_scale",
        "exposure",
        "channel_energy_edges",
        "spectrum_quality",
        "spectrum_grouping",
    ),
    "event": ("event_time", "event_energy", "gti_start", "gti_stop"),
    "text": ("summary",),
}

# What is known of an observation before its photons are looked at, and whether models take its logarithm: the Galactic
# column of the position, the good time, the off-axis angle, and the area that turns a count rate into a flux.
CONTEXT_COLUMNS: dict[str, bool] = {
    "nh_gal": True,
    "livetime": True,
    "theta": False,
    "effective_area_s": True,
    "effective_area_m": True,
    "effective_area_h": True,
}

CONFIGS: dict[str, list[pa.Field]] = {
    "pairs": [*KEY_FIELDS, *CATALOG_FIELDS, *SPECTRUM_FIELDS, *FLUX_SPECTRUM_FIELDS, *EVENT_FIELDS, *TEXT_FIELDS],
    "catalog": [*KEY_FIELDS, *CATALOG_FIELDS, *AREA_FIELDS],
    "spectra": [*KEY_FIELDS, *SPECTRUM_FIELDS],
    "flux_spectra": [*KEY_FIELDS, *FLUX_SPECTRUM_FIELDS],
    "events": [*KEY_FIELDS, *EVENT_FIELDS],
    "texts": [*KEY_FIELDS, *TEXT_FIELDS],
}
TABLE_SCHEMA = pa.schema(CONFIGS["pairs"])

RESPONSE_SCHEMA = pa.schema(
    [
        pa.field("response_id", pa.string(), nullable=False),
        pa.field("energy_edges_lo", pa.list_(pa.float32())),  # keV, (E,)
        pa.field("energy_edges_hi", pa.list_(pa.float32())),
        pa.field("channel_energy_lo", pa.list_(pa.float32())),  # keV, (C,), EBOUNDS
        pa.field("channel_energy_hi", pa.list_(pa.float32())),
        pa.field("first_channel", pa.int32()),
        pa.field("matrix_indptr", pa.list_(pa.int32())),  # CSR (E, C)
        pa.field("matrix_indices", pa.list_(pa.int32())),
        pa.field("matrix_data", pa.list_(pa.float32())),
    ]
)


def build_table(columns: Mapping[str, Any], schema: pa.Schema = TABLE_SCHEMA) -> pa.Table:
    """A table of the dataset's schema from columns; a column left out is null in every row.

    Args:
        columns: name -> `Ragged` for a list column, else a sequence of scalars. In a float column NaN means null
            (CSC writes no value as NaN; a NaN is never stored). Numpy masked arrays keep their mask.
        schema: `TABLE_SCHEMA` by default.

    Raises:
        KeyError: a column that the schema does not have.
        ValueError: lengths differ, or a key column is missing or null.
    """
    unknown = set(columns) - set(schema.names)
    if unknown:
        raise KeyError(f"columns {sorted(unknown)} are not in the schema")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns differ in length: {lengths}")
    num_rows = next(iter(lengths.values()), 0)
    arrays = []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            array = pa.nulls(num_rows, field.type)
        elif isinstance(column, Ragged):
            array = column.to_arrow(field.type)
        elif isinstance(column, np.ma.MaskedArray):
            array = pa.array(column.data, mask=np.ma.getmaskarray(column), from_pandas=True).cast(field.type)
        elif isinstance(column, np.ndarray) and column.dtype.kind in "iufb":
            array = pa.array(column, from_pandas=True).cast(field.type)
        else:
            array = pa.array(list(column), field.type, from_pandas=True)
        if not field.nullable and array.null_count:
            raise ValueError(f"column {field.name} must have a value in every row, {array.null_count} have none")
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=schema)


def features(config: str = "pairs") -> Any:
    """The `datasets.Features` of a config, `source_class` as a ClassLabel."""
    import datasets

    schema = RESPONSE_SCHEMA if config == "responses" else pa.schema(CONFIGS[config])
    result = datasets.Features.from_arrow_schema(schema)
    if "source_class" in result:
        result["source_class"] = datasets.ClassLabel(names=list(SOURCE_CLASSES))
    return result
