"""What sessions of every engine share that goes step by step: nothing is used before it is there, and progress is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from offline_feature_plane.errors import EngineFailed

__all__ = ["Progress", "need", "unheard"]

Progress = Callable[[str, int, int], None]
Value = TypeVar("Value")


def unheard(step: str, done: int, total: int) -> None:
    """Progress that nobody asked for."""


def need(value: Value | None, step: str) -> Value:
    """What a step has left behind. Raises EngineFailed: the step was not done."""
    if value is None:
        raise EngineFailed(f"the session was used before `{step}` was done.", fix="Please report this.")
    return value
