"""Adapters that pin label timelines."""
