"""The laws as pure functions: no clock, disk, network, database or randomness."""
