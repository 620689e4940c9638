"""The words of an expression, one after the other, and errors that point at them (`decisions.md` D29)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from offline_feature_plane.domain.elsewhere import SIGNS, WORDS
from offline_feature_plane.domain.pointing import point_at
from offline_feature_plane.errors import ExpressionInvalid

__all__ = ["KEYWORDS", "MAX_LENGTH", "Token", "Tokens"]

MAX_LENGTH = 4_000
KEYWORDS = frozenset({"and", "or", "not", "in", "true", "false", "null"})

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)"
    r"|(?P<text>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\")|(?P<sign>==|!=|<=|>=|[-+*/<>(),])")


@dataclass(frozen=True)
class Token:
    """A word: its kind (a group of `_TOKEN`, or `end`), and where it stands."""

    kind: str
    text: str
    start: int
    end: int


class Tokens:
    """The tokens of a text, read one by one; `whole` has all of them, the end last.

    Args:
        text: what the profile says.
        where: JSON path of the text, for errors.
        longest: how many characters it may have.
        inside: the whole text that it stands in, and that an error shows; default: itself.
        begins: at which character of that it begins.

    Raises:
        ExpressionInvalid: it is too long, or there is something that is no word.
    """

    def __init__(self, text: str, where: str = "expression", longest: int = MAX_LENGTH, inside: str | None = None, begins: int = 0) -> None:
        self._text, self._where, self._longest = text, where, longest
        self._inside, self._begins = text if inside is None else inside, begins
        self.whole = self._split()
        self._at = 0

    def fail(self, what: str, start: int, end: int, fix: str | None = None) -> ExpressionInvalid:
        """An error that shows the place: the text, and carets under the part at fault."""
        start, end = start + self._begins, end + self._begins
        return ExpressionInvalid(f"{what}\n{point_at(self._inside, start, end)}\n", fix=fix, path=self._where, position=start)

    def _split(self) -> list[Token]:
        if len(self._text) > self._longest:
            raise ExpressionInvalid(f"the expression has {len(self._text)} characters; the limit is {self._longest}.", path=self._where,
                                    fix="Split it into derived columns.")
        if not unicodedata.is_normalized("NFC", self._text):
            raise ExpressionInvalid("the expression is not in Unicode normal form C.", path=self._where, fix="Save the text as NFC.")
        found, at = [], 0
        while at < len(self._text):
            match = _TOKEN.match(self._text, at)
            if match is None:
                raise self._unreadable(at)
            if match.lastgroup != "space":
                found.append(Token(str(match.lastgroup), match[0], at, match.end()))
            at = match.end()
        found.append(Token("end", "", at, at))
        return found

    def _unreadable(self, at: int) -> ExpressionInvalid:
        character = self._text[at]
        if character in "'\"":
            return self.fail("a string begins here and never ends.", at, at + 1, f"Close it with {character}.")
        return self.fail(f"unexpected character {character!r}.", at, at + 1, SIGNS.get(character))

    @property
    def token(self) -> Token:
        """The next unread token."""
        return self.whole[self._at]

    def take(self) -> Token:
        """Read one token."""
        token = self.token
        self._at += 1
        return token

    def need(self, sign: str, after: str) -> Token:
        """Read exactly this sign."""
        if self.token.text != sign or self.token.kind != "sign":
            raise self.unexpected(f"`{sign}` {after}")
        return self.take()

    def unexpected(self, expected: str) -> ExpressionInvalid:
        """The error of another token than expected."""
        token = self.token
        what = "the expression ends here" if token.kind == "end" else f"unexpected {token.text!r}"
        word = token.text.lower()
        fix = WORDS.get(word)
        if word in KEYWORDS and word != token.text:
            fix = f"Write `{word}`: the words of the language are in lower case."
        return self.fail(f"{what}; expected {expected}.", token.start, token.end, fix)
