"""What sources emit: incident photon spectra, and what is absorbed of them."""
