"""What kind of its class a source may be called, and what else it may be taken for: conditions on its own properties.

`tables/subtypes.csv` has the phrases: a class, a phrase, conditions that must all hold, and where they come from;
`tables/rivals.csv` the classes that a source of one class is confused with, in the same form. References are to who
uses or shows such a limit; the numbers are rounded, and written from memory of those papers. Phrases without a
condition fit every source of their class. Conditions are on: log_nh (cm-2, total), log_lx (erg/s, 0.5-7 keV, absorption
taken away, at the distance that papers adopt), log_flux (erg/s/cm2, observed 0.5-7 keV), gamma, kt (keV), hard_share
(of the flux, above 2 keV), redshift, period (s), amplitude (highest over lowest flux), and the names model, second,
variability and long_term. A condition on a quantity that the source does not have does not hold.
"""

from __future__ import annotations

import csv
import operator
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

QUANTITIES = (
    "log_nh", "log_lx", "log_flux", "gamma", "kt", "hard_share", "redshift", "period", "amplitude",
)  # fmt: skip
NAMES = ("model", "second", "variability", "long_term")
SPECIFIC_WEIGHT = 3.0  # how much rather a phrase with a condition is chosen than one without, where it holds
CONDITION = re.compile(r"(\w+) ([<>=]) ([\w.|-]+)")
COMPARE = {"<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Rule:
    """A line of a table.

    Attributes:
        source_class: that it is for. says: phrase, or class of the rival. reference: of the conditions.
        conditions: quantity, "<", ">" or "=", and a number or names.
    """

    source_class: str
    says: str
    conditions: tuple[tuple[str, str, float | tuple[str, ...]], ...]
    reference: str

    def holds(self, properties: dict[str, np.ndarray]) -> np.ndarray:
        """(S,) bool, of S sources: property -> (S,) values."""
        result = np.ones(len(properties["log_nh"]), bool)
        for name, comparison, value in self.conditions:
            if isinstance(value, tuple):
                result &= np.isin(properties[name], value)
            else:
                result &= COMPARE[comparison](properties[name], value)  # never with NaN
        return result


@cache
def read_rules(table: str) -> tuple[Rule, ...]:
    """The rules of ``tables/<table>.csv``.

    Raises:
        ValueError: a condition is not of the form above, or has no reference.
    """
    with resources.files("chandraclip.simulate.literature").joinpath(f"tables/{table}.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    rules = []
    for source_class, says, condition, reference in rows:
        conditions: list[tuple[str, str, float | tuple[str, ...]]] = []
        for part in filter(None, condition.split("; ")):
            match = CONDITION.fullmatch(part)
            if not match or match[1] not in (NAMES if match[2] == "=" else QUANTITIES) or not reference:
                raise ValueError(f"{table}.csv, {says}: {part!r} is no condition on a known quantity with a reference")
            conditions.append((match[1], match[2], tuple(match[3].split("|")) if match[2] == "=" else float(match[3])))
        rules.append(Rule(source_class, says, tuple(conditions), reference))
    return tuple(rules)


def rules_of(table: str, source_class: str) -> list[Rule]:
    return [rule for rule in read_rules(table) if rule.source_class == source_class]


def choose(
    rng: np.random.Generator, table: str, source_class: np.ndarray, known: list[dict[str, np.ndarray]]
) -> np.ndarray:
    """What a rule of each source's class says, drawn among those whose conditions hold.

    Args:
        table: "subtypes" or "rivals". source_class: (S,) names.
        known: properties as `Rule.holds` takes them, of the truth and as papers found them; conditions must hold by
            each.

    Returns:
        (S,) of str; empty where no rule holds.
    """
    result = np.full(len(source_class), "", dtype=object)
    draws = rng.random((len(source_class), max(len(rules_of(table, name)) for name in set(source_class.tolist()))))
    for name in sorted(set(source_class.tolist())):
        rows = np.flatnonzero(source_class == name)
        rules = rules_of(table, name)
        of_rows = [{key: values[rows] for key, values in properties.items()} for properties in known]
        score = np.empty((len(rows), len(rules)))
        for column, rule in enumerate(rules):
            weight = SPECIFIC_WEIGHT if rule.conditions else 1.0
            holds = np.all([rule.holds(properties) for properties in of_rows], axis=0)
            # The largest of u^(1/w) is drawn with chances as the weights w.
            score[:, column] = np.where(holds, draws[rows, column] ** (1.0 / weight), -1.0)
        best = score.argmax(axis=1)
        says = np.array([rule.says for rule in rules], dtype=object)
        result[rows] = np.where(score[np.arange(len(rows)), best] >= 0.0, says[best], "")
    return result
