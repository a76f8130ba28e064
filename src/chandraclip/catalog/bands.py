"""Energy bands of the Chandra Source Catalog and the channels of ACIS."""

# CSC 2.1 energy bands, keV (Evans et al. 2024).
BANDS = {"s": (0.5, 1.2), "m": (1.2, 2.0), "h": (2.0, 7.0), "b": (0.5, 7.0)}

# keV at which CSC takes a band's effective area, for photon fluxes and exposure maps (CSC, "Energy Bands").
EFFECTIVE_ENERGY = {"s": 0.92, "m": 1.56, "h": 3.8, "b": 2.3}

# Chandra ACIS PI channel n (from 1) covers 14.6 (n - 1) to 14.6 n eV.
ACIS_CHANNEL_WIDTH = 0.0146
ACIS_NUM_CHANNELS = 1024
