"""What the telescope makes of photons: effective area, redistribution, frames, pile-up, background."""
