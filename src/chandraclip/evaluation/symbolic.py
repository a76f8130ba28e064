"""Formulas: each latent from what is measured, each measured quantity from the latents, scored on sources not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chandraclip.errors import InputFileError
from chandraclip.evaluation.bootstrap import interval, resampled_sums
from chandraclip.evaluation.symbolic_engines import Engine

# Name in formulas -> column, and how it enters: "log" log10, "log1p" log10(1 + x) of a column density, "" as it is.
QUANTITIES: dict[str, tuple[str, str]] = {
    "log_flux_b": ("flux_aper_b", "log"),
    "log_flux_s": ("flux_aper_s", "log"),
    "log_flux_m": ("flux_aper_m", "log"),
    "log_flux_h": ("flux_aper_h", "log"),
    "hard_hm": ("hard_hm", ""),
    "hard_hs": ("hard_hs", ""),
    "hard_ms": ("hard_ms", ""),
    "log_nh": ("powlaw_nh", "log1p"),
    "gamma": ("powlaw_gamma", ""),
    "log_counts": ("src_cnts_aper_b", "log"),
    "log_kt": ("apec_kt", "log"),
    "log_true_nh": ("true_nh", "log1p"),
}
INPUTS = ("log_flux_s", "log_flux_m", "log_flux_h", "hard_hm", "hard_hs", "hard_ms", "log_nh", "log_counts")
TARGETS = ("hard_hs", "hard_ms", "log_flux_b", "log_counts", "gamma", "log_nh")
DIGITS = 3
MIN_ROWS = 30  # of train, validation and test each
# Of formulas whose validation R2 is this near to the best, the shortest is chosen.
NEAR = 0.01
SPLITS = ("train", "validation", "test")


def quantity_values(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """(N,) float64 of a quantity of `QUANTITIES`, NaN where it is missing or has no logarithm.

    Raises:
        KeyError: its column is not among the columns.
    """
    column, form = QUANTITIES[name]
    values = np.asarray(columns[column], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        if form == "log":
            return np.log10(np.where(values > 0, values, np.nan))
        if form == "log1p":
            return np.log10(1.0 + np.where(values >= 0, values, np.nan))
    return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True)
class Formula:
    """One of a Pareto front.

    Attributes:
        expression: sympy, its constants rounded to `DIGITS` digits, as it is scored.
        complexity: operations, names and numbers in it.
        r2: split -> coefficient of determination.
    """

    expression: Any
    complexity: int
    r2: dict[str, float]


@dataclass(frozen=True, eq=False)
class FormulaFit:
    """What was found for one target.

    Attributes:
        target: its name.
        front: formulas, the simplest first, each better on train than all simpler ones.
        chosen: the shortest whose R2 on validation is within `NEAR` of the best.
        low, high: 95 % interval of its R2 on test, by resampling sources.
        linear, boosted: R2 on test of linear regression and of gradient boosting on the same inputs.
        num_rows: split -> rows.
    """

    target: str
    front: tuple[Formula, ...]
    chosen: Formula
    low: float
    high: float
    linear: float
    boosted: float
    num_rows: dict[str, int]

    def record(self) -> dict[str, Any]:
        """As a row of a table."""
        return {
            "target": self.target,
            "formula": str(self.chosen.expression),
            "complexity": self.chosen.complexity,
            "r2_train": self.chosen.r2["train"],
            "r2": self.chosen.r2["test"],
            "r2_low": self.low,
            "r2_high": self.high,
            "linear": self.linear,
            "gradient boosting": self.boosted,
            "num_rows": self.num_rows["test"],
        }


def find_formula(
    target: str,
    values: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    split: np.ndarray,
    names: np.ndarray,
    engine: Engine,
    *,
    max_rows: int = 3000,
    num_resamples: int = 1000,
    seed: int = 0,
) -> FormulaFit | None:
    """Search formulas on train, choose on validation, score on test; rows that miss a value are left out.

    Args:
        target: name of what is predicted.
        values: (N,) of it, NaN where missing.
        inputs: name -> (N,), what formulas are made of.
        split, names: (N,) split and source of each row.
        engine: that searches.
        max_rows: of train that the engine sees, chosen at random; the rivals learn from the same.
        num_resamples: of the bootstrap.
        seed: of the choice, the engine, boosting and the bootstrap.

    Returns:
        None where a split has fewer than `MIN_ROWS` rows, or the target is constant in train.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    matrix = np.stack(list(inputs.values()), axis=1)
    whole = np.isfinite(matrix).all(axis=1) & np.isfinite(values)
    rows = {name: np.flatnonzero(whole & (split == name)) for name in SPLITS}
    generator = np.random.default_rng(seed)
    rows["train"] = np.sort(generator.permutation(rows["train"])[:max_rows])
    if min(map(len, rows.values())) < MIN_ROWS or np.ptp(values[rows["train"]]) == 0:
        return None
    known, learnt = matrix[rows["train"]], values[rows["train"]]
    found = [rounded(one) for one in engine.front(known, learnt, list(inputs), seed)]
    formulas = []
    for expression in dict.fromkeys(found):
        predicted = evaluate(expression, inputs)
        r2 = {name: _r2(values[part], predicted[part]) for name, part in rows.items()}
        if np.isfinite(r2["train"]):
            formulas.append(Formula(expression, complexity(expression), r2))
    front: list[Formula] = []
    for formula in sorted(formulas, key=lambda one: (one.complexity, -one.r2["train"])):
        if not front or formula.r2["train"] > front[-1].r2["train"]:
            front.append(formula)
    if not front:
        return None
    on_validation = np.array([np.nan_to_num(one.r2["validation"], nan=-np.inf) for one in front])
    chosen = front[int(np.argmax(on_validation >= on_validation.max() - NEAR))]

    test = rows["test"]
    rivals = []
    for model in (LinearRegression(), HistGradientBoostingRegressor(random_state=seed)):
        model.fit(known, learnt)
        rivals.append(_r2(values[test], model.predict(matrix[test])))
    residual = values[test] - evaluate(chosen.expression, inputs)[test]
    centred = values[test] - values[test].mean()
    sums = resampled_sums(
        np.stack([residual**2, centred, centred**2, np.ones(len(test))], axis=1), names[test], num_resamples, seed
    )
    scatter = sums[:, 2] - sums[:, 1] ** 2 / sums[:, 3]
    low, high = interval(1.0 - sums[:, 0] / scatter)
    return FormulaFit(
        target=target,
        front=tuple(front),
        chosen=chosen,
        low=low,
        high=high,
        linear=rivals[0],
        boosted=rivals[1],
        num_rows={name: len(part) for name, part in rows.items()},
    )


def rounded(expression: Any) -> Any:
    """A sympy expression with constants of `DIGITS` digits, multiplied out where that is shorter."""
    import sympy

    def round_numbers(one: Any) -> Any:
        texts = {number: f"{float(number):.{DIGITS}g}" for number in one.atoms(sympy.Float)}
        whole = {number: sympy.Integer(int(float(text))) for number, text in texts.items() if float(text) in (-1, 0, 1)}
        return one.xreplace({number: whole.get(number, sympy.Float(text, DIGITS)) for number, text in texts.items()})

    expanded = sympy.expand(expression)
    shorter = expanded if complexity(expanded) <= complexity(expression) else expression
    return round_numbers(shorter)


def complexity(expression: Any) -> int:
    """Operations, names and numbers of a sympy expression."""
    import sympy

    return sum(1 for _ in sympy.preorder_traversal(expression))


def evaluate(expression: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) float64 of a sympy expression of the inputs; NaN or infinite where it has no value."""
    import sympy

    size = len(next(iter(inputs.values())))
    if expression.has(sympy.zoo, sympy.nan, sympy.I):
        return np.full(size, np.nan)
    with np.errstate(all="ignore"):
        function = sympy.lambdify([sympy.Symbol(name) for name in inputs], expression, "numpy")
        return np.broadcast_to(np.asarray(function(*inputs.values()), dtype=np.float64), (size,)).copy()


def _r2(values: np.ndarray, predicted: np.ndarray) -> float:
    scatter = ((values - values.mean()) ** 2).sum()
    error = ((values - predicted) ** 2).sum()
    return float(1.0 - error / scatter) if scatter > 0 and np.isfinite(error) else float("nan")


def check_names(names: Sequence[str], columns: Mapping[str, Any], dataset: str) -> None:
    """That quantities are known and their columns there.

    Raises:
        InputFileError: one is not.
    """
    for name in names:
        if name not in QUANTITIES:
            raise InputFileError(dataset, f"there is no quantity {name!r}, only {', '.join(QUANTITIES)}")
        if QUANTITIES[name][0] not in columns:
            raise InputFileError(dataset, f"this column is missing; {name} needs it", QUANTITIES[name][0])
