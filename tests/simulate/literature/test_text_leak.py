"""A text must not know what a detection measured: whatever it tells of a measured column, the truth tells as well."""

import re
from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.simulate import detections, simulate_chunk
from chandraclip.simulate.literature.source_texts import literature_facts
from chandraclip.simulate.literature.summaries import LiteratureFacts, literature_scatter, write_summaries

NUM_SOURCES, NUM_DETECTIONS = 5000, 3000
NOISE = {"gamma": 0.25, "nh": 0.20, "flux": 0.12, "hard_share": 0.08}  # of the measurements; nh and flux in dex
POWER = r"\(?(\d+(?:\.\d+)?)(?: \+- [\d.]+\))?(?: x 10\^|e)(-?\d+)"
PLAIN = (
    r"(?:Gamma [=~]|photon index(?: of)?|index,)(?: about)? (-?\d\.\d+)",
    r"kT(?:_in)? [=~>] (\d+(?:\.\d+)?)",
    r"log N_H = (\d+\.\d)",
    r"(\d+) per cent",
    r"factor of (?:about )?(\d+(?:\.\d+)?)",
    r"z = (\d+\.\d+)",
)


class TextLeak(NamedTuple):
    """What the texts say of measurements, by regressors trained on other sources.

    Attributes:
        residual: 1 sigma of measured - predicted, by the better regressor. baseline: 1 sigma of measured.
        noise: 1 sigma of what is left of measured once the truth is known.
        leak: the most significant correlation, in sigma, of a prediction with that noise. Both stand for what is left
            of them once the truth is known; independent of each other without a leak.
        num_rows: rows used.
    """

    residual: float
    baseline: float
    noise: float
    leak: float
    num_rows: int


def stated_numbers(texts):
    """(N, 8) numbers that stand in the texts: log column, log flux, then those of `PLAIN`; NaN where there are none."""
    numbers = np.full((len(texts), 2 + len(PLAIN)), np.nan)
    for row, text in enumerate(texts):
        if match := re.search(POWER + " cm", text):
            numbers[row, 0] = np.log10(float(match[1])) + float(match[2])
        if match := re.search(POWER.replace(r"-?\d+)", r"-\d+)") + " erg", text):
            numbers[row, 1] = np.log10(float(match[1])) + float(match[2])
        for column, pattern in enumerate(PLAIN, start=2):
            if match := re.search(pattern, text):
                numbers[row, column] = float(match[1])
    return numbers


def text_leak(texts, truth, measured):
    """Whether texts know more of a measured column than the truth explains.

    Words and numbers of the texts predict the column, by ridge regression and by nearest neighbours; cross-fitted,
    equal texts (detections of one source) in one fold. Prediction and measurement then have their dependence on the
    truth taken away, cross-fitted as well (partialling-out: Robinson 1988, Econometrica 56, 931), and are correlated.
    Rows of one text count as one: what the truth leaves open of a source is common to its detections.

    Args:
        texts: N; what is no string (no text) is left out.
        truth: (N,) or (N, K), everything true that the measurement depends on, classes as one column each; NaN allowed.
            A truth that the texts tell of and that is not here (for hardness ratios: `hard_share`) looks like a leak.
        measured: (N,) NaN where not measured.
    """
    measured = np.asarray(measured, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(measured) & np.array([isinstance(text, str) for text in texts]))
    texts, measured = [texts[row] for row in rows], measured[rows]
    truth = np.asarray(truth, dtype=np.float64)[rows].reshape(len(rows), -1)
    groups = np.unique(np.array(texts), return_inverse=True)[1]
    folds = list(GroupKFold(5).split(rows, groups=groups))

    words = TfidfVectorizer(token_pattern=r"[^\s,;()]+", min_df=5, sublinear_tf=True).fit_transform(texts)
    numbers = stated_numbers(texts)
    numbers = numbers[:, np.isfinite(numbers).sum(axis=0) > 50]
    missing = np.isnan(numbers)
    numbers = (numbers - np.nanmean(numbers, axis=0)) / np.nanstd(numbers, axis=0)
    numbers = np.hstack([np.where(missing, 0.0, numbers), missing])
    features = {"ridge": sparse.hstack([words, sparse.csr_matrix(numbers)]).tocsr(), "neighbours": words}
    regressors = {"ridge": Ridge(1.0), "neighbours": KNeighborsRegressor(20, metric="cosine")}

    def crossed(regressor, inputs, target):
        result = np.empty(len(target))
        for train, test in folds:
            result[test] = regressor.fit(inputs[train], target[train]).predict(inputs[test])
        return result

    def unexplained(target):
        return target - crossed(HistGradientBoostingRegressor(max_iter=80, max_leaf_nodes=15), truth, target)

    noise = unexplained(measured)
    residuals, leaks = [], []
    for name, inputs in features.items():
        predicted = crossed(regressors[name], inputs, measured)
        product = np.bincount(groups, noise * unexplained(predicted))
        residuals.append(np.std(measured - predicted))
        leaks.append(product.sum() / np.sqrt((product**2).sum()))
    return TextLeak(min(residuals), np.std(measured), np.std(noise), max(leaks, key=abs), len(rows))


@pytest.fixture(scope="module")
def facts():
    """Power laws whose parameters are independent of one another: nothing tells of one but a text about it."""
    rng = np.random.default_rng(0)
    long_term = rng.choice(["steady", "states"], NUM_SOURCES)
    source_class = rng.choice(SOURCE_CLASSES, NUM_SOURCES)
    return LiteratureFacts(
        source_class=source_class,
        spectrum=np.full(NUM_SOURCES, "powerlaw"),
        nh=10.0 ** rng.uniform(0, 3, NUM_SOURCES),
        gamma=rng.uniform(0.5, 3.5, NUM_SOURCES),
        kt=np.full(NUM_SOURCES, np.nan),
        redshift=np.where(source_class == "AGN", 10.0 ** rng.uniform(-1, 0.5, NUM_SOURCES), np.nan),
        flux=10.0 ** rng.uniform(-15, -12, NUM_SOURCES),
        hard_share=rng.uniform(0.05, 0.95, NUM_SOURCES),
        variability=rng.choice(["constant", "flare"], NUM_SOURCES),
        period=np.full(NUM_SOURCES, np.nan),
        long_term=long_term,
        long_term_amplitude=np.where(long_term == "steady", 1.0, 6.0),
    )


@pytest.fixture(scope="module")
def texts(facts):
    return write_summaries(np.random.default_rng(1), facts)


def true_and_measured(facts, name):
    truth = getattr(facts, name)
    truth = np.log10(truth) if name in ("nh", "flux") else truth
    return truth, truth + NOISE[name] * np.random.default_rng(2).standard_normal(NUM_SOURCES)


@pytest.mark.parametrize("name", NOISE)
def test_texts_tell_no_more_than_the_literature_knows(facts, texts, name):
    truth, measured = true_and_measured(facts, name)
    result = text_leak(texts, truth, measured)
    # The best estimate from a value scattered by s, of truths spread by t, is off by s t / sqrt(s^2 + t^2).
    scatter, spread = np.sqrt(np.mean(literature_scatter(facts)[name] ** 2)), truth.std()
    floor = scatter * spread / np.hypot(scatter, spread)
    assert np.hypot(floor, NOISE[name]) < result.residual < 0.85 * result.baseline  # it does tell something
    assert abs(result.leak) < 4.0


@pytest.mark.parametrize(("name", "column", "shift"), [("gamma", 2, 0.0), ("nh", 0, -20.0)])
def test_stated_values_miss_the_measured_ones_by_both_errors(facts, texts, name, column, shift):
    truth, measured = true_and_measured(facts, name)
    stated = stated_numbers(texts)[:, column] + shift
    told = np.isfinite(stated)
    assert told.sum() > 0.4 * NUM_SOURCES
    scatter = literature_scatter(facts)[name][0]
    expected = np.hypot(scatter, NOISE[name])
    # At 3 standard errors of a standard deviation.
    assert np.std((stated - measured)[told]) > expected * (1.0 - 3.0 / np.sqrt(2.0 * told.sum()))
    correlation = np.corrcoef((stated - truth)[told], (measured - truth)[told])[0, 1]
    assert abs(correlation) < 4.0 / np.sqrt(told.sum())


@pytest.mark.parametrize("share", [1.0, 0.2], ids=["all", "a fifth"])
def test_a_leak_would_be_seen(facts, share):
    """Texts about the measured slope instead of the true one, for all sources or some."""
    truth, measured = true_and_measured(facts, "gamma")
    leaking = np.random.default_rng(3).random(NUM_SOURCES) < share
    texts = write_summaries(np.random.default_rng(1), replace(facts, gamma=np.where(leaking, measured, truth)))
    assert text_leak(texts, truth, measured).leak > 5.0


class Simulated(NamedTuple):
    """A chunk as `simulate_chunk` makes it: N rows of S sources.

    Attributes:
        texts: N. source: (N,) row of `facts`. facts: what is true of the S sources.
        truth: (N, K) everything true of each detection. measured: (N,) each; NaN where not measured.
        flux_noise: (N,) log of the measured over the true flux of the detection.
    """

    texts: list[str | None]
    source: np.ndarray
    facts: LiteratureFacts
    truth: np.ndarray
    measured: dict[str, np.ndarray]
    flux_noise: np.ndarray


def rows_of(facts: LiteratureFacts, rows: np.ndarray) -> LiteratureFacts:
    return LiteratureFacts(**{field.name: getattr(facts, field.name)[rows] for field in fields(facts)})


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    """The truth about sources is no column. It is caught as it is drawn, before a photon is recorded: taken from the
    texts' own facts, a leak into those would pass for the truth."""
    drawn: dict[str, Any] = {}

    def caught(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            drawn[name] = function(*arguments)
            return drawn[name]

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_sources", "draw_observations", "draw_fluxes"):
            patch.setattr(detections, name, caught(name, getattr(detections, name)))
        table = simulate_chunk(seed=0, chunk=0, num_detections=NUM_DETECTIONS)
    sources, source = drawn["draw_sources"], drawn["draw_observations"].source
    assert len(source) == table.num_rows  # one round, and no row taken out: row by row the observations drawn
    long_term_range = 10.0 ** np.clip(1.35 * sources.long_term_amplitude, 0.0, 3.0)
    facts = literature_facts(sources, drawn["draw_fluxes"][0], long_term_range)
    known = rows_of(facts, source)

    def column(name: str) -> np.ndarray:
        return table[name].to_numpy().astype(np.float64)

    def one_column_each(names: np.ndarray) -> np.ndarray:
        return (names[:, None] == np.unique(names)).astype(np.float64)

    truth = [known.gamma, known.hard_share, known.redshift]
    truth += [np.log10(getattr(known, name)) for name in ("nh", "kt", "period", "long_term_amplitude")]
    truth += [np.log10(column(name)) for name in ("true_kt", "true_flux_b", "livetime")]
    truth += [column(name) for name in ("true_gamma", "true_pileup_fraction", "theta", "mjd_obs")]
    names = [known.source_class, known.spectrum, known.variability, known.long_term]
    names += [np.array(table[name].to_pylist()) for name in ("instrument", "true_variability")]
    flux = np.where(column("flux_aper_b") > 0, column("flux_aper_b"), np.nan)
    measured = {"flux": np.log10(flux), "hard_share": np.clip(column("flux_aper_h") / flux, 0.0, 1.0)}
    measured |= {name: column(name) for name in ("hard_hs", "var_prob_b", "powlaw_gamma")}
    return Simulated(
        texts=table["summary"].to_pylist(),
        source=source,
        facts=facts,
        truth=np.nan_to_num(np.column_stack([*truth, *map(one_column_each, names)]), nan=-9.0),
        measured=measured,
        flux_noise=measured["flux"] - np.log10(column("true_flux_b")),
    )


def texts_about_measurements(simulated: Simulated, name: str, own: bool) -> list[str]:
    """Papers of the measured value (`own`: of each detection; else of the mean of the source's), scattered as usual."""
    source, truth = simulated.source, getattr(simulated.facts, name)
    truth = np.log10(truth) if name == "flux" else truth
    value = np.where(np.isnan(simulated.measured[name]), truth[source], simulated.measured[name])
    facts = rows_of(simulated.facts, source) if own else simulated.facts
    value = value if own else np.bincount(source, value) / np.bincount(source)
    texts = write_summaries(
        np.random.default_rng(1), replace(facts, **{name: 10.0**value if name == "flux" else value})
    )
    return texts if own else [texts[number] for number in source.tolist()]


def smallest_residual(simulated: Simulated, name: str, noise: float) -> float:
    """1 sigma that a prediction of a measurement misses it by at least, by the literature's scatter and the noise."""
    facts = simulated.facts
    truth = np.log10(facts.flux) if name == "flux" else getattr(facts, name)
    # A class is told without a scatter; what it leaves open of the truth is not.
    spread = np.sqrt(np.mean([np.var(truth[facts.source_class == own]) for own in facts.source_class]))
    scatter = np.sqrt(np.mean(literature_scatter(facts)[name] ** 2))
    return float(np.hypot(scatter * spread / np.hypot(scatter, spread), noise))


def stated_flux_leak(simulated: Simulated, texts: list[str | None]) -> float:
    """Correlation, in sigma, of the errors of the stated flux and of the mean measured one; a source counts once."""
    usable = np.isfinite(simulated.flux_noise) & np.array([text is not None for text in texts])
    rows = np.flatnonzero(usable)
    noise = np.bincount(simulated.source[rows], simulated.flux_noise[rows], len(simulated.facts))
    source, first, number = np.unique(simulated.source[rows], return_index=True, return_counts=True)
    stated = stated_numbers([texts[row] for row in rows[first]])[:, 1]
    told = np.isfinite(stated)
    error = stated - np.log10(simulated.facts.flux[source])
    # By ranks: a few papers are off by far, and faint sources as well.
    return spearmanr(error[told], (noise[source] / number)[told]).statistic * np.sqrt(told.sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flux", "hard_share", "hard_hs", "var_prob_b", "powlaw_gamma"])
def test_texts_of_detections_tell_no_more_than_the_literature_knows(simulated: Simulated, name: str) -> None:
    result = text_leak(simulated.texts, simulated.truth, simulated.measured[name])
    assert abs(result.leak) < 4.0
    if name in ("flux", "hard_share"):
        assert smallest_residual(simulated, name, result.noise) < result.residual < 0.85 * result.baseline
    if name == "flux":
        assert abs(stated_flux_leak(simulated, simulated.texts)) < 4.0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flux", "hard_share"])
def test_texts_about_what_was_measured_would_be_seen(simulated: Simulated, name: str) -> None:
    texts = texts_about_measurements(simulated, name, own=True)
    assert text_leak(texts, simulated.truth, simulated.measured[name]).leak > 5.0


def test_texts_about_the_mean_measured_flux_would_be_seen(simulated: Simulated) -> None:
    """Bright sources have little noise to tell of, so that here `text_leak` sees less than the numbers alone."""
    assert stated_flux_leak(simulated, texts_about_measurements(simulated, "flux", own=False)) > 5.0


@pytest.mark.slow
def test_a_measured_flux_in_the_text_would_be_seen(simulated: Simulated) -> None:
    """Word for word: then the flux is predicted better than from any paper."""
    texts = [
        None if text is None else f"Its flux is {10.0**flux:.2e} erg/s/cm2. {text}"
        for text, flux in zip(simulated.texts, simulated.measured["flux"].tolist())
    ]
    result = text_leak(texts, simulated.truth, simulated.measured["flux"])
    assert result.leak > 5.0
    assert result.residual < smallest_residual(simulated, "flux", result.noise)
