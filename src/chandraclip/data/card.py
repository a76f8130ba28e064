"""The dataset's README.md: YAML that makes the configs load, and what a reader has to know."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

import pyarrow as pa
import yaml

from chandraclip.catalog.variability import MAX_BINS
from chandraclip.data.schema import CONFIGS, RESPONSE_SCHEMA, SOURCE_CLASSES, TABLE_SCHEMA, features

NAME_IN_CARD = "path/or/repo_id"  # by which its code asks for the dataset, until it is published
CONFIG_DESCRIPTIONS = {
    "pairs": "all columns; what training reads",
    "catalog": "positions, catalogue quantities, class",
    "spectra": "counts a channel, background, effective area",
    "flux_spectra": "spectra that others subtracted, grouped or unfolded, as published; never counts",
    "events": "photon times and energies, good-time intervals",
    "texts": "a summary of the literature, with its provenance",
    "responses": "redistribution matrices, one a `response_id`",
}

# column -> (unit, meaning). The types are the schema's.
COLUMN_DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "name": ("", "source name"),
    "obsid": ("", "observation"),
    "obi": ("", "observation interval"),
    "region_id": ("", "source region; (obsid, obi, region_id) is the key of a detection"),
    "split": ("", "train, validation or test"),
    "healpix": ("", "HEALPix cell, order 4, nested, ICRS"),
    "ra": ("deg", "right ascension, ICRS"),
    "dec": ("deg", "declination, ICRS"),
    "theta": ("arcmin", "off-axis angle"),
    "mjd_obs": ("d", "start of the observation, MJD"),
    "livetime": ("s", "exposure, dead time taken off"),
    "instrument": ("", "detector"),
    "src_cnts_aper_b": ("counts", "net counts over the share of the PSF in the aperture, band b"),
    "flux_aper_b": ("erg/s/cm2", "energy flux, band b"),
    "flux_aper_h": ("erg/s/cm2", "energy flux, band h"),
    "flux_aper_m": ("erg/s/cm2", "energy flux, band m"),
    "flux_aper_s": ("erg/s/cm2", "energy flux, band s"),
    "flux_significance_b": (
        "",
        "flux over the mean of its errors, band b, as CSC 2 defines it; simulated: and CSC's scatter of 3 %",
    ),
    "hard_hm": ("", "hardness ratio of h and m"),
    "hard_hs": ("", "hardness ratio of h and s"),
    "hard_ms": ("", "hardness ratio of m and s"),
    "var_prob_b": ("", "probability that the rate varied in the observation, band b"),
    "var_index_b": ("", "variability index, 0 to 10, band b"),
    "powlaw_gamma": ("", "photon index of an absorbed power-law fit"),
    "powlaw_nh": ("1e20 cm-2", "column density of the power-law fit"),
    "powlaw_stat": ("", "fit statistic of the power law"),
    "bb_kt": ("keV", "temperature of an absorbed blackbody fit"),
    "bb_nh": ("1e20 cm-2", "column density of the blackbody fit"),
    "bb_stat": ("", "fit statistic of the blackbody"),
    "brems_kt": ("keV", "temperature of an absorbed bremsstrahlung fit"),
    "brems_nh": ("1e20 cm-2", "column density of the bremsstrahlung fit"),
    "brems_stat": ("", "fit statistic of the bremsstrahlung"),
    "apec_kt": ("keV", "temperature of an absorbed thermal-plasma (APEC) fit"),
    "apec_nh": ("1e20 cm-2", "column density of the APEC fit"),
    "apec_abund": ("solar", "abundance of the APEC fit"),
    "apec_stat": ("", "fit statistic of APEC"),
    "nh_gal": ("1e20 cm-2", "Galactic column density in this direction"),
    "source_class": ("", "class of the source"),
    "true_nh": ("1e20 cm-2", "simulated column density; the true_ columns are null for real detections"),
    "true_gamma": ("", "simulated photon index"),
    "true_kt": ("keV", "simulated temperature"),
    "true_flux_b": ("erg/s/cm2", "simulated observed flux, band b"),
    "true_period": ("s", "simulated period"),
    "true_pileup_fraction": ("", "share of the recorded source events that are piled-up photons"),
    "true_class": ("", "simulated class; ULX, TDE and FXT are planted rare sources, without a `source_class`"),
    "true_spectrum": ("", "simulated spectral model"),
    "true_variability": ("", "simulated kind of variability"),
    "true_event_time": ("s", "when the planted event was, since `tstart`: a burst's peak, a dip's middle"),
    "true_event_duration": ("s", "how long: a flare's decay, a fast transient's 90 % of photons, a dip's width"),
    "spectrum_counts": ("counts", "ungrouped source counts, one a PI channel"),
    "spectrum_background": (
        "counts",
        "counts in the background region, one a channel; real numbers where it is a model",
    ),
    "background_scale": ("", "source over background, area x exposure"),
    "spectrum_quality": ("", "OGIP's QUALITY, one a channel: 0 good, 1 and 5 bad, 2 dubious; null: all good"),
    "spectrum_grouping": ("", "OGIP's GROUPING, one a channel: 1 begins a group, -1 continues it; null: none"),
    "exposure": ("s", "exposure of the spectrum"),
    "arf": ("cm2", "effective area on the energy grid of the response"),
    "psf_frac_aper_b": ("", "share of the PSF in the source aperture, which the arf does not hold; null: not known"),
    "effective_area_s": ("cm2", "arf x psf_frac_aper_b at 0.92 keV, CSC's effective energy of the soft band"),
    "effective_area_m": ("cm2", "the same of the medium band, at 1.56 keV"),
    "effective_area_h": ("cm2", "the same of the hard band, at 3.8 keV"),
    "response_id": ("", "the RMF, a row of `responses`"),
    "channel_energy_edges": ("keV", "channel edges; null: ACIS, channel n from 14.6 (n - 1) to 14.6 n eV"),
    "flux_energy_lo": ("keV", "lower edges of the bins of a spectrum that was published without its counts"),
    "flux_energy_hi": ("keV", "their upper edges"),
    "flux_density": ("see flux_unit", "the published values, background subtracted; no counts can be had from them"),
    "flux_error": ("see flux_unit", "their published errors"),
    "flux_unit": ("", "the unit of the two"),
    "event_time": ("s", "photon arrival times since `tstart`, sorted"),
    "event_energy": ("keV", "photon energies; null where a list gives times alone"),
    "gti_start": ("s", "starts of the good-time intervals, since `tstart`; null: not known"),
    "gti_stop": ("s", "their ends"),
    "tstart": ("s", "start of the first good-time interval, mission elapsed time"),
    "events_note": (
        "",
        "why the photons are not those of the spectrum, or what they lack; null where there is nothing to say",
    ),
    "summary": ("", "text about the source"),
    "bibcodes": ("", "ADS bibcodes of the papers it summarizes"),
    "summary_model": ("", "what wrote the summary"),
    "prompt_version": ("", "the prompt it was written with"),
}
RESPONSE_DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "response_id": ("", "content hash of the matrix"),
    "energy_edges_lo": ("keV", "lower edges of the photon-energy bins"),
    "energy_edges_hi": ("keV", "upper edges of the photon-energy bins"),
    "channel_energy_lo": ("keV", "lower edges of the channels (EBOUNDS)"),
    "channel_energy_hi": ("keV", "upper edges of the channels"),
    "first_channel": ("", "number of the first channel"),
    "matrix_indptr": ("", "row pointers of the matrix, energies x channels, in CSR form"),
    "matrix_indices": ("", "its column indices"),
    "matrix_data": ("", "its values, probabilities"),
}


def render_card(manifest: Mapping[str, Any]) -> str:
    """README.md of a dataset, from its manifest alone.

    Args:
        manifest: as `packaging` writes it.

    Returns:
        YAML front matter (configs as column views by relative globs, `dataset_info`) and the text.
    """
    simulated = manifest["parameters"]["source"] in SIMULATED
    pretty_name = PRETTY_NAMES[manifest["parameters"]["source"]]
    num_rows = manifest["num_rows"]
    header = {
        "pretty_name": pretty_name,
        "license": manifest["license"],
        "language": ["en"],
        "tags": ["astronomy", "x-ray-astronomy", "chandra", "spectra", "event-lists", "contrastive-learning"]
        + (["synthetic"] if simulated else []),
        "task_categories": ["feature-extraction", "tabular-classification", "tabular-regression"],
        "size_categories": [size_category(sum(num_rows.values()))],
        "configs": _configs(manifest),
        "dataset_info": [_dataset_info(manifest, config) for config in _config_names(manifest)],
    }
    text = Template((files("chandraclip") / "templates" / "dataset_card.md").read_text()).substitute(
        pretty_name=pretty_name,
        summary=_summary(manifest),
        repo_id=NAME_IN_CARD,
        config_table=_markdown(
            ["config", "columns", "content"],
            [[f"`{name}`", _num_columns(name), CONFIG_DESCRIPTIONS[name]] for name in _config_names(manifest)],
        ),
        split_table=_markdown(["split", "rows"], [[split, f"{rows:,}"] for split, rows in num_rows.items()]),
        column_table=_column_table(TABLE_SCHEMA, COLUMN_DESCRIPTIONS),
        response_table=_column_table(RESPONSE_SCHEMA, RESPONSE_DESCRIPTIONS),
        provenance=_provenance(manifest),
        max_bins=MAX_BINS,
        num_skipped=len(manifest["skipped"]),
        limits=LIMITS[manifest["parameters"]["source"]],
    )
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n\n{text}"


def size_category(num_rows: int) -> str:
    """The Hub's size tag: n<1K, 1K<n<10K, ..., 1B<n<10B."""
    steps = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B"]
    for power, step in enumerate(steps):
        if num_rows < 10 ** (3 + power):
            return f"n<{step}" if power == 0 else f"{steps[power - 1]}<n<{step}"
    return f"n>{steps[-1]}"


def _config_names(manifest: Mapping[str, Any]) -> list[str]:
    return [*CONFIGS, "responses"] if manifest["responses"] else [*CONFIGS]


def _num_columns(config: str) -> int:
    return len(RESPONSE_SCHEMA) if config == "responses" else len(CONFIGS[config])


def _configs(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = []
    for name, fields in CONFIGS.items():
        paths = [{"split": split, "path": f"data/{split}-*.parquet"} for split in manifest["num_rows"]]
        # `columns` goes to the Parquet builder: the config is a view of files that all configs share.
        entry = {"config_name": name, "data_files": paths, "columns": [item.name for item in fields]}
        result.append({**entry, "default": True} if name == "pairs" else entry)
    if manifest["responses"]:
        paths = [{"split": "train", "path": "responses/responses-*.parquet"}]
        result.append({"config_name": "responses", "data_files": paths})
    return result


def _dataset_info(manifest: Mapping[str, Any], config: str) -> dict[str, Any]:
    info: dict[str, Any] = {"config_name": config, "features": features(config)._to_yaml_list()}
    if config == "responses":
        return info
    splits = []
    for split, num_rows in manifest["num_rows"].items():
        num_bytes = sum(entry["num_bytes"][config] for entry in manifest["shards"] if entry["split"] == split)
        splits.append({"name": split, "num_bytes": num_bytes, "num_examples": num_rows})
    # `load_dataset` checks the rows it read against num_examples.
    download_size = sum(entry["file_size"] for entry in manifest["shards"])
    return {
        **info,
        "splits": splits,
        "download_size": download_size,
        "dataset_size": sum(split["num_bytes"] for split in splits),
    }


def _summary(manifest: Mapping[str, Any]) -> str:
    rows = f"{sum(manifest['num_rows'].values()):,}"
    if manifest["parameters"]["source"] == "catalog":
        return (
            f"{rows} simulated detections, one for each row of a table of the Chandra Source Catalog: its class, "
            "exposure, off-axis angle, flux, spectrum and variability, as a Chandra ACIS-like instrument would record "
            "them; one per cent are planted rare sources. **Nothing here was observed**, though names and observation "
            "numbers are the catalogue's."
        )
    if manifest["parameters"]["source"] == "simulation":
        return (
            f"{rows} simulated detections of X-ray sources of {len(SOURCE_CLASSES)} classes "
            f"({', '.join(SOURCE_CLASSES)}), as a Chandra ACIS-like instrument would record them. "
            "**Nothing here was observed.**"
        )
    if manifest["parameters"]["source"] == "hub":
        return (
            f"{rows} detections of X-ray sources of the data set {_origin(manifest)}: its photon lists, spectra and "
            "columns in this dataset's form, split by source."
        )
    if manifest["parameters"]["source"] == "lists":
        return f"{rows} detections of X-ray sources: photon lists, packaged from a table of them."
    if manifest["parameters"]["source"] == "planted":
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in manifest["parameters"]["shares"].items())
        return (
            f"{rows} simulated detections, of a source each, with planted events ({shares}; the others are constant), "
            "as a Chandra ACIS-like instrument would record them: what searches for transients are tried on. **Nothing "
            "here was observed.**"
        )
    if manifest["parameters"]["source"] == "csc":
        release = manifest["parameters"]["release"].removeprefix("rel")
        later = f" {len(failed):,} more could not be fetched yet." if (failed := manifest.get("failed")) else ""
        return (
            f"{rows} detections of the Chandra Source Catalog, release {release}: the archive's spectra, responses and "
            f"event lists, with columns of the catalogue.{later}"
        )
    return f"{rows} detections of X-ray sources, packaged from mission files (spectra, responses, event lists)."


def _origin(manifest: Mapping[str, Any]) -> str:
    """The data set that others published, with the commit where it came from the Hub."""
    name, revision = manifest["parameters"]["input"], manifest["parameters"]["revision"]
    return f"`{name}`" if revision is None else f"[`{name}`](https://huggingface.co/datasets/{name}/tree/{revision})"


def build_command(manifest: Mapping[str, Any]) -> str:
    """The command that builds a dataset again, its folder named OUTPUT_DIR."""
    parameters = manifest["parameters"]
    if parameters["source"] == "simulation":
        options = "" if parameters["selection"] == "all" else f"--selection {parameters['selection']} "
        options += "" if parameters["arf_sha256"] is None else "--arf ARF --rmf RMF "
        options += "" if parameters["pileup"] else "--no_pileup "
        command = (
            f"simulate --num_detections {parameters['num_detections']} --seed {parameters['seed']} {options}OUTPUT_DIR"
        )
    elif parameters["source"] == "catalog":
        options = "" if parameters["sources"] is None else f"--sources {parameters['sources']} "
        options += "" if parameters["pileup"] else "--no_pileup "
        command = f"simulate --from_catalog {parameters['detections']} {options}--seed {parameters['seed']} OUTPUT_DIR"
    elif parameters["source"] == "planted":
        shares = " ".join(f"{kind}={share:g}" for kind, share in parameters["shares"].items())
        counts = " ".join(f"{count:g}" for count in parameters["counts"])
        options = f"--shares {shares} --counts {counts} --seed {parameters['seed']}"
        command = f"simulate --planted {parameters['num_detections']} {options} OUTPUT_DIR"
    elif parameters["source"] == "csc":
        options = "" if parameters["limit"] is None else f"--limit {parameters['limit']} "
        command = f"csc --adql QUERY --products {','.join(parameters['products'])} {options}OUTPUT_DIR"
    elif parameters["source"] == "hub":
        options = "".join(
            f"--{option} {parameters[name]} "
            for option, name in (("revision", "revision"), ("dataset_config", "config"), ("limit", "limit"))
            if parameters[name] is not None
        )
        options += "--texts TEXTS.jsonl " if parameters["texts_sha256"] else ""
        command = f"hub {parameters['input']} {options}OUTPUT_DIR"
    else:
        command = f"{parameters['source']} {parameters['input']} OUTPUT_DIR"
    return f"python scripts/build_dataset.py {command}"


def _provenance(manifest: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items())
    schema = manifest["parameters"]["schema_version"]
    text = f"```\n{build_command(manifest)}\n```\n\nSchema {schema}; {packages}."
    if manifest["parameters"]["source"] == "csc":
        columns = ", ".join(f"`{name}`" for name in manifest["parameters"]["catalog_columns"])
        text += f"\n\nQUERY is\n\n```sql\n{manifest['parameters']['query']}\n```\n\n"
        text += f"**Measured by CSC**, as its catalogue gives them, null where it has none: {columns}. All other "
        text += "quantities were measured from the files by this package."
    if "rows_of" in manifest["parameters"]:
        text += (
            "\n\nThe texts were added later, by `scripts/build_dataset.py texts DATASET SUMMARIES OUTPUT_DIR`: what a "
        )
        text += (
            "language model wrote of papers' abstracts (`summary_model`, `prompt_version`, `bibcodes`), not seen by "
        )
        text += "anyone who knows the sources."
    if manifest["parameters"]["source"] == "hub":
        text += _mapping(manifest)
    return text


def _mapping(manifest: Mapping[str, Any]) -> str:
    """Which column came from where."""
    mapping = manifest["parameters"]["mapping"]
    rows = []
    for name, source in mapping["columns"].items():
        columns = " or ".join(f"`{column}`" for column in source["columns"]) or f"{source['value']} in every row"
        values = "; ".join(f"{theirs}: {ours}" for theirs, ours in (source["values"] or {}).items())
        rows.append([f"`{name}`", columns, source["unit"] or "", values])
    text = f"\n\nColumns by the mapping {mapping['label']}; what it does not name is null, or was measured by this "
    text += f"package:\n\n{_markdown(['column', 'of the other data set', 'unit there', 'values'], rows)}\n\n"
    sums = [[f"`{path}`", digest] for path, digest in manifest["parameters"]["files_sha256"].items()]
    return f"{text}SHA-256 of its files:\n\n{_markdown(['file', 'SHA-256'], sums)}"


def _column_table(schema: pa.Schema, descriptions: Mapping[str, tuple[str, str]]) -> str:
    rows = []
    for item in schema:
        unit, meaning = descriptions[item.name]
        kind = f"list of {item.type.value_type}" if pa.types.is_list(item.type) else str(item.type)
        if item.name == "source_class":
            kind = "ClassLabel"
            meaning = f"{meaning}: {', '.join(SOURCE_CLASSES)}"
        rows.append([f"`{item.name}`", kind, unit, meaning])
    return _markdown(["column", "type", "unit", "meaning"], rows)


def _markdown(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


SIMULATED_LIMITS = """\
Spectra, rates, populations and texts are simple models of the real ones; the texts are made from templates and state
facts of the simulation. Scores on these data say whether a method works, not how well it does on the sky. Spectral fits
are null below 150 net counts, as in the catalogue. `docs/simulator.md` of the project compares them with real ones."""

CATALOG_LIMITS = f"""\
{SIMULATED_LIMITS} The sources were drawn given what the catalogue measured of the real ones, and the texts tell of the
sources: they know of the real measurements, and must not be used to judge how well real detections are predicted."""

FILE_LIMITS = """\
Files of different missions stand side by side: see `instrument`. Quantities that the mission's catalogue would give and
that cannot be measured from the files (spectral fits, class) are null. Event lists without a region hold every photon
of the file."""

LIST_LIMITS = """\
Photon lists as somebody else cut them from event files: the aperture, the background in it and the band are theirs.
Where photons have no energies, `events_note` says so, and `var_prob_b` is of all. What needs a spectrum is null."""

HUB_LIMITS = """\
What the other data set does not have is null. Its photon lists are as it cut them: aperture, background in it and band
are its own. Where it gives no good times, they run from the first photon to the last, and gaps between are not known;
where a list is not whole (thinned by its publisher, or with less than half of the counts that the catalogue has), good
times are null and nothing is measured. `events_note` says which of these holds. Spectra that were counted from the
photons have no background, exposure or response. Spectra that it published without counts are in `flux_density`
alone."""

CSC_LIMITS = """\
The selection is the query's. A detection whose files could not be read, or which fits several sources, is not in it:
see the manifest. Quantities that neither the catalogue gave nor the files tell (spectral fits, class) are null."""

PRETTY_NAMES = {
    "csc": "ChandraCLIP detections of the Chandra Source Catalog",
    "files": "ChandraCLIP detections",
    "hub": "ChandraCLIP detections of a public data set",
    "lists": "ChandraCLIP photon lists",
    "simulation": "ChandraCLIP simulated detections",
    "catalog": "csc-mock: simulated detections of the rows of a catalogue",
    "planted": "ChandraCLIP simulated detections with planted transients",
}
PLANTED_LIMITS = """\
The detector is ideal: photons do not pile up, since piled-up ones would give bursts away by their energies. Shapes,
sizes and frequencies of the events are made for trials of searches, not drawn from a population. Whatever its kind, a
source's counts and time-averaged spectrum come from the same distributions: what is harder within an event is softer
outside."""
SIMULATED = ("simulation", "catalog", "planted")
LIMITS = {
    "csc": CSC_LIMITS,
    "files": FILE_LIMITS,
    "hub": HUB_LIMITS,
    "lists": LIST_LIMITS,
    "simulation": SIMULATED_LIMITS,
    "catalog": CATALOG_LIMITS,
    "planted": PLANTED_LIMITS,
}
