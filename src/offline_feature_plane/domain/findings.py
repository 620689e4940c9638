"""What was found wrong while a log was read: counted by reason, with its stretches (`domain.md` §1.3, `decisions.md` D18).

Records are noted one by one as they are read; what is kept of them does not grow with the log. Neighbouring offsets are one stretch, so
a run of ten million foreign records is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from offline_feature_plane.domain.basis import Lane
from offline_feature_plane.errors import ReplayBasisMismatch, ReplayDuplicateOffsetMismatch

__all__ = ["CONFLICTS", "MOST_ALONE", "MOST_STRETCHES", "Alone", "Compared", "Finding", "Findings", "Spot", "conflicts_of", "in_order"]

MOST_STRETCHES: Final = 100  # of one reason and partition; beyond that only the count and the ends are kept
MOST_ALONE: Final = 1_000  # runs of records that only the other holder has, kept apart until it is known how many ours declares
CONFLICTS: Final = frozenset({ReplayBasisMismatch.code, ReplayDuplicateOffsetMismatch.code})


@dataclass(frozen=True)
class Spot:
    """What is wrong at one coordinate of the partition that is read: a reason code or a disposition, and a sentence.

    With `last`, at `count` coordinates from one to the other that follow each other there.
    """

    reason: str
    number: int
    sentence: str | None = None
    last: int | None = None
    count: int = 1


@dataclass(frozen=True)
class Compared:
    """So many coordinates were held against another holder of theirs."""

    count: int


@dataclass(frozen=True)
class Alone:
    """What only the other holder has of an overlap, or of a part of one: it is wrong if it is more than ours declares to have left out.

    An overlap is read in parts that follow each other, and judged when `is_last` was read.

    Attributes:
        runs: what follows each other there without a record of ours between, as spots.
        excused: how many records of ours cannot be decoded, or were left out.
        nulls: how many of those in the runs are null values.
        excused_nulls: how many null values ours has, or left out, which excuse theirs.
        follows: the first run began before anything of ours was met.
        is_open: the last thing that was seen was only theirs; None: nothing was seen.
        is_last: nothing of the overlap follows.
        is_whole: the other holder answered to the end.
    """

    runs: tuple[Spot, ...] = ()
    excused: int = 0
    follows: bool = False
    is_open: bool | None = None
    is_last: bool = True
    is_whole: bool = True
    nulls: int = 0
    excused_nulls: int = 0

    def then(self, other: Alone) -> Alone:
        """This part and the one behind it, as one.

        >>> left = Alone((Spot("x", 4),), is_open=True, is_last=False)
        >>> [(run.number, run.last, run.count) for run in left.then(Alone((Spot("x", 5),), follows=True, is_open=True)).runs]
        [(4, 5, 2)]
        """
        runs = list(self.runs)
        for at, run in enumerate(other.runs):
            if runs and (len(runs) >= MOST_ALONE or (at == 0 and other.follows and self.is_open)):
                runs[-1] = replace(runs[-1], last=run.number if run.last is None else run.last, count=runs[-1].count + run.count)
            else:
                runs.append(run)
        return Alone(tuple(runs), self.excused + other.excused, other.follows if self.is_open is None else self.follows,
                     self.is_open if other.is_open is None else other.is_open, other.is_last, self.is_whole and other.is_whole,
                     self.nulls + other.nulls, self.excused_nulls + other.excused_nulls)

    def spots(self, place: str) -> Iterator[Spot]:
        """What is wrong, if the overlap of `place` ends here."""
        count, excused = sum(one.count for one in self.runs), self.excused + min(self.nulls, self.excused_nulls)
        if self.is_last and count > excused:
            said = (f"the bus has {count:,} records where the archive has none and declares {excused:,}, "
                    f"the first at {place}@{self.runs[0].number}.")
            yield from (replace(one, sentence=said) for one in self.runs)

    def document(self) -> dict[str, Any]:
        """For documents."""
        return {**vars(self), "runs": [vars(one) for one in self.runs]}

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Alone:
        """What `document` told."""
        return cls(**{**said, "runs": tuple(Spot(**one) for one in said["runs"])})


@dataclass(frozen=True)
class Finding:
    """One reason in one partition: how often, from where to where, the stretches, and the sentence of the first one.

    `stretches` are half-open; `omitted` counts those that are not listed.
    """

    reason: str
    topic: str
    partition: int
    offset_kind: str
    log_id: str
    count: int
    first_offset: str
    last_offset: str
    stretches: tuple[tuple[str, str], ...]
    omitted: int = 0
    sentence: str | None = None

    @property
    def lane(self) -> Lane:
        """What its offsets count in."""
        return self.topic, self.partition, self.offset_kind, self.log_id

    def describe(self) -> dict[str, Any]:
        """For documents."""
        return {**vars(self), "stretches": [{"start_offset": start, "end_offset": end} for start, end in self.stretches]}

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Finding:
        """The finding that `describe` told."""
        return cls(**{**said, "stretches": tuple((one["start_offset"], one["end_offset"]) for one in said["stretches"])})


@dataclass
class _Seen:
    count: int = 0
    first: int = 0
    last: int = 0
    stretches: list[list[int]] = field(default_factory=list)
    omitted: int = 0
    end: int = -1
    sentence: str | None = None

    def note(self, spot: Spot) -> None:
        if not self.count:
            self.first, self.sentence = spot.number, spot.sentence
        self.count += spot.count
        self.last = spot.number if spot.last is None else spot.last
        if spot.number == self.end:
            if not self.omitted:
                self.stretches[-1][1] = self.last + 1
        elif len(self.stretches) < MOST_STRETCHES and not self.omitted:
            self.stretches.append([spot.number, self.last + 1])
        else:
            self.omitted += 1
        self.end = self.last + 1

    def follow(self, one: Finding) -> None:
        """Note all that a finding tells, as if its spots had been noted one after the other."""
        if not self.count:
            self.first, self.sentence = int(one.first_offset), one.sentence
        self.count += one.count
        for start, end in ((int(start), int(end)) for start, end in one.stretches):
            if start == self.end:
                if not self.omitted:
                    self.stretches[-1][1] = end
            elif len(self.stretches) < MOST_STRETCHES and not self.omitted:
                self.stretches.append([start, end])
            else:
                self.omitted += 1
            self.end = end
        self.omitted += one.omitted
        self.last = int(one.last_offset)
        self.end = self.last + 1


class Findings:
    """Collects what is found in the lanes of one topic, whose records come by partition and ascending offset."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int, str, str], _Seen] = {}

    def note(self, spot: Spot, lane: Lane) -> None:
        """Note what is wrong somewhere in a lane (topic, partition, offset kind, log)."""
        seen = self._seen.get(key := (spot.reason, *lane))
        if seen is None:
            seen = self._seen[key] = _Seen()
        seen.note(spot)

    def follow(self, found: Iterable[Finding]) -> None:
        """Note what was found in the part of the topic that comes next."""
        for one in found:
            self._seen.setdefault((one.reason, *one.lane), _Seen()).follow(one)

    def told(self) -> tuple[Finding, ...]:
        """All of them, by partition and reason."""
        return in_order(Finding(*key, seen.count, str(seen.first), str(seen.last),
                                tuple((str(start), str(end)) for start, end in seen.stretches), seen.omitted, seen.sentence)
                        for key, seen in self._seen.items())


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by topic, partition, log and reason, whoever read which partition."""
    return tuple(sorted(findings, key=lambda one: (one.topic.encode(), one.partition, one.log_id, one.reason)))


def conflicts_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that say that two holders of a coordinate disagree about it."""
    return tuple(one for one in findings if one.reason in CONFLICTS)
