"""Columns of segments as Python values, whatever types and bytes somebody gave them: what has no value of ours costs one record."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa

from offline_feature_plane.errors import SchemaInvalid
from offline_feature_plane.text_files import load_object

__all__ = ["parsed_payload", "values_of"]


def values_of(column: pa.Array) -> list[Any]:
    """A column as Python values; one that Python cannot hold, such as text that is not UTF-8, as bytes, which no record decodes from."""
    try:
        return cast("list[Any]", column.to_pylist())
    except (ValueError, OverflowError, LookupError):  # text that is not UTF-8; a zone that nobody knows
        return [_value(one) for one in column]


def parsed_payload(stored: Any) -> dict[str, Any] | None:
    """The payload in a column's value. Raises SchemaInvalid, ResourceExceeded: it is no text of a JSON object."""
    if stored is None:
        return None
    if not isinstance(stored, (str, bytes)):
        raise SchemaInvalid(f"a payload is the text of a JSON object, not a {type(stored).__name__}.")
    return load_object(stored)


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError):
        return b""
