"""Parts of an expression, put together if their types fit (`features.md`, `decisions.md` D29)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.expressions import (
    Arithmetic,
    Binary,
    Call,
    Compare,
    Comparison,
    Function,
    In,
    Literal,
    Logic,
    Negate,
    Node,
    Not,
)
from offline_feature_plane.domain.spelling import COMPARISONS
from offline_feature_plane.domain.tokenizing import Tokens
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import ExpressionInvalid, SettingsInvalid

__all__ = ["BOOL", "CALENDAR", "INT64", "STRING", "TIMESTAMP", "Part", "Typing", "common_type"]

BOOL, INT64, FLOAT64 = ColumnType("bool"), ColumnType("int64"), ColumnType("float64")
TIMESTAMP, STRING = ColumnType("timestamp"), ColumnType("string")
CALENDAR = ("hour", "minute", "weekday", "day_of_month", "month")


def common_type(types: list[ColumnType]) -> ColumnType | None:
    """The one type that all of these become beside each other, or None.

    Equal types stay; integers become int64; integers and decimals the decimal(18, largest scale); a float64 makes all numbers float64.
    """
    if len(set(types)) == 1:
        return types[0]
    kinds = {"int" if one.is_integer else one.kind for one in types}
    if not kinds <= {"int", "decimal", "float64"}:
        return None
    if "float64" in kinds:
        return FLOAT64
    return ColumnType("decimal", MAX_DECIMAL_DIGITS, max(one.scale for one in types)) if "decimal" in kinds else INT64


@dataclass(frozen=True)
class Part:
    """A typed node and its place in the text; `bare_null` while a null has no type yet."""

    node: Node
    start: int
    end: int
    depth: int = 1
    bare_null: bool = False

    @property
    def type(self) -> ColumnType:
        """The node's."""
        return self.node.type


class Typing:
    """Makes parts of parts; what does not fit is refused at its place in the text."""

    def __init__(self, tokens: Tokens) -> None:
        self.fail = tokens.fail

    def settled(self, part: Part) -> Part:
        """The part, which must have a type of its own."""
        if part.bare_null:
            raise self.fail("a null here would make the whole result unknown.", part.start, part.end,
                            "Write `is_null(x)`, or replace it with `coalesce(x, …)`.")
        return part

    def negate(self, operand: Part, start: int) -> Part:
        """The part with a `-` before it, which begins at `start`."""
        operand = self._number(operand, "`-`")
        if isinstance(operand.node, Literal) and operand.node.value != -2**63:
            return replace(operand, node=replace(operand.node, value=-cast("int", operand.node.value)), start=start)
        kind = INT64 if operand.type.is_integer else operand.type
        return Part(Negate(operand.node, kind), start, operand.end, operand.depth + 1)

    def invert(self, operand: Part, start: int) -> Part:
        """The part with a `not` before it, which begins at `start`."""
        operand = self._want(operand, "bool", "`not`")
        return Part(Not(operand.node), start, operand.end, operand.depth + 1)

    def join(self, sign: str, left: Part, right: Part) -> Part:
        """Two parts with an arithmetic sign or a comparison between them."""
        depth = max(left.depth, right.depth) + 1
        if sign in COMPARISONS:
            return replace(self._comparison(sign, self.settled(left), self.settled(right)), depth=depth)
        left, right = self._number(left, f"`{sign}`"), self._number(right, f"`{sign}`")
        kind = self._arithmetic_type(sign, left, right)
        return Part(Binary(cast("Arithmetic", sign), left.node, right.node, kind), left.start, right.end, depth)

    def _arithmetic_type(self, sign: str, left: Part, right: Part) -> ColumnType:
        if sign == "/" or "float64" in (left.type.kind, right.type.kind):
            return FLOAT64
        if left.type.is_integer and right.type.is_integer:
            return INT64
        scale = left.type.scale + right.type.scale if sign == "*" else max(left.type.scale, right.type.scale)
        if scale > MAX_DECIMAL_DIGITS:
            raise self.fail(f"the product has {scale} decimal places; decimals hold {MAX_DECIMAL_DIGITS} digits.", left.start, right.end,
                            "Declare a smaller scale, or divide, which gives a float64.")
        return ColumnType("decimal", MAX_DECIMAL_DIGITS, scale)

    def _comparison(self, sign: str, left: Part, right: Part) -> Part:
        if common_type([left.type, right.type]) is None and left.type.kind != right.type.kind:
            raise self._unlike(left.type, right, left.start)
        if left.type.kind == "bool" and sign not in ("==", "!="):
            raise self.fail(f"booleans have no order; `{sign}` compares numbers, strings and times.", left.start, right.end)
        return Part(Compare(cast("Comparison", sign), left.node, right.node), left.start, right.end)

    def _unlike(self, left: ColumnType, right: Part, start: int) -> ExpressionInvalid:
        fix = None
        if isinstance(right.node, Literal) and left.kind == "string" and right.type.is_exact_number:
            fix = "A text is compared with a text: put the number in quotes, or declare the field as a number."
        elif isinstance(right.node, Literal) and right.type.kind == "string":
            fix = f"Text in quotes is compared with texts only, and this is a {left}."
        return self.fail(f"cannot compare {left} with {right.type}.", start, right.end, fix)

    def logic(self, word: str, left: Part, right: Part) -> Part:
        """Two parts with `and` or `or` between them."""
        left, right = (part if part.bare_null else self._want(part, "bool", f"`{word}`") for part in (left, right))
        operands: list[Node] = []
        depth = 0
        for part in (left, right):  # Kleene `and` and `or` are associative: one flat list is the canonical tree
            if isinstance(part.node, Logic) and part.node.operator == word:
                operands += part.node.operands
                depth = max(depth, part.depth)
            else:
                operands.append(part.node)
                depth = max(depth, part.depth + 1)
        return Part(Logic("and" if word == "and" else "or", tuple(operands)), left.start, right.end, depth)

    def among(self, operand: Part, options: Sequence[Part], end: int) -> Part:
        """`operand in (…)`, which ends at `end`."""
        for option in options:
            if common_type([operand.type, option.type]) is None:
                raise self._unlike(operand.type, option, option.start)
        return Part(In(operand.node, tuple(cast("Literal", option.node) for option in options)), operand.start, end, operand.depth + 1)

    def call(self, function: Function, arguments: list[Part]) -> Part:
        """A function of some arguments, as many as it takes."""
        start, end = arguments[0].start, arguments[-1].end
        if function == "coalesce":
            return self._coalesce(arguments)
        arguments = [self.settled(part) for part in arguments]
        first = arguments[0]
        zone, kind = "UTC", INT64
        if function in CALENDAR:
            zone = self._zone(arguments[1]) if len(arguments) > 1 else zone
            arguments = [self._want(first, "timestamp", function)]
        elif function == "abs":
            kind = INT64 if self._number(first, "abs").type.is_integer else first.type
        elif function == "seconds_between":
            arguments, kind = [self._want(part, "timestamp", function) for part in arguments], FLOAT64
        else:
            kind = BOOL
        return Part(Call(function, tuple(part.node for part in arguments), kind, zone), start, end)

    def _coalesce(self, arguments: list[Part]) -> Part:
        start, end = arguments[0].start, arguments[-1].end
        kind = common_type([part.type for part in arguments if not part.bare_null]) if not all(p.bare_null for p in arguments) else None
        if kind is None:
            raise self.fail(f"coalesce needs values of one type, not {', '.join(str(part.type) for part in arguments)}.", start, end)
        nodes = tuple(Literal(None, kind) if part.bare_null else part.node for part in arguments)
        return Part(Call("coalesce", nodes, kind), start, end)

    def _zone(self, part: Part) -> str:
        name = part.node.value if isinstance(part.node, Literal) else None
        if not isinstance(name, str):
            raise self.fail("the zone must be a string, for example 'Europe/Paris'.", part.start, part.end)
        try:
            named_zone(name)
        except SettingsInvalid:
            raise self.fail(f"there is no time zone {name!r}.", part.start, part.end,
                            "Use an IANA name such as 'Europe/Paris' or 'UTC'.") from None
        return name

    def _want(self, part: Part, kind: str, whose: str) -> Part:
        if self.settled(part).type.kind != kind:
            raise self.fail(f"{whose} needs a {kind}, not {part.type}.", part.start, part.end)
        return part

    def _number(self, part: Part, whose: str) -> Part:
        if not (self.settled(part).type.is_exact_number or part.type.kind == "float64"):
            raise self.fail(f"{whose} needs a number, not {part.type}.", part.start, part.end)
        return part
