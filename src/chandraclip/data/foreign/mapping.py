"""Which column of somebody else's table is what, in which unit: a YAML file, checked before a row is read.

    columns:
      name: {column: [source_name, object_id]}                # the first that the row has
      hard_hs: hard_ratio                                     # a column of the table
      event_time: {column: original_event_list.0, unit: s}    # the first number of each pair; any unit of astropy
      event_energy: {column: original_event_list.1, unit: eV}
      nh_gal: {column: nh, unit: cm-2}
      source_class: {column: kind, values: {QSO: AGN}}        # other values are null
      instrument: {value: ACIS}                               # the same in every row
    good_time: first_to_last_photon      # where the table has no gti_start and gti_stop; without this line: not known
    thinned: is_capped                   # a column of booleans: lists that are not whole; their good time is not known
    spectrum: from_photons               # count the photons in ACIS's channels where there are no spectrum_counts
    license: cc-by-4.0

Columns on the left are the dataset's (`data/schema.py`). Without a unit a column has the dataset's own.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import astropy.units as u
import pyarrow as pa
import yaml

from chandraclip.data.card import COLUMN_DESCRIPTIONS
from chandraclip.data.foreign.paths import is_list, type_at
from chandraclip.data.schema import SOURCE_CLASSES, TABLE_SCHEMA
from chandraclip.errors import InputFileError

FIRST_TO_LAST_PHOTON = "first_to_last_photon"
FROM_PHOTONS = "from_photons"
# Data sets of the Hub whose columns are known.
PRESETS = {
    "astromindinc/axia-csc-corpus": "axia",
    "multimodaluniverse/chandra": "multimodal_universe",
    "hugging-science/mmu_chandra_spectra": "multimodal_universe",
}
# Made here, or of no use without a response matrix, which no foreign table has.
_MADE_HERE = {"split", "healpix", "events_note", "response_id", "arf", "bibcodes", "flux_unit"}
MAPPABLE = [name for name in TABLE_SCHEMA.names if name not in _MADE_HERE]
_OPTIONS = {"columns", "good_time", "thinned", "spectrum", "license"}
_SAME_UNIT = {"counts": "count", "solar": "", "see flux_unit": "", "erg/s/cm2": "erg s-1 cm-2"}


@dataclass(frozen=True)
class Source:
    """Where one column comes from.

    Attributes:
        columns: references (`paths`), the first that a row has; none: `value` in every row.
        factor: from the table's unit to the dataset's.
        unit: of the table; None: the dataset's.
        values: what the table calls it -> what the dataset does; None: as it is.
        value: see `columns`.
    """

    columns: tuple[str, ...] = ()
    factor: float = 1.0
    unit: str | None = None
    values: Mapping[Any, Any] | None = None
    value: Any = None


@dataclass(frozen=True)
class ColumnMapping:
    """A mapping file, as this module's head has it."""

    label: str
    columns: Mapping[str, Source] = field(default_factory=dict)
    good_time: str | None = None
    thinned: str | None = None
    spectrum: str | None = None
    license: str | None = None

    @property
    def references(self) -> list[str]:
        """All that is read, each once."""
        found = [name for source in self.columns.values() for name in source.columns]
        return list(dict.fromkeys([*found, *([self.thinned] if self.thinned else [])]))

    def present(self, schema: pa.Schema) -> ColumnMapping:
        """The mapping without what the table does not have."""
        columns = {}
        for name, source in self.columns.items():
            kept = tuple(one for one in source.columns if type_at(schema, one) is not None)
            if kept or not source.columns:
                columns[name] = Source(kept, source.factor, source.unit, source.values, source.value)
        thinned = self.thinned if self.thinned and type_at(schema, self.thinned) is not None else None
        return ColumnMapping(self.label, columns, self.good_time, thinned, self.spectrum, self.license)

    def check(self, path: str | Path, schema: pa.Schema) -> ColumnMapping:
        """`present`, where that is enough to make a row and types are usable.

        Raises:
            InputFileError: there is no name or position, no photons and no spectrum, or a column is of another type.
        """
        known = self.present(schema)
        has = [name for name in ("event_time", "spectrum_counts", "flux_density") if name in known.columns]
        missing = [] if has else ["event_time, spectrum_counts or flux_density"]
        if "name" not in known.columns and not {"ra", "dec"} <= set(known.columns):
            missing.append("name, or ra and dec")
        if missing:
            reason = f"by the mapping {self.label} there is no {' and no '.join(missing)}; it has the columns "
            raise InputFileError(path, f"{reason}{', '.join(schema.names)}: write --mapping columns.yaml")
        for name, source in known.columns.items():
            for reference in source.columns:
                found = type_at(schema, reference)
                assert found is not None
                if not _fits(found, TABLE_SCHEMA.field(name).type, source.values is not None or name == "source_class"):
                    wanted = TABLE_SCHEMA.field(name).type
                    raise InputFileError(path, f"holds {found}, and {name} needs {wanted}", reference)
        return known


def load_mapping(path: str | Path) -> ColumnMapping:
    """A mapping file.

    Raises:
        InputFileError: it is not YAML of this form; it names a column that no dataset has, or a unit that is none or
            does not convert to the dataset's.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputFileError(path, f"not a readable YAML file: {' '.join(str(error).split())}") from error
    return mapping_of(path, content)


def mapping_of(path: str | Path, content: Any) -> ColumnMapping:
    """`load_mapping` of what the file holds."""
    if not isinstance(content, dict) or not isinstance(content.get("columns"), dict):
        raise InputFileError(path, "needs `columns:` with a line a column")
    if unknown := sorted(set(content) - _OPTIONS):
        raise InputFileError(path, f"has {', '.join(map(str, unknown))}; it takes {', '.join(sorted(_OPTIONS))}")
    for name, allowed in {"good_time": FIRST_TO_LAST_PHOTON, "spectrum": FROM_PHOTONS}.items():
        if content.get(name) not in (None, allowed):
            raise InputFileError(path, f"is {content[name]!r}; it may be {allowed}", name)
    columns = {name: _source(path, name, entry) for name, entry in content["columns"].items()}
    options = {name: content.get(name) for name in sorted(_OPTIONS - {"columns"})}
    return ColumnMapping(Path(path).name, columns, **options)


def preset(name: str) -> ColumnMapping:
    """A mapping that comes along, by the name of its file."""
    place = files("chandraclip") / "data" / "foreign" / "mappings" / f"{name}.yaml"
    return mapping_of(f"{name}.yaml", yaml.safe_load(place.read_text()))


def find_mapping(dataset: str, schema: pa.Schema) -> ColumnMapping:
    """The mapping of a data set: the preset of its id, else the first preset that fits its columns, else none: columns
    that have the dataset's own names."""
    if dataset.lower() in PRESETS:
        return preset(PRESETS[dataset.lower()])
    for name in dict.fromkeys(PRESETS.values()):
        mapping = preset(name)
        needed = [source for column, source in mapping.columns.items() if column in ("event_time", "flux_density")]
        if all(any(type_at(schema, one) is not None for one in source.columns) for source in needed):
            return mapping
    own = {name: Source((name,)) for name in MAPPABLE if name in schema.names}
    return ColumnMapping("of the dataset's own names", own)


def _source(path: str | Path, name: str, entry: Any) -> Source:
    if name not in MAPPABLE:
        near = ", ".join(difflib.get_close_matches(str(name), MAPPABLE, 3))
        raise InputFileError(path, f"no dataset takes this column{near and f'; near: {near}'}", name)
    entry = {"column": entry} if isinstance(entry, str | list) else entry
    if not isinstance(entry, dict) or not set(entry) <= {"column", "unit", "values", "value"}:
        raise InputFileError(path, "takes a column, or column, unit, values or value in braces", name)
    if ("column" in entry) == ("value" in entry):
        raise InputFileError(path, "needs either column or value", name)
    columns = entry.get("column", [])
    columns = tuple([columns] if isinstance(columns, str) else columns)
    values = entry.get("values")
    if name == "source_class" and values is not None and not set(values.values()) <= set(SOURCE_CLASSES):
        wrong = sorted(set(values.values()) - set(SOURCE_CLASSES))
        raise InputFileError(path, f"{', '.join(map(str, wrong))}: there are {', '.join(SOURCE_CLASSES)}", name)
    return Source(columns, _factor(path, name, entry.get("unit")), entry.get("unit"), values, entry.get("value"))


def _factor(path: str | Path, name: str, unit: str | None) -> float:
    if unit is None:
        return 1.0
    try:
        given = u.Unit(str(unit))
        if name in ("flux_density", "flux_error"):
            return 1.0  # kept in the unit they have, which `flux_unit` tells
        own = COLUMN_DESCRIPTIONS[name][0]
        return float(given.to(u.Unit(_SAME_UNIT.get(own, own))))
    except (ValueError, TypeError) as error:
        raise InputFileError(path, f"unit {unit}: {' '.join(str(error).split())}", name) from None


def flux_unit(mapping: ColumnMapping) -> str | None:
    """The unit of the published spectra, as astropy writes it; None where the mapping does not say."""
    source = mapping.columns.get("flux_density")
    return None if source is None or source.unit is None else u.Unit(source.unit).to_string()


def _fits(found: pa.DataType, wanted: pa.DataType, by_name: bool) -> bool:
    if pa.types.is_null(found):
        return True
    if pa.types.is_list(wanted):
        return is_list(found) and (_is_number(found.value_type) or pa.types.is_null(found.value_type))
    is_text = pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_dictionary(found)
    if pa.types.is_string(wanted):
        return is_text or pa.types.is_integer(found)
    return _is_number(found) or (is_text and by_name)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
