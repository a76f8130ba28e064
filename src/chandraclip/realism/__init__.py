"""Is the simulator like the sky? Distances, classifiers carried from one to the other, and the report of both."""
