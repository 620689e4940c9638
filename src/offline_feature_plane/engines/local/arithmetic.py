"""Numbers over whole columns: machine numbers where they are exact, and Python's integers for the few rows where they would not be."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS
from offline_feature_plane.domain.expressions import Binary, Call, Negate
from offline_feature_plane.engines.local.operands import FLOAT, Flags, Floats, Ints, Operand, both
from offline_feature_plane.errors import NumericOverflow

__all__ = ["EXACT", "as_floats", "calculate", "converted", "mirror", "quotient"]

#: Integers up to here are doubles.
EXACT = 2**53


def calculate(node: Binary, left: Operand, right: Operand) -> Operand:
    """Sums, differences, products and quotients; one by zero is null (`decisions.md` D29). Raises NumericOverflow."""
    valid = both(left.valid, right.valid)
    if node.operator == "/":
        valid = both(valid, right.data != 0)
    made: npt.NDArray[Any]
    if "float64" in (left.type.kind, right.type.kind):
        a, b = as_floats(left), as_floats(right)
        made = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[node.operator](a, b) + 0.0  # −0.0 becomes 0.0
        return _finite(Operand(FLOAT, made, valid), node.operator)
    if node.operator == "/":
        shift = right.type.scale - left.type.scale
        return Operand(FLOAT, quotient(left.data, right.data, max(shift, 0), max(-shift, 0), valid), valid)
    if node.operator == "*":
        size = np.abs(left.data.astype(np.float64)) * np.abs(right.data.astype(np.float64))
        made = _fit(left.data * right.data, size, valid, node, operator.mul, left.data, right.data)
    else:
        made = _add(node, left, right, 1 if node.operator == "+" else -1, valid)
    return Operand(node.type, made, valid)


def mirror(node: Negate | Call, value: Operand) -> Operand:
    """`-x` and `abs(x)`. Raises NumericOverflow."""
    act, exactly = (np.negative, operator.neg) if isinstance(node, Negate) else (np.abs, abs)
    if node.type.kind == "float64":
        return Operand(node.type, act(value.data) + 0.0, value.valid)
    size = np.abs(value.data.astype(np.float64))
    return Operand(node.type, _fit(act(value.data), size, value.valid, node, exactly, value.data), value.valid)


def quotient(a: npt.NDArray[Any], b: npt.NDArray[Any], a_shift: int, b_shift: int, valid: Flags | None) -> Floats:
    """(a · 10^a_shift) / (b · 10^b_shift) rounded once: one IEEE division of two exact doubles, or Python's of two integers."""
    above, below = a.astype(np.float64) * 10.0**a_shift, b.astype(np.float64) * 10.0**b_shift
    made = above / below + 0.0
    doubtful = (np.abs(above) >= EXACT) | (np.abs(below) >= EXACT)
    if valid is not None:
        doubtful = doubtful & valid
    if not doubtful.any():
        return made
    made = np.array(np.broadcast_to(made, doubtful.shape))
    a, b = np.broadcast_to(a, doubtful.shape), np.broadcast_to(b, doubtful.shape)
    for row in np.flatnonzero(doubtful):
        made[row] = int(a[row]) * 10**a_shift / (int(b[row]) * 10**b_shift) + 0.0  # Python rounds the quotient of integers once
    return made


def as_floats(values: Operand) -> Floats:
    """Numbers as the nearest doubles."""
    if values.type.kind == "float64":
        return values.data
    if not values.type.scale:
        return values.data.astype(np.float64)
    made = values.data / np.float64(10**values.type.scale)  # a power of ten up to 10^22 is a double
    doubtful = np.abs(values.data) > EXACT
    for row in np.flatnonzero(doubtful if values.valid is None else doubtful & values.valid):
        made[row] = int(values.data[row]) / 10**values.type.scale
    return made + 0.0


def converted(values: Operand, node: Call, taken: Flags) -> npt.NDArray[Any]:
    """Values as those of the type of a call that has taken them as they are. Raises NumericOverflow, only for rows that are `taken`."""
    if values.type == node.type or node.type.kind == "string":
        return values.data
    if node.type.kind == "float64":
        return as_floats(values)
    unit = 10 ** (node.type.scale - values.type.scale)
    return _fit(values.data * unit, np.abs(values.data.astype(np.float64)) * unit, taken, node, lambda value: value * unit, values.data)


def _add(node: Binary, left: Operand, right: Operand, sign: int, valid: Flags | None) -> Ints:
    """Both in units of the result's scale, which is the larger of the two."""
    one, other = 10 ** (node.type.scale - left.type.scale), 10 ** (node.type.scale - right.type.scale) * sign
    size = np.abs(left.data.astype(np.float64)) * one + np.abs(right.data.astype(np.float64)) * abs(other)
    return _fit(left.data * one + right.data * other, size, valid, node, lambda a, b: a * one + b * other, left.data, right.data)


def _fit(quick: npt.NDArray[Any], size: Floats, valid: Flags | None, node: Binary | Negate | Call, exactly: Callable[..., int],
         *operands: npt.NDArray[Any]) -> Ints:
    """Keep `quick` where the size of the result is surely small, compute the rest exactly, and refuse what does not fit its type."""
    decimal = node.type.kind == "decimal"
    limit = 10**MAX_DECIMAL_DIGITS if decimal else 2**63
    doubtful = size >= limit / 2  # a double of that size is off by far less
    if valid is not None:
        doubtful = doubtful & valid
    if not doubtful.any():
        return quick
    made = np.array(np.broadcast_to(quick, doubtful.shape))
    low = -limit + 1 if decimal else -limit
    wide = [np.broadcast_to(one, doubtful.shape) for one in operands]
    for row in np.flatnonzero(doubtful):
        value = exactly(*(int(one[row]) for one in wide))
        if not low <= value < limit:
            raise NumericOverflow(f"`{_spell(node)}` gives {value}, which exceeds {'18 digits' if decimal else 'int64'}.",
                                  fix="Use smaller scales, or a float64 (x / 1).")
        made[row] = value
    return made


def _finite(values: Operand, what: str) -> Operand:
    wrong = ~np.isfinite(values.data) if values.valid is None else ~np.isfinite(values.data) & values.valid
    if wrong.any():
        value = np.broadcast_to(values.data, wrong.shape)[wrong][0]
        raise NumericOverflow(f"`{what}` gives {value}, which is not a finite number.", fix="Bound its operands with `where` or coalesce.")
    return values


def _spell(node: Binary | Negate | Call) -> str:
    return "-" if isinstance(node, Negate) else node.function if isinstance(node, Call) else node.operator
