"""Simulated X-ray detections: physics in, rows of the dataset's schema out. Names load on first use."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
