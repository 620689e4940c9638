"""The closed expression grammar: text to typed tree and back (`features.md`, `decisions.md` D29).

    expression := or        or := and ("or" and)*      and := not ("and" not)*      not := "not" not | compare
    compare    := sum (("==" | "!=" | "<" | "<=" | ">" | ">=") sum | "in" "(" literal ("," literal)* ")")?
    sum        := product (("+" | "-") product)*        product := unary (("*" | "/") unary)*
    unary      := "-" unary | literal | name | function "(" arguments ")" | "(" expression ")"
    literal    := 12 | 1.50 | 'text' | "text" | true | false | null          name := field | group.feature_window

There are no other words: no SQL, no attribute access, no user functions. Whole numbers are int64, `1.50` is exactly decimal(3,2); there is
no float literal. A quote inside a text is doubled. `null` is allowed only beside `and`/`or` and inside `coalesce`; ask with `is_null(x)`.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.elsewhere import SIGNS, WORDS
from offline_feature_plane.domain.expressions import (
    Arithmetic,
    Binary,
    Call,
    Compare,
    Comparison,
    Expression,
    Function,
    In,
    Literal,
    Logic,
    Name,
    Negate,
    Node,
    Not,
)
from offline_feature_plane.domain.pointing import point_at
from offline_feature_plane.domain.spelling import BINDING, COMPARISONS, NOT, OR, UNARY, print_node
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import ExpressionInvalid, SettingsInvalid

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "common_type", "parse", "parse_condition", "read_names"]

MAX_LENGTH = 4_000
MAX_DEPTH = 64

BOOL, INT64, FLOAT64 = ColumnType("bool"), ColumnType("int64"), ColumnType("float64")
TIMESTAMP, STRING = ColumnType("timestamp"), ColumnType("string")
CALENDAR = ("hour", "minute", "weekday", "day_of_month", "month")
ARITIES = {**dict.fromkeys(CALENDAR, (1, 2)), "abs": (1, 1), "is_null": (1, 1), "coalesce": (2, 16), "seconds_between": (2, 2)}
KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)"
    r"|(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<sign>==|!=|<=|>=|[-+*/<>(),])")


def parse(text: str, scope: Mapping[str, ColumnType], *, where: str = "expression", longest: int = MAX_LENGTH) -> Expression:
    """Parse and type-check an expression.

    Args:
        text: what the profile says.
        scope: the names it may read, with their types. Columns of groups are known by their full name (`customer__n_7d`) and may be
            written `customer.n_7d`.
        where: JSON path of the text, for the error.
        longest: how many characters it may have; a canonical spelling may be longer than what was written.

    Raises:
        ExpressionInvalid: it does not parse or type-check; the message shows the place with a caret.

    >>> parse("amount>0 and (not online)", {"amount": ColumnType("decimal", 12, 2), "online": ColumnType("bool")}).text
    'amount > 0 and not online'
    """
    part = _Parser(text, scope, where, longest).whole()
    return Expression(print_node(part.node), part.node)


def parse_condition(text: str, scope: Mapping[str, ColumnType], *, where: str = "expression", inside: str | None = None,
                    begins: int = 0) -> Expression:
    """Parse and type-check an expression that must be true or false.

    Args:
        text: the condition.
        scope: as for `parse`.
        where: as for `parse`.
        inside: the whole text that the condition stands in, and that a refusal shows; default: the condition alone.
        begins: at which character of that the condition begins.

    Raises:
        ExpressionInvalid: as `parse`, or its value is no truth value.
    """
    parser = _Parser(text, scope, where, MAX_LENGTH, inside, begins)
    part = parser.whole()
    if part.type.kind != "bool":
        raise parser.fail(f"a condition must be true or false, not {part.type}.", part.start, part.end,
                          "Compare the value with another, such as amount > 100 or channel == 'online'.")
    return Expression(print_node(part.node), part.node)


def read_names(text: str) -> frozenset[str]:
    """The names that a text would read, found without knowing what exists; empty if it does not even split into words."""
    try:
        tokens = _Parser(text, {}, "", MAX_LENGTH).tokens
    except ExpressionInvalid:
        return frozenset()
    return frozenset(token.text.replace(".", "__") for token, after in pairwise(tokens)
                     if token.kind == "name" and token.text not in KEYWORDS and after.text != "(")


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
class _Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class _Part:
    """A typed node and its place in the text; `bare_null` while a null has no type yet."""

    node: Node
    start: int
    end: int
    depth: int = 1
    bare_null: bool = False

    @property
    def type(self) -> ColumnType:
        return self.node.type


class _Parser:
    """A Pratt parser that types as it goes: a tree that comes out is well typed."""

    def __init__(self, text: str, scope: Mapping[str, ColumnType], where: str, longest: int, inside: str | None = None,
                 begins: int = 0) -> None:
        self.text, self.scope, self.where, self.longest = text, scope, where, longest
        self.inside, self.begins = text if inside is None else inside, begins
        self.nesting = 0
        self.tokens = self._tokens()
        self.at = 0

    def fail(self, what: str, start: int, end: int, fix: str | None = None) -> ExpressionInvalid:
        """An error that shows the place: the text, and carets under the part at fault."""
        start, end = start + self.begins, end + self.begins
        return ExpressionInvalid(f"{what}\n{point_at(self.inside, start, end)}\n", fix=fix, path=self.where, position=start)

    def _tokens(self) -> list[_Token]:
        if len(self.text) > self.longest:
            raise ExpressionInvalid(f"the expression has {len(self.text)} characters; the limit is {self.longest}.", path=self.where,
                                    fix="Split it into derived columns.")
        if not unicodedata.is_normalized("NFC", self.text):
            raise ExpressionInvalid("the expression is not in Unicode normal form C.", path=self.where, fix="Save the text as NFC.")
        found, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._unreadable(at)
            if match.lastgroup != "space":
                found.append(_Token(str(match.lastgroup), match[0], at, match.end()))
            at = match.end()
        found.append(_Token("end", "", at, at))
        return found

    def _unreadable(self, at: int) -> ExpressionInvalid:
        character = self.text[at]
        if character in "'\"":
            return self.fail("a string begins here and never ends.", at, at + 1, f"Close it with {character}.")
        return self.fail(f"unexpected character {character!r}.", at, at + 1, SIGNS.get(character))

    @property
    def token(self) -> _Token:
        """The next unread token."""
        return self.tokens[self.at]

    def take(self) -> _Token:
        """Read one token."""
        token = self.token
        self.at += 1
        return token

    def need(self, sign: str, after: str) -> _Token:
        """Read exactly this sign."""
        if self.token.text != sign or self.token.kind != "sign":
            raise self._unexpected(f"`{sign}` {after}")
        return self.take()

    def _unexpected(self, expected: str) -> ExpressionInvalid:
        token = self.token
        what = "the expression ends here" if token.kind == "end" else f"unexpected {token.text!r}"
        word = token.text.lower()
        fix = WORDS.get(word)
        if word in KEYWORDS and word != token.text:
            fix = f"Write `{word}`: the words of the language are in lower case."
        return self.fail(f"{what}; expected {expected}.", token.start, token.end, fix)

    def whole(self) -> _Part:
        """The whole text as one typed tree."""
        if self.token.kind == "end":
            raise self.fail("the expression is empty.", 0, 1, "Write a condition or a value, for example amount > 0.")
        part = self.above(OR)
        if self.token.kind != "end":
            raise self._unexpected("an operator or the end")
        return self._typed(part)

    def _typed(self, part: _Part) -> _Part:
        if part.bare_null:
            raise self.fail("a null here would make the whole result unknown.", part.start, part.end,
                            "Write `is_null(x)`, or replace it with `coalesce(x, …)`.")
        return part

    def above(self, level: int) -> _Part:
        """An expression whose operators bind at least as tightly as `level`."""
        self.nesting += 1
        if self.nesting > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH} levels.", self.token.start, self.token.end, "Split it into derived columns.")
        left = self._prefix()
        while self.token.kind in ("sign", "name") and (binding := BINDING.get(self.token.text, 0)) >= level:
            sign = self.token
            left = self._infix(left, binding)
            if left.depth > MAX_DEPTH:
                raise self.fail(f"more than {MAX_DEPTH} operations stand one upon the other.", sign.start, sign.end,
                                "Split it into derived columns.")
        self.nesting -= 1
        return left

    def _prefix(self) -> _Part:
        token = self.token
        if token.kind == "sign" and token.text == "-":
            return self._minus()
        if token.kind == "sign" and token.text == "(":
            self.take()
            inner = self.above(OR)
            return replace(inner, start=token.start, end=self.need(")", "to close the bracket").end)
        if token.kind in ("number", "text") or token.text in ("true", "false", "null"):
            return self._literal(negative=False)
        if token.text == "not":
            self.take()
            operand = self._want(self.above(NOT), "bool", "`not`")
            return _Part(Not(operand.node), token.start, operand.end, operand.depth + 1)
        if token.kind == "name" and token.text not in KEYWORDS:
            self.take()
            return self._call(token) if self.token.text == "(" and self.token.kind == "sign" else self._name(token)
        raise self._unexpected("a name, a number, a string, `not`, `-` or `(`")

    def _minus(self) -> _Part:
        sign = self.take()
        if self.token.kind == "number":
            return replace(self._literal(negative=True), start=sign.start)
        operand = self._number(self.above(UNARY), "`-`")
        if isinstance(operand.node, Literal) and operand.node.value != -2**63:
            return replace(operand, node=replace(operand.node, value=-cast("int", operand.node.value)), start=sign.start)
        kind = INT64 if operand.type.is_integer else operand.type
        return _Part(Negate(operand.node, kind), sign.start, operand.end, operand.depth + 1)

    def _literal(self, *, negative: bool) -> _Part:
        token = self.take()
        if token.kind == "text":
            quote, body = token.text[0], token.text[1:-1]
            body = body.replace(quote * 2, quote)
            if any(ord(character) < 32 for character in body):
                raise self.fail("a string holds a control character.", token.start, token.end)
            return _Part(Literal(body, STRING), token.start, token.end)
        if token.kind == "number":
            return _Part(self._number_literal(token, negative=negative), token.start, token.end)
        if token.text == "null":
            return _Part(Literal(None, BOOL), token.start, token.end, bare_null=True)
        return _Part(Literal(token.text == "true", BOOL), token.start, token.end)

    def _number_literal(self, token: _Token, *, negative: bool) -> Literal:
        whole, _, fraction = token.text.partition(".")
        value = int(whole + fraction) * (-1 if negative else 1)
        if not fraction:
            if not -2**63 <= value < 2**63:
                raise self.fail(f"{token.text} does not fit a 64-bit integer.", token.start, token.end)
            return Literal(value, INT64)
        precision = max(len(str(abs(value))), len(fraction))
        if precision > MAX_DECIMAL_DIGITS:
            raise self.fail(f"{token.text} has {precision} digits; decimals hold {MAX_DECIMAL_DIGITS}.", token.start, token.end)
        return Literal(value, ColumnType("decimal", precision, len(fraction)))

    def _name(self, token: _Token) -> _Part:
        name = token.text.replace(".", "__")
        if name not in self.scope:
            raise self._unknown("name", token, [known.replace("__", ".") for known in self.scope])
        return _Part(Name(name, self.scope[name]), token.start, token.end)

    def _unknown(self, what: str, token: _Token, known: list[str]) -> ExpressionInvalid:
        close = difflib.get_close_matches(token.text, known, 1)
        advice = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(sorted(known)[:20]) or 'nothing'}."
        if "." in token.text and not any("." in one for one in known):
            advice = "Only columns under `derived:` read features." + ("" if close else f" {advice}")
        elif what == "name" and not close:
            advice += f" A text stands in quotes: '{token.text}'."
        return self.fail(f"unknown {what} {token.text!r}.", token.start, token.end, advice)

    def _infix(self, left: _Part, binding: int) -> _Part:
        sign = self.take().text
        if sign in ("and", "or"):
            return self._logic(sign, left, self.above(binding + 1))
        if sign == "in":
            return self._in(self._typed(left))
        right = self.above(binding + 1)
        depth = max(left.depth, right.depth) + 1
        if sign in COMPARISONS:
            return replace(self._comparison(sign, self._typed(left), self._typed(right)), depth=depth)
        left, right = self._number(left, f"`{sign}`"), self._number(right, f"`{sign}`")
        kind = self._arithmetic_type(sign, left, right)
        return _Part(Binary(cast("Arithmetic", sign), left.node, right.node, kind), left.start, right.end, depth)

    def _arithmetic_type(self, sign: str, left: _Part, right: _Part) -> ColumnType:
        if sign == "/" or "float64" in (left.type.kind, right.type.kind):
            return FLOAT64
        if left.type.is_integer and right.type.is_integer:
            return INT64
        scale = left.type.scale + right.type.scale if sign == "*" else max(left.type.scale, right.type.scale)
        if scale > MAX_DECIMAL_DIGITS:
            raise self.fail(f"the product has {scale} decimal places; decimals hold {MAX_DECIMAL_DIGITS} digits.", left.start, right.end,
                            "Declare a smaller scale, or divide, which gives a float64.")
        return ColumnType("decimal", MAX_DECIMAL_DIGITS, scale)

    def _comparison(self, sign: str, left: _Part, right: _Part) -> _Part:
        if self.token.text in COMPARISONS and self.token.kind == "sign":
            raise self.fail("comparisons do not chain.", self.token.start, self.token.end, "Join two comparisons with `and`.")
        if common_type([left.type, right.type]) is None and left.type.kind != right.type.kind:
            raise self._unlike(left.type, right, left.start)
        if left.type.kind == "bool" and sign not in ("==", "!="):
            raise self.fail(f"booleans have no order; `{sign}` compares numbers, strings and times.", left.start, right.end)
        return _Part(Compare(cast("Comparison", sign), left.node, right.node), left.start, right.end)

    def _unlike(self, left: ColumnType, right: _Part, start: int) -> ExpressionInvalid:
        fix = None
        if isinstance(right.node, Literal) and left.kind == "string" and right.type.is_exact_number:
            fix = "A text is compared with a text: put the number in quotes, or declare the field as a number."
        elif isinstance(right.node, Literal) and right.type.kind == "string":
            fix = f"Text in quotes is compared with texts only, and this is a {left}."
        return self.fail(f"cannot compare {left} with {right.type}.", start, right.end, fix)

    def _logic(self, word: str, left: _Part, right: _Part) -> _Part:
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
        return _Part(Logic("and" if word == "and" else "or", tuple(operands)), left.start, right.end, depth)

    def _in(self, operand: _Part) -> _Part:
        self.need("(", "after `in`")
        options: list[Literal] = []
        while True:
            option = self._option()
            if common_type([operand.type, option.type]) is None:
                raise self._unlike(operand.type, option, option.start)
            options.append(cast("Literal", option.node))
            if self.token.text != ",":
                break
            self.take()
        end = self.need(")", "or `,` after a value").end
        return _Part(In(operand.node, tuple(options)), operand.start, end, operand.depth + 1)

    def _option(self) -> _Part:
        if self.token.text == "null":
            raise self.fail("a null is never equal to anything.", self.token.start, self.token.end, "Write `… or is_null(x)`.")
        if self.token.kind in ("number", "text") or self.token.text in ("true", "false"):
            return self._literal(negative=False)
        if self.token.text == "-":
            sign = self.take()
            if self.token.kind == "number":
                return replace(self._literal(negative=True), start=sign.start)
        raise self._unexpected("a literal value")

    def _call(self, name: _Token) -> _Part:
        function = name.text
        if function not in ARITIES:
            raise self._unknown("function", name, list(ARITIES))
        self.take()
        arguments: list[_Part] = []
        while self.token.text != ")" or self.token.kind != "sign":
            if arguments:
                self.need(",", "or `)` after an argument")
            arguments.append(self.above(OR))
        end = self.take().end
        least, most = ARITIES[function]
        if not least <= len(arguments) <= most:
            many = f"{least}" if least == most else f"{least} to {most}"
            raise self.fail(f"{function} takes {many} argument{'' if many == '1' else 's'}, not {len(arguments)}.", name.start, end)
        depth = max(part.depth for part in arguments) + 1
        return replace(self._typed_call(cast("Function", function), arguments), start=name.start, end=end, depth=depth)

    def _typed_call(self, function: Function, arguments: list[_Part]) -> _Part:
        start, end = arguments[0].start, arguments[-1].end
        if function == "coalesce":
            return self._coalesce(arguments)
        arguments = [self._typed(part) for part in arguments]
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
        return _Part(Call(function, tuple(part.node for part in arguments), kind, zone), start, end)

    def _coalesce(self, arguments: list[_Part]) -> _Part:
        start, end = arguments[0].start, arguments[-1].end
        kind = common_type([part.type for part in arguments if not part.bare_null]) if not all(p.bare_null for p in arguments) else None
        if kind is None:
            raise self.fail(f"coalesce needs values of one type, not {', '.join(str(part.type) for part in arguments)}.", start, end)
        nodes = tuple(Literal(None, kind) if part.bare_null else part.node for part in arguments)
        return _Part(Call("coalesce", nodes, kind), start, end)

    def _zone(self, part: _Part) -> str:
        name = part.node.value if isinstance(part.node, Literal) else None
        if not isinstance(name, str):
            raise self.fail("the zone must be a string, for example 'Europe/Paris'.", part.start, part.end)
        try:
            named_zone(name)
        except SettingsInvalid:
            raise self.fail(f"there is no time zone {name!r}.", part.start, part.end,
                            "Use an IANA name such as 'Europe/Paris' or 'UTC'.") from None
        return name

    def _want(self, part: _Part, kind: str, whose: str) -> _Part:
        if self._typed(part).type.kind != kind:
            raise self.fail(f"{whose} needs a {kind}, not {part.type}.", part.start, part.end)
        return part

    def _number(self, part: _Part, whose: str) -> _Part:
        if not (self._typed(part).type.is_exact_number or part.type.kind == "float64"):
            raise self.fail(f"{whose} needs a number, not {part.type}.", part.start, part.end)
        return part
