import numpy as np
import pytest
import scipy.sparse as sparse

from chandraclip.catalog.bands import BANDS, EFFECTIVE_ENERGY
from chandraclip.catalog.hardness import hardness_ratios
from chandraclip.catalog.measure import (
    AREA_QUANTITIES,
    SPECTRUM_QUANTITIES,
    effective_areas,
    fill_measured,
    measure_catalog,
)
from chandraclip.catalog.photometry import aperture_photometry
from chandraclip.catalog.ragged import Ragged
from chandraclip.catalog.variability import gregory_loredo
from chandraclip.data.schema import build_table
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import read_spectrum


def make_response(low, high, size):
    edges = np.linspace(low, high, size + 1)
    energies = edges[:-1], edges[1:]
    return Response(*energies, np.full(size, 100.0), sparse.csr_array(np.eye(size)), *energies)


FINE, COARSE = make_response(0.3, 9.3, 900), make_response(0.2, 12.0, 59)
RESPONSES = {response.response_id: response for response in (FINE, COARSE)}


@pytest.fixture
def columns():
    """Four rows: ACIS channels; a coarse detector with its own edges; no spectrum; a spectrum without ARF or events."""
    rng = np.random.default_rng(0)
    events = [np.sort(rng.uniform(0, 100, size)) for size in (60, 25)]
    return {
        "spectrum_counts": Ragged.from_rows([rng.poisson(0.3, 1024), rng.poisson(3, 59), None, rng.poisson(0.1, 1024)]),
        "spectrum_background": Ragged.from_rows([rng.poisson(1, 1024), None, None, rng.poisson(1, 1024)]),
        "background_scale": np.array([0.05, np.nan, np.nan, 0.1]),
        "exposure": np.array([1e4, 2e4, np.nan, 3e4]),
        "arf": Ragged.from_rows([200 + np.arange(900.0), 50 + np.arange(59.0), None, None]),
        "response_id": [FINE.response_id, COARSE.response_id, None, None],
        "channel_energy_edges": Ragged.from_rows([None, np.linspace(0.2, 12.0, 60), None, None]),
        "event_time": Ragged.from_rows([events[0], None, events[1], None]),
        "event_energy": Ragged.from_rows([rng.uniform(0.3, 9, 60), None, rng.uniform(0.6, 6, 25), None]),
        "gti_start": Ragged.from_rows([np.zeros(1), None, np.zeros(1), None]),
        "gti_stop": Ragged.from_rows([np.full(1, 100.0), None, np.full(1, 100.0), None]),
    }


def row_of(columns, name, row):
    lists = columns[name]
    return lists.values[lists.offsets[row] : lists.offsets[row + 1]]


def test_upper_limits_are_nought_as_in_the_catalogue(columns):
    """Less than the background, no more than it, clearly more; in each band by its own counts."""
    faint = {
        name: Ragged.from_rows([row_of(columns, name, 0)] * 3) for name in ("arf", "spectrum_background", "event_time")
    }
    energy = 0.0146 * (np.arange(1024) + 0.5)
    hard, soft = np.flatnonzero((energy > 2.0) & (energy < 7.0)), np.flatnonzero((energy > 0.5) & (energy < 1.2))
    counts = np.zeros((3, 1024), dtype=int)
    counts[0, hard[:5]] = counts[1, hard[:14]] = 1
    counts[2, hard[:300]], counts[2, soft[:2]] = 1, 1
    faint = {
        "spectrum_counts": Ragged.from_rows(list(counts)),
        "spectrum_background": faint["spectrum_background"],
        "background_scale": np.full(3, 0.05),
        "exposure": np.full(3, 1e4),
        "arf": faint["arf"],
        "response_id": [FINE.response_id] * 3,
    }
    measured = measure_catalog(faint, RESPONSES)
    np.testing.assert_array_equal(measured["src_cnts_aper_b"][:2], 0.0)
    np.testing.assert_array_equal(measured["flux_aper_b"][:2], 0.0)
    np.testing.assert_array_equal(measured["flux_aper_s"], 0.0)
    assert measured["src_cnts_aper_b"][2] > 200
    assert measured["flux_aper_h"][2] > 0
    assert measured["flux_aper_b"][2] > 0


def test_spectra_as_a_loop_over_rows_would_measure_them(columns):
    measured = measure_catalog(columns, RESPONSES)
    for row, response, edges, scale in (
        (0, FINE, 0.0146 * np.arange(1025), 0.05),
        (1, COARSE, np.linspace(0.2, 12.0, 60), 0.0),
    ):
        energy = 0.5 * (edges[1:] + edges[:-1])
        counts, arf = row_of(columns, "spectrum_counts", row), row_of(columns, "arf", row)
        background = row_of(columns, "spectrum_background", row) if scale else np.zeros_like(counts)
        middle = 0.5 * (response.energy_lo + response.energy_hi)
        in_band = {band: (energy >= low) & (energy < high) for band, (low, high) in BANDS.items()}
        source, other = counts[in_band["b"]].sum(), background[in_band["b"]].sum()
        assert measured["src_cnts_aper_b"][row] == pytest.approx(source - scale * other)
        significance = aperture_photometry(np.array([source]), np.array([other]), scale).significance[0]
        assert measured["flux_significance_b"][row] == pytest.approx(significance)
        area = np.interp(energy, middle, arf)
        flux = ((counts - scale * background) * energy / area)[in_band["b"]].sum() * 1.602e-9 / columns["exposure"][row]
        assert measured["flux_aper_b"][row] == pytest.approx(flux, rel=0.01)
        band_area = [np.interp(EFFECTIVE_ENERGY[band], middle, arf) for band in "smh"]
        expected = hardness_ratios(
            np.array([[counts[in_band[band]].sum() for band in "smh"]]),
            np.array([[background[in_band[band]].sum() for band in "smh"]]),
            scale,
            columns["exposure"][row] * np.array([band_area]),
        )
        for name in ("hard_hm", "hard_hs", "hard_ms"):
            assert measured[name][row] == pytest.approx(getattr(expected, name)[0], abs=1e-6)


def rows_taken(columns, rows):
    """Those rows of the columns, in that order, a row as often as asked."""
    taken = {}
    for name, values in columns.items():
        if isinstance(values, Ragged):
            taken[name] = Ragged.from_rows([row_of(columns, name, row) if values.valid[row] else None for row in rows])
        else:
            taken[name] = [values[row] for row in rows] if isinstance(values, list) else values[rows]
    return taken


def test_a_row_does_not_depend_on_the_rows_around_it(columns):
    """Rows of one detector are measured together: in any order, in blocks, and with other edges among them."""
    rng = np.random.default_rng(1)
    moved = rows_taken(columns, [1])
    moved["channel_energy_edges"] = Ragged.from_rows([np.linspace(0.3, 9.0, 60)])
    alone = [measure_catalog(rows_taken(columns, [row]), RESPONSES) for row in range(4)]
    alone.append(measure_catalog(moved, RESPONSES))
    five = {}
    for name, values in rows_taken(columns, [0, 1, 2, 3, 1]).items():
        if isinstance(values, Ragged):
            five[name] = Ragged(values.values.copy(), values.offsets, values.valid)
        else:
            five[name] = values
    edges = five["channel_energy_edges"]
    edges.values[edges.offsets[4] :] = moved["channel_energy_edges"].values
    order = rng.integers(0, 5, 700)
    measured = measure_catalog(rows_taken(five, order), RESPONSES)
    for name, values in measured.items():
        expected = np.array([alone[row][name][0] for row in order])
        np.testing.assert_allclose(values, expected, rtol=1e-9 if name.startswith(("hard", "var")) else 1e-12)
    assert alone[1]["src_cnts_aper_b"][0] != alone[4]["src_cnts_aper_b"][0]


def test_fluxes_are_the_sum_over_channels(columns):
    """Every channel's net counts times its energy over the ARF of the bin it lies in, band by band."""
    measured = measure_catalog(columns, RESPONSES)
    energy = 0.0146 * (np.arange(1024) + 0.5)
    counts, background = (row_of(columns, name, 0) for name in ("spectrum_counts", "spectrum_background"))
    for band in "bhms":
        total = 0.0
        for channel in np.flatnonzero((energy >= BANDS[band][0]) & (energy < BANDS[band][1])):
            bin_of_channel = np.searchsorted(FINE.energy_lo, energy[channel], side="right") - 1
            net = counts[channel] - 0.05 * background[channel]
            total += net * energy[channel] / row_of(columns, "arf", 0)[bin_of_channel]
        assert measured[f"flux_aper_{band}"][0] == pytest.approx(1.602176634e-9 * total / 1e4, rel=1e-12)


def test_a_band_without_area_has_no_flux(columns):
    arf = row_of(columns, "arf", 0).copy()
    arf[(FINE.energy_lo > 1.4) & (FINE.energy_lo < 1.5)] = 0.0
    rows = [arf, row_of(columns, "arf", 1), None, None]
    measured = measure_catalog(columns | {"arf": Ragged.from_rows(rows)}, RESPONSES)
    assert np.isnan([measured["flux_aper_b"][0], measured["flux_aper_m"][0]]).all()
    whole = measure_catalog(columns, RESPONSES)
    for name in ("flux_aper_s", "flux_aper_h", "src_cnts_aper_b", "hard_hs"):
        assert measured[name][0] == whole[name][0]
    assert measured["hard_hm"][0] == whole["hard_hm"][0]  # 1.56 keV, where CSC takes the area of m, has its own
    arf[(FINE.energy_lo > 1.4) & (FINE.energy_lo < 1.7)] = 0.0
    assert np.isnan(measure_catalog(columns | {"arf": Ragged.from_rows(rows)}, RESPONSES)["hard_hm"][0])


def test_variability_is_of_the_photons_in_band(columns):
    measured = measure_catalog(columns, RESPONSES)
    energy = row_of(columns, "event_energy", 0)
    times = row_of(columns, "event_time", 0)[(energy >= 0.5) & (energy < 7.0)]
    alone = gregory_loredo(*(Ragged.from_rows([part]) for part in (times, np.zeros(1), np.full(1, 100.0))))
    assert measured["var_prob_b"][0] == pytest.approx(alone.var_prob[0])
    assert np.isfinite(measured["var_prob_b"][[0, 2]]).all()
    assert np.isnan(measured["var_prob_b"][[1, 3]]).all()


def test_what_a_row_lacks_is_nan(columns):
    measured = measure_catalog(columns, RESPONSES)
    for name in ("src_cnts_aper_b", "flux_aper_b", "flux_significance_b", "hard_hs"):
        assert np.isnan(measured[name][2])
    assert np.isfinite(measured["src_cnts_aper_b"][3])
    assert np.isnan(measured["hard_hs"][3])  # no ARF, no photon flux
    assert np.isnan(measured["flux_aper_b"][3])
    only_events = {name: columns[name] for name in ("event_time", "event_energy", "gti_start", "gti_stop")}
    assert np.isnan(measure_catalog(only_events, {})["hard_hs"]).all()
    only_spectra = {name: columns[name] for name in ("spectrum_counts", "exposure")}
    assert np.isfinite(measure_catalog(only_spectra, {})["src_cnts_aper_b"][0])


def test_lists_that_do_not_fit_are_refused(columns):
    short = Ragged.from_rows([np.ones(10), np.ones(59), None, None])
    with pytest.raises(ValueError, match="arf"):
        measure_catalog(columns | {"arf": short}, RESPONSES)
    with pytest.raises(ValueError, match="channel_energy_edges"):
        measure_catalog(columns | {"channel_energy_edges": short}, RESPONSES)
    with pytest.raises(ValueError, match="spectrum_background"):
        measure_catalog(columns | {"spectrum_background": short}, RESPONSES)


def test_what_the_catalogue_gave_stays(columns):
    given = {
        "name": ["a", "b", "c", "d"],
        "obsid": [1, 2, 3, 4],
        "obi": [0] * 4,
        "region_id": [1] * 4,
        "split": ["train"] * 4,
        "hard_hs": np.array([0.25, np.nan, np.nan, -0.5]),
    }
    table = fill_measured(build_table(columns | given), RESPONSES)
    measured = measure_catalog(columns, RESPONSES)
    assert table["hard_hs"].to_pylist() == [0.25, pytest.approx(measured["hard_hs"][1], abs=1e-6), None, -0.5]
    assert table["src_cnts_aper_b"][0].as_py() == pytest.approx(measured["src_cnts_aper_b"][0], rel=1e-6)
    assert fill_measured(table.slice(0, 0), RESPONSES).num_rows == 0


def test_hardness_of_a_real_spectrum_is_the_catalogues(real_data):
    """CSC has hard_hm -.071, hard_hs -.369, hard_ms -.305 for it: the mean area of a band gives .120, -.309, -.413."""
    spectrum = read_spectrum(
        real_data / "spectra" / "csc_acisf04938_000N002_r0043" / "acisf04938_000N002_r0043_pha3.fits"
    )
    response = spectrum.response
    measured = measure_catalog(
        {
            "spectrum_counts": Ragged.from_rows([spectrum.counts]),
            "spectrum_background": Ragged.from_rows([spectrum.background_counts]),
            "background_scale": np.array([spectrum.background_scale]),
            "exposure": np.array([spectrum.exposure]),
            "arf": Ragged.from_rows([response.arf]),
            "response_id": [response.response_id],
            "psf_frac_aper_b": np.array([0.9]),
        },
        {response.response_id: response},
    )
    for name, published in (("hard_hm", -0.071), ("hard_hs", -0.369), ("hard_ms", -0.305)):
        assert measured[name][0] == pytest.approx(published, abs=0.02), name
    areas = effective_areas(response.arf, response, 0.9)
    for name, energy in (("effective_area_s", 0.92), ("effective_area_m", 1.56), ("effective_area_h", 3.8)):
        middle = 0.5 * (response.energy_lo + response.energy_hi)
        assert measured[name][0] == pytest.approx(0.9 * np.interp(energy, middle, response.arf), rel=1e-6)
        assert areas[name] == pytest.approx(measured[name][0], rel=1e-6)
    # The share of the PSF in the aperture takes counts and fluxes up, and leaves ratios and significance.
    assert measured["src_cnts_aper_b"][0] == pytest.approx((1608 - 0.0657657 * 3862) / 0.9, rel=1e-4)


def test_a_share_of_the_psf_is_above_0_and_at_most_1(columns):
    for share in (0.0, -0.5, 1.01, np.inf):
        with pytest.raises(ValueError, match="row 1: psf_frac_aper_b is"):
            measure_catalog(columns | {"psf_frac_aper_b": np.array([1.0, share, np.nan, 0.5])}, RESPONSES)


def test_the_broad_flux_is_a_limit_where_the_counts_are():
    """A band's own counts may be told from the background where those of all bands together are not."""
    rng = np.random.default_rng(5)
    counts = [rng.poisson(0.01, 900) for _ in range(300)]
    background = [rng.poisson(0.3, 900) for _ in range(300)]
    measured = measure_catalog(
        {
            "spectrum_counts": Ragged.from_rows(counts),
            "spectrum_background": Ragged.from_rows(background),
            "background_scale": np.full(300, 0.03),
            "exposure": np.full(300, 1e4),
            "arf": Ragged.from_rows([FINE.arf] * 300),
            "response_id": [FINE.response_id] * 300,
        },
        RESPONSES,
    )
    limit = measured["src_cnts_aper_b"] == 0
    assert 0 < limit.sum() < 300
    assert (measured["flux_aper_b"][limit] == 0).all()
    assert (measured["flux_aper_b"][~limit] > 0).mean() > 0.95


def test_bad_channels_count_for_nothing(columns):
    rng = np.random.default_rng(2)
    lengths = np.diff(columns["spectrum_counts"].offsets)
    flags = [np.where(rng.random(size) < 0.3, rng.choice([1, 2, 5], size), 0) if size else None for size in lengths]
    flagged = columns | {"spectrum_quality": Ragged.from_rows(flags)}
    expected = measure_catalog(flagged, RESPONSES)
    junk = dict(flagged)
    for name in ("spectrum_counts", "spectrum_background"):
        rows = [row_of(columns, name, row).copy() if columns[name].valid[row] else None for row in range(4)]
        for values, bad in zip(rows, flags):
            if values is not None:
                values[bad != 0] = 100
        junk[name] = Ragged.from_rows(rows)
    measured = measure_catalog(junk, RESPONSES)
    plain = measure_catalog(columns, RESPONSES)
    for name, values in expected.items():
        np.testing.assert_array_equal(measured[name], values)
        if not name.startswith(("var", "effective_area")):
            assert (values != plain[name])[~np.isnan(values)].any(), name
    good = columns | {"spectrum_quality": Ragged.from_rows([None if row is None else 0 * row for row in flags])}
    for name, values in measure_catalog(good, RESPONSES).items():
        np.testing.assert_array_equal(values, plain[name])


def test_bad_channels_are_made_up_for_in_fluxes_and_hardness():
    """A spectrum of one energy flux a channel: half of it gone, fluxes and ratios stay, counts do not."""
    energy = 0.0146 * (np.arange(1024) + 0.5)
    columns = {
        "spectrum_counts": Ragged.from_rows([np.rint(1e5 / energy)]),
        "exposure": np.array([1e4]),
        "arf": Ragged.from_rows([np.full(900, 300.0)]),
        "response_id": [FINE.response_id],
    }
    whole = measure_catalog(columns, RESPONSES)
    half = measure_catalog(columns | {"spectrum_quality": Ragged.from_rows([np.arange(1024) % 2])}, RESPONSES)
    for name in ("flux_aper_b", "flux_aper_s", "flux_aper_m", "flux_aper_h"):
        assert half[name][0] == pytest.approx(whole[name][0], rel=0.01)
    for name in ("hard_hm", "hard_hs", "hard_ms"):
        assert half[name][0] == pytest.approx(whole[name][0], abs=0.01)
    assert half["src_cnts_aper_b"][0] == pytest.approx(0.5 * whole["src_cnts_aper_b"][0], rel=0.01)
    none = measure_catalog(columns | {"spectrum_quality": Ragged.from_rows([np.ones(1024, int)])}, RESPONSES)
    assert all(np.isnan(none[name][0]) for name in SPECTRUM_QUANTITIES if name not in AREA_QUANTITIES)
