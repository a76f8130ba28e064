import itertools
import re
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chandraclip.catalog.photometry import CSC_PSF_SHARE, aperture_photometry
from chandraclip.data.names import iau_name
from chandraclip.data.schema import RARE_CLASSES, SOURCE_CLASSES, TABLE_SCHEMA
from chandraclip.data.splits import split_of
from chandraclip.errors import InputFileError
from chandraclip.simulate.catalog import PLANTED_SHARE, instrument_of, plant, simulate_catalog_chunk
from chandraclip.simulate.catalog_rows import read_catalog_rows
from chandraclip.simulate.instrument.detector import draw_background

SHARES = {"AGN": (0.60, 0.17, 0.23), "HMXB": (0.97, 0.025, 0.005), "LM-STAR": (0.05, 0.20, 0.75)}  # h, m, s of b


def detections_frame(num_sources=60, seed=0):
    """A made-up catalogue: sources of three classes seen one to four times; in some rows a value is missing."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(num_sources):
        name = iau_name(float(rng.uniform(0, 360)), float(rng.uniform(-80, 80)), prefix="2CXO")
        label = list(SHARES)[number % 3]
        flux = 10.0 ** rng.uniform(-13.8, -12.5)
        for visit in range(1 + number % 4):
            start = pd.Timestamp("2005-03-01") + pd.Timedelta(days=40 * visit + number)
            row = {"name": name, "obsid": 1000 + 10 * number + visit, "obi": 0, "region_id": number + 1}
            row |= {"gti_obs": start.isoformat(), "gti_end": (start + pd.Timedelta(seconds=40_000)).isoformat()}
            row |= {"theta": rng.uniform(0, 8), "src_cnts_aper90_b": 200.0, "var_prob_b": rng.uniform(0, 0.8)}
            row["Class"] = label
            for band, share in zip("bhms", (1.0, *SHARES[label])):
                row[f"flux_aper90_{band}_obs"] = flux * share
                row[f"flux_aper90_lolim_{band}_obs"] = flux * (share - 0.02)
                row[f"flux_aper90_hilim_{band}_obs"] = flux * (share + 0.02)
            rows.append(row)
    frame = pd.DataFrame(rows)
    frame.loc[3, ["flux_aper90_b_obs", "var_prob_b"]] = np.nan
    frame.loc[5, "flux_aper90_b_obs"] = 0.0
    frame.loc[frame["name"] == frame["name"].iloc[-1], "Class"] = np.nan
    return frame


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    frame = detections_frame()
    frame.to_csv(folder / "detections.csv", index=False)
    names = frame["name"].drop_duplicates()
    sources = pd.DataFrame({"name": names, "nh_gal": 3.0, "powlaw_gamma": np.nan, "powlaw_nh": np.nan})
    sources.iloc[0, 2:] = 1.9, 8.0
    sources.to_csv(folder / "sources.csv", index=False)
    return folder / "detections.csv", folder / "sources.csv"


@pytest.fixture(scope="module")
def mock(tables):
    catalog = read_catalog_rows(*tables)
    return simulate_catalog_chunk(*tables, 0, 0, len(catalog.sources)).to_pandas()


def test_one_row_for_each_of_the_catalogue(tables, mock):
    frame = pd.read_csv(tables[0])
    key = ["obsid", "obi", "region_id"]
    both = frame.merge(mock[[*key, "name", "theta", "livetime", "split", "source_class", "true_class"]], on=key)
    assert len(both) == len(mock) == len(frame)
    planted = both["true_class"].isin(RARE_CLASSES)
    real = both[~planted]
    assert (real["name_x"] == real["name_y"]).all()
    np.testing.assert_allclose(real["theta_x"], real["theta_y"], rtol=1e-6)
    np.testing.assert_allclose(real["livetime"], 40_000 * 0.98 * 0.98734, rtol=1e-3)
    assert (real["split"] == [split_of(name) for name in real["name_y"]]).all()
    labelled = real[real["Class"].notna()]
    assert (labelled["Class"] == [SOURCE_CLASSES[int(number)] for number in labelled["source_class"]]).all()
    assert real[real["Class"].isna()]["source_class"].isna().all()
    assert both[planted]["source_class"].isna().all()
    assert both[planted]["name_y"].str.startswith("SIM J").all()


def test_spectra_and_fluxes_are_those_of_the_catalogue(tables, mock):
    frame = pd.read_csv(tables[0])
    key = ["obsid", "obi", "region_id"]
    both = frame.merge(mock, on=key, suffixes=("_real", ""))
    both = both[both["true_class"].isin(SOURCE_CLASSES) & (both["flux_aper90_b_obs"] > 0)]
    ratio = np.log10(both["flux_aper_b"] / both["flux_aper90_b_obs"])
    assert abs(ratio.median()) < 0.03
    assert ratio.std() < 0.2
    for band in "hms":
        share = (
            both[f"flux_aper_{band}"] / both["flux_aper_b"]
            - both[f"flux_aper90_{band}_obs"] / both["flux_aper90_b_obs"]
        )
        assert abs(share.median()) < 0.04, band
    medians = both.groupby("true_class")["hard_hs"].median()
    assert medians["HMXB"] > medians["AGN"] > medians["LM-STAR"]


def test_a_chunk_is_a_function_of_seed_and_sources(tables, mock):
    first, again = (simulate_catalog_chunk(*tables, 5, 3, 9) for _ in range(2))
    assert first.equals(again)
    assert first.schema == TABLE_SCHEMA
    assert not first.equals(simulate_catalog_chunk(*tables, 6, 3, 9))


def test_a_mock_varies_as_its_row_did(tmp_path):
    """Rows of even sources varied beyond doubt, the others did not; the light curve's rates may be missing."""
    frame = detections_frame(90, seed=3)
    source = pd.factorize(frame["name"])[0]
    varied = source % 2 == 0
    frame["var_prob_b"] = np.where(varied, 1.0, 0.2)
    shape = {"var_index_b": np.where(varied, 8.0, 0.0), "var_mean_b": 0.005}
    shape |= {"var_sigma_b": np.where(varied, 0.002, 1e-5), "var_min_b": np.where(varied, 0.003, 0.005)}
    shape |= {"var_max_b": np.where(varied, 0.012, 0.005)}
    for name, columns in (("with", shape), ("without", {"var_index_b": shape["var_index_b"]})):
        path = tmp_path / f"{name}.csv"
        frame.assign(**columns).to_csv(path, index=False)
        mock = simulate_catalog_chunk(path, None, 0, 0, len(np.unique(source))).to_pandas()
        both = frame.assign(varied=varied).merge(mock, on=["obsid", "obi", "region_id"], suffixes=("_real", ""))
        both = both[both["true_class"].isin(SOURCE_CLASSES) & both["var_prob_b"].notna()]
        found = (both["var_prob_b"] > 0.9).groupby(both["varied"]).mean()
        assert found[True] > 0.75
        assert found[False] < 0.08
        kind = both["true_variability"]
        assert (kind[both["varied"]] != "constant").all()
        assert (kind[~both["varied"]] == "constant").all()


def test_the_highest_index_varies_as_much_as_its_light_curve(tmp_path):
    """Odds of 10^30, its least, would come at 3,000 photons of a third of the scatter that the row has."""
    frame = detections_frame(60, seed=4).assign(src_cnts_aper90_b=3000.0, var_prob_b=1.0, var_index_b=10.0)
    for band, share in zip("bhms", (1.0, 0.5, 0.2, 0.3)):
        for part in ("", "lolim_", "hilim_"):
            frame[f"flux_aper90_{part}{band}_obs"] = 1e-12 * (share + {"": 0.0, "lolim_": -0.01, "hilim_": 0.01}[part])
    found = []
    for sigma in (np.nan, 0.05):
        path = tmp_path / f"{sigma}.csv"
        frame.assign(var_mean_b=0.05, var_sigma_b=sigma).to_csv(path, index=False)
        mock = simulate_catalog_chunk(path, None, 0, 0, frame["name"].nunique()).to_pandas()
        mock = mock[mock["true_class"].isin(SOURCE_CLASSES) & (mock["gti_start"].str.len() == 1)]
        assert (mock["var_index_b"] >= 9).mean() > 0.95
        span = mock["gti_stop"].str[0]
        counts = [np.histogram(times, 20, (0.0, end))[0] for times, end in zip(mock["event_time"], span)]
        found.append(np.median([np.sqrt(max(row.var() - row.mean(), 0.0)) / row.mean() for row in counts]))
    assert found[0] < 0.5
    assert 0.6 < found[1] < 1.4  # of 1 in the row, of which 20 bins even a part out; .34 by the index alone


def test_a_mock_of_a_bad_light_curve_is_refused(tmp_path):
    frame = detections_frame(4).assign(var_mean_b="much")
    frame.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(InputFileError, match="var_mean_b is not a number"):
        read_catalog_rows(tmp_path / "table.csv")


def test_a_catalogue_without_fits_will_do(tables):
    table = simulate_catalog_chunk(tables[0], None, 0, 0, 4)
    assert table["nh_gal"].null_count == 0


def test_one_per_cent_is_planted(real_data):
    folder = real_data / "catalog"
    catalog = read_catalog_rows(folder / "csc2_detections.csv.gz", folder / "csc2_master_labelled.csv.gz")
    assert len(catalog.detections) == 13_978
    planted = plant(catalog, 0)
    number = np.bincount(catalog.detections["source"])
    share = number[planted >= 0].sum() / number.sum()
    assert share == pytest.approx(PLANTED_SHARE, abs=0.001)
    rare = {name: len(SOURCE_CLASSES) + index for index, name in enumerate(RARE_CLASSES)}
    assert number[planted == rare["TDE"]].min() >= 3
    assert all((planted == value).sum() >= 5 for value in rare.values())
    bounds = catalog.chunk_bounds(2_000)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(catalog.sources)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))


def test_significances_off_axis_are_the_catalogues(real_data):
    """Over the square root of the counts, in rows of the same counts: far out are other chips, and nebulae."""
    rows = pd.read_csv(real_data / "catalog" / "csc2_detections.csv.gz", low_memory=False)
    rows = rows[(rows["instrument"] == "ACIS") & (rows["src_cnts_aper90_b"] > 5)]
    begin, end = (pd.to_datetime(rows[name]) for name in ("gti_obs", "gti_end"))
    livetime = 0.97 * np.minimum((end - begin).dt.total_seconds().to_numpy(), 2e5)
    mjd = (begin - pd.Timestamp("1858-11-17")).dt.total_seconds().to_numpy() / 86400.0
    theta, net = rows["theta"].to_numpy(), rows["src_cnts_aper90_b"].to_numpy()
    young = rows["Class"].isin(["YSO", "HM-STAR"]).to_numpy()
    rng = np.random.default_rng(0)
    background, scale = draw_background(rng, instrument_of(rows["obsid"].to_numpy()), theta, mjd, livetime, young)
    counts, outside = rng.poisson(CSC_PSF_SHARE * net + background), rng.poisson(background / scale)
    ours = aperture_photometry(counts, outside, scale).significance
    measured = (counts - scale * outside) / CSC_PSF_SHARE
    theirs = rows["flux_significance_b"].to_numpy()
    difference = {}
    for near, far in itertools.pairwise([0, 3, 6, 9, 11, 12.8, 16, 22]):
        for least, most in itertools.pairwise([20, 50, 100, 300, 1000]):
            kept = [(theta > near) & (theta <= far) & (value > least) & (value <= most) for value in (measured, net)]
            if kept[1].sum() >= 20:
                medians = [
                    np.median((significance / np.sqrt(np.maximum(value, 1.0)))[which & (significance > 0)])
                    for significance, value, which in ((ours, measured, kept[0]), (theirs, net, kept[1]))
                ]
                difference.setdefault(near, []).append(medians[0] - medians[1])
    for near, values in difference.items():
        assert abs(np.mean(values)) < (0.02 if near < 9 else 0.06), (near, values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: frame.drop(columns="theta"), "columns theta are not in it"),
        (lambda frame: frame.assign(Class="QUASAR"), "Class is none of"),
        (lambda frame: frame.assign(gti_obs="yesterday-ish"), "gti_obs is not an ISO 8601 date"),
        (lambda frame: frame.assign(gti_end=frame["gti_obs"]), "gti_end is not after gti_obs"),
        (lambda frame: frame.assign(theta=-1.0), "theta is not an off-axis angle"),
        (lambda frame: frame.assign(Class=["AGN", "CV"] * 5), "another Class in another row"),
        (lambda frame: frame.assign(name="NGC 300 X-1"), "no position in the name"),
        (lambda frame: frame.iloc[:0], "has no rows"),
    ],
)
def test_bad_tables_are_refused_by_name(tmp_path, change, reason):
    path = tmp_path / "bad.csv"
    change(detections_frame(4)).to_csv(path, index=False)
    with pytest.raises(InputFileError, match=reason) as caught:
        read_catalog_rows(path)
    assert caught.value.path == str(path)


def test_dates_may_have_fractions_and_zones(tmp_path: Path) -> None:
    frame = detections_frame(4)
    expected = frame["gti_obs"].map(lambda text: pd.Timestamp(text).timestamp() / 86400.0 + 40587.0)
    frame.loc[0, "gti_obs"] += ".75"
    frame.loc[1, "gti_obs"] += "Z"
    frame.to_csv(tmp_path / "table.csv", index=False)
    rows = read_catalog_rows(tmp_path / "table.csv").detections.set_index("obsid")
    np.testing.assert_allclose(rows.loc[frame["obsid"], "mjd"], expected, atol=1e-5)


def test_the_documented_queries_give_the_tables(repository: Path, tmp_path: Path) -> None:
    """docs/simulator.md, on a stand-in for the catalogue's service with the tables and columns of its release 2.0."""
    queries = re.findall(r"```sql\n(.+?)```", (repository / "docs" / "simulator.md").read_text(), re.DOTALL)
    frame = detections_frame(6)
    rows = frame.assign(detect_stack_id="stack" + frame["obsid"].astype(str), instrument="ACIS")
    rows = rows.rename(columns=lambda name: name.removesuffix("_obs") if name.startswith("flux") else name)
    sources = pd.DataFrame({"name": frame["name"].unique(), "nh_gal": 3.0, "powlaw_gamma": 1.9, "powlaw_nh": 8.0})
    key, stack = ["obsid", "obi", "region_id"], ["detect_stack_id", "region_id"]
    service = sqlite3.connect(":memory:")
    service.execute("ATTACH ':memory:' AS csc21")
    for name, table in {
        "master_source": sources.assign(bb_kt=0.5, brems_kt=4.0, flux_aper90_b=9.0),
        "master_stack_assoc": rows[["name", *stack]],
        "stack_source": rows[stack],
        "stack_observation_assoc": rows[["detect_stack_id", *key]],
        "observation_source": rows.drop(columns=["name", "Class"]).assign(flux_significance_b=5.0, kp_prob_b=0.5),
    }.items():
        service.execute(f"CREATE TABLE csc21.{name} ({', '.join(table.columns)})")
        values = table.astype(object).where(table.notna(), None).values.tolist()
        service.executemany(f"INSERT INTO csc21.{name} VALUES ({', '.join('?' * table.shape[1])})", values)
    names = ", ".join(f"'{name}'" for name in sources["name"])
    answers = [pd.read_sql_query(query.format(names=names), service) for query in queries]
    answers[1]["name"] += " "  # as some services fill names up
    answers[0] = answers[0].merge(frame[["name", "Class"]].drop_duplicates("name"), on="name")
    paths = [tmp_path / name for name in ("frame.csv", "sources.csv", "answer0.csv", "answer1.csv")]
    for path, table in zip(paths, (frame, sources, *answers)):
        table.to_csv(path, index=False)
    direct, asked = read_catalog_rows(*paths[:2]), read_catalog_rows(*paths[2:])
    pd.testing.assert_frame_equal(direct.detections, asked.detections)
    pd.testing.assert_frame_equal(direct.sources, asked.sources)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputFileError, match="not readable as CSV"):
        read_catalog_rows(Path(tmp_path / "none.csv"))
