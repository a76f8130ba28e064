"""One object to work with: the spectrum and the photons of a source in an observation, with all that is asked of them.

Names load on first use; torch not before `Observation.embed`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
