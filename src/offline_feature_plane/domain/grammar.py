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
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import cast

from offline_feature_plane.domain.columns import MAX_DECIMAL_DIGITS, ColumnType
from offline_feature_plane.domain.expressions import Expression, Function, Literal, Name
from offline_feature_plane.domain.spelling import BINDING, COMPARISONS, NOT, OR, UNARY, print_node
from offline_feature_plane.domain.tokenizing import KEYWORDS, MAX_LENGTH, Token, Tokens
from offline_feature_plane.domain.typing_rules import BOOL, CALENDAR, INT64, STRING, Part, Typing
from offline_feature_plane.errors import ExpressionInvalid

__all__ = ["MAX_DEPTH", "parse", "parse_condition", "read_names"]

MAX_DEPTH = 64
ARITIES = {**dict.fromkeys(CALENDAR, (1, 2)), "abs": (1, 1), "is_null": (1, 1), "coalesce": (2, 16), "seconds_between": (2, 2)}


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
    part = _Parser(text, scope, where, longest).parse()
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
    part = parser.parse()
    if part.type.kind != "bool":
        raise parser.fail(f"a condition must be true or false, not {part.type}.", part.start, part.end,
                          "Compare the value with another, such as amount > 100 or channel == 'online'.")
    return Expression(print_node(part.node), part.node)


def read_names(text: str) -> frozenset[str]:
    """The names that a text would read, found without knowing what exists; empty if it does not even split into words."""
    try:
        tokens = Tokens(text).whole
    except ExpressionInvalid:
        return frozenset()
    return frozenset(token.text.replace(".", "__") for token, after in pairwise(tokens)
                     if token.kind == "name" and token.text not in KEYWORDS and after.text != "(")


class _Parser(Tokens):
    """A Pratt parser that types as it goes: a tree that comes out is well typed."""

    def __init__(self, text: str, scope: Mapping[str, ColumnType], where: str, longest: int, inside: str | None = None,
                 begins: int = 0) -> None:
        super().__init__(text, where, longest, inside, begins)
        self._scope, self._types, self._nesting = scope, Typing(self), 0

    def parse(self) -> Part:
        """The whole text as one typed tree."""
        if self.token.kind == "end":
            raise self.fail("the expression is empty.", 0, 1, "Write a condition or a value, for example amount > 0.")
        part = self.above(OR)
        if self.token.kind != "end":
            raise self.unexpected("an operator or the end")
        return self._types.settled(part)

    def above(self, level: int) -> Part:
        """An expression whose operators bind at least as tightly as `level`."""
        self._nesting += 1
        if self._nesting > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH} levels.", self.token.start, self.token.end, "Split it into derived columns.")
        left = self._prefix()
        while self.token.kind in ("sign", "name") and (binding := BINDING.get(self.token.text, 0)) >= level:
            sign = self.token
            left = self._infix(left, binding)
            if left.depth > MAX_DEPTH:
                raise self.fail(f"more than {MAX_DEPTH} operations stand one upon the other.", sign.start, sign.end,
                                "Split it into derived columns.")
        self._nesting -= 1
        return left

    def _prefix(self) -> Part:
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
            return self._types.invert(self.above(NOT), token.start)
        if token.kind == "name" and token.text not in KEYWORDS:
            self.take()
            return self._call(token) if self.token.text == "(" and self.token.kind == "sign" else self._name(token)
        raise self.unexpected("a name, a number, a string, `not`, `-` or `(`")

    def _minus(self) -> Part:
        sign = self.take()
        if self.token.kind == "number":
            return replace(self._literal(negative=True), start=sign.start)
        return self._types.negate(self.above(UNARY), sign.start)

    def _literal(self, *, negative: bool) -> Part:
        token = self.take()
        if token.kind == "text":
            quote, body = token.text[0], token.text[1:-1]
            body = body.replace(quote * 2, quote)
            if any(ord(character) < 32 for character in body):
                raise self.fail("a string holds a control character.", token.start, token.end)
            return Part(Literal(body, STRING), token.start, token.end)
        if token.kind == "number":
            return Part(self._number_literal(token, negative=negative), token.start, token.end)
        if token.text == "null":
            return Part(Literal(None, BOOL), token.start, token.end, bare_null=True)
        return Part(Literal(token.text == "true", BOOL), token.start, token.end)

    def _number_literal(self, token: Token, *, negative: bool) -> Literal:
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

    def _name(self, token: Token) -> Part:
        name = token.text.replace(".", "__")
        if name not in self._scope:
            raise self._unknown("name", token, [known.replace("__", ".") for known in self._scope])
        return Part(Name(name, self._scope[name]), token.start, token.end)

    def _unknown(self, what: str, token: Token, known: list[str]) -> ExpressionInvalid:
        close = difflib.get_close_matches(token.text, known, 1)
        advice = f"Did you mean {close[0]}?" if close else f"Known here: {', '.join(sorted(known)[:20]) or 'nothing'}."
        if "." in token.text and not any("." in one for one in known):
            advice = "Only columns under `derived:` read features." + ("" if close else f" {advice}")
        elif what == "name" and not close:
            advice += f" A text stands in quotes: '{token.text}'."
        return self.fail(f"unknown {what} {token.text!r}.", token.start, token.end, advice)

    def _infix(self, left: Part, binding: int) -> Part:
        sign = self.take().text
        if sign in ("and", "or"):
            return self._types.logic(sign, left, self.above(binding + 1))
        if sign == "in":
            return self._in(self._types.settled(left))
        right = self.above(binding + 1)
        if sign in COMPARISONS and self.token.text in COMPARISONS and self.token.kind == "sign":
            raise self.fail("comparisons do not chain.", self.token.start, self.token.end, "Join two comparisons with `and`.")
        return self._types.join(sign, left, right)

    def _in(self, operand: Part) -> Part:
        self.need("(", "after `in`")
        options = [self._option()]
        while self.token.text == ",":
            self.take()
            options.append(self._option())
        return self._types.among(operand, options, self.need(")", "or `,` after a value").end)

    def _option(self) -> Part:
        if self.token.text == "null":
            raise self.fail("a null is never equal to anything.", self.token.start, self.token.end, "Write `… or is_null(x)`.")
        if self.token.kind in ("number", "text") or self.token.text in ("true", "false"):
            return self._literal(negative=False)
        if self.token.text == "-":
            sign = self.take()
            if self.token.kind == "number":
                return replace(self._literal(negative=True), start=sign.start)
        raise self.unexpected("a literal value")

    def _call(self, name: Token) -> Part:
        function = name.text
        if function not in ARITIES:
            raise self._unknown("function", name, list(ARITIES))
        self.take()
        arguments: list[Part] = []
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
        return replace(self._types.call(cast("Function", function), arguments), start=name.start, end=end, depth=depth)

