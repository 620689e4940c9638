"""The Spark engine: rows move through a Spark session, kernels and laws are those of the local engine."""

from offline_feature_plane.engines.spark.engine import SparkEngine

__all__ = ["SparkEngine"]
