from dataclasses import replace

import numpy as np
import pytest

from chandraclip.catalog.bands import BANDS
from chandraclip.simulate.emission.absorption import cross_section
from chandraclip.simulate.emission.incident import SPECTRAL_MODELS, energy_flux, incident_spectrum, photon_flux
from chandraclip.simulate.emission.spectra import (
    KT_RANGE,
    MAX_COLUMN,
    SpectrumParameters,
    photon_spectra,
    unit_spectra,
    varying_spectra,
)
from chandraclip.simulate.instrument.area import ENERGY, ENERGY_HI, ENERGY_LO
from chandraclip.simulate.variability.kinds import (
    CONSTANT,
    DIP,
    ECLIPSE,
    ERUPTION,
    FLARE,
    PULSATION,
    RED_NOISE,
    TRANSIENT,
    VARIABILITY_KINDS,
)

POWERLAW, BLACKBODY, PLASMA = (SPECTRAL_MODELS.index(name) for name in ("powerlaw", "blackbody", "plasma"))
ERG = 1.602176634e-9  # of a keV
BROAD = (0.5, 7.0)
USUAL = {
    "gamma": 1.8,
    "kt": 1.5,
    "second_gamma": 2.2,
    "second_kt": 0.5,
    "second_share": 0.0,
    "nh": 0.0,
    "second_nh": 0.0,
    "covering": 1.0,
    "iron_width": 0.0,
    "redshift": 0.0,
}


def parameters(
    num_rows: int = 1, model: int = POWERLAW, second_model: int = -1, **values: object
) -> SpectrumParameters:
    """`num_rows` unabsorbed power laws, but for what is given."""
    columns = {name: np.broadcast_to(value, num_rows).astype(float) for name, value in (USUAL | values).items()}
    return SpectrumParameters(model=np.full(num_rows, model), second_model=np.full(num_rows, second_model), **columns)


def spectra(num_rows: int = 1, **values: object) -> np.ndarray:
    return photon_spectra(parameters(num_rows, **values), ENERGY_LO, ENERGY_HI)


def flux_of(photons: np.ndarray, band: tuple[float, float] = (0.0, 20.0)) -> np.ndarray:
    """erg/cm2/s, summed bin by bin."""
    inside = np.abs(ENERGY - np.mean(band)) < 0.5 * np.ptp(band)
    return ERG * (photons * ENERGY)[:, inside].sum(axis=1)


def hardness(photons: np.ndarray) -> np.ndarray:
    hard, soft = (photon_flux(photons, ENERGY_LO, ENERGY_HI, band) for band in ((2.0, 7.0), (0.5, 2.0)))
    return (hard - soft) / (hard + soft)


@pytest.mark.parametrize("model", range(len(SPECTRAL_MODELS)), ids=SPECTRAL_MODELS)
def test_a_source_emits_one_erg_before_absorption_in_one_or_two_components(model: int) -> None:
    for share in (0.0, 0.3, 1.0):
        for second_model in (POWERLAW, PLASMA):
            photons = spectra(model=model, second_model=second_model, second_share=share)
            assert flux_of(photons)[0] == pytest.approx(1.0, rel=1e-9)
            assert (photons >= 0).all()
    assert flux_of(spectra(nh=30.0))[0] < 0.9


def test_unit_spectra_have_a_flux_of_one_in_the_broad_band_as_observed() -> None:
    photons = spectra(4, gamma=[0.5, 1.5, 2.5, 3.5], nh=[0.0, 10.0, 100.0, 1000.0], redshift=[0.0, 0.1, 1.0, 3.0])
    unit = unit_spectra(photons, ENERGY_LO, ENERGY_HI)
    np.testing.assert_allclose(flux_of(unit, BROAD), 1.0, rtol=1e-9)
    assert (flux_of(unit) > 1.0).all()  # more of it lies outside
    np.testing.assert_allclose(unit / unit[:, -1:], photons / photons[:, -1:])  # no change of shape
    np.testing.assert_allclose(unit_spectra(1e-12 * photons, ENERGY_LO, ENERGY_HI), unit)


def test_components_add_up_each_behind_its_own_gas() -> None:
    kwargs = {"model": POWERLAW, "second_model": BLACKBODY, "second_share": 0.35, "nh": 50.0, "second_nh": 8.0}
    both = spectra(**kwargs)
    main = spectra(gamma=1.8, nh=50.0)
    second = spectra(model=BLACKBODY, kt=0.5, nh=8.0)
    np.testing.assert_allclose(both, 0.65 * main + 0.35 * second, rtol=1e-12)
    # The second's gas is not the first's: without any of its own it shines through whatever hides the main one.
    hidden = spectra(**kwargs | {"nh": 1.0e4, "second_nh": 0.0})
    soft = ENERGY < 2.0
    bare = 0.35 * incident_spectrum(ENERGY_LO, ENERGY_HI, np.array([BLACKBODY]), np.array([1.8]), np.array([0.5]))
    np.testing.assert_allclose(hidden[0, soft], bare[0, soft], rtol=1e-9)


def test_rows_with_and_without_a_second_component_do_not_mix() -> None:
    mixed = parameters(3, second_share=[0.4, 0.4, 0.0], nh=[5.0, 5.0, 5.0])
    mixed = replace(mixed, second_model=np.array([PLASMA, BLACKBODY, PLASMA]), model=np.array([POWERLAW, PLASMA, 1]))
    together = photon_spectra(mixed, ENERGY_LO, ENERGY_HI)
    for row in range(3):
        alone = photon_spectra(mixed.take(np.array([row])), ENERGY_LO, ENERGY_HI)
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-12)


def test_what_a_model_does_not_have_is_not_read() -> None:
    nan = np.nan
    full = spectra(gamma=1.4, nh=20.0)
    empty = spectra(gamma=1.4, nh=20.0, kt=nan, second_gamma=nan, second_kt=nan)
    np.testing.assert_array_equal(empty, full)
    assert np.isfinite(spectra(model=PLASMA, gamma=nan, second_gamma=nan, second_kt=nan)).all()


def test_gas_in_front_takes_the_soft_photons_as_its_cross_section_says() -> None:
    columns = np.array([1.0, 30.0, 400.0])
    through = spectra(3, nh=columns) / spectra()
    np.testing.assert_allclose(through, np.exp(-1e20 * np.outer(columns, cross_section(ENERGY))), atol=1e-12)
    assert (np.diff(hardness(spectra(3, nh=columns))) > 0).all()


@pytest.mark.parametrize("covering", [0.0, 0.6, 0.95, 1.0])
def test_a_partial_absorber_lets_the_uncovered_share_through(covering: float) -> None:
    photons, bare, behind = spectra(nh=3000.0, covering=covering), spectra(), spectra(nh=3000.0)
    np.testing.assert_allclose(photons, (1.0 - covering) * bare + covering * behind, rtol=1e-9)
    soft = ENERGY < 1.0  # nothing gets through 3e23 cm-2 there
    np.testing.assert_allclose(photons[0, soft], (1.0 - covering) * bare[0, soft], rtol=1e-9, atol=1e-30)


def test_the_iron_line_has_its_equivalent_width_energy_and_place_in_the_sources_frame() -> None:
    redshift = np.array([0.0, 0.3, 1.0])
    with_line, without = (spectra(3, iron_width=width, redshift=redshift) for width in (0.15, 0.0))
    line = with_line - without
    assert (line >= 0).all()
    centre = (line @ ENERGY) / line.sum(axis=1)
    np.testing.assert_allclose(centre, 6.4 / (1.0 + redshift), atol=0.002)
    sigma = np.sqrt(((ENERGY - centre[:, None]) ** 2 * line).sum(axis=1) / line.sum(axis=1) - 0.02**2 / 12)
    np.testing.assert_allclose(sigma, 0.05 / (1.0 + redshift), rtol=0.02)
    continuum = np.array([np.interp(at, ENERGY, row) for at, row in zip(centre, without)]) / 0.02
    np.testing.assert_allclose(line.sum(axis=1) / continuum * (1.0 + redshift), 0.15, rtol=0.01)


def test_the_iron_line_is_of_the_main_component_and_behind_its_gas() -> None:
    kwargs = {"second_model": BLACKBODY, "second_share": 0.5, "nh": 2000.0}
    line = spectra(iron_width=0.2, **kwargs) - spectra(**kwargs)
    bare = spectra(iron_width=0.2) - spectra()
    at = np.abs(ENERGY - 6.4) < 0.1
    through = np.exp(-2000.0 * 1e20 * cross_section(ENERGY[at]))
    np.testing.assert_allclose(line[0, at], 0.5 * bare[0, at] * through, rtol=1e-9)


def test_redshift_cools_what_has_a_temperature_and_leaves_the_absorber_at_rest() -> None:
    redshift = np.array([0.0, 0.5, 2.0])
    far = spectra(3, model=BLACKBODY, kt=1.2, redshift=redshift)
    near = spectra(3, model=BLACKBODY, kt=1.2 / (1.0 + redshift))
    bright = near > 1e-6 * near.max(axis=1, keepdims=True)
    np.testing.assert_allclose(far[bright], near[bright], rtol=2e-3)
    # Galactic gas: the same share is let through whatever the source's redshift, with edges where they are at rest.
    through = spectra(3, model=BLACKBODY, kt=1.2, redshift=redshift, nh=80.0) / far
    np.testing.assert_allclose(through, np.tile(np.exp(-80.0 * 1e20 * cross_section(ENERGY)), (3, 1)), atol=1e-12)
    # A second component is as far away.
    pair = {"second_model": BLACKBODY, "second_share": 1.0}
    np.testing.assert_allclose(
        spectra(second_kt=1.2, redshift=2.0, **pair)[0],
        spectra(second_kt=0.4, **pair)[0],
        rtol=2e-3,
        atol=1e-9 * far.max(),
    )


def test_shifted_spectra_are_softer_or_hotter_in_both_components() -> None:
    base = parameters(2, second_model=PLASMA, second_share=0.3, gamma=[1.0, 2.0], kt=[0.5, 40.0])
    other = base.shifted(np.array([0.4, -0.3]), np.array([2.0, 3.0]))
    np.testing.assert_allclose(other.gamma - base.gamma, [0.4, -0.3])
    np.testing.assert_allclose(other.second_gamma - base.second_gamma, [0.4, -0.3])
    np.testing.assert_allclose(other.kt, [1.0, KT_RANGE[1]])  # no hotter than the plasma's tables
    np.testing.assert_allclose(other.second_kt, [1.0, 1.5])
    np.testing.assert_array_equal(other.nh, base.nh)
    ratio = photon_spectra(other, ENERGY_LO, ENERGY_HI) / photon_spectra(base, ENERGY_LO, ENERGY_HI)
    assert ratio[0, -1] / ratio[0, 0] != pytest.approx(1.0, abs=0.1)
    powerlaw = spectra(gamma=1.6) / spectra(gamma=1.2)
    np.testing.assert_allclose(np.polyfit(np.log(ENERGY), np.log(powerlaw[0]), 1)[0], -0.4, atol=1e-3)


def vary(kind: int, num_rows: int = 40, seed: int = 0, **values: object) -> tuple[np.ndarray, np.ndarray]:
    """First and second spectra of power laws with a plasma beside them, behind some gas."""
    mixed = {"second_model": PLASMA, "second_share": 0.4, "nh": 5.0, "second_nh": 1.0} | values
    rng = np.random.default_rng(seed)
    return varying_spectra(rng, parameters(num_rows, **mixed), np.full(num_rows, kind), ENERGY_LO, ENERGY_HI)


@pytest.mark.parametrize("kind", range(1, len(VARIABILITY_KINDS)), ids=VARIABILITY_KINDS[1:])
def test_both_spectra_of_a_varying_source_have_a_flux_of_one_but_in_a_dip(kind: int) -> None:
    first, second = vary(kind)
    np.testing.assert_allclose(flux_of(first, BROAD), 1.0)
    assert (second >= 0).all()
    flux = flux_of(second, BROAD)
    if kind == DIP:
        assert (flux < 0.95).all()  # the same source behind 1e22 cm-2 or more
        assert (second < first).all()  # gas adds no photon anywhere
    else:
        np.testing.assert_allclose(flux, 1.0)
    # The first is the source as it is on average.
    unit = unit_spectra(spectra(nh=5.0, second_model=PLASMA, second_share=0.4, second_nh=1.0), ENERGY_LO, ENERGY_HI)
    np.testing.assert_allclose(first, np.tile(unit, (40, 1)))


def test_flares_eruptions_and_pulses_are_harder_and_tails_are_softer() -> None:
    for kind in (FLARE, ERUPTION, PULSATION, RED_NOISE):
        first, second = vary(kind)
        assert (hardness(second) > hardness(first)).all(), VARIABILITY_KINDS[kind]
    first, second = vary(TRANSIENT)
    assert (hardness(second) < hardness(first)).all()
    for kind in (ECLIPSE, CONSTANT):
        first, second = vary(kind)
        np.testing.assert_allclose(second, first)


def test_flares_are_two_to_four_times_as_hot() -> None:
    first, second = vary(FLARE, 400, model=BLACKBODY, second_model=-1, second_share=0.0, kt=0.3, nh=0.0)
    grid = np.linspace(1.5, 5.0, 200)
    mean = [
        energy_flux(part, ENERGY_LO, ENERGY_HI) / part.sum(axis=1)
        for part in (second, spectra(200, model=BLACKBODY, kt=0.3 * grid))
    ]
    factor = np.interp(mean[0], mean[1], grid)
    assert np.percentile(factor, [0, 100]) == pytest.approx([2.0, 4.0], abs=0.06)
    assert (second[:, ENERGY > 3.0] > first[:, ENERGY > 3.0]).all()


def test_dips_are_of_1e22_to_2e23_and_hit_the_soft_photons() -> None:
    first, second = vary(DIP, 400, second_model=-1, second_share=0.0)
    depth = 1e20 * cross_section(ENERGY)
    column = -np.log(second[:, -1] / first[:, -1]) / depth[-1]
    np.testing.assert_allclose(second, first * np.exp(-np.outer(column, depth)), atol=1e-12 * first.max())  # plain gas
    assert np.percentile(np.log10(column), [0, 100]) == pytest.approx([2.0, 3.3], abs=0.02)
    left = [
        photon_flux(second, ENERGY_LO, ENERGY_HI, BANDS[band]) / photon_flux(first, ENERGY_LO, ENERGY_HI, BANDS[band])
        for band in "smh"
    ]
    assert (left[0] < left[1]).all()
    assert (left[1] < left[2]).all()
    # No thicker than the limit of all columns, even where the source has that much already.
    thick = vary(DIP, 3, second_model=-1, second_share=0.0, nh=MAX_COLUMN)
    np.testing.assert_allclose(thick[1], thick[0])


def test_a_mixture_of_both_spectra_hardens_as_the_second_takes_over() -> None:
    """r1 S1 + r2 S2: from one hardness to the other, never beyond, and at the flux that the light curves give."""
    first, second = vary(FLARE, 1)
    share = np.linspace(0.0, 1.0, 11)[:, None]
    mixture = 5.0 * ((1.0 - share) * first + share * second)
    np.testing.assert_allclose(flux_of(mixture, BROAD), 5.0)
    hard = hardness(mixture)
    assert (np.diff(hard) > 0).all()
    assert (hard[0], hard[-1]) == pytest.approx((hardness(first)[0], hardness(second)[0]))
    # A dip's flux falls with the covered share, and it hardens.
    first, second = vary(DIP, 1)
    mixture = (1.0 - share) * first + share * second
    assert (np.diff(flux_of(mixture, BROAD)) < 0).all()
    assert (np.diff(hardness(mixture)) > 0).all()


def test_kinds_in_one_table_do_not_mix_and_seeds_repeat() -> None:
    kind = np.arange(8)
    source = parameters(8, second_model=PLASMA, second_share=0.4, nh=5.0)
    one, two = (varying_spectra(np.random.default_rng(3), source, kind, ENERGY_LO, ENERGY_HI) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    harder = hardness(one[1]) - hardness(one[0])
    expected = {CONSTANT: 0, RED_NOISE: 1, FLARE: 1, DIP: 1, ECLIPSE: 0, PULSATION: 1, ERUPTION: 1, TRANSIENT: -1}
    np.testing.assert_array_equal(np.sign(np.round(harder, 9)), [expected[number] for number in kind])
    other = varying_spectra(np.random.default_rng(4), source, kind, ENERGY_LO, ENERGY_HI)
    np.testing.assert_array_equal(other[0], one[0])
    assert (other[1][FLARE] != one[1][FLARE]).any()
