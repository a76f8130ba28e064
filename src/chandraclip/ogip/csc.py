"""Names of the Chandra Source Catalog's products."""

from __future__ import annotations

import re
from pathlib import Path

# acisf01575_001N001_r0085_pha3.fits.gz = instrument, ObsID, OBI, version tag, region, product.
CSC_NAME = re.compile(
    r"(?P<instrument>acis|hrc)(?P<mode>[a-z])(?P<obsid>\d{5})_(?P<obi>\d{3})N(?P<version>\d{3})"
    r"_r(?P<region>\d{4,5}[a-z]?)_(?P<product>[a-z0-9]+)\.fits(\.gz)?",
    re.IGNORECASE,
)


def csc_key(path: Path) -> tuple[str, int, int, str] | None:
    """(instrument, ObsID, OBI, region) of a CSC product's name, without its version tag; None for other names."""
    match = CSC_NAME.fullmatch(path.name)
    if match is None:
        return None
    return match["instrument"].lower(), int(match["obsid"]), int(match["obi"]), match["region"].lower()


def csc_product(path: Path) -> str | None:
    """``"pha3"``, ``"arf3"``, ... of a CSC product's name."""
    match = CSC_NAME.fullmatch(path.name)
    return match["product"].lower() if match else None


def newest(paths: list[Path]) -> list[Path]:
    """The CSC products with the highest version tag."""
    tags = {path: int(match["version"]) for path in paths if (match := CSC_NAME.fullmatch(path.name))}
    return [path for path in paths if tags.get(path) == max(tags.values(), default=None)]


def spectrum_beside(region: Path) -> Path | None:
    """The pha3 that belongs to a reg3: the newest CSC product of the same ObsID, OBI and region in its folder; for
    other names the same with pha3 in place of reg3."""
    key = csc_key(region)
    if key is not None:
        same = [path for path in region.parent.iterdir() if csc_key(path) == key and csc_product(path) == "pha3"]
        return next(iter(sorted(newest(same))), None)
    if "reg3" not in region.name:
        return None
    name = region.name.replace("reg3", "pha3")
    options = [name, name + ".gz", name.removesuffix(".gz")]
    return next((region.with_name(option) for option in options if region.with_name(option).is_file()), None)
