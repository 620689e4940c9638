"""Stretches of a basis that an intent declares to be missing, so that a dataset without them can say so (`domain.md` §1.10, D9, D10).

A declared gap is part of what a dataset means: nothing of it is read, whoever has it later, so that the same intent is the same dataset
when an archive fills the hole. The one exception is a compacted stretch: what the bus has left of it is read.

    basis     [100 ───────────────────────────────────────── 400)
    declared            [180 archive_gap 200)  [300 compacted 400)
    read      [100 ─── 180)             [200 ──────────────── 400)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args

from offline_feature_plane.domain.basis import Lane, Range, basis_order, canonical_basis, describe_basis, without
from offline_feature_plane.domain.cutover import Gap, Route, Why
from offline_feature_plane.domain.outcomes import DeclaredWhy
from offline_feature_plane.errors import BasisUnresolved

__all__ = ["DeclaredGap", "canonical_gaps", "describe_gaps", "gaps_of", "is_declared", "no_more_compacted", "read_of", "tell_gaps",
           "to_declare"]


@dataclass(frozen=True)
class DeclaredGap:
    """A half-open stretch of one lane that is missing, and why."""

    stretch: Range
    why: DeclaredWhy

    @property
    def is_left_out(self) -> bool:
        """Is nothing of it read?"""
        return self.why != "compacted"

    def describe(self) -> dict[str, Any]:
        """For documents."""
        return {**describe_basis([self.stretch])[0], "why": self.why}

    def __str__(self) -> str:
        """Where it is, and why."""
        one = self.stretch
        return f"[{one.start_offset}, {one.end_offset}) of {one.topic}/{one.partition} ({self.why})"


def canonical_gaps(gaps: Iterable[DeclaredGap], basis: Sequence[Range] | None) -> tuple[DeclaredGap, ...]:
    """The one spelling of declared gaps: neighbours of one reason merged, in the order of a basis.

    Args:
        gaps: as they were declared.
        basis: the canonical basis that they are gaps of; None: it is not known yet.

    Raises:
        BasisUnresolved: two reasons for one offset, or a gap that is not inside of one range of the basis.

    >>> lane = Range("tx", 0, "kafka_offset", "log", "0", "5")
    >>> two = [DeclaredGap(lane, "archive_gap"), DeclaredGap(replace(lane, start_offset="5", end_offset="9"), "archive_gap")]
    >>> [str(one) for one in canonical_gaps(two, None)]
    ['[0, 9) of tx/0 (archive_gap)']
    """
    told = list(gaps)
    merged = [DeclaredGap(stretch, why) for why in get_args(DeclaredWhy) if (mine := [one.stretch for one in told if one.why == why])
              for stretch in canonical_basis(mine)]
    ordered = sorted(merged, key=lambda one: basis_order(one.stretch))
    for before, after in pairwise(ordered):
        if before.stretch.lane == after.stretch.lane and after.stretch.start < before.stretch.end:
            raise BasisUnresolved(f"{before} and {after} overlap.", path="$.gaps", fix="Give each offset one reason.")
    lanes = _by_lane(basis or ())
    for gap in ordered if basis is not None else ():
        if not any(_is_inside(gap.stretch, one) for one in lanes[gap.stretch.lane]):
            raise BasisUnresolved(f"{gap} is not inside of a range of the basis.", path="$.gaps",
                                  fix="Declare what is missing of the ranges that the basis names, in the same log.")
    return tuple(ordered)


def read_of(basis: Sequence[Range], gaps: Sequence[DeclaredGap]) -> tuple[Range, ...]:
    """What is read of a basis: all but what is left out."""
    left_out = _by_lane(gap.stretch for gap in gaps if gap.is_left_out)
    return tuple(replace(one, start_offset=str(start), end_offset=str(end)) for one in basis
                 for start, end in without(one, [(gone.start, gone.end) for gone in left_out[one.lane]]))


def is_declared(lacking: Range, why: Why | None, gaps: Sequence[DeclaredGap]) -> bool:
    """Is a stretch that nobody can prove within one that is declared for that very reason?"""
    return any(gap.why == why and _is_inside(lacking, gap.stretch) for gap in gaps)


def to_declare(routes: Iterable[Route]) -> tuple[DeclaredGap, ...]:
    """What some ranges lack and an intent can declare."""
    known = get_args(DeclaredWhy)
    found = [DeclaredGap(_part(way.wanted, gap), gap.why) for way in routes for gap in way.gaps if gap.why in known]  # type: ignore[arg-type]
    return canonical_gaps(found, None)


def no_more_compacted(gaps: Iterable[DeclaredGap], routes: Sequence[Route]) -> tuple[DeclaredGap, ...]:
    """The gaps that are declared as compacted, and are not any more: the archive has them, or the topic keeps its records now."""
    now = _by_lane(_part(way.wanted, gap) for way in routes for gap in way.gaps if gap.why == "compacted")
    return tuple(one for one in gaps
                 if not one.is_left_out and not any(_is_inside(one.stretch, part) for part in now[one.stretch.lane]))


def tell_gaps(gaps: Sequence[DeclaredGap], most: int = 5) -> str:
    """The first of some gaps, in a sentence."""
    return ", ".join([*map(str, gaps[:most]), *([f"and {len(gaps) - most:,} more"] if len(gaps) > most else [])])


def gaps_of(described: Iterable[Mapping[str, Any]]) -> tuple[DeclaredGap, ...]:
    """The gaps that `describe_gaps` told."""
    return tuple(DeclaredGap(Range(**{name: one[name] for name in one if name != "why"}), one["why"]) for one in described)


def describe_gaps(gaps: Sequence[DeclaredGap]) -> list[dict[str, Any]]:
    """For documents, in their order."""
    return [one.describe() for one in gaps]


def _part(wanted: Range, gap: Gap) -> Range:
    return replace(wanted, start_offset=str(gap.start), end_offset=str(gap.end))


def _by_lane(stretches: Iterable[Range]) -> defaultdict[Lane, list[Range]]:
    found = defaultdict[Lane, list[Range]](list)
    for one in stretches:
        found[one.lane].append(one)
    return found


def _is_inside(stretch: Range, whole: Range) -> bool:
    return stretch.lane == whole.lane and whole.start <= stretch.start and stretch.end <= whole.end
