"""Expressions over whole columns: bit for bit what `domain.evaluation` says of each row, at the speed of numpy.

Here a tree is walked; what an operation does with columns is in `arithmetic`, `comparing`, `calendars` and `texts`. Constants have one row
and broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from offline_feature_plane.domain.expressions import Binary, Call, Compare, Expression, In, Literal, Logic, Name, Negate, Node, Not
from offline_feature_plane.engines.local.arithmetic import calculate, converted, mirror, quotient
from offline_feature_plane.engines.local.calendars import read_clocks
from offline_feature_plane.engines.local.comparing import compare
from offline_feature_plane.engines.local.events import Values
from offline_feature_plane.engines.local.operands import BOOL, FLOAT, Flags, Operand, both
from offline_feature_plane.engines.local.texts import share_dictionary

__all__ = ["evaluate", "find_true"]

Columns = Mapping[str, Values]


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


def _value(node: Node, columns: Columns) -> Operand:
    return _MEANING[type(node)](node, columns)


def _name(node: Name, columns: Columns) -> Operand:
    column = columns[node.name]
    return Operand(column.type, column.data != 0 if column.type.kind == "bool" else column.data, column.valid, column.dictionary)


def _comparison(node: Compare, columns: Columns) -> Operand:
    left, right = _value(node.left, columns), _value(node.right, columns)
    return Operand(BOOL, compare(node.operator, left, right), both(left.valid, right.valid))


def _negation(node: Not, columns: Columns) -> Operand:
    inner = _value(node.operand, columns)
    return Operand(BOOL, ~inner.data, inner.valid)


def _membership(node: In, columns: Columns) -> Operand:
    inner = _value(node.operand, columns)
    found: Flags = np.zeros(len(inner.data), dtype=np.bool_)
    for option in node.options:
        found |= compare("==", inner, _constant(option))
    return Operand(BOOL, found, inner.valid)


def _constant(node: Literal, columns: Columns | None = None) -> Operand:  # noqa: ARG001 - one signature with all nodes
    known = None if node.value is not None else np.zeros(1, dtype=np.bool_)
    match node.type.kind:
        case "string":
            texts = pa.array([] if node.value is None else [node.value], pa.string())
            return Operand(node.type, np.array([-1 if node.value is None else 0], dtype=np.int32), known, texts)
        case "bool":
            return Operand(node.type, np.array([bool(node.value)]), known)
        case "float64":
            return Operand(node.type, np.array([float(node.value or 0)]), known)
        case _:
            return Operand(node.type, np.array([int(node.value or 0)], dtype=np.int64), known)


def _arithmetic(node: Binary, columns: Columns) -> Operand:
    return calculate(node, _value(node.left, columns), _value(node.right, columns))


def _flip(node: Negate, columns: Columns) -> Operand:
    return mirror(node, _value(node.operand, columns))


def _kleene(node: Logic, columns: Columns) -> Operand:
    operands = [_value(one, columns) for one in node.operands]
    decisive = node.operator == "or"  # one True decides `or`, one False decides `and`, whatever is unknown
    decided: Flags = np.zeros(1, dtype=np.bool_)
    known: Flags | None = None
    for one in operands:
        holds = one.data if decisive else ~one.data
        decided = decided | (holds if one.valid is None else holds & one.valid)
        known = both(known, one.valid)
    return Operand(BOOL, decided if decisive else ~decided, None if known is None else known | decided)


def _call(node: Call, columns: Columns) -> Operand:
    arguments = [_value(one, columns) for one in node.arguments]
    first = arguments[0]
    match node.function:
        case "is_null":
            unknown = np.zeros(len(first.data), dtype=np.bool_) if first.valid is None else ~first.valid
            return Operand(BOOL, unknown)
        case "coalesce":
            return _coalesce(node, arguments)
        case "abs":
            return mirror(node, first)
        case "seconds_between":
            valid = both(first.valid, arguments[1].valid)
            return Operand(FLOAT, quotient(arguments[1].data - first.data, np.array([1_000_000]), 0, 0, valid), valid)
        case _:
            return Operand(node.type, read_clocks(node.function, first.data, node.zone, first.valid), first.valid)


def _coalesce(node: Call, arguments: list[Operand]) -> Operand:
    """The first known value of each row. Only values that are taken must fit the common type."""
    if node.type.kind == "string":
        codes, dictionary = share_dictionary([(one.data, one.dictionary) for one in arguments])
        arguments = [Operand(one.type, mine, one.valid, dictionary) for one, mine in zip(arguments, codes, strict=True)]
    missing: Flags = np.ones(1, dtype=np.bool_)
    made: npt.NDArray[Any] = np.zeros(1)
    for one in arguments:
        taken = missing if one.valid is None else missing & one.valid
        data = converted(one, node, taken)
        made = data if one is arguments[0] else np.where(taken, data, made)
        missing = missing & ~one.valid if one.valid is not None else np.zeros(1, dtype=np.bool_)
        if not missing.any():
            break
    return Operand(node.type, made, ~missing if missing.any() else None, arguments[0].dictionary)


_MEANING: dict[type, Callable[[Any, Columns], Operand]] = {
    Literal: _constant, Name: _name, Negate: _flip, Binary: _arithmetic, Compare: _comparison, Logic: _kleene, Not: _negation,
    In: _membership, Call: _call,
}
