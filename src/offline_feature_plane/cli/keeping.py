"""The commands that keep a store and a ledger in order: retire, collect, check, rebuild."""

from __future__ import annotations
