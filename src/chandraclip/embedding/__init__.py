"""A dataset embedded with a model: the folder that every evaluation reads."""
