"""Builds beyond memory: the same steps over files in the work folder (`docs/decisions/0026`)."""
