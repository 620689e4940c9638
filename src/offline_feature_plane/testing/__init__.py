"""Fakes, contract suites and strategies for authors of adapters."""
