"""PPAD: free latents a photon list and a decoder of the count rate in time and band (arXiv:2502.01627)."""
