"""Record archives: places, indexes, segments, and the jobs that make them."""
