"""Variational autoencoder of unfolded spectra with a DeepONet decoder."""
