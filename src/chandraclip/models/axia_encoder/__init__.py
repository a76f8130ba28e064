"""The encoder of Axia: up to 512 photons, a histogram, a periodogram and three numbers, each through its own branch."""
