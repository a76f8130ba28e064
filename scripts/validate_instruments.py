"""Is a source the same through every instrument? Simulated sources, each looked at three times, and their latents.

    python scripts/validate_instruments.py outputs/folded_spectrum outputs/spectrum --arf PN.arf --rmf PN.rmf

Each source is seen on axis with ACIS-S, far off axis and years later with ACIS-I, and through the area and matrix of
the files given (EPIC-pn's, say). A triple is a source through one instrument, itself through another, and another
source through that other: the share in which it lies nearer to itself. Beside it, R2 of column and slope by a ridge
regression that has seen ACIS alone. Models are put side by side, and beside them the three hardness ratios, which
divide each band's counts by the instrument's area; writes metrics.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chandraclip.program import now_try, run_program

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from chandraclip.simulate.instrument.response import Instrument

# theta in arcmin and date in MJD: early and on axis, late and far off axis, on axis.
LOOKS = {"ACIS-S": (1, 0.3, 52000.0), "ACIS-I": (0, 8.0, 58500.0), "files": (0, 0.3, 52000.0)}
TRUTHS = {"true_nh": "log10 N_H", "true_gamma": "Gamma"}
REPRESENTATION = "spectrum_latents"
# What an astronomer has without a model, corrected for the area: the baseline.
BY_HAND, BY_HAND_COLUMNS = "hardness ratios", ("hard_hm", "hard_hs", "hard_ms")
MIN_SOURCES = 10  # of a regression, on either side


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="folders or Hub ids of models with a spectrum tower")
    parser.add_argument("--arf", type=Path, required=True, help="area of the third instrument")
    parser.add_argument("--rmf", type=Path, required=True, help="its redistribution matrix")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/results/instruments"),
        help="folder for the results (default: %(default)s)",
    )
    parser.add_argument("--num_sources", type=int, default=400, help="(default: %(default)s)")
    parser.add_argument(
        "--counts", type=float, nargs=2, metavar=("LEAST", "MOST"), help="of each look, even in the log (300 3000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of sources and photons (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.counts = options.counts or [300.0, 3000.0]
    if options.num_sources < 40:
        parser.error("--num_sources must be at least 40: half of them fit the regression")
    if not 0 < options.counts[0] <= options.counts[1]:
        parser.error("--counts are two numbers above 0, the lesser first")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)

    from chandraclip.embedding.embedder import EmbedConfig, Embedder
    from chandraclip.embedding.points import embed_points
    from chandraclip.errors import InputFileError
    from chandraclip.evaluation.results import Headline, markdown_table, write_simulated_metrics
    from chandraclip.model_folder import model_folder, model_id
    from chandraclip.simulate.instrument.response import builtin_instrument, instrument_from_files

    third = instrument_from_files(options.arf, options.rmf)
    acis = builtin_instrument()
    responses = {one.response_id: one for one in (*acis.responses, *third.responses)}
    embedders = {}
    for model in options.models:
        embedders[model] = Embedder(EmbedConfig(str(model_folder(model)), "simulated looks", 64), responses)
        if REPRESENTATION not in (gives := embedders[model].outputs):
            raise InputFileError(model, f"the model gives {', '.join(gives)} and no {REPRESENTATION}")
    looks: dict[str, pa.Table] = {}
    for name, (number, theta, mjd) in LOOKS.items():
        through = third if name == "files" else acis
        label = f"{third.names[0]} (files)" if name == "files" else name
        looks[label] = simulate_look(options, len(looks), through, number, theta, mjd)
    triples: list[dict[str, Any]] = []
    regressions: list[dict[str, Any]] = []
    for model in (BY_HAND, *options.models):
        if model == BY_HAND:
            points = {name: by_hand(rows) for name, rows in looks.items()}
        else:
            points = {name: embed_points(embedders[model], rows, [REPRESENTATION]) for name, rows in looks.items()}
        triples += [{"model": model, **row} for row in measure_triples(points, options.seed)]
        regressions += [{"model": model, **row} for row in measure_regressions(points, looks, options.seed)]
    facts = [{"model": model, "model_id": model_id(model_folder(model))} for model in options.models]
    overall = {row["model"]: row for row in triples if row["through"] == "all"}
    path = write_simulated_metrics(
        options.output,
        "one source through several instruments",
        {"models": facts, "representations": [REPRESENTATION], "dataset": "simulated looks"},
        [
            Headline(
                f"nearer to itself than to another, {model}",
                value=overall[model]["nearer to itself"],
                low=overall[model]["low"],
                high=overall[model]["high"],
                chance=0.5,
                baseline=overall[BY_HAND]["nearer to itself"],
                baseline_name=BY_HAND,
            )
            for model in options.models
        ],
        {
            "options": {name: str(value) for name, value in vars(options).items()},
            "triples": triples,
            "regressions": regressions,
        },
    )
    print(markdown_table(triples))
    print()
    print(markdown_table(regressions))
    print(
        f"\n{options.num_sources} sources, {options.counts[0]:g} to {options.counts[1]:g} counts a look; chance of a "
        "triple: 0.5, of R2: 0. Intervals: 95 %, bootstrap over sources."
    )
    print(f"wrote {path}")
    now_try(["scripts/report.py", options.output, "--output", options.output / "report.md"])


def simulate_look(
    options: argparse.Namespace, look: int, instrument: Instrument, number: int, theta: float, mjd: float
) -> pa.Table:
    """One observation of each source, which are the same for all looks; of steady sources, without pile-up."""
    from dataclasses import replace

    import numpy as np

    from chandraclip.data.names import healpix_cell, iau_name
    from chandraclip.data.schema import SOURCE_CLASSES, build_table
    from chandraclip.data.splits import assign_splits
    from chandraclip.simulate.detections import observe_sources
    from chandraclip.simulate.population.observations import draw_observations
    from chandraclip.simulate.population.sources import default_population, draw_sources
    from chandraclip.simulate.variability.epochs import LONG_TERM_KINDS, epochs_of_flux

    size = options.num_sources
    rng = np.random.default_rng(np.random.SeedSequence([options.seed, 0]))
    population = default_population()
    sources = draw_sources(rng, population, rng.integers(0, len(SOURCE_CLASSES), size))
    observations = draw_observations(rng, population, sources.source_class, np.ones(size, dtype=np.int64))
    photon_rng, text_rng = (
        np.random.default_rng(part) for part in np.random.SeedSequence([options.seed, 1 + look]).spawn(2)
    )
    least, most = (float(np.log(number)) for number in options.counts)
    counts = np.exp(photon_rng.uniform(least, most, size))
    everywhere = np.ones(size)
    observations = replace(
        observations,
        theta=theta * everywhere,
        mjd=mjd * everywhere,
        instrument=np.full(size, number),
        exposure=5e4 * everywhere,
        subarray=np.zeros(size, dtype=bool),
    )

    def draw_flux(counts_per_flux: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flux = counts / (counts_per_flux * observations.exposure)
        return flux, flux

    steady = epochs_of_flux(np.zeros(size), np.full(size, LONG_TERM_KINDS.index("steady")))
    columns = observe_sources(
        photon_rng,
        text_rng,
        sources,
        observations,
        steady,
        np.zeros(size, dtype=bool),
        draw_flux,
        instrument,
        pileup=False,
        fits=False,
    )
    names = [iau_name(*place, prefix="SIM") for place in zip(sources.ra.tolist(), sources.dec.tolist())]
    columns |= {
        "name": names,
        "obsid": 10_000 * look + np.arange(size),
        "obi": np.zeros(size, np.int16),
        "region_id": np.ones(size, np.int32),
        "split": assign_splits(names),
        "mjd_obs": observations.mjd,
        "ra": sources.ra,
        "dec": sources.dec,
        "healpix": healpix_cell(sources.ra, sources.dec),
    }
    return build_table(columns)


def by_hand(rows: pa.Table) -> np.ndarray:
    """(S, 3) hardness ratios of a look, NaN where one is not defined."""
    import numpy as np

    return np.stack([rows[name].cast("float64").fill_null(np.nan).to_numpy() for name in BY_HAND_COLUMNS], axis=1)


def measure_triples(points: dict[str, np.ndarray], seed: int) -> list[dict[str, Any]]:
    """Share of triples in which a source lies nearer to itself, of each ordered pair of instruments and of all.

    Args:
        points: instrument -> (S, D) of the same sources; each number counts in units of its scatter over all looks.
        seed: of the bootstrap over sources.

    Raises:
        QueryError: fewer than two sources have a point through every instrument, so that there is no other to be near.
    """
    import numpy as np

    from chandraclip.errors import QueryError
    from chandraclip.evaluation.bootstrap import interval, resampled_sums

    together = np.concatenate(list(points.values()))
    usable = np.isfinite(together).all(axis=1).reshape(len(points), -1).all(axis=0)
    size = int(usable.sum())
    if size < 2:
        lacking = [f"{np.isfinite(values).all(axis=1).sum()} in {name}" for name, values in points.items()]
        raise QueryError(
            f"{size} of {len(usable)} sources have a point through every instrument, and a triple needs two: "
            f"there are {', '.join(lacking)}"
        )
    scale = together[np.isfinite(together).all(axis=1)].std(axis=0)
    scaled = {name: values[usable] / np.where(scale > 0, scale, 1.0) for name, values in points.items()}
    shares = {}
    for one, left in scaled.items():
        for other, right in scaled.items():
            if one == other:
                continue
            squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None] - 2.0 * left @ right.T
            own = np.diag(squares)
            nearer = (own[:, None] < squares).sum(axis=1) / (size - 1)  # of all other sources
            shares[f"{one}, {other}"] = nearer
    shares = {"all": np.mean(list(shares.values()), axis=0), **shares}
    rows = []
    for name, values in shares.items():
        sums = resampled_sums(np.stack([values, np.ones(size)], axis=1), np.arange(size), seed=seed)
        low, high = interval(sums[:, 0] / sums[:, 1])
        share = float(values.mean())
        rows.append({"through": name, "sources": size, "nearer to itself": share, "low": low, "high": high})
    return rows


def measure_regressions(points: dict[str, np.ndarray], looks: dict[str, pa.Table], seed: int) -> list[dict[str, Any]]:
    """R2 of what the sources are, by ridge regression on half of them through the first two instruments.

    None where fewer than ten sources that have the quantity are left to fit or to judge.
    """
    import numpy as np
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    size = len(next(iter(points.values())))
    for_fit = np.random.default_rng(seed).permutation(size) < size // 2
    known = list(points)[:2]
    rows = []
    for column, label in TRUTHS.items():
        truth = next(iter(looks.values()))[column].to_numpy(zero_copy_only=False).astype(float)
        truth = np.log10(np.maximum(truth, 1e-3)) if column == "true_nh" else truth
        usable = np.isfinite(truth) & np.all([np.isfinite(values).all(axis=1) for values in points.values()], axis=0)
        fit = usable & for_fit
        test = usable & ~for_fit
        scores: dict[str, float | None] = dict.fromkeys(points)
        if min(fit.sum(), test.sum()) >= MIN_SOURCES:
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 11)))
            model.fit(np.concatenate([points[name][fit] for name in known]), np.tile(truth[fit], len(known)))
            scores |= {
                name: float(r2_score(truth[test], model.predict(values[test]))) for name, values in points.items()
            }
        rows.append({"quantity": label, "sources": int(test.sum()), **{f"R2 {name}": v for name, v in scores.items()}})
    return rows


if __name__ == "__main__":
    run_program(main)
