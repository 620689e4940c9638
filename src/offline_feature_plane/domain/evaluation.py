"""What an expression means for one event: exact numbers, three-valued logic, calendars (`features.md`, `decisions.md` D29).

Integers and decimals are computed exactly; only the value of each operation must fit its type. `/` is the correctly rounded quotient of
the exact operands; an operation with a float64 operand is IEEE's. A null operand makes the result null, except in `and`, `or`,
`is_null`, `coalesce`; a zero divisor gives null. This is the law that faster evaluators are held against.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, cast

from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.expressions import Binary, Call, Compare, Expression, In, Literal, Logic, Name, Negate, Node, Not
from offline_feature_plane.domain.extraction import Value
from offline_feature_plane.domain.instants import US_PER_SECOND
from offline_feature_plane.domain.zones import wall_at
from offline_feature_plane.errors import NumericOverflow

__all__ = ["evaluate", "is_true", "read_clock"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def evaluate(expression: Expression | Node, values: Mapping[str, Value]) -> Value:  # noqa: PLR0911 - one return per kind of node
    """The value of an expression.

    Args:
        expression: a parsed expression, or a node of one.
        values: a value for each name it reads, in the inner form (decimals as scaled ints, times as µs).

    Raises:
        NumericOverflow: an operation's exact result leaves int64, 18 digits, or the finite doubles.

    >>> from offline_feature_plane.domain.grammar import parse
    >>> evaluate(parse("a / 4 > 0.25", {"a": ColumnType("int64")}), {"a": 1})
    False
    """
    node = expression.root if isinstance(expression, Expression) else expression
    match node:
        case Literal(value=constant):
            return constant
        case Name(name=name):
            return values[name]
        case Negate(operand=one):
            value = evaluate(one, values)
            return None if value is None else _fitting(-cast("int", value), node.type, "-")
        case Binary():
            return _calculate(node, evaluate(node.left, values), evaluate(node.right, values))
        case Compare(operator=sign, left=left, right=right):
            return _compare(sign, evaluate(left, values), left.type, evaluate(right, values), right.type)
        case Logic(operator=word, operands=many):
            return _kleene(word, [cast("bool | None", evaluate(one, values)) for one in many])
        case Not(operand=one):
            value = evaluate(one, values)
            return None if value is None else not value
        case In(operand=one, options=options):
            value = evaluate(one, values)
            return None if value is None else any(_compare("==", value, one.type, option.value, option.type) for option in options)
        case Call():
            return _call(node, [evaluate(one, values) for one in node.arguments])


def is_true(condition: Expression | None, values: Mapping[str, Value]) -> bool:
    """Does an event pass a condition? Unknown does not pass; no condition always does (`decisions.md` D29)."""
    return condition is None or evaluate(condition, values) is True


def read_clock(function: str, at_us: int, zone: str) -> int:
    """What a calendar or clock in `zone` shows at an instant: hour 0–23, minute, weekday (Monday 0), day_of_month, month.

    >>> read_clock("weekday", 0, "UTC"), read_clock("hour", 0, "Asia/Kolkata")
    (3, 5)
    """
    moment = wall_at(at_us, zone)
    match function:
        case "hour":
            return moment.hour
        case "minute":
            return moment.minute
        case "weekday":
            return moment.weekday()
        case "day_of_month":
            return moment.day
        case _:
            return moment.month


def _calculate(node: Binary, left: Value, right: Value) -> Value:
    if left is None or right is None:
        return None
    if node.operator == "/" and right == 0:
        return None
    if "float64" in (node.left.type.kind, node.right.type.kind):
        a, b = _as_float(left, node.left.type), _as_float(right, node.right.type)
        try:
            return _fitting(_ARITHMETIC[node.operator](a, b), node.type, node.operator)
        except OverflowError:
            return _fitting(math.inf, node.type, node.operator)
    exact = _ARITHMETIC[node.operator](_rational(left, node.left.type), _rational(right, node.right.type))
    if node.operator == "/":
        return _fitting(float(exact), node.type, "/")  # Fraction → float rounds once, half to even
    return _fitting(int(exact * 10**node.type.scale), node.type, node.operator)


def _compare(sign: str, left: Value, left_type: ColumnType, right: Value, right_type: ColumnType) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, str) and isinstance(right, str):
        return _COMPARE[sign](left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))
    return _COMPARE[sign](_rational(left, left_type), _rational(right, right_type))


def _kleene(word: str, values: list[bool | None]) -> bool | None:
    decisive = word == "or"  # one True decides `or`, one False decides `and`, whatever is unknown
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def _call(node: Call, values: list[Value]) -> Value:  # noqa: PLR0911 - one return per function
    first = values[0]
    if node.function == "is_null":
        return first is None
    if node.function == "coalesce":
        for value, argument in zip(values, node.arguments, strict=True):
            if value is not None:
                return _converted(value, argument.type, node.type)
        return None
    if first is None or values[-1] is None:
        return None
    if node.function == "abs":
        return _fitting(abs(cast("int", first)), node.type, "abs")
    if node.function == "seconds_between":
        return float(Fraction(cast("int", values[1]) - cast("int", first), US_PER_SECOND))
    return read_clock(node.function, cast("int", first), node.zone)


def _converted(value: Value, kind: ColumnType, wanted: ColumnType) -> Value:
    if kind == wanted:
        return value
    if wanted.kind == "float64":
        return _as_float(value, kind)
    return _fitting(int(_rational(value, kind) * 10**wanted.scale), wanted, "coalesce")


def _rational(value: Any, kind: ColumnType) -> Fraction:
    return Fraction(value, 10**kind.scale) if kind.kind == "decimal" else Fraction(value)


def _as_float(value: Any, kind: ColumnType) -> float:
    return float(_rational(value, kind))


def _fitting(value: int | float, kind: ColumnType, what: str) -> int | float:  # noqa: PYI041 - both are named: exact numbers and doubles
    if kind.kind == "float64":
        if not math.isfinite(value):
            raise NumericOverflow(f"`{what}` gives {value}, which is not a finite number.",
                                  fix="Bound its operands with `where` or coalesce.")
        return value + 0.0  # −0.0 becomes 0.0
    limit = 10**MAX_DECIMAL_DIGITS if kind.kind == "decimal" else 2**63
    low = -limit + 1 if kind.kind == "decimal" else -limit
    if not low <= value < limit:
        raise NumericOverflow(f"`{what}` gives {value}, which exceeds {'18 digits' if kind.kind == 'decimal' else 'int64'}.",
                              fix="Use smaller scales, or a float64 (x / 1).")
    return value
