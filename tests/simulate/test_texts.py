import re

import numpy as np
import pytest

from chandraclip.data.schema import SOURCE_CLASSES
from chandraclip.simulate import wording
from chandraclip.simulate.population import draw_sources
from chandraclip.simulate.texts import FLUX_SCATTER, NH_SCATTER, write_summaries

NUM_SOURCES_MIN = 1500


@pytest.fixture(scope="module")
def written():
    sources = draw_sources(np.random.default_rng(0), 6000)
    num_sources = len(sources.ra)
    assert num_sources > NUM_SOURCES_MIN
    flux = 10.0 ** np.random.default_rng(1).uniform(-15, -11, num_sources)
    hard = np.random.default_rng(2).random(num_sources)
    return sources, flux, write_summaries(np.random.default_rng(3), sources, flux, hard)


def number_in(text, pattern):
    match = re.search(pattern, text)
    return np.nan if match is None else float(match.group(1).replace(" x 10^", "e"))


NUMBER = r"(\d(?:\.\d+)?(?:e| x 10\^)-?\d+)"


def test_form(written):
    for text in written[2]:
        assert re.fullmatch(r"A\) X-ray properties: .+\. B\) Hypotheses: .+\.", text)
        assert "{" not in text
        assert not re.search(r"\bnan\b", text)
        assert "SIM J" not in text
        assert not re.search(r"J\d{6}", text)
    lengths = np.array([len(text.split()) for text in written[2]])
    assert 50 < np.median(lengths) < 110
    assert np.percentile(lengths, 99) < 130


def test_wordings_vary_and_facts_are_left_out(written):
    texts = written[2]
    assert len(set(texts)) > 0.999 * len(texts)
    assert 0.10 < np.mean(["B) Hypotheses: Not discussed." in text for text in texts]) < 0.20
    openings = {text[20:40] for text in texts}
    assert len(openings) > 40
    with_flux = np.mean([bool(re.search("erg", text)) for text in texts])
    assert 0.88 < with_flux < 0.96


def test_published_values_scatter_about_the_source(written):
    sources, flux, texts = written
    stated = np.array([number_in(text, NUMBER + r" erg") for text in texts])
    residual = np.log10(stated / flux)[np.isfinite(stated)]
    assert abs(residual.mean()) < 0.03
    # one figure of rounding adds a tenth of a dex
    assert FLUX_SCATTER < residual.std() < 1.3 * FLUX_SCATTER
    column = np.array([number_in(text, NUMBER + r" (?:cm|H)") for text in texts])
    residual = np.log10(column / 1e20 / sources.nh)[np.isfinite(column)]
    assert residual.size > 0.6 * len(texts)
    assert NH_SCATTER < residual.std() < 1.6 * NH_SCATTER


def test_a_few_texts_take_the_source_for_something_else(written):
    sources, _, texts = written
    kinds = {phrase: name for name, phrases in wording.CLASS_PHRASES.items() for phrase in phrases}
    assert len(kinds) == sum(len(phrases) for phrases in wording.CLASS_PHRASES.values())  # no phrase serves two classes
    phrases = sorted(kinds, key=len, reverse=True)
    wrong, stated = 0, 0
    for number, text in zip(sources.source_class, texts):
        found = next((kinds[phrase] for phrase in phrases if f"{phrase}." in text), None)
        if found is not None:
            stated += 1
            wrong += found != SOURCE_CLASSES[number]
    assert stated > 0.75 * len(texts)
    assert 0.02 < wrong / stated < 0.07


def test_periods_are_told_only_of_periodic_sources(written):
    sources, _, texts = written
    told = np.array([bool(re.search(r"\d (?:ms|s|h|d) |\d (?:ms|s|h|d)\.", text)) for text in texts])
    assert not told[np.isnan(sources.period)].any()
    assert 0.5 < told[np.isfinite(sources.period)].mean() < 0.9


def test_every_class_has_its_words():
    for table in (wording.CLASS_PHRASES, wording.CONTEXT_PHRASES, wording.HYPOTHESES):
        assert tuple(table) == SOURCE_CLASSES
