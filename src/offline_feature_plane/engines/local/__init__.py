"""The local engine: one machine, DuckDB for reading and joining, compiled kernels for windows.

replay ──▶ labels ──▶ select ──▶ rows
reading    labels     selection  features ─▶ record_batches
ordering                         groups · kernels · expressions
"""

from offline_feature_plane.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
