"""Pictures: what is drawn is what was counted, in the units of the axis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import sparse

import chandraclip.observation as observation
from chandraclip.observation.grouping import group_spectrum, resolution
from chandraclip.observation.plotting import plot_spectrum
from chandraclip.ogip.response import Response
from chandraclip.ogip.spectrum import read_spectrum


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def spectrum(ogip):
    """Four channels from 0.4 to 5 keV, 30, 2, 50 and 1 counts, a background twice as large."""
    ogip.arf(), ogip.rmf()
    ogip.pha("bkg.pi", counts=(4, 8, 4, 2), BACKSCAL=2.0)
    path = ogip.pha(counts=(30, 2, 50, 1), ANCRFILE="source.arf", RESPFILE="source.rmf", BACKFILE="bkg.pi")
    return read_spectrum(path)


def drawn(axes) -> list[tuple[float, float, float]]:
    """(from keV, to keV, value) of each horizontal line of the data."""
    return [(*segment[:, 0], segment[0, 1]) for segment in axes.collections[0].get_segments()]


def test_data_are_net_counts_a_second_and_kev(spectrum):
    axes = plot_spectrum(spectrum, min_significance=None, oversample=None, energy=(0.3, 5))
    net = np.array([30, 2, 50, 1]) - np.array([2, 4, 2, 1])
    width = np.array([0.5, 0.9, 1.2, 2.0])
    shown = [place for place in range(4) if net[place] > 0]
    np.testing.assert_allclose([line[2] for line in drawn(axes)], (net / 1000 / width)[shown], rtol=1e-6)
    np.testing.assert_allclose([line[:2] for line in drawn(axes)], [(0.4, 0.9), (1.8, 3.0)], rtol=1e-6)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlabel() == "energy (keV)"
    assert "counts s" in axes.get_ylabel()
    assert "keV" in axes.get_ylabel()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["background", "source"]


def test_the_error_is_gehrels_with_the_background_in_quadrature(spectrum):
    groups = group_spectrum(spectrum, (0.3, 5))
    # 2 counts: 0.708 to 4.638 (Gehrels 1986); 8 background counts at a scale of 0.5 have a variance of 2.
    assert groups.net[1] - groups.net_low[1] == pytest.approx(np.hypot(2 - 0.708, np.sqrt(2)), rel=1e-3)
    assert groups.net_high[1] - groups.net[1] == pytest.approx(np.hypot(4.638 - 2, np.sqrt(2)), rel=1e-3)


def test_a_group_below_the_background_is_an_upper_limit(spectrum):
    axes = plot_spectrum(spectrum, min_significance=None, oversample=None, energy=(0.3, 5))
    groups = group_spectrum(spectrum, (0.3, 5))
    arrows = next(line for line in axes.lines if line.get_marker() not in ("None", None))
    np.testing.assert_allclose(arrows.get_ydata(), (groups.net_high / 1000 / groups.width)[[1, 3]])


def test_without_background_it_is_neither_taken_away_nor_drawn(spectrum):
    bare = replace(spectrum, background_counts=None, background_scale=1.0)
    axes = plot_spectrum(bare, min_significance=None, oversample=None, energy=(0.3, 5))
    np.testing.assert_allclose(drawn(axes)[0][2], 30 / 1000 / 0.5, rtol=1e-6)
    assert axes.get_legend() is None
    assert plot_spectrum(spectrum, background=False).get_legend() is None


def test_groups_are_joined_until_they_are_significant_or_full(spectrum):
    groups = group_spectrum(spectrum, (0.3, 5), min_significance=3)
    net, variance = groups.net, groups.counts + groups.sums(0.5**2 * spectrum.background_counts)
    assert groups.counts.tolist() == [30, 52, 1]
    assert (net / np.sqrt(variance) >= 3).tolist() == [True, True, False]
    assert group_spectrum(spectrum, (0.3, 5), min_counts=40).counts.tolist() == [82, 1]
    assert group_spectrum(spectrum, (0.3, 5), min_counts=83).counts.tolist() == [83]
    assert group_spectrum(spectrum, (0.3, 5), min_significance=3, min_counts=33).counts.tolist() == [82, 1]
    assert group_spectrum(spectrum, (1, 3)).counts.tolist() == [2, 50]
    with pytest.raises(ValueError, match="min_counts"):
        group_spectrum(spectrum, (0.3, 5), min_counts=0)
    with pytest.raises(ValueError, match="no good channel"):
        group_spectrum(spectrum, (6, 7))


def test_the_resolution_is_the_full_width_at_half_maximum():
    energy, edges = np.array([1.0, 2.0, 5.0]), np.linspace(0, 10, 2001)
    sigma, middle = 0.05 * np.sqrt(energy), (edges[1:] + edges[:-1]) / 2
    rows = np.exp(-0.5 * ((middle - energy[:, None]) / sigma[:, None]) ** 2)
    matrix = sparse.csr_array(rows / rows.sum(axis=1, keepdims=True))
    response = Response(energy - 1e-3, energy + 1e-3, np.ones(3), matrix, edges[:-1], edges[1:])
    np.testing.assert_allclose(resolution(response, energy), 2 * np.sqrt(2 * np.log(2)) * sigma, atol=0.011)


def test_groups_are_no_narrower_than_the_resolution_asks(real_data: Path):
    source = observation.open(real_data / "spectra" / "xmm_epicpn_heacit" / "PN.pha").spectrum
    groups = group_spectrum(source, (0.5, 8), oversample=3)
    widths, wanted = groups.energy_hi - groups.energy_lo, resolution(source.response, groups.energy_lo) / 3
    assert (widths[:-1] >= 0.95 * wanted[:-1]).all()
    assert (widths[:-1] <= wanted[:-1] + 0.011).all()
    assert groups.counts.sum() == group_spectrum(source, (0.5, 8)).counts.sum()


def test_bad_channels_are_left_out_and_take_no_width(spectrum):
    bad = replace(spectrum, quality=np.array([0, 5, 0, 1], np.int16))
    groups = group_spectrum(bad, (0.3, 5), min_counts=80)
    assert groups.counts.tolist() == [80]
    np.testing.assert_allclose([groups.energy_lo[0], groups.energy_hi[0], groups.width[0]], [0.4, 3.0, 1.7], rtol=1e-6)


def test_unfolded_a_flat_photon_spectrum_is_flat(spectrum):
    response = spectrum.response
    flux = 0.002 * (response.energy_hi - response.energy_lo)  # 0.002 photons/cm2/s/keV
    expected = spectrum.expected_counts(flux)
    model = replace(spectrum, counts=expected, background_counts=None)
    lines = drawn(plot_spectrum(model, unfolded="photons", min_significance=None, oversample=None, energy=(0.3, 5)))
    np.testing.assert_allclose([line[2] for line in lines], 0.002, rtol=1e-6)
    axes = plot_spectrum(
        model, unfolded=True, min_significance=None, oversample=None, energy=(0.3, 5), expected=expected
    )
    for low, high, value in drawn(axes):
        assert value == pytest.approx(0.002 * low * high * 1.602176634e-9, rel=1e-5)
    assert "erg cm" in axes.get_ylabel()
    with pytest.raises(ValueError, match="unfolded"):
        plot_spectrum(spectrum, unfolded="flux")


def test_a_model_is_drawn_with_its_residuals(spectrum):
    expected = np.array([20.0, 5.0, 48.0, 0.5])
    axes = plot_spectrum(
        spectrum, min_significance=None, oversample=None, energy=(0.3, 5), expected=expected, label="a model"
    )
    upper, lower = axes.figure.axes
    assert upper is axes
    line = next(line for line in axes.lines if line.get_label() == "a model")
    np.testing.assert_allclose(line.get_ydata()[::2], expected / 1000 / np.array([0.5, 0.9, 1.2, 2.0]), rtol=1e-6)
    groups = group_spectrum(spectrum, (0.3, 5))
    residuals = [segment[0, 1] for segment in lower.collections[0].get_segments()]
    assert residuals[0] == pytest.approx((28 - 20) / (groups.net[0] - groups.net_low[0]))
    assert residuals[1] == pytest.approx((-2 - 5) / (groups.net_high[1] - groups.net[1]))
    assert "σ" in lower.get_ylabel() or "sigma" in lower.get_ylabel()
    assert len(plot_spectrum(spectrum, expected=expected, residuals=False).figure.axes) == 1


def test_a_first_channel_at_no_energy_and_a_response_without_area(spectrum, recwarn):
    response = replace(spectrum.response, channel_energy_lo=np.array([0.0, 0.9, 1.8, 3.0]))
    low, _ = plot_spectrum(replace(spectrum, response=response), energy=(0, 5)).get_xlim()
    assert 0 < low < 0.9
    low, _ = plot_spectrum(spectrum, min_significance=1000, oversample=None, energy=(0.3, 5)).get_xlim()
    assert low == pytest.approx(0.4)  # a group of all channels is drawn whole
    blind = replace(spectrum, response=replace(response, arf=np.zeros(3)))
    with pytest.raises(ValueError, match="nothing above 0"):
        plot_spectrum(blind, unfolded=True)
    plot_spectrum(blind, min_significance=None, oversample=None).figure.canvas.draw()  # counts need no area
    assert not [str(warning.message) for warning in recwarn]


def test_a_spectrum_without_response_says_why(ogip):
    spectrum = read_spectrum(ogip.pha())
    with pytest.raises(ValueError, match="no response: no RMF"):
        plot_spectrum(spectrum)


def test_real_spectra_and_photons_are_drawn(real_data: Path, tmp_path):
    folder = real_data / "spectra" / "csc_acisf04938_000N002_r0043"
    source = observation.open(next(folder.glob("*pha3*")))
    axes = source.plot()
    values = np.array([line[2] for line in drawn(axes)])
    assert values.size > 40
    assert 1e-5 < values.min() < values.max() < 0.1
    low, high = axes.get_xlim()
    assert low < 0.6
    assert high > 7
    axes.figure.savefig(tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").stat().st_size > 10_000

    photons = observation.open(real_data / "events" / "nicer" / "J0218_nicer_2070030405_cleanfilt_cut_bary.evt")
    figure = plt.figure()
    left, right = figure.subfigures(1, 2)
    axes = photons.plot_light_curve(100, (0.5, 7), figure=left)
    assert axes.get_ylim()[0] == 0
    assert "0.5-7 keV" in axes.get_ylabel()
    assert "MJD 58903.6" in axes.get_xlabel()
    assert len(axes.collections[0].get_paths()) == len(photons.events.gti) - 1  # the gaps
    axes = photons.plot_energy_time_map(figure=right)
    assert axes.get_ylabel() == "energy (keV)"
    assert photons.variability().light_curve.plot(band=True).figure is not figure
    figure.savefig(tmp_path / "events.png")
