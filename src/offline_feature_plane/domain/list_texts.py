"""Lists of values as one text, for a column holds no lists: what `top_k` gives (`docs/decisions/0028`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.sampling import unit_text
from offline_feature_plane.domain.usual_json import quoted

__all__ = ["item_text", "list_text"]


def list_text(values: Sequence[Any], kind: ColumnType) -> str:
    r"""The values as JSON without spaces, one text for each list of a type.

    Integers, floats and booleans stand bare, all else quoted: texts, instants, and decimals with all their digits.

    >>> list_text(["a", 'é"'], ColumnType("string")), list_text([-150, 0], ColumnType("decimal", 12, 2))
    ('["a","é\\""]', '["-1.50","0.00"]')
    >>> list_text([2**60, 1], ColumnType("int64")), list_text([0.1, -0.0], ColumnType("float64")), list_text([True], ColumnType("bool"))
    ('[1152921504606846976,1]', '[0.1,0.0]', '[true]')
    """
    return f"[{','.join(item_text(value, kind) for value in values)}]"


def item_text(value: Any, kind: ColumnType) -> str:
    """One value as it stands in such a list."""
    if kind.kind == "float64":
        return repr(value + 0.0)  # −0.0 becomes 0.0
    text = unit_text(value, kind)
    return text if kind.is_integer or kind.kind == "bool" else quoted(text)
