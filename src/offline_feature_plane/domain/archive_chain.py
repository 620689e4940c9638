"""What files alone can prove about a log: the runs of records in them, and the chain that these make (`domain.md` §1.4, `decisions.md` D4).

A directory says which records it holds, not which the log had. Where offsets follow each other, nothing is missing. Where they skip, the
log may have had a record there or a transaction mark; only whoever knows the log can declare that the hole is lawful.

    offsets in a file     4 5 6 7 . . 10 11 12          two runs, [4, 8) and [10, 13), and a gap between
                                                        declared lawful: one run, [4, 13)

What has a coordinate stands there, whether it can be decoded or not. A line that says nothing of where it stands belongs to the run
before it, and takes the place of an offset that is missing there; a line for which no offset is missing is no record of the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from offline_feature_plane.domain.admission import Standing, Vacant

MOST_RUNS: Final = 1_000  # in one file; more of them are a compacted log, not a damaged one

LaneKey = tuple[str, int, str]


class Disorder(Exception):
    """Why the records of a file are no part of a log; the text is a sentence."""


class TooManyHoles(Disorder):
    """There are more holes between the offsets of a file than an index has entries for."""


class NothingDecoded(Disorder):
    """No record of a file can be decoded."""


@dataclass
class Run:
    """Records of one lane that stand in one file in the order of their offsets; offsets as numbers, log times in µs.

    `leading` and `trailing` of them say nothing of where they stand, and come before the first, or after the last that does. Log times
    are those of the first and the last that has one.
    """

    lane: LaneKey
    first: int
    last: int
    count: int
    first_log_us: int | None = None
    last_log_us: int | None = None
    leading: int = 0
    trailing: int = 0
    undecodable: int = 0

    @property
    def counts(self) -> bool:
        """Can offsets of this kind be counted?"""
        return self.lane[2] != "kinesis_sequence"

    @property
    def begin(self) -> int:
        """The first offset that it covers."""
        return self.first - self.leading if self.counts else self.first

    @property
    def end(self) -> int:
        """The first offset that it does not cover any more, as far as the file says."""
        return self.last + 1 + (self.trailing if self.counts else 0)


class FileRuns:
    """Finds the runs of one file as its records come, in the order of the file.

    Args:
        holes_are_lawful: an offset that is missing between two records had none.
    """

    def __init__(self, *, holes_are_lawful: bool) -> None:
        self._lawful = holes_are_lawful
        self._open: dict[LaneKey, Run] = {}
        self._runs: list[Run] = []
        self._before: Run | None = None
        self._leading = self._undecodable = 0
        self._has_records = False

    def take(self, record: Standing) -> None:
        """The next record, or what stands for it. Raises Disorder."""
        if record is None:
            self._undecodable += 1
            if self._before is None:
                self._leading += 1
            else:
                self._before.trailing += 1
                self._before.count += 1
                self._before.undecodable += 1
        else:
            lane, number = (record.topic, record.partition, record.offset_kind), record.number
            self.take_run(lane, (number, number), None if isinstance(record, Vacant) else (record.log_us, record.log_us))
            if isinstance(record, Vacant) and record.reason == "undecodable":
                self._open[lane].undecodable += 1
                self._undecodable += 1

    def take_run(self, lane: LaneKey, offsets: tuple[int, int], log_us: tuple[int, int] | None) -> None:
        """The next records, whose offsets follow each other: those and the log times of the first and the last, or None.

        Raises:
            Disorder: they stand where they cannot.
        """
        first, last = offsets
        run = self._open.get(lane)
        if run is None or not self._goes_on(run, first):
            run = self._begin(lane, first)
        else:
            run.count, run.trailing = run.count + 1, 0
        run.count += last - first
        run.last = last
        if log_us is not None:
            run.first_log_us = log_us[0] if run.first_log_us is None else run.first_log_us
            run.last_log_us = log_us[1]
            self._has_records = True
        self._before = run

    def runs(self) -> tuple[Run, ...]:
        """All runs. Raises Disorder: the file has lines that cannot be decoded, and none that can."""
        if self._undecodable and not self._has_records:
            raise NothingDecoded(f"none of its {sum(run.count for run in self._runs) or self._leading} records can be decoded")
        return tuple(self._runs)

    def _goes_on(self, run: Run, number: int) -> bool:
        """Does a record go on with a run? Raises Disorder."""
        place = f"{run.lane[0]}/{run.lane[1]}@{number}"
        if number <= run.last:
            raise Disorder(f"{place} stands after offset {run.last}")
        if not run.counts:
            return True
        missing = number - run.last - 1
        if run.trailing > missing:
            raise Disorder(f"before {place} there are {run.trailing} lines that cannot be decoded, but only {missing} offsets are "
                           "missing")
        return self._lawful or run.trailing == missing

    def _begin(self, lane: LaneKey, number: int) -> Run:
        if len(self._runs) == MOST_RUNS:
            raise TooManyHoles(f"it has more than {MOST_RUNS} holes between its offsets")
        run = Run(lane, number, number, 1)
        if self._before is None and self._leading:
            if run.counts and self._leading > number:
                raise Disorder(f"{self._leading} lines that cannot be decoded stand before {lane[0]}/{lane[1]}@{number}")
            run = replace(run, leading=self._leading, count=1 + self._leading, undecodable=self._leading)
        self._runs.append(run)
        self._open[lane] = run
        return run


@dataclass(frozen=True)
class Covered:
    """What one entry of an index covers of one lane and log; `grows`: up to the entry that follows, since holes are declared lawful."""

    begin: int
    end: int
    grows: bool


def linked(entries: Sequence[Covered]) -> list[int]:
    """Where each of some entries ends, which are in the order of their beginnings.

    >>> linked([Covered(0, 5, True), Covered(7, 9, False), Covered(12, 13, True)])
    [7, 9, 13]
    """
    return [max(one.end, following.begin) if one.grows else one.end for one, following in pairwise(entries)] \
        + [one.end for one in entries[-1:]]


def holes_and_overlaps(spans: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The stretches between some spans that none of them covers, and those that several cover. The spans are in order.

    >>> holes_and_overlaps([(0, 5), (4, 8), (10, 12)])
    ([(8, 10)], [(4, 5)])
    """
    holes: list[tuple[int, int]] = []
    overlaps: list[tuple[int, int]] = []
    reached: int | None = None
    for begin, end in spans:
        if reached is not None and begin > reached:
            holes.append((reached, begin))
        if reached is not None and begin < reached:
            overlaps.append((begin, min(end, reached)))
        reached = end if reached is None else max(reached, end)
    return holes, overlaps
