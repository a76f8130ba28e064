"""Tables that others made, read by a mapping of their columns: Parquet, HATS, JSON lines, HDF5."""
