"""Several label types as one target: the closed grammar of `combine`, and what it means (`decisions.md` D24, record 0033).

    combination := all ("or" all)*        all := one ("and" one)*        one := "not" one | label type | "(" combination ")"

Each label type of the target is named exactly once. Then two spellings that mean the same differ only in order, brackets and where `not`
stands, all of which reading settles: `text_of` is the one spelling of a meaning.

An answer is one of four. `or` takes the strongest of its operands in this order, `and` the strongest from the other side:

```
   or:   negative ◀ unlabeled ◀ conflict ◀ positive          and:   positive ◀ unlabeled ◀ conflict ◀ negative
```

So what decides, decides whatever else is unknown; what is undecided is a conflict if one plays a part in it, and silence otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["ANSWERS", "INVERTED", "Answer", "Combination", "Joined", "Named", "combine", "named_types", "parse_combination", "text_of"]

Answer = Literal["negative", "unlabeled", "conflict", "positive"]
ANSWERS: Final[tuple[Answer, ...]] = ("negative", "unlabeled", "conflict", "positive")  # `or` takes the last of them
INVERTED: Final[Mapping[Answer, Answer]] = {"negative": "positive", "unlabeled": "unlabeled", "conflict": "conflict",
                                            "positive": "negative"}

MAX_LENGTH = 1_000
MAX_DEPTH = 64

_WORD = re.compile(r"\s*(?:(?P<sign>[()])|(?P<word>[^\s()]+))")


@dataclass(frozen=True)
class Named:
    """What a label type says, or its opposite."""

    label_type: str
    inverted: bool = False


@dataclass(frozen=True)
class Joined:
    """Two or more operands under one word, none of them joined by the same word, in the order of their texts."""

    word: Literal["and", "or"]
    operands: tuple[Combination, ...]


Combination = Named | Joined


def parse_combination(text: str, label_types: Collection[str]) -> Combination:
    """Read how label types are combined, in its canonical form: `not` only before a type, operands sorted.

    Args:
        text: as it was written.
        label_types: the types to be combined; each is named exactly once.

    Raises:
        ValueError: it does not parse, or does not name each of the types exactly once; the message says where and why.

    >>> text_of(parse_combination("not (refund or not (fraud or chargeback))", ["chargeback", "fraud", "refund"]))
    '(chargeback or fraud) and not refund'
    """
    if len(text) > MAX_LENGTH:
        raise ValueError(f"the combination has {len(text)} characters; the limit is {MAX_LENGTH}")
    found = _Reader(text, label_types).read()
    named = list(named_types(found))
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is named more than once; name each type once, such as `a and (b or c)`")
    if missing := sorted(set(label_types) - set(named)):
        raise ValueError(f"{', '.join(missing)} is not named; name each type once, or leave it out of the target")
    return found


def named_types(combination: Combination) -> Iterator[str]:
    """The label types that a combination names, in its order."""
    if isinstance(combination, Named):
        yield combination.label_type
    else:
        for one in combination.operands:
            yield from named_types(one)


def text_of(combination: Combination) -> str:
    """The canonical spelling."""
    if isinstance(combination, Named):
        return f"not {combination.label_type}" if combination.inverted else combination.label_type
    return f" {combination.word} ".join(text_of(one) if isinstance(one, Named) else f"({text_of(one)})" for one in combination.operands)


def combine(combination: Combination, answers: Mapping[str, Answer]) -> Answer:
    """What the answers of the label types say together.

    >>> both = parse_combination("a and b", ["a", "b"])
    >>> [combine(both, {"a": one, "b": "conflict"}) for one in ANSWERS]
    ['negative', 'conflict', 'conflict', 'conflict']
    """
    if isinstance(combination, Named):
        answer = answers[combination.label_type]
        return INVERTED[answer] if combination.inverted else answer
    found = [combine(one, answers) for one in combination.operands]
    if combination.word == "or":
        return max(found, key=ANSWERS.index)
    return INVERTED[max((INVERTED[one] for one in found), key=ANSWERS.index)]


class _Reader:
    """Reads one combination; `inverted` carries every `not` down to the types, where De Morgan's laws put it."""

    def __init__(self, text: str, label_types: Collection[str]) -> None:
        self._words = [(match.lastgroup, match[str(match.lastgroup)], match.start(str(match.lastgroup)) + 1)
                       for match in _WORD.finditer(text)]
        self._known, self._at, self._depth = sorted(label_types), 0, 0

    def read(self) -> Combination:
        """The whole text."""
        found = self._joined("or", inverted=False)
        if self._word() is not None:
            raise self._unexpected("`and`, `or` or the end")
        return found

    def _word(self) -> str | None:
        return self._words[self._at][1] if self._at < len(self._words) else None

    def _joined(self, word: Literal["and", "or"], *, inverted: bool) -> Combination:
        found = [self._operand(word, inverted=inverted)]
        while self._word() == word:
            self._at += 1
            found.append(self._operand(word, inverted=inverted))
        if len(found) == 1:
            return found[0]
        meant: Literal["and", "or"] = word if not inverted else "or" if word == "and" else "and"
        flat = [part for one in found for part in (one.operands if isinstance(one, Joined) and one.word == meant else (one,))]
        return Joined(meant, tuple(sorted(flat, key=lambda one: text_of(one).encode())))

    def _operand(self, word: str, *, inverted: bool) -> Combination:
        return self._joined("and", inverted=inverted) if word == "or" else self._one(inverted=inverted)

    def _one(self, *, inverted: bool) -> Combination:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"brackets and `not` are nested deeper than {MAX_DEPTH} levels")
        word = self._word()
        if word == "not":
            self._at += 1
            found = self._one(inverted=not inverted)
        elif word == "(":
            self._at += 1
            found = self._joined("or", inverted=inverted)
            if self._word() != ")":
                raise self._unexpected("`and`, `or` or `)`")
            self._at += 1
        elif word in self._known and word not in ("and", "or"):
            found = Named(str(word), inverted)
            self._at += 1
        else:
            raise self._unexpected(f"`not`, `(` or one of {', '.join(self._known)}")
        self._depth -= 1
        return found

    def _unexpected(self, expected: str) -> ValueError:
        if self._at == len(self._words):
            return ValueError(f"the combination ends too early; expected {expected}")
        _, word, column = self._words[self._at]
        return ValueError(f"unexpected {word!r} at character {column}; expected {expected}")
