"""Adapters that move rows and compute features."""
