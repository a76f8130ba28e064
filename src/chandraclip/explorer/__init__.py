"""Pages to look at embeddings with: a map of all detections, and one that answers one's own files and words."""
