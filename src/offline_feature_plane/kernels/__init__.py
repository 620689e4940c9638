"""Numbers in, numbers out: windows and digests, with numpy and numba only."""
