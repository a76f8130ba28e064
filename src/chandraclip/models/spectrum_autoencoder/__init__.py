"""Transformer autoencoder of count spectra."""
