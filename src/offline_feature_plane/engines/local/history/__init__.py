"""The history of a build: its events as columns in the total order, in memory or in files, and its pieces (`docs/decisions/0026`)."""
