"""Set encoder of photon lists, linear in photons, with a neural field of the count rate as decoder."""
