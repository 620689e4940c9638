"""Comparing whole columns, exactly, whatever their types."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from offline_feature_plane.engines.local.arithmetic import EXACT, as_floats
from offline_feature_plane.engines.local.operands import Flags, Operand, both
from offline_feature_plane.engines.local.texts import rank_texts

__all__ = ["compare"]

_COMPARE: dict[str, Callable[[Any, Any], Flags]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}


def compare(sign: str, left: Operand, right: Operand) -> Flags:
    """Exactly, whatever the two types; rows where one is null hold anything."""
    if left.type.kind == "string":
        return _COMPARE[sign](*rank_texts(left.data, left.dictionary, right.data, right.dictionary))
    if left.type.scale == right.type.scale and "float64" not in (left.type.kind, right.type.kind):
        return _COMPARE[sign](left.data, right.data)
    if "float64" in (left.type.kind, right.type.kind):
        return _COMPARE[sign](_order_floats(left, right), 0)
    if left.type.scale < right.type.scale:
        return _COMPARE[sign](_order_scaled(left.data, right.data, 10 ** (right.type.scale - left.type.scale)), 0)
    return _COMPARE[sign](0, _order_scaled(right.data, left.data, 10 ** (left.type.scale - right.type.scale)))


def _order_scaled(a: npt.NDArray[Any], b: npt.NDArray[Any], unit: int) -> npt.NDArray[np.int8]:
    """The sign of a · unit − b, without leaving int64."""
    whole = b // unit
    rest = b - whole * unit > 0
    return cast("npt.NDArray[np.int8]", (a > whole).astype(np.int8) - ((a < whole) | ((a == whole) & rest)).astype(np.int8))


def _order_floats(left: Operand, right: Operand) -> npt.NDArray[np.int8]:
    """The sign of left − right where one is a double. Rounding is monotone, so only rows that round to equal need a closer look."""
    a, b = as_floats(left), as_floats(right)
    found = (a > b).astype(np.int8) - (a < b).astype(np.int8)
    if left.type.kind == right.type.kind:
        return found
    number = left if right.type.kind == "float64" else right
    valid = both(left.valid, right.valid)
    tied = (found == 0) & (np.abs(number.data) > EXACT if not number.type.scale else True)
    if valid is not None:
        tied = tied & valid
    rows = np.flatnonzero(tied)
    if not len(rows):
        return found
    exact = np.broadcast_to(number.data, found.shape)[rows]
    double = np.broadcast_to(b if number is left else a, found.shape)[rows]
    values, first, back = np.unique(exact, return_index=True, return_inverse=True)  # a double that ties with a number is its nearest one
    unit, side = 10**number.type.scale, 1 if number is left else -1
    signs = np.empty(len(values), dtype=np.int8)
    for place, (value, where) in enumerate(zip(values, first, strict=True)):
        gap = Fraction(int(value), unit) - Fraction(float(double[where]))
        signs[place] = side * ((gap > 0) - (gap < 0))
    found[rows] = signs[back]
    return found
