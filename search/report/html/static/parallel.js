// Parallel coordinates.
