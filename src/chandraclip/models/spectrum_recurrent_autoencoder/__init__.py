"""Spectrum autoencoder of gated recurrent units."""
