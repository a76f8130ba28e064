"""All observations of a source as a path in latent space, and whether photon noise alone would give it."""
