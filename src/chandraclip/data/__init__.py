"""The dataset: its columns, packaging, card, splits, sampler."""
