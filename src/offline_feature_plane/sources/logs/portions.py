"""Portions of a log: neighbouring stretches that are scanned by themselves, so that another attempt can go on behind them.

```
 stretches   [seg)[seg)[seg)[── seg ──)[──────── range of a bus ────────)
 portions    └──── 0 ─────┘└──── 1 ───┘└─ 2 ─┘└─ 3 ─┘└─ 4 ─┘└─ 5 ─┘       what overlaps is in one
              kept          kept        read ──────▶
```

What a portion gives follows from its pins, the scope and what is wanted, and from nothing that was read before it: arrivals and positions
count from its beginning, and are moved by whoever takes them. So it has a digest, by which it is kept and found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from offline_feature_plane.domain.admission import Scope
from offline_feature_plane.domain.basis import Lane, Range
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.ends import Ends, joined
from offline_feature_plane.domain.findings import Alone, Finding, Findings
from offline_feature_plane.ports.inputs import ReadReport
from offline_feature_plane.ports.kept import Before
from offline_feature_plane.sources.logs.overlaps import ComparedStretch
from offline_feature_plane.sources.logs.stretches import DividedStretch, PinnedStretch, Stretch, in_groups, lane_of

__all__ = ["MOST", "Portion", "PortionReport", "SoFar", "portions_of"]

MOST: Final = 1 << 18   # records of a part of a stretch that can be divided
LEAST: Final = 1 << 16  # records of a portion of small stretches
_RECIPE: Final = "ofs.log_portion.v1"

Group = Sequence[Stretch]


@dataclass(frozen=True)
class Portion:
    """Groups of stretches that are read one after the other, those of a group side by side; `digest` None: it cannot be kept."""

    groups: tuple[Group, ...]
    digest: str | None

    @property
    def stretches(self) -> list[Stretch]:
        """All of them."""
        return [one for group in self.groups for one in group]


def portions_of(stretches: Sequence[Stretch], ranges: Sequence[Range], reading: Mapping[str, Any]) -> list[Portion]:
    """Cut a log.

    Args:
        stretches: by partition and first offset.
        ranges: what is wanted of them.
        reading: whatever else decides what is taken from their records, as a document.
    """
    return [Portion(tuple(groups), _digest(groups, ranges, reading)) for groups in _bundled(_divided(in_groups(stretches)))]


def _divided(groups: Iterable[Group]) -> Iterator[Group]:
    for group in groups:
        if len(group) == 1 and isinstance(group[0], DividedStretch):
            yield from ([one] for one in group[0].parts(MOST))
        else:
            yield group


def _bundled(groups: Iterable[Group]) -> Iterator[list[Group]]:
    held: list[Group] = []
    for group in groups:
        held.append(group)
        if _ends_overlap(group) or sum(one.most for some in held for one in some) >= LEAST:
            yield held
            held = []
    if held:
        yield held


def _ends_overlap(group: Group) -> bool:
    """Is what only the bus has judged here? Then nothing that stands behind it is told before."""
    return any(isinstance(one, ComparedStretch) and one.is_last for one in group)


def _digest(groups: Sequence[Group], ranges: Sequence[Range], reading: Mapping[str, Any]) -> str | None:
    pins: list[list[Mapping[str, Any]]] = []
    for group in groups:
        pinned = [one for one in group if isinstance(one, PinnedStretch)]
        if len(pinned) < len(group):
            return None
        pins.append([dict(one.pin()) for one in pinned])
    wanted = {lane: _within(lane, [one for group in groups for one in group], ranges)
              for lane in dict.fromkeys(lane_of(one) for group in groups for one in group)}
    return digest(_RECIPE, {"reading": dict(reading), "groups": pins, "wanted": [[*map(str, lane), held] for lane, held in wanted.items()]})


def _within(lane: Lane, stretches: Sequence[Stretch], ranges: Sequence[Range]) -> list[list[str]]:
    """What of the ranges of a lane lies in some stretches."""
    spans = [one.evidence.span for one in stretches if lane_of(one) == lane]
    first, end = min(span[0] for span in spans), max(span[1] for span in spans)
    return [[str(max(one.start, first)), str(min(one.end, end))] for one in ranges
            if one.lane == lane and one.start < end and one.end > first]


@dataclass(frozen=True)
class PortionReport:
    """What scanning a portion told: coordinates, the latest arrival by partition, and as in `ReadReport`; `alone` if it was compared."""

    coordinates: int
    arrived: Mapping[int, int]
    left_out: Mapping[str, int]
    scenarios: Mapping[str, int]
    compared: int
    findings: tuple[Finding, ...]
    ends: tuple[Ends, ...]
    alone: tuple[Lane, Alone] | None = None

    @property
    def is_whole(self) -> bool:
        """Is it what another attempt would be told? Not if a bus broke off: it may answer then."""
        return self.alone is None or self.alone[1].is_whole

    def document(self) -> dict[str, Any]:
        """To be kept."""
        return {**vars(self), "arrived": [list(one) for one in self.arrived.items()], "left_out": dict(self.left_out),
                "scenarios": dict(self.scenarios), "findings": [one.describe() for one in self.findings],
                "ends": [one.document() for one in self.ends],
                "alone": None if self.alone is None else [list(self.alone[0]), self.alone[1].document()]}

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> PortionReport:
        """What `document` told."""
        alone = said["alone"]
        return cls(said["coordinates"], dict(map(tuple, said["arrived"])), said["left_out"], said["scenarios"], said["compared"],
                   tuple(Finding.from_document(one) for one in said["findings"]), tuple(map(Ends.from_document, said["ends"])),
                   None if alone is None else (tuple(alone[0]), Alone.from_document(alone[1])))


class SoFar:
    """What the portions of a log told together, in their order."""

    def __init__(self) -> None:
        self.before = Before()
        self._found = Findings()
        self._left_out: dict[str, int] = {}
        self._scenarios: dict[str, int] = {}
        self._compared = 0
        self._ends: list[Ends] = []
        self._alone: Alone | None = None

    def add(self, told: PortionReport) -> None:
        """The next one."""
        arrived = dict(self.before.arrived)
        for partition, latest in told.arrived.items():
            arrived[partition] = max(latest, arrived.get(partition, latest))
        self.before = Before(self.before.coordinates + told.coordinates, arrived)
        for mine, theirs in ((self._left_out, told.left_out), (self._scenarios, told.scenarios)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self._compared += told.compared
        self._ends += told.ends
        self._found.follow(told.findings)
        if told.alone is not None:
            lane, alone = told.alone
            self._alone = alone if self._alone is None else self._alone.then(alone)
            if alone.is_last:
                for spot in self._alone.spots(f"{lane[0]}/{lane[1]}"):
                    self._found.note(spot, lane)
                self._alone = None

    def findings(self, more: Iterable[Finding] = ()) -> tuple[Finding, ...]:
        """All that was found, and what was found since; nothing is added any more."""
        self._found.follow(more)
        return self._found.told()

    def report(self) -> ReadReport:
        """As of the whole log."""
        return ReadReport(self._left_out, self._found.told(), self._compared, self._scenarios, joined(self._ends))


def reading_document(scope: Scope, sources: Sequence[Mapping[str, Any]], **rest: Any) -> dict[str, Any]:
    """Whatever decides what is taken from records, but for where they stand."""
    return {"run": scope.platform_run_id, "scenarios": sorted(scope.scenario_run_ids),
            "admitted": [list(one) for one in sorted(scope.source_of.items())], "sources": [dict(one) for one in sources], **rest}
