#!/usr/bin/env python
"""Looks at one observation: prints what its files hold and what can be measured, and writes the pictures.

    python scripts/inspect.py FILES... [--output DIR]

FILES are of one source, in any order: a spectrum, an event list, a region; what belongs to them is found beside them.
Without FILES, the sample that ships with the package.
"""

# A folder that is run as a program. As a file, inspect.py would be what `import inspect` finds in every script beside
# it: Python looks into the script's own folder first, and half the standard library imports inspect.

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from chandraclip.program import now_try, run_program

os.environ.setdefault("OMP_NUM_THREADS", "1")

OUTPUT = Path("outputs/inspect")
MODELS = ("powerlaw", "blackbody", "bremsstrahlung", "apec", "diskbb")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="inspect.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILES", nargs="*", help="FITS files, or a region in text")
    parser.add_argument("--output", metavar="DIR", type=Path, help=f"of the pictures (default: {OUTPUT}/NAME)")
    parser.add_argument("--model", default="powerlaw", choices=(*MODELS, "none"), help="fitted (default: powerlaw)")
    parser.add_argument(
        "--absorption", default="tbabs", choices=("tbabs", "wabs", "none"), help="in front of it (default: tbabs)"
    )
    parser.add_argument("--bin", type=float, help="s, of the light curve (default: by the number of photons)")
    options = parser.parse_args(arguments)

    import chandraclip.observation as package  # light: `chandraclip` itself would register the models

    files = options.files
    if not files:
        from chandraclip.observation.sample import sample

        files = [sample()]
    observation = package.open(*files)
    print(observation)
    for note in observation.notes:
        print(f"  {note}")
    main_file = (observation.spectrum or observation.events).path  # type: ignore[union-attr]
    output = options.output or OUTPUT / main_file.name.split(".")[0]
    pictures: dict[str, Any] = {}
    if observation.spectrum is not None:
        absorption = None if options.absorption == "none" else options.absorption
        pictures |= look_at_spectrum(observation, options.model, absorption)
    if observation.events is not None:
        say(observation.variability())
        pictures["light_curve.png"] = observation.plot_light_curve(options.bin)
        pictures["energy_time_map.png"] = observation.plot_energy_time_map()
    for name, axes in pictures.items():
        save(axes, output / name)
    now_try(["scripts/build_dataset.py", "files", main_file.parent, Path("outputs/data") / output.name])


def look_at_spectrum(observation: Any, model: str, absorption: str | None) -> dict[str, Any]:
    """Prints hardness and fit, as far as the spectrum allows, and gives its picture by name."""
    spectrum = observation.spectrum
    try:
        say(observation.hardness())
    except ValueError as error:  # what one answer lacks does not cost the others
        print(f"no hardness: {error}")
    if spectrum.channel_energy_edges is None:
        print(f"no picture of the spectrum: the energies of its channels are not known ({spectrum.response_problem})")
        return {}
    fit = None
    try:
        fit = None if model == "none" else observation.fit(model, absorption)
    except ValueError as error:
        print(f"no fit: {error}")
    if fit is not None:
        say(fit)
    return {"spectrum.png": observation.plot(model=fit)}


def say(facts: object) -> None:
    print(f"\n{facts}")


def save(axes: Any, path: Path) -> None:
    from chandraclip.files import atomic_path

    with atomic_path(path) as temporary:
        axes.figure.savefig(temporary, format="png", dpi=150)
    print(f"wrote {path}")


if __name__ == "__main__":
    run_program(main)
