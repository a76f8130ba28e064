"""One embedding space for X-ray photons, X-ray spectra and the literature about the same sources.

``import chandraclip`` registers the models: `AutoModel.from_pretrained` knows them from then on.
"""

import lazy_loader

from chandraclip.registration import register_unless_light

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

register_unless_light()
