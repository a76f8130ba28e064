"""Numbers as papers write them: notation, precision and uncertainty vary."""

from __future__ import annotations

import numpy as np

from chandraclip.simulate.literature.grammar import Choices

MEGAKELVIN_PER_KEV = 11.605
FLUX_UNITS = ("erg/s/cm2", "erg/cm2/s", "erg cm^-2 s^-1", "erg s^-1 cm^-2", "erg cm-2 s-1")
LUMINOSITY_UNITS = ("erg/s", "erg s^-1", "erg s-1")


def figures(value: float, number: int) -> str:
    """Rounded to significant figures, without an exponent."""
    return f"{float(f'{value:.{number}g}'):g}"


def scientific(value: float, choice: Choices, number: int) -> str:
    """A number of that many figures in one of the notations papers use."""
    mantissa, exponent = f"{value:.{number - 1}e}".split("e")
    return f"{mantissa} x 10^{int(exponent)}" if choice.share() < 0.75 else f"{mantissa}e{int(exponent)}"


def measured(value: float, choice: Choices) -> str:
    """As `scientific`, of one or two figures or with an uncertainty of 10 to 30 per cent."""
    style = choice.share()
    if style < 0.65:
        return scientific(value, choice, 1 if style < 0.2 else 2)
    if style < 0.8:
        return f"{choice.of(('about', 'roughly', '~'))} {scientific(value, choice, 1)}".replace("~ ", "~")
    exponent = int(np.floor(np.log10(value)))
    mantissa = value / 10.0**exponent
    return f"({mantissa:.1f} +- {max(mantissa * (0.1 + 0.2 * choice.share()), 0.1):.1f}) x 10^{exponent}"


def slope(gamma: float, choice: Choices) -> str:
    style = choice.share()
    if style < 0.45:
        return f"{gamma:.1f}"
    if style < 0.6:
        return f"about {gamma:.1f}"
    if style < 0.75:
        return f"{gamma:.2f}"
    return f"{gamma:.1f} +- {0.1 + 0.3 * choice.share():.1f}"


def temperature(kt: float, model: str, choice: Choices) -> str:
    style = choice.share()
    if kt < 0.3 and style < 0.4:
        return f"{figures(1e3 * kt, 2)} eV"
    if model == "plasma" and 0.2 < kt < 4.0 and style < 0.15:
        return f"{figures(kt, 2)} keV ({MEGAKELVIN_PER_KEV * kt:.0f} MK)"
    if style < 0.75:
        return f"{figures(kt, 2)} keV"
    decimals = 0 if kt >= 10.0 else 1 if kt >= 2.0 else 2
    error = max(kt * (0.05 + 0.1 * choice.share()), 10.0**-decimals)
    return f"{kt:.{decimals}f} +- {error:.{decimals}f} keV"


def duration(seconds: float) -> str:
    """Three figures, in the unit that suits."""
    if seconds < 1.0:
        return f"{figures(1e3 * seconds, 3)} ms"
    if seconds < 1000.0:
        return f"{figures(seconds, 3)} s"
    if seconds < 5000.0:
        return f"{seconds:.0f} s"
    return f"{figures(seconds / 3600.0, 3)} h" if seconds < 172800.0 else f"{figures(seconds / 86400.0, 3)} d"


def length(kpc: float) -> str:
    if kpc < 1.0:
        return f"{figures(1e3 * kpc, 2)} pc"
    if kpc < 1000.0:
        return f"{figures(kpc, 2)} kpc"
    return f"{figures(kpc / 1e3, 2)} Mpc"
