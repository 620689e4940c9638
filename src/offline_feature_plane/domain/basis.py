"""The replay basis: which stretches of which logs a build is made from (`domain.md` §1.1, §1.2, `decisions.md` D9, D16).

Ranges are half-open, `[start_offset, end_offset)`, per (topic, partition, offset kind, log). Offsets travel as text and each kind has its
own algebra: `file_line` and `kafka_offset` are 64-bit integers that may skip, `kinesis_sequence` values are long integers that are ordered
and never counted.

    partition 0   ──[100──────140)──────[160────200)──▶     two ranges
    partition 0   ──[100──────140)[140──────────200)──▶     adjacent: one range, [100, 200)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from offline_feature_plane.errors import BasisUnresolved

Lane = tuple[str, int, str, str]  # what offsets count in: topic, partition, offset kind, log

OFFSET_KINDS = ("file_line", "kafka_offset", "kinesis_sequence")
_OFFSET = re.compile(r"0|[1-9][0-9]*")
_DIGITS = {"file_line": 19, "kafka_offset": 19, "kinesis_sequence": 128}


@dataclass(frozen=True)
class Range:
    """A half-open stretch of one partition of one log."""

    topic: str
    partition: int
    offset_kind: str
    log_id: str
    start_offset: str
    end_offset: str

    @property
    def lane(self) -> Lane:
        """What its offsets count in."""
        return self.topic, self.partition, self.offset_kind, self.log_id

    @property
    def start(self) -> int:
        """The first offset inside, as a number."""
        return offset_number(self.offset_kind, self.start_offset)

    @property
    def end(self) -> int:
        """The first offset that is not inside any more, as a number."""
        return offset_number(self.offset_kind, self.end_offset)

    def holds(self, offset: int) -> bool:
        """Does the range hold this offset?"""
        return self.start <= offset < self.end


@dataclass(frozen=True)
class Selector:
    """A span of log time, `[from_us, to_us)`, that is resolved once to ranges (`decisions.md` D16)."""

    topic: str
    from_us: int
    to_us: int


def offset_number(kind: str, text: str, path: str | None = None) -> int:
    """The number behind an offset's text.

    Raises:
        BasisUnresolved: an unknown kind, or text that is not a valid offset of it.

    >>> offset_number("kafka_offset", "42")
    42
    """
    if kind not in OFFSET_KINDS:
        raise BasisUnresolved(f"{kind!r} is not an offset kind.", path=path, fix=f"Known kinds: {', '.join(OFFSET_KINDS)}.")
    digits = _DIGITS[kind]
    if not isinstance(text, str) or len(text) > digits or not _OFFSET.fullmatch(text) or (digits == 19 and int(text) >= 1 << 63):
        below = "2^63" if digits == 19 else f"10^{digits}"
        raise BasisUnresolved(f"{text!r} is not a valid {kind} offset.", path=path,
                              fix=f"Write offsets as decimal text without sign or leading zeros, below {below}.")
    return int(text)


def canonical_basis(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The one spelling of a basis: overlapping and adjacent ranges merged, sorted by topic, partition, kind, log and start.

    Raises:
        BasisUnresolved: an empty or reversed range, a malformed offset, a negative partition, no range at all.

    >>> a = Range("tx", 0, "kafka_offset", "log", "0", "5")
    >>> [r.end_offset for r in canonical_basis([replace(a, start_offset="5", end_offset="9"), a])]
    ['9']
    """
    checked = list(ranges)
    if not checked:
        raise BasisUnresolved("the replay basis names no ranges.", path="replay_basis", fix="Name at least one range or selector.")
    for number, item in enumerate(checked):
        path = f"replay_basis[{number}]"
        start, end = (offset_number(item.offset_kind, text, path) for text in (item.start_offset, item.end_offset))
        if start >= end:
            raise BasisUnresolved(f"[{item.start_offset}, {item.end_offset}) of {item.topic}/{item.partition} is empty.", path=path,
                                  fix="The range excludes its end, so the end must be larger than the start.")
        if item.partition < 0 or not item.topic:
            raise BasisUnresolved(f"{item.topic!r}/{item.partition} is not a partition.", path=path,
                                  fix="Name a topic and a partition from 0.")
    merged: list[Range] = []
    for item in sorted(checked, key=basis_order):
        if merged and merged[-1].lane == item.lane and item.start <= merged[-1].end:
            if item.end > merged[-1].end:
                merged[-1] = replace(merged[-1], end_offset=item.end_offset)
        else:
            merged.append(item)
    return tuple(merged)


def without(wanted: Range, present: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The half-open stretches of a range that no present stretch covers, in order.

    >>> without(Range("tx", 0, "file_line", "log", "0", "10"), [(0, 3), (5, 12)])
    [(3, 5)]
    """
    gaps: list[tuple[int, int]] = []
    here = wanted.start
    for start, end in sorted(present):
        if end <= here or start >= wanted.end:
            continue
        if start > here:
            gaps.append((here, start))
        here = max(here, end)
    if here < wanted.end:
        gaps.append((here, wanted.end))
    return gaps


def describe_basis(ranges: Sequence[Range]) -> list[dict[str, Any]]:
    """The JSON-ready basis as it is hashed, in canonical order."""
    return [{"topic": item.topic, "partition": item.partition, "offset_kind": item.offset_kind, "log_id": item.log_id,
             "start_offset": item.start_offset, "end_offset": item.end_offset} for item in ranges]


def basis_order(item: Range) -> tuple[bytes, int, str, bytes, int, int]:
    """By which ranges stand in a canonical basis: topics and logs by their bytes, offsets as numbers."""
    return item.topic.encode(), item.partition, item.offset_kind, item.log_id.encode(), item.start, item.end
