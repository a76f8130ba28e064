"""What the Chandra Source Catalog measures from photons: hardness, variability, fluxes.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
