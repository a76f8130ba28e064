"""Symbolic regression engines behind one interface: data in, expressions of growing complexity out."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from chandraclip.errors import OptionError

ENGINES = ("auto", "pysr", "pyoperon")
_OPERATORS = ("+", "-", "*", "/")
INSTALL = "symbolic regression needs pyoperon (pip install 'chandraclip[symbolic]'), or pysr and Julia on the PATH"


class Engine(Protocol):
    """What finds formulas.

    Attributes:
        name: of the package.
    """

    name: str

    def front(self, inputs: np.ndarray, target: np.ndarray, names: Sequence[str], seed: int) -> list[Any]:
        """Sympy expressions of the Pareto front of error and length, in `names`, as found.

        Args:
            inputs: (N, F), finite. target: (N,).
            names: F names that are Python identifiers.
            seed: equal seeds give equal fronts, unless time runs out.
        """


class OperonEngine:
    """Operon (Burlacu, Kronberger & Kommenda 2020), genetic programming in C++ with local fits of the constants.

    Args:
        max_length: nodes of an expression.
        max_evaluations: of expressions: the budget that does not depend on the machine.
        max_seconds: after which the search ends anyway.
    """

    name = "pyoperon"

    def __init__(self, max_length: int, max_evaluations: int, max_seconds: int):
        self.max_length, self.max_evaluations, self.max_seconds = max_length, max_evaluations, max_seconds

    def front(self, inputs: np.ndarray, target: np.ndarray, names: Sequence[str], seed: int) -> list[Any]:
        """See `Engine`."""
        import sympy
        from pyoperon.sklearn import SymbolicRegressor

        model = SymbolicRegressor(
            allowed_symbols="add,sub,mul,div,square,constant,variable",
            objectives=["r2", "length"],
            max_length=self.max_length,
            max_evaluations=self.max_evaluations,
            max_time=self.max_seconds,
            population_size=500,
            optimizer_iterations=5,
            n_threads=1,
            random_state=seed,
        )
        model.fit(np.ascontiguousarray(inputs, np.float64), np.ascontiguousarray(target, np.float64))
        symbols = {name: sympy.Symbol(name) for name in names}
        texts = [model.get_model_string(member["tree"], 10, list(names)) for member in model.pareto_front_]
        return [sympy.parse_expr(text.replace("^", "**"), local_dict=symbols) for text in texts]


class PySREngine:
    """PySR (Cranmer 2023, arXiv:2305.01582), which runs in Julia; arguments as `OperonEngine`."""

    name = "pysr"

    def __init__(self, max_length: int, max_evaluations: int, max_seconds: int):
        self.max_length, self.max_evaluations, self.max_seconds = max_length, max_evaluations, max_seconds

    def front(self, inputs: np.ndarray, target: np.ndarray, names: Sequence[str], seed: int) -> list[Any]:
        """See `Engine`."""
        pysr: Any = importlib.import_module("pysr")
        model = pysr.PySRRegressor(
            binary_operators=list(_OPERATORS),
            unary_operators=["square"],
            maxsize=self.max_length,
            niterations=1_000_000,  # the evaluations end it
            max_evals=self.max_evaluations,
            timeout_in_seconds=self.max_seconds,
            deterministic=True,
            parallelism="serial",
            random_state=seed,
            temp_equation_file=True,
            progress=False,
            verbosity=0,
        )
        model.fit(inputs, target, variable_names=list(names))
        return list(model.equations_["sympy_format"])


def choose_engine(name: str, max_length: int, max_evaluations: int, max_seconds: int) -> Engine:
    """The engine of a name; for "auto" pysr where it and Julia are there, else pyoperon.

    Raises:
        OptionError: no such engine, or it (for "auto": neither) can be used here.
    """
    budget = max_length, max_evaluations, max_seconds
    if name not in ENGINES:
        raise OptionError(f"there is no engine {name!r}, only {', '.join(ENGINES)}")
    if name in ("auto", "pysr"):
        problem = _no_pysr()
        if problem is None:
            return PySREngine(*budget)
        if name == "pysr":
            raise OptionError(f"pysr cannot be used: {problem}")
    if importlib.util.find_spec("pyoperon") is None:
        raise OptionError(INSTALL)
    return OperonEngine(*budget)


def _no_pysr() -> str | None:
    """Why pysr cannot be used; None where it can."""
    if shutil.which("julia") is None:
        return "there is no julia on the PATH"
    if importlib.util.find_spec("pysr") is None:
        return "it is not installed"
    try:  # without Julia's packages the import itself asks the network, and raises whatever that does
        importlib.import_module("pysr")
    except Exception as error:
        return f"its import fails ({type(error).__name__}: {error})"
    return None
