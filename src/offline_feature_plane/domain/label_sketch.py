"""A sketch of a label slice: a few kilobytes from which the difference of two slices can be read (recipe `ofs.label_sketch.v1`).

```
   slice then ──▶ sums of 720 cells ─┐
                                     ├─ minus ──▶ what both slices hold is gone from every cell ──▶ cells with one mark left are read,
   slice now ───▶ sums of 720 cells ─┘            and its other two cells freed of it, until every cell is empty
```

Each assertion leaves a mark: the position of its event in the total order, when it was observed, and a digest of the rest of it. A mark is
added to three cells, modulo 2⁶⁴, so the order of assertions means nothing, and sketches of parts of a slice add up. One level can tell some
eighty marks that differ; the level above it holds one mark of sixteen, so that of larger differences a sample is told. No identifier
can be read from a sketch, and it is as large for a thousand assertions as for a billion.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from offline_feature_plane.domain.resolution import Assertion, eligible

LEVELS, COPIES, CELLS, FIELDS = 6, 3, 40, 5  # a cell is: how many marks, their positions, observed instants, contents, checks
WORDS = LEVELS * COPIES * CELLS * FIELDS
SHARE_BITS = 4  # a level holds one of 2⁴ marks of the level below
_WORD = 2**64 - 1
_LEVEL_WORDS = COPIES * CELLS * FIELDS


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """What a sketch knows of an assertion: its event's position, when it was observed (µs), and 64 bits that stand for the rest."""

    position: int
    observed_us: int
    content: int


@dataclass(frozen=True)
class SketchDifference:
    """The marks of one slice that another has not, both ways, sorted; of a large difference only one of `share` is told."""

    appeared: tuple[Mark, ...]
    gone: tuple[Mark, ...]
    share: int


def mark_of(position: int, one: Assertion) -> Mark:
    """The mark of an assertion about the event at a position."""
    content = 0
    for part in (one.effective_us & _WORD, *map(fold_text, (one.value, one.source, one.assertion_id, one.supersedes))):
        content = mix(content ^ part)
    return Mark(position, one.observed_us, content)


def sketch_of(by_position: Iterable[Iterable[Assertion]], asof_us: int) -> bytes:
    """The sketch of one label type's slice.

    Args:
        by_position: the assertions of each event of the basis, events in the total order; ineligible and repeated ones are left out.
        asof_us: the knowledge cut.

    Raises:
        LabelTimelineInconsistent: as `eligible`.
    """
    words = [0] * WORDS
    for position, assertions in enumerate(by_position):
        for one in eligible(assertions, asof_us):
            _add(words, mark_of(position, one), 1)
    return struct.pack(f"<{WORDS}Q", *words)


def differ(then: bytes, now: bytes) -> SketchDifference | None:
    """Read the difference of two sketches; None if it is greater than any level can tell."""
    words = [(new - old) & _WORD for old, new in zip(_words(then), _words(now), strict=True)]
    for level in range(LEVELS):
        start = level * _LEVEL_WORDS
        marks = _peel(words[start:start + _LEVEL_WORDS], level)
        if marks is not None:
            return SketchDifference(tuple(sorted(mark for mark, sign in marks.items() if sign > 0)),
                                    tuple(sorted(mark for mark, sign in marks.items() if sign < 0)), 1 << SHARE_BITS * level)
    return None


def pack(sketch: bytes) -> str:
    """A sketch as text for a document: compressed, in Base64."""
    return base64.b64encode(zlib.compress(sketch, 9)).decode()


def unpack(text: str) -> bytes | None:
    """The sketch of a text; None if it holds none."""
    try:
        found = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), 8 * WORDS + 1)
    except (binascii.Error, ValueError, zlib.error):
        return None
    return found if len(found) == 8 * WORDS else None


def mix(word: int) -> int:
    """Spread the bits of a 64-bit word over all of it (the finalizer of SplitMix64)."""
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _WORD
    return word ^ word >> 31


def fold_text(text: str | None) -> int:
    """FNV-1a of a text's UTF-8 bytes in 64 bits; 0 for a missing one."""
    if text is None:
        return 0
    word = 0xCBF29CE484222325
    for byte in text.encode():
        word = ((word ^ byte) * 0x100000001B3) & _WORD
    return word


def _spot(mark: Mark) -> tuple[int, Sequence[int], int]:
    """The highest level that holds a mark, its three cells, and its check."""
    word = mix(mix(mix(mark.position) ^ mark.observed_us & _WORD) ^ mark.content)
    check, chance = mix(word ^ 1), mix(word ^ 2)
    level = next((level for level in range(LEVELS - 1) if chance >> SHARE_BITS * level & (1 << SHARE_BITS) - 1), LEVELS - 1)
    return level, [copy * CELLS + (word >> 16 * copy & 0xFFFF) % CELLS for copy in range(COPIES)], check


def _add(words: list[int], mark: Mark, sign: int) -> None:
    """Add a mark to all of its levels, or take it away."""
    level, _, _ = _spot(mark)
    for each in range(level + 1):
        _add_to_level(words, each * _LEVEL_WORDS, mark, sign)


def _add_to_level(words: list[int], start: int, mark: Mark, sign: int) -> None:
    _, cells, check = _spot(mark)
    for cell in cells:
        for place, part in enumerate((1, mark.position, mark.observed_us, mark.content, check), start + cell * FIELDS):
            words[place] = (words[place] + sign * part) & _WORD


def _peel(words: list[int], level: int) -> dict[Mark, int] | None:
    """The marks of one level with their signs; None if some cannot be told apart."""
    found: dict[Mark, int] = {}
    waiting = list(range(COPIES * CELLS))
    while waiting:
        cell = waiting.pop()
        count, *parts = words[cell * FIELDS:(cell + 1) * FIELDS]
        if count not in {1, _WORD}:
            continue
        sign = 1 if count == 1 else -1
        position, observed, content, check = ((sign * part) & _WORD for part in parts)
        mark = Mark(position, observed - (1 << 64) if observed >> 63 else observed, content)
        highest, cells, expected = _spot(mark)
        if expected != check or cell not in cells or highest < level or mark in found:
            continue
        found[mark] = sign
        _add_to_level(words, 0, mark, -sign)
        waiting += cells
    return None if any(words) else found


def _words(sketch: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{WORDS}Q", sketch)
