"""What a source is called must fit what it is: every condition of the tables, on tens of thousands of sources."""

import re
from dataclasses import replace

import numpy as np
import pytest

from chandraclip.simulate.literature import papers, subtypes
from chandraclip.simulate.literature.papers import CM_PER_KPC, LiteratureFacts, absorption_correction, publish
from chandraclip.simulate.literature.source_texts import literature_facts
from chandraclip.simulate.literature.subtypes import read_rules
from chandraclip.simulate.literature.summaries import write_summaries
from chandraclip.simulate.population.sources import CLASSES, default_population, draw_sources

NUM_SOURCES = 30_000


@pytest.fixture(scope="module")
def facts() -> LiteratureFacts:
    """Sources of the simulator's own population, the classes all alike, at fluxes from the faintest up; every other one
    with a column, period, amplitude and colour of any size, and one galaxy in five erupting, for what is rare there."""
    rng = np.random.default_rng(0)
    population = default_population()
    source_class = rng.integers(0, len(CLASSES), NUM_SOURCES)
    sources = draw_sources(rng, population, source_class)
    log_flux = population.classes["log_flux"][source_class] + 1.2 * rng.standard_normal(NUM_SOURCES)
    long_term_range = 10.0 ** np.clip(1.3 * sources.long_term_amplitude, 0.0, 3.0)
    facts = literature_facts(sources, 10.0**log_flux, long_term_range)
    odd = rng.random(NUM_SOURCES) < 0.5
    changed = {
        "nh": 10.0 ** rng.uniform(0, 4.8, NUM_SOURCES),
        "flux": facts.flux * 10.0 ** rng.uniform(0, 3, NUM_SOURCES),
        "kt": facts.kt * 10.0 ** rng.uniform(-0.5, 0.5, NUM_SOURCES),
        "period": facts.period * 10.0 ** rng.uniform(-1.5, 1.5, NUM_SOURCES),
        "long_term_amplitude": 10.0 ** rng.uniform(0, 1.5, NUM_SOURCES),
        "hard_share": rng.uniform(0, 1, NUM_SOURCES),
    }
    erupting = (rng.random(NUM_SOURCES) < 0.2) & (source_class == CLASSES.index("AGN"))
    changed["variability"] = np.where(erupting, "eruption", facts.variability)
    return replace(facts, **{name: np.where(odd, values, getattr(facts, name)) for name, values in changed.items()})


@pytest.fixture(scope="module")
def found(facts):
    return publish(np.random.default_rng(1), facts)


@pytest.fixture(scope="module")
def texts(facts):
    return write_summaries(np.random.default_rng(1), facts)


def quantities(facts, found):
    """(S,) each, worked out here from the truth; the luminosity at the distance that papers adopt."""
    distance = np.array([paper.distance or np.nan for paper in found]) * CM_PER_KPC
    models = [f"{name}+".split("+") for name in facts.spectrum.tolist()]
    return {
        "log_nh": 20.0 + np.log10(facts.nh),
        "log_lx": np.log10(4.0 * np.pi * distance**2 * facts.flux) + absorption_correction(facts),
        "log_flux": np.log10(facts.flux),
        "gamma": facts.gamma,
        "kt": facts.kt,
        "hard_share": facts.hard_share,
        "redshift": np.array([paper.redshift for paper in found]),
        "period": facts.period,
        "amplitude": facts.long_term_amplitude,
        "model": np.array([parts[0] for parts in models]),
        "second": np.array([parts[1] for parts in models]),
        "variability": facts.variability,
        "long_term": facts.long_term,
    }


CONDITIONS = [
    (table, number, condition)
    for table in ("subtypes", "rivals")
    for number, rule in enumerate(read_rules(table))
    for condition in rule.conditions
]


@pytest.mark.parametrize(
    ("table", "number", "condition"), CONDITIONS, ids=lambda part: str(part).replace(" ", "") if part else ""
)
def test_every_condition_holds(facts, found, table, number, condition):
    rule = read_rules(table)[number]
    name, comparison, limit = condition
    values = quantities(facts, found)[name]
    if table == "subtypes":
        so_called = np.array([paper.kind == rule.says for paper in found])
    else:  # the class is taken for another, or weighed against it
        so_called = (facts.source_class == rule.source_class) & np.array(
            [rule.says in (paper.label, paper.rival) for paper in found]
        )
    so_called &= facts.source_class == rule.source_class
    assert so_called.sum() >= 5
    chosen = values[so_called]
    if comparison == "=":
        assert np.isin(chosen, limit).all()
    elif comparison == "<":
        assert (chosen < limit).all()
    else:
        assert (chosen > limit).all()


def test_papers_say_what_their_own_values_bear_out(found):
    """The value that a text quotes is scattered about the truth: the kind of object must fit it as well."""
    for paper in found:
        if paper.kind in ("an obscured AGN", "a type 2 AGN"):
            assert paper.nh > 100.0
        if paper.kind in ("an unobscured AGN", "a broad-line quasar"):
            assert paper.nh < 10.0**1.5
        if paper.kind == "a low-luminosity AGN":
            assert paper.log_lx < 42.0
        if paper.kind == "an X-ray burster":
            assert paper.log_lx > 35.5


# What an astronomer would object to first, read from the texts; "named" alone, since a rival has no luminosity.
@pytest.mark.parametrize(
    ("phrase", "quantity", "low", "high"),
    [
        ("an obscured AGN", "log_nh", 22.0, np.inf),
        ("a type 2 AGN", "log_nh", 22.0, np.inf),
        ("a Seyfert 2 galaxy", "log_nh", 22.0, np.inf),
        ("a broad-line quasar", "log_nh", -np.inf, 21.5),
        ("a Seyfert 1 galaxy", "log_nh", -np.inf, 21.5),
        ("an embedded protostar", "log_nh", 22.5, np.inf),
        ("a soft X-ray polar", "kt", 0.0, 0.15),
        ("a millisecond pulsar", "period", 0.0, 0.03),
        ("an X-ray burster", "log_flux", -14.0, np.inf),  # 10^35.5 erg/s at 20 kpc is a hundred times that
        ("a well-studied case", "log_flux", -12.9, np.inf),  # papers miss the flux by their scatter and epoch
    ],
)
def test_phrases_in_texts_fit_the_source(facts, found, texts, phrase, quantity, low, high):
    told = np.array([bool(re.search(re.escape(phrase) + r"(?! in )", text)) for text in texts])
    assert told.sum() >= 3
    values = quantities(facts, found)[quantity][told]
    within = (values > low) & (values < high)
    assert within.mean() > (0.9 if phrase == "a well-studied case" else 1.0 - 1e-9)


def test_every_phrase_is_used(found):
    used = {paper.kind for paper in found}
    assert [rule.says for rule in read_rules("subtypes") if rule.says not in used] == []


def test_phrases_belong_to_one_class_and_have_references():
    says = [rule.says for rule in read_rules("subtypes")]
    assert len(set(says)) == len(says)
    for table in ("subtypes", "rivals"):
        for rule in read_rules(table):
            assert bool(rule.conditions) == bool(re.search(r" (19|20)\d\d, ", rule.reference)), rule


def test_mistaken_classes_are_plausible(facts, found):
    """The rival is one that the table has for the class; without one, nobody is mistaken and nobody argues."""
    rivals = {(rule.source_class, rule.says) for rule in read_rules("rivals")}
    wrong = 0
    for truth, paper in zip(facts.source_class.tolist(), found):
        if paper.label != truth:
            wrong += 1
            assert (truth, paper.label) in rivals
            assert paper.rival == truth
        elif paper.rival:
            assert (truth, paper.rival) in rivals
        assert paper.rival or paper.stance not in papers.UNDECIDED
        assert bool(paper.rival) == bool(paper.rival_kind)
    assert 0.5 * papers.WRONG_CLASS_SHARE < wrong / len(found) < 1.1 * papers.WRONG_CLASS_SHARE


def test_luminosity_is_that_before_absorption(facts):
    thick = replace(facts, nh=np.full(len(facts), 1e4))
    thin = replace(facts, nh=np.full(len(facts), 1e-3))
    assert (absorption_correction(thin) < 1e-3).all()
    assert (absorption_correction(thick) <= papers.MAX_ABSORPTION_CORRECTION).all()
    assert np.median(absorption_correction(thick)) > 0.5


@pytest.mark.parametrize(
    ("condition", "reference"),
    [
        ("colour > 3", "A 2000, B 1, 1"),
        ("log_nh ~ 3", "A 2000, B 1, 1"),
        ("model > 3", "A 2000, B 1, 1"),
        ("kt > 3", ""),
    ],
)
def test_tables_are_checked(tmp_path, monkeypatch, condition, reference):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "some.csv").write_text(
        f'source_class,phrase,condition,reference\nAGN,a thing,{condition},"{reference}"\n'
    )
    monkeypatch.setattr(subtypes.resources, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match="a thing"):
        read_rules.__wrapped__("some")
