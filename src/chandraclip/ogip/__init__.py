"""FITS in: spectra, responses, photon lists, good times, regions, after the OGIP standards.

Neither torch nor datasets is imported here. Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
