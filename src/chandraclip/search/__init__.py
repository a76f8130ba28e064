"""A catalogue in the shared space, asked by key, name, text or files of one's own. Where models meet questions.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
