"""Autoencoders and principal components of E-t maps and E-t-dt cubes of photon lists."""
