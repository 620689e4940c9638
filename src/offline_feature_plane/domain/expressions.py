"""The closed expression grammar: parse, type-check, canonical text, and the meaning of each operator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expression:
    """A parsed, typed expression. `text` is its canonical spelling."""

    text: str
