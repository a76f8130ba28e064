import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from chandraclip.data.schema import RARE_CLASSES, SOURCE_CLASSES
from chandraclip.simulate.literature import papers, properties
from chandraclip.simulate.literature.grammar import LISTS, SECTIONS
from chandraclip.simulate.literature.papers import (
    BANDS,
    LONG_TERM,
    SPECTRA,
    VARIABILITY,
    band_shares,
    luminosity_distance,
)
from chandraclip.simulate.literature.subtypes import read_rules
from chandraclip.simulate.literature.summaries import LiteratureFacts, literature_scatter, write_summaries

CLASSES = SOURCE_CLASSES + RARE_CLASSES
NUM_SOURCES = 8000
FLUX_UNIT = r"erg(?:/s/cm2|/cm2/s| cm\^-2 s\^-1| s\^-1 cm\^-2| cm-2 s-1)"
POWER = r"(?<![<\d.] )(?<![\d.])\(?(\d+(?:\.\d+)?)(?: \+- [\d.]+\))?(?: x 10\^|e)(-?\d+)"


def draw_facts(seed, size=NUM_SOURCES):
    """Truths of every kind, drawn independently but for what must agree: components and their parameters."""
    rng = np.random.default_rng(seed)
    source_class = rng.choice(CLASSES, size)
    spectrum = rng.choice([*SPECTRA, "powerlaw+blackbody", "plasma+plasma", "diskbb+powerlaw"], size)
    nonthermal = np.char.find(spectrum, "powerlaw") >= 0
    extragalactic = np.isin(source_class, ("AGN", "TDE", "ULX"))
    variability, long_term = rng.choice(VARIABILITY, size), rng.choice(LONG_TERM, size)
    period = np.where(np.isin(variability, ("pulsation", "eclipse", "dip")), 10.0 ** rng.uniform(-1, 5.5, size), np.nan)
    return LiteratureFacts(
        source_class=source_class,
        spectrum=spectrum,
        nh=10.0 ** rng.uniform(0, 3.5, size),
        gamma=np.where(nonthermal, rng.uniform(0.5, 3.5, size), np.nan),
        kt=np.where(spectrum == "powerlaw", np.nan, 10.0 ** rng.uniform(-1, 1, size)),
        redshift=np.where(extragalactic, 10.0 ** rng.uniform(-2, 0.5, size), np.nan),
        flux=10.0 ** rng.uniform(-15, -11.5, size),
        hard_share=rng.uniform(0.02, 0.98, size),
        variability=variability,
        period=period,
        long_term=long_term,
        long_term_amplitude=np.where(long_term == "steady", 1.0, 10.0 ** rng.uniform(0.2, 1.5, size)),
    )


@pytest.fixture(scope="module")
def facts():
    return draw_facts(0)


@pytest.fixture(scope="module")
def texts(facts):
    return write_summaries(np.random.default_rng(1), facts)


def found(texts, pattern):
    """(N,) the pattern's number, with an exponent in its second group if any; NaN where absent or there twice."""
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        matches = re.findall(pattern, text)
        if len(matches) == 1:
            match = matches[0]
            values[row] = float(match) if isinstance(match, str) else float(match[0]) * 10.0 ** int(match[1])
    return values


def half_width(residual):
    """1 sigma of the core: few wrong values do not count."""
    low, high = np.nanpercentile(residual, [15.87, 84.13])
    return 0.5 * (high - low)


def test_form(texts):
    for text in texts:
        assert re.fullmatch(r"A\) X-ray properties: .+\. B\) Hypotheses: .+\.", text), text
        assert not re.search(
            r"[{}]|\bnan\b|\binf\b|  |\.\.|\b[Aa] (?!one)(?:[aeiou]|X)|\ban (?!hour)[^aeiouA-Z]", text
        ), text
        assert not re.search(r"properties: (?:It|Its) ", text), text
    lengths = np.array([len(text.split()) for text in texts])
    assert 180 < np.median(lengths) < 260
    assert np.mean((lengths >= 100) & (lengths <= 450)) > 0.9
    assert lengths.max() <= 450


def test_properties_are_numbered(texts):
    """Each item of section A has a number and a title."""
    for text in texts:
        told = text.removeprefix("A) X-ray properties: ").partition(" B) Hypotheses: ")[0]
        if told != "Not discussed.":
            numbers = [int(number) for number in re.findall(r"(?:^|\. )(\d+)\. [A-Z][\w -]+: ", told)]
            assert numbers, text
            assert numbers == list(range(1, len(numbers) + 1)), text


def test_hypotheses_follow_from_what_was_told(texts):
    """An argument from absorption, flares or a period needs a paper that speaks of them."""
    for text in texts:
        told, _, argued = text.partition(" B) Hypotheses: ")
        if re.search("heavy absorption|[Tt]he (?:low|moderate|intermediate) column|[Cc]olumns? of order", argued):
            assert re.search("bsor|column|N_H", told), text
        if re.search("The flares|Flare (?:energies|durations)|flare (?:decay|profile|peak)", argued):
            assert re.search("[Ff]lar", told), text


def test_vocabulary_is_that_of_a_field():
    """Thousands of words, of which no few make up the texts."""
    texts = write_summaries(np.random.default_rng(7), draw_facts(7, 10_000))
    words = {word.lower() for text in texts for word in re.findall(r"[A-Za-z][A-Za-z'-]+", text)}
    assert len(words) > 2900


def test_facts_come_first(texts):
    """A tower that reads 256 tokens reads flux, spectrum and column, wherever papers tell of a history as well."""
    late = early = 0
    for text in texts:
        position = text.find("N_H")
        if position >= 0 and "catalogue" not in text[:200]:
            late, early = late + (len(text[:position].split()) > 130), early + 1
    assert early > 0.5 * len(texts)
    assert late < 0.03 * early


def test_no_names_and_no_coordinates(texts):
    name = r"J\d{4}|\b(?:NGC|IC|HD|HR|M|Mrk|PSR|SGR|SDSS|CXO\w*|2MASS|1RXS|RX|Cyg\w*|Ori\w*|Sco|Cen|SIM)[ -]?\d"
    place = r"\d[hd]\d+m|\bRA\b|\bDec\b|[lb] ?= ?[-\d]|degrees|\d{3}\.\d{3}"
    for text in texts:
        assert not re.search(f"{name}|{place}", text), text


def test_wordings_vary(texts):
    assert len(set(texts)) > 0.995 * len(texts)
    assert len({text[20:45] for text in texts}) > 200
    bands = {band for text in texts for band in re.findall(r"([\d.]+-[\d.]+) keV", text)}
    assert bands == set(BANDS)
    for mission in ("Chandra", "XMM-Newton", "Swift", "NuSTAR", "ROSAT", "eROSITA"):
        assert 0.001 < np.mean([mission in text for text in texts]) < 0.6


def test_what_is_absent_is_not_discussed(texts):
    assert 0.12 < np.mean([text.endswith("Hypotheses: Not discussed.") for text in texts]) < 0.18
    assert 0.001 < np.mean(["properties: Not discussed." in text for text in texts]) < 0.03
    assert 0.05 < np.mean(["is not discussed" in text for text in texts]) < 0.4
    assert 0.6 < np.mean([bool(re.search(FLUX_UNIT, text)) for text in texts]) < 0.85


def test_published_values_scatter_as_declared(facts, texts):
    """No less than declared; rounding adds some."""
    least = literature_scatter(facts)
    column = found(texts, POWER + r" cm")
    residual = np.log10(column / 1e20 / facts.nh)
    assert np.isfinite(residual).mean() > 0.45
    assert abs(np.nanmedian(residual)) < 0.02
    assert 0.97 * least["nh"][0] < half_width(residual) < 1.3 * least["nh"][0]

    gamma = found(texts, r"(?:Gamma [=~]|photon index(?: of)?|index,)(?: about)? (-?\d\.\d+)")
    residual = gamma - facts.gamma
    assert np.isfinite(residual).sum() > 1000
    assert 0.97 * least["gamma"][0] < half_width(residual) < 1.2 * least["gamma"][0]

    kt = found(texts, r"(?:kT(?:_in)? [=~]|temperature of) (\d+(?:\.\d+)?)(?: \+- [\d.]+)? keV")
    thermal = np.isin(facts.spectrum, (*SPECTRA, "plasma+plasma")) & ~np.isnan(facts.kt)
    residual = np.log10(kt / facts.kt)[thermal]
    assert np.isfinite(residual).sum() > 1000
    assert 0.97 * least["kt"][0] < half_width(residual) < 1.3 * least["kt"][0]

    flux = found(texts, POWER + " " + FLUX_UNIT)
    broad = np.array(["0.5-7 keV" in text for text in texts])
    residual = np.log10(flux / facts.flux)
    steady = broad & (facts.long_term == "steady")
    assert 0.97 * papers.FLUX_SCATTER < half_width(residual[steady]) < 1.3 * papers.FLUX_SCATTER
    scaled = (residual / least["flux"])[broad & (facts.long_term != "steady")]
    assert np.isfinite(scaled).sum() > 500
    assert 0.97 < np.nanstd(scaled) < 1.5  # the standard deviation: two states are no Gaussian


def test_some_values_are_wrong():
    facts = draw_facts(9, 2 * NUM_SOURCES)
    texts = write_summaries(np.random.default_rng(1), facts)
    residual = np.log10(found(texts, POWER + r" cm") / 1e20 / facts.nh)
    far = np.nanmean(np.where(np.isnan(residual), np.nan, abs(residual) > 3.5 * papers.NH_SCATTER))
    assert 0.3 * papers.WRONG_VALUE_SHARE < far < papers.WRONG_VALUE_SHARE


def classes_named(text):
    """Classes whose kinds of objects the text names."""
    return {rule.source_class for rule in read_rules("subtypes") if rule.says in text}


def test_papers_name_a_class_or_two_or_none(facts, texts):
    named = [classes_named(text) for text in texts]
    number = np.array([len(classes) for classes in named])
    assert 0.35 < np.mean(number == 0) < 0.60
    assert 0.10 < np.mean(number == 2) < 0.25
    assert 0.25 < np.mean(number == 1) < 0.45
    assert (number <= 2).all()
    right = np.array([truth in classes for truth, classes in zip(facts.source_class, named)])
    # Of two, one is the truth; of one, it is but for what was mistaken.
    assert right[number == 2].all()
    assert 0.5 * papers.WRONG_CLASS_SHARE < 1.0 - right[number == 1].mean() < 1.5 * papers.WRONG_CLASS_SHARE


def test_nothing_is_told_of_what_does_not_exist(facts, texts):
    has = {
        "slope": np.array([bool(re.search("Gamma|photon index", text)) for text in texts]),
        "temperature": np.array([bool(re.search(r"kT|temperature of", text)) for text in texts]),
        "redshift": np.array([bool(re.search(r"\bz = ", text)) for text in texts]),
        "period": np.array([bool(re.search(r"\d (?:ms|s|h|d)(?:[ ,.])", text)) for text in texts]),
        "galactic distance": np.array([bool(re.search(r"\d (?:pc|kpc)\b", text)) for text in texts]),
    }
    assert not (has["slope"] & np.isnan(facts.gamma)).any()
    assert not (has["temperature"] & np.isnan(facts.kt)).any()
    assert not (has["period"] & np.isnan(facts.period)).any()
    assert 0.4 < has["period"][np.isfinite(facts.period) & np.isin(facts.source_class, SOURCE_CLASSES[1:])].mean() < 0.8
    # Mistaken classes only.
    assert has["redshift"][np.isnan(facts.redshift)].mean() < papers.WRONG_CLASS_SHARE
    assert has["galactic distance"][facts.source_class == "AGN"].mean() < papers.WRONG_CLASS_SHARE
    assert has["redshift"][facts.source_class == "AGN"].mean() > 0.2


def test_luminosity_belongs_to_flux_and_redshift(texts):
    flux, luminosity = (
        found(texts, POWER + " " + FLUX_UNIT),
        found(texts, POWER + r" erg(?:/s|[ ]s\^-1|[ ]s-1)(?=[ .])"),
    )
    redshift = found(texts, r"z = (\d\.\d+)\b")
    told = np.isfinite(redshift)
    distance = luminosity_distance(redshift[told]) * 3.0857e21
    ratio = np.log10(luminosity[told] / (4 * np.pi * distance**2 * flux[told]))
    assert np.isfinite(ratio).sum() > 30
    assert abs(np.nanmedian(ratio)) < 0.05
    assert half_width(ratio) < 0.12  # rounding


def test_distances_follow_cosmology():
    redshift = np.array([0.001, 0.1, 1.0, 4.0])
    expected = FlatLambdaCDM(70.0, 0.3).luminosity_distance(redshift).to_value("kpc")
    np.testing.assert_allclose(luminosity_distance(redshift), expected, rtol=2e-3)


def test_bands_convert_by_the_spectrum():
    facts = draw_facts(3, 500)
    shares = dict(zip(BANDS, band_shares(facts).T))
    np.testing.assert_allclose(shares["0.5-7"], 1.0)
    np.testing.assert_allclose(shares["0.5-2"], 1.0 - facts.hard_share)
    assert (shares["0.3-10"] >= shares["0.5-10"]).all()
    assert (shares["2-10"] >= facts.hard_share * (1.0 - 1e-9)).all()
    # A power law of slope 2 has the same energy in each log interval.
    flat = replace(facts, spectrum=np.full(500, "powerlaw"), gamma=np.full(500, 2.0), nh=np.full(500, 1e-6))
    shares = dict(zip(BANDS, band_shares(flat).T))
    np.testing.assert_allclose(shares["2-10"], flat.hard_share * np.log(5.0) / np.log(3.5), rtol=1e-6)


def test_every_class_and_kind_has_its_words():
    for name in ("context", "field", "prototype", "hyp"):
        assert {key.removeprefix(f"{name}.") for key in LISTS if key.startswith(f"{name}.")} >= set(CLASSES)
    assert {rule.source_class for rule in read_rules("subtypes")} == set(CLASSES)
    assert {rule.source_class for rule in read_rules("rivals")} == set(CLASSES)
    assert {f"variability.{kind}" for kind in VARIABILITY} <= set(SECTIONS)
    assert {f"long_term.{kind}" for kind in LONG_TERM} <= set(SECTIONS)
    for name in ("kt", "words", "second.words"):
        assert {f"{name}.{model}" for model in SPECTRA[1:]} <= set(SECTIONS)
    for model, limits in properties.HEAT_LIMITS.items():
        assert len(properties.HEAT[model]) == len(limits) + 1
    assert len(properties.SLOPES) == len(properties.SLOPE_LIMITS) + 1


def test_every_combination_can_be_written():
    spectra = [*SPECTRA, *("+".join(pair) for pair in product(SPECTRA, SPECTRA))]
    combinations = list(product(CLASSES, spectra, VARIABILITY))
    size = len(combinations)
    source_class, spectrum, variability = (np.array(column) for column in zip(*combinations))
    rng = np.random.default_rng(4)

    def some(values):
        return np.where(rng.random(size) < 0.5, values, np.nan)

    written = write_summaries(
        rng,
        LiteratureFacts(
            source_class=source_class,
            spectrum=spectrum,
            nh=10.0 ** rng.uniform(-2, 4, size),
            gamma=some(rng.uniform(0, 5, size)),
            kt=some(10.0 ** rng.uniform(-2, 2, size)),
            redshift=some(10.0 ** rng.uniform(-4, 1, size)),
            flux=10.0 ** rng.uniform(-18, -8, size),
            hard_share=rng.integers(0, 2, size).astype(float),
            variability=variability,
            period=some(10.0 ** rng.uniform(-3, 7, size)),
            long_term=rng.choice(LONG_TERM, size),
            long_term_amplitude=10.0 ** rng.uniform(0, 4, size),
        ),
    )
    assert len(written) == size
    assert not [text for text in written if re.search(r"\bnan\b|\binf\b|[{}]|e\+", text)]


def test_texts_are_a_function_of_generator_and_facts(facts, texts):
    assert write_summaries(np.random.default_rng(1), facts) == texts
    assert write_summaries(np.random.default_rng(2), facts) != texts


@pytest.mark.parametrize(
    "change",
    [
        {"source_class": np.full(10, "blazar")},
        {"spectrum": np.full(10, "powerlaw+gaussian")},
        {"variability": np.full(10, "dull")},
        {"long_term": np.full(10, "up")},
        {"nh": np.zeros(10)},
        {"flux": np.full(10, -1.0)},
        {"hard_share": np.full(10, 1.5)},
        {"long_term_amplitude": np.full(10, 0.5)},
        {"kt": np.ones(9)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_facts_are_checked(change):
    with pytest.raises(ValueError, match=r"unknown|must"):
        replace(draw_facts(5, 10), **change)
