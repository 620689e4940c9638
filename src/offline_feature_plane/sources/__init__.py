"""Adapters that pin event logs and prove what they hold."""
