"""Spectrum autoencoder that folds an incident spectrum through the response of each row."""
