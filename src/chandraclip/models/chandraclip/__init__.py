"""Spectrum, event and text towers into one space."""
