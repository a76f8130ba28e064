from __future__ import annotations

import numpy as np
import pytest

from chandraclip.observation.spectral_models import EMISSIONS, AbsorbedModel, optical_depth
from chandraclip.simulate.emission.absorption import transmission

EDGES = np.geomspace(0.3, 10, 500)
LOW, HIGH = EDGES[:-1], EDGES[1:]
NO_GAS = np.zeros(1)


def test_optical_depth_is_of_1e22_atoms():
    energy = np.array([0.5, 1.0, 3.0, 7.0])
    for model in ("wabs", "tbabs"):
        through = transmission(energy, np.array([100.0]), model)[0]  # 100 x 1e20 cm-2
        np.testing.assert_allclose(np.exp(-optical_depth(energy, model)), through, rtol=1e-12)
    assert 1.5 < optical_depth(np.array(1.0), "tbabs") < 3  # 2.2e-22 cm2 at 1 keV
    np.testing.assert_array_equal(optical_depth(energy, None), 0.0)
    ends = optical_depth(np.array([0.001, 0.03, 10.0, 100.0]), "wabs")
    assert np.isfinite(ends).all()
    assert (np.diff(ends) < 0).all()


def test_norms_are_those_of_xspec():
    density = AbsorbedModel("powerlaw", None).photon_flux(np.array([0.999]), np.array([1.001]), np.array([2.3]), NO_GAS)
    assert density[0, 0] / 0.002 == pytest.approx(1.0, rel=1e-4)
    # bbody: 1e39 erg/s at 10 kpc over all energies; XSPEC's rounded constant is 0.25 % high
    whole = AbsorbedModel("blackbody", None).energy_flux((0.001, 60.0), np.array([1.0]), NO_GAS)[0]
    assert whole == pytest.approx(1e39 / (4 * np.pi * 3.0857e22**2), rel=4e-3)
    # diskbb: 4 pi sigma r^2 T^4 / (4 pi D^2) of each of two faces seen face-on, so 2 pi D^2 F = 4 pi r^2 sigma T^4
    whole = AbsorbedModel("diskbb", None).energy_flux((0.001, 60.0), np.array([1.0]), NO_GAS)[0]
    stefan = 5.6704e-5 * 1.160452e7**4
    assert whole == pytest.approx(2 * 1e5**2 * stefan / 3.0857e22**2, rel=5e-3)


@pytest.mark.parametrize("model", EMISSIONS)
def test_redshift_is_the_spectrum_at_e_times_1_plus_z_over_1_plus_z(model):
    shape = np.array([1.5])
    near = AbsorbedModel(model, None).photon_flux(2 * LOW, 2 * HIGH, shape, NO_GAS)
    far = AbsorbedModel(model, None, redshift=1.0).photon_flux(LOW, HIGH, shape, NO_GAS)
    np.testing.assert_allclose(far, near / 2, rtol=1e-10)
    # the energy flux falls by (1 + z)^2 for the norms' distances: photons are redder, and fewer a second
    ratio = AbsorbedModel(model, None, redshift=1.0).energy_flux((0.5, 3), shape, NO_GAS)
    assert ratio[0] == pytest.approx(AbsorbedModel(model, None).energy_flux((1, 6), shape, NO_GAS)[0] / 4, rel=2e-2)


@pytest.mark.parametrize("model", EMISSIONS)
def test_bins_of_zero_width_and_gaps_and_an_energy_of_zero(model):
    absorbed = AbsorbedModel(model, "tbabs")
    shape, column = np.array([0.8, 2.0]), np.array([0.1, 1.0])
    plain = absorbed.photon_flux(LOW, HIGH, shape, column)
    doubled = absorbed.photon_flux(np.insert(LOW, 100, LOW[100]), np.insert(HIGH, 100, LOW[100]), shape, column)
    np.testing.assert_array_equal(doubled[:, 100], 0.0)
    np.testing.assert_allclose(np.delete(doubled, 100, axis=1), plain, rtol=1e-9)
    kept = np.r_[0:200, 260:499]
    np.testing.assert_allclose(absorbed.photon_flux(LOW[kept], HIGH[kept], shape, column), plain[:, kept], rtol=1e-9)
    assert np.isfinite(absorbed.photon_flux(np.array([0.0, 0.1]), np.array([0.1, 0.2]), shape, column)).all()


def test_what_is_unknown_is_refused_with_what_is_known():
    with pytest.raises(ValueError, match="unknown model 'phabs': powerlaw, blackbody, diskbb, bremsstrahlung, apec"):
        AbsorbedModel("phabs", None)
    with pytest.raises(ValueError, match="unknown absorption 'phabs': wabs, tbabs, or None"):
        AbsorbedModel("powerlaw", "phabs")
    with pytest.raises(ValueError, match="redshift"):
        AbsorbedModel("powerlaw", None, redshift=-1.0)
    with pytest.raises(ValueError, match="abundance"):
        AbsorbedModel("apec", None, abundance=-1.0)
