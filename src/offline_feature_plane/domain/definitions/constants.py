"""Constants of a profile, as values of their types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import NumericOverflow, ReplayEventInvalid

__all__ = ["read_constant", "written"]

_T = TypeVar("_T")


def written(raw: Any) -> Any:
    """A constant as text, whatever the document's parser made of it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return repr(raw) if isinstance(raw, float) else str(raw)


def read_constant(raw: Any, kind: ColumnType, read: Callable[[], _T]) -> _T:
    """A constant of the profile as a value of its type. Raises ValueError: it is none."""
    try:
        return read()
    except (ReplayEventInvalid, NumericOverflow):
        raise ValueError(f"{written(raw)!r} is no {kind}; write a value of that type") from None
