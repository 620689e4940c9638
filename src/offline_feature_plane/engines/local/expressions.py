"""Expressions over whole columns: bit for bit what `domain.evaluation` says of each row, at the speed of numpy.

Every operation has a path in machine numbers that is exact where it is taken, and a test that finds the few rows where it would not be:
those are computed in Python's integers. Constants have one row and broadcast.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.expressions import Binary, Call, Compare, Expression, In, Literal, Logic, Name, Negate, Node, Not
from offline_feature_plane.engines.local.calendars import read_clocks
from offline_feature_plane.engines.local.events import Values
from offline_feature_plane.engines.local.texts import rank_texts, share_dictionary
from offline_feature_plane.errors import NumericOverflow

__all__ = ["evaluate", "find_true"]

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BOOL, _FLOAT = ColumnType("bool"), ColumnType("float64")
_EXACT = 2**53
_COMPARE: dict[str, Callable[[Any, Any], Flags]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}


def evaluate(expression: Expression | Node, columns: Mapping[str, Values], n: int) -> Values:
    """The values of an expression over `n` rows.

    Args:
        expression: a parsed expression, or a node of one.
        columns: a column of `n` rows for each name it reads.
        n: how many rows.

    Returns:
        `n` rows, as columns of events are: booleans as int64 0 and 1, texts as codes into a dictionary in UTF-8 order.

    Raises:
        NumericOverflow: the exact result of an operation leaves int64, 18 digits or the finite doubles in some row.
    """
    with np.errstate(all="ignore"):  # what overflows or divides by zero is found and treated row by row
        found = _value(expression.root if isinstance(expression, Expression) else expression, columns)
    data = found.data.astype(np.int64) if found.data.dtype == np.bool_ else found.data
    valid = found.valid
    if len(data) != n:
        data = np.broadcast_to(data, (n,)).copy()
    if valid is not None and len(valid) != n:
        valid = np.broadcast_to(valid, (n,)).copy()
    return Values(found.type, data, None if valid is None or valid.all() else valid, found.dictionary)


def find_true(condition: Expression | None, columns: Mapping[str, Values], n: int) -> Flags:
    """In which of `n` rows does a condition hold? Unknown does not; no condition always does (`decisions.md` D29).

    Raises:
        NumericOverflow: as `evaluate`.
    """
    if condition is None:
        return np.ones(n, dtype=np.bool_)
    found = evaluate(condition, columns, n)
    holds: Flags = found.data != 0
    return holds if found.valid is None else holds & found.valid


@dataclass(frozen=True)
class _Column:
    """A column on the way: as `Values`, but booleans are numpy's."""

    type: ColumnType
    data: npt.NDArray[Any]
    valid: Flags | None = None
    dictionary: pa.Array | None = None


Columns = Mapping[str, Values]


def _value(node: Node, columns: Columns) -> _Column:
    return _MEANING[type(node)](node, columns)


def _name(node: Name, columns: Columns) -> _Column:
    column = columns[node.name]
    return _Column(column.type, column.data != 0 if column.type.kind == "bool" else column.data, column.valid, column.dictionary)


def _comparison(node: Compare, columns: Columns) -> _Column:
    left, right = _value(node.left, columns), _value(node.right, columns)
    return _Column(_BOOL, _compare(node.operator, left, right), _both(left.valid, right.valid))


def _negation(node: Not, columns: Columns) -> _Column:
    inner = _value(node.operand, columns)
    return _Column(_BOOL, ~inner.data, inner.valid)


def _membership(node: In, columns: Columns) -> _Column:
    inner = _value(node.operand, columns)
    found: Flags = np.zeros(len(inner.data), dtype=np.bool_)
    for option in node.options:
        found |= _compare("==", inner, _constant(option))
    return _Column(_BOOL, found, inner.valid)


def _constant(node: Literal, columns: Columns | None = None) -> _Column:  # noqa: ARG001 - one signature with all nodes
    known = None if node.value is not None else np.zeros(1, dtype=np.bool_)
    match node.type.kind:
        case "string":
            texts = pa.array([] if node.value is None else [node.value], pa.string())
            return _Column(node.type, np.array([-1 if node.value is None else 0], dtype=np.int32), known, texts)
        case "bool":
            return _Column(node.type, np.array([bool(node.value)]), known)
        case "float64":
            return _Column(node.type, np.array([float(node.value or 0)]), known)
        case _:
            return _Column(node.type, np.array([int(node.value or 0)], dtype=np.int64), known)


def _both(one: Flags | None, other: Flags | None) -> Flags | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other


# --- arithmetic ---------------------------------------------------------------------------------------------


def _calculate(node: Binary, columns: Columns) -> _Column:
    left, right = _value(node.left, columns), _value(node.right, columns)
    valid = _both(left.valid, right.valid)
    if node.operator == "/":
        valid = _both(valid, right.data != 0)
    made: npt.NDArray[Any]
    if "float64" in (left.type.kind, right.type.kind):
        a, b = _as_floats(left), _as_floats(right)
        made = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[node.operator](a, b) + 0.0  # −0.0 becomes 0.0
        return _finite(_Column(_FLOAT, made, valid), node.operator)
    if node.operator == "/":
        shift = right.type.scale - left.type.scale
        return _Column(_FLOAT, _quotient(left.data, right.data, max(shift, 0), max(-shift, 0), valid), valid)
    if node.operator == "*":
        size = np.abs(left.data.astype(np.float64)) * np.abs(right.data.astype(np.float64))
        made = _fit(left.data * right.data, size, valid, node, operator.mul, left.data, right.data)
    else:
        made = _add(node, left, right, 1 if node.operator == "+" else -1, valid)
    return _Column(node.type, made, valid)


def _add(node: Binary, left: _Column, right: _Column, sign: int, valid: Flags | None) -> Ints:
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


def _finite(values: _Column, what: str) -> _Column:
    wrong = ~np.isfinite(values.data) if values.valid is None else ~np.isfinite(values.data) & values.valid
    if wrong.any():
        value = np.broadcast_to(values.data, wrong.shape)[wrong][0]
        raise NumericOverflow(f"`{what}` gives {value}, which is not a finite number.", fix="Bound its operands with `where` or coalesce.")
    return values


def _spell(node: Binary | Negate | Call) -> str:
    return "-" if isinstance(node, Negate) else node.function if isinstance(node, Call) else node.operator


def _flip(node: Negate, columns: Columns) -> _Column:
    return _mirror(node, _value(node.operand, columns))


def _mirror(node: Negate | Call, value: _Column) -> _Column:
    """`-x` and `abs(x)`."""
    act, exactly = (np.negative, operator.neg) if isinstance(node, Negate) else (np.abs, abs)
    if node.type.kind == "float64":
        return _Column(node.type, act(value.data) + 0.0, value.valid)
    size = np.abs(value.data.astype(np.float64))
    return _Column(node.type, _fit(act(value.data), size, value.valid, node, exactly, value.data), value.valid)


def _quotient(a: npt.NDArray[Any], b: npt.NDArray[Any], a_shift: int, b_shift: int, valid: Flags | None) -> Floats:
    """(a · 10^a_shift) / (b · 10^b_shift) rounded once: one IEEE division of two exact doubles, or Python's of two integers."""
    above, below = a.astype(np.float64) * 10.0**a_shift, b.astype(np.float64) * 10.0**b_shift
    made = above / below + 0.0
    doubtful = (np.abs(above) >= _EXACT) | (np.abs(below) >= _EXACT)
    if valid is not None:
        doubtful = doubtful & valid
    if not doubtful.any():
        return made
    made = np.array(np.broadcast_to(made, doubtful.shape))
    a, b = np.broadcast_to(a, doubtful.shape), np.broadcast_to(b, doubtful.shape)
    for row in np.flatnonzero(doubtful):
        made[row] = int(a[row]) * 10**a_shift / (int(b[row]) * 10**b_shift) + 0.0  # Python rounds the quotient of integers once
    return made


def _as_floats(values: _Column) -> Floats:
    """Numbers as the nearest doubles."""
    if values.type.kind == "float64":
        return values.data
    if not values.type.scale:
        return values.data.astype(np.float64)
    made = values.data / np.float64(10**values.type.scale)  # a power of ten up to 10^22 is a double
    doubtful = np.abs(values.data) > _EXACT
    for row in np.flatnonzero(doubtful if values.valid is None else doubtful & values.valid):
        made[row] = int(values.data[row]) / 10**values.type.scale
    return made + 0.0


# --- comparisons and logic ----------------------------------------------------------------------------------


def _compare(sign: str, left: _Column, right: _Column) -> Flags:
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


def _order_floats(left: _Column, right: _Column) -> npt.NDArray[np.int8]:
    """The sign of left − right where one is a double. Rounding is monotone, so only rows that round to equal need a closer look."""
    a, b = _as_floats(left), _as_floats(right)
    found = (a > b).astype(np.int8) - (a < b).astype(np.int8)
    if left.type.kind == right.type.kind:
        return found
    number = left if right.type.kind == "float64" else right
    valid = _both(left.valid, right.valid)
    tied = (found == 0) & (np.abs(number.data) > _EXACT if not number.type.scale else True)
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


def _kleene(node: Logic, columns: Columns) -> _Column:
    operands = [_value(one, columns) for one in node.operands]
    decisive = node.operator == "or"  # one True decides `or`, one False decides `and`, whatever is unknown
    decided: Flags = np.zeros(1, dtype=np.bool_)
    known: Flags | None = None
    for one in operands:
        holds = one.data if decisive else ~one.data
        decided = decided | (holds if one.valid is None else holds & one.valid)
        known = _both(known, one.valid)
    return _Column(_BOOL, decided if decisive else ~decided, None if known is None else known | decided)


# --- functions ----------------------------------------------------------------------------------------------


def _call(node: Call, columns: Columns) -> _Column:
    arguments = [_value(one, columns) for one in node.arguments]
    first = arguments[0]
    match node.function:
        case "is_null":
            unknown = np.zeros(len(first.data), dtype=np.bool_) if first.valid is None else ~first.valid
            return _Column(_BOOL, unknown)
        case "coalesce":
            return _coalesce(node, arguments)
        case "abs":
            return _mirror(node, first)
        case "seconds_between":
            valid = _both(first.valid, arguments[1].valid)
            return _Column(_FLOAT, _quotient(arguments[1].data - first.data, np.array([1_000_000]), 0, 0, valid), valid)
        case _:
            return _Column(node.type, read_clocks(node.function, first.data, node.zone, first.valid), first.valid)


def _coalesce(node: Call, arguments: list[_Column]) -> _Column:
    """The first known value of each row. Only values that are taken must fit the common type."""
    if node.type.kind == "string":
        codes, dictionary = share_dictionary([(one.data, one.dictionary) for one in arguments])
        arguments = [_Column(one.type, mine, one.valid, dictionary) for one, mine in zip(arguments, codes, strict=True)]
    missing: Flags = np.ones(1, dtype=np.bool_)
    made: npt.NDArray[Any] = np.zeros(1)
    for one in arguments:
        taken = missing if one.valid is None else missing & one.valid
        data = _converted(one, node, taken)
        made = data if one is arguments[0] else np.where(taken, data, made)
        missing = missing & ~one.valid if one.valid is not None else np.zeros(1, dtype=np.bool_)
        if not missing.any():
            break
    return _Column(node.type, made, ~missing if missing.any() else None, arguments[0].dictionary)


def _converted(values: _Column, node: Call, taken: Flags) -> npt.NDArray[Any]:
    if values.type == node.type or node.type.kind == "string":
        return values.data
    if node.type.kind == "float64":
        return _as_floats(values)
    unit = 10 ** (node.type.scale - values.type.scale)
    return _fit(values.data * unit, np.abs(values.data.astype(np.float64)) * unit, taken, node, lambda value: value * unit, values.data)


_MEANING: dict[type, Callable[[Any, Columns], _Column]] = {
    Literal: _constant, Name: _name, Negate: _flip, Binary: _calculate, Compare: _comparison, Logic: _kleene, Not: _negation,
    In: _membership, Call: _call,
}
