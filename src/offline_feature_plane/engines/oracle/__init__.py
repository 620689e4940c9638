"""The oracle: a slow and obvious engine in plain Python that judges the others. Every law is written once, naively, and scanned for."""

from offline_feature_plane.engines.oracle.session import OracleEngine

__all__ = ["OracleEngine"]
