"""Adapters for artifact stores with create-if-absent."""
