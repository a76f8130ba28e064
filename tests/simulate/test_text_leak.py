"""A text must not know what a detection measured: whatever it tells of a measured column, the truth tells as well."""

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.neighbors import KNeighborsRegressor

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.simulate.texts import LiteratureFacts, literature_scatter, write_summaries

NUM_SOURCES = 5000
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
        leak: the most significant correlation, in sigma, of a prediction with the measurements' noise. Both stand for
            what is left of them once the truth is known; independent of each other without a leak.
        num_rows: rows used.
    """

    residual: float
    baseline: float
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
        product = noise * unexplained(predicted)
        residuals.append(np.std(measured - predicted))
        leaks.append(product.sum() / np.sqrt((product**2).sum()))
    return TextLeak(min(residuals), np.std(measured), max(leaks, key=abs), len(rows))


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
