"""A text encoder of words and pairs of neighbouring words, trained along with an alignment."""
