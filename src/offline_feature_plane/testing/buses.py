"""A bus in a folder, for tests: partitions that begin where retention has come to and end where they are settled, and may go away.

What a bus does that files do not is done by hand: `retain`, `compact`, `open_transaction`, `recreate`, `go_down`. A plane reads it through
`FolderBus`, a source of events like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, ClassVar

from offline_feature_plane.contracts.plan import BusRange, SourcePlan
from offline_feature_plane.domain.admission import Record, decode
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis, describe_basis
from offline_feature_plane.domain.closure import Source
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, assess
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.errors import ReplayBasisGap, ReplayBasisMismatch, SelectorUnresolved, SourceUnreadable, StorageIoFailure
from offline_feature_plane.sources.logs.chosen import Chosen, Wanted, chosen_in, every
from offline_feature_plane.sources.logs.records import LogRecords
from offline_feature_plane.sources.logs.stretches import Undecodable
from offline_feature_plane.sources.logs.typings import typings_of

__all__ = ["NULL", "BusFolder", "FolderBus"]

NULL = "null"  # what stands for a null value
_AT_ONCE = 7  # lines of a batch: so few that small tests have many


class BusFolder:
    """The bus itself: what its producers and its keeper do.

    Args:
        root: its folder.
        log_id: of each topic that is made.
        offset_kind: of all of its partitions.
    """

    def __init__(self, root: Path, *, log_id: str = "log1", offset_kind: str = "kafka_offset") -> None:
        self.root, self._log_id, self._kind = root, log_id, offset_kind

    def produce(self, records: Iterable[Mapping[str, Any] | tuple[int, int, str]], topic: str = "transaction") -> None:
        """Append records as `testing.archives.archived` makes them.

        A tuple (partition, offset, text) is one that nobody can read, or a null value if its text is `NULL`.
        """
        for record in records:
            partition, offset, held = record if isinstance(record, tuple) else (record["partition"], int(record["offset"]), record)
            state = self.state(topic, partition)
            with self._lines(topic, partition).open("a", encoding="utf-8") as out:
                out.write(json.dumps({"offset": str(offset), "held": held}) + "\n")
            self._put(topic, partition, {**state, "log_start": state["log_start"] or (str(offset) if self._is_first(state) else "0"),
                                         "last_stable": str(offset + 1), "end": str(offset + 1)})

    def retain(self, partition: int, log_start: int, topic: str = "transaction", *, retention_us: int | None = None) -> None:
        """Let everything before an offset go; `retention_us` is for how long the bus says that it keeps records."""
        self._put(topic, partition, {**self.state(topic, partition), "log_start": str(log_start), "retention_us": retention_us})
        self._keep(topic, partition, lambda one: int(one["offset"]) >= log_start)

    def compact(self, partition: int, lost: Collection[int], topic: str = "transaction") -> None:
        """Lose some records, as compaction does: nothing shows it but the topic's policy."""
        self._put(topic, partition, {**self.state(topic, partition), "is_compacted": True})
        self._keep(topic, partition, lambda one: int(one["offset"]) not in lost)

    def forge(self, partition: int, record: Mapping[str, Any] | tuple[int, int, str], topic: str = "transaction") -> None:
        """Put another record at an offset, as no honest bus does."""
        offset, held = (record[1], record[2]) if isinstance(record, tuple) else (int(record["offset"]), record)
        self._change(topic, partition, lambda lines: [one if int(one["offset"]) != offset else {**one, "held": held} for one in lines])

    def open_transaction(self, partition: int, last_stable: int, topic: str = "transaction") -> None:
        """Leave what follows an offset unsettled."""
        self._put(topic, partition, {**self.state(topic, partition), "last_stable": str(last_stable)})

    def recreate(self, partition: int, log_id: str, topic: str = "transaction") -> None:
        """Delete the topic and make it anew, empty."""
        self._put(topic, partition, {**self.state(topic, partition), "log_id": log_id, "log_start": "0", "last_stable": "0", "end": "0"})
        self._keep(topic, partition, lambda _: False)

    def go_down(self, *, is_down: bool = True) -> None:
        """Stop answering, or begin to answer again."""
        place = self.root / "down"
        place.touch() if is_down else place.unlink(missing_ok=True)

    def state(self, topic: str, partition: int) -> dict[str, Any]:
        """What a partition is."""
        place = self.root / topic / f"{partition}.json"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            self._lines(topic, partition).touch()
            return {"log_id": self._log_id, "offset_kind": self._kind, "log_start": None, "last_stable": "0", "end": "0",
                    "is_compacted": False, "retention_us": None}
        found: dict[str, Any] = json.loads(place.read_text())
        return found

    def _is_first(self, state: Mapping[str, Any]) -> bool:
        return state["log_start"] is None and self._kind == "kinesis_sequence"

    def _keep(self, topic: str, partition: int, is_kept: Callable[[dict[str, Any]], bool]) -> None:
        self._change(topic, partition, lambda lines: [one for one in lines if is_kept(one)])

    def _change(self, topic: str, partition: int, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        place = self._lines(topic, partition)
        held = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
        place.write_text("".join(json.dumps(one) + "\n" for one in change(held)), encoding="utf-8")

    def _put(self, topic: str, partition: int, state: Mapping[str, Any]) -> None:
        (self.root / topic / f"{partition}.json").write_text(json.dumps(state))

    def _lines(self, topic: str, partition: int) -> Path:
        return self.root / topic / f"{partition}.jsonl"


class FolderBus:
    """`ports.inputs.EventSource` of the topics of a bus in a folder."""

    name = "folder_bus"
    version = "1"

    def __init__(self, root: Path, topics: Collection[str] = ("transaction",), *, zone: str | None = None) -> None:
        self._root, self.topics, self._zone = root, tuple(topics), zone

    def mixes_types(self, topic: str) -> bool:  # noqa: ARG002 - a bus holds events of any type
        """It may hold events of any type."""
        return True

    def history_start_us(self, topic: str) -> int | None:  # noqa: ARG002 - nothing is declared
        """Nothing is declared."""
        return None

    def pin(self, topic: str) -> PinnedFolderBus:
        """Ask how far its partitions reach. Raises StorageIoFailure: it is down. SourceUnreadable: no such topic."""
        _heed(self._root)
        places = sorted((self._root / topic).glob("*.json"), key=lambda one: int(one.stem))
        if not places:
            raise SourceUnreadable(f"the bus has no topic {topic}.", path=topic, absent="topic")
        return PinnedFolderBus(topic, self._root, tuple(_marks(self._root, topic, int(one.stem)) for one in places), self._zone)


@dataclass(frozen=True)
class PinnedFolderBus:
    """`sources.buses.bus.PinnedBus`."""

    topic: str
    root: Path
    watermarks: tuple[Watermarks, ...]
    zone: str | None = None
    names_events: ClassVar[bool] = True
    knows_arrival: ClassVar[bool] = True
    table_files: ClassVar[tuple[Path, ...]] = ()

    @property
    def log_ids(self) -> tuple[str, ...]:
        """Those of its partitions."""
        return tuple(sorted({one.log_id for one in self.watermarks}))

    def basis(self) -> list[dict[str, Any]]:
        """Everything that it holds."""
        return describe_basis(canonical_basis(Range(*one.lane, *map(str, one.span))
                                              for one in self.watermarks if one.span[0] < one.span[1]))

    def resolve(self, selector: Selector) -> tuple[Range, ...]:
        """Both ends by the times of its records."""
        found = []
        for one in self.watermarks:
            start, end = (self.first_at(one, moment) for moment in (selector.from_us, selector.to_us))
            if start is None or end is None:
                raise SelectorUnresolved(f"{selector.topic}/{one.partition} has no record from then on yet.", path="replay_basis")
            if start < end:
                found.append(Range(*one.lane, str(start), str(end)))
        return canonical_basis(found)

    def completeness(self, ranges: Sequence[Range]) -> Completeness:
        """By its watermarks alone."""
        return assess([one for one in ranges if one.topic == self.topic], [], self.watermarks)

    def reading(self, ranges: Sequence[Range], sources: Sequence[Source]) -> LogRecords:
        """One stretch for each range."""
        mine = tuple(one for one in ranges if one.topic == self.topic)
        return LogRecords(self.topic, tuple(_FolderStretch(self.root, one) for one in mine), mine, typings_of(sources, self.zone))

    def some_of(self, wanted: Range, choice: Wanted) -> _FolderStretch:
        """Only what a choice takes is decoded."""
        return _FolderStretch(self.root, wanted, choice)

    def describe(self, ranges: Sequence[Range], read_by: str) -> SourcePlan:
        """There are no files."""
        mine = [one for one in ranges if one.topic == self.topic]
        told = {one.partition: one for one in self.watermarks}
        return SourcePlan(name=self.topic, kind="bus", read_by=read_by, log_id=mine[0].log_id if mine else "", files=[],
                          ranges=describe_basis(mine), bus=[BusRange(
                              partition=one.partition, start_offset=one.start_offset, end_offset=one.end_offset,
                              log_start=told[one.partition].log_start, last_stable=told[one.partition].last_stable,
                              end=told[one.partition].end, first_leader_epoch=None, last_leader_epoch=None) for one in mine])

    def first_at(self, marks: Watermarks, moment_us: int) -> int | None:
        """The first record whose log time is not before a moment."""
        _heed(self.root)
        return next((int(one["offset"]) for one in _held(self.root, self.topic, marks.partition)
                     if isinstance(one["held"], dict) and parse_instant(one["held"]["log_time_utc"]) >= moment_us), None)

    def kept_until_us(self, wanted: Range, offset: int) -> int | None:
        """The log time of the first record from there on, and as long as the bus keeps it."""
        retention = json.loads((self.root / self.topic / f"{wanted.partition}.json").read_text())["retention_us"]
        times = (parse_instant(one["held"]["log_time_utc"]) for one in _held(self.root, self.topic, wanted.partition)
                 if int(one["offset"]) >= offset and isinstance(one["held"], dict))
        return None if retention is None or (first := next(times, None)) is None else first + int(retention)


@dataclass(frozen=True)
class _FolderStretch:
    """`sources.logs.stretches.Stretch`: one range of one partition, as the bus is when it is read; what was read may be kept."""

    root: Path
    wanted: Range
    choice: Wanted = every

    @property
    def evidence(self) -> SegmentEvidence:
        one = self.wanted
        return SegmentEvidence(*one.lane, f"bus:{one.topic}/{one.partition}", one.start_offset,
                               None, one.end_offset, 0, "")

    @property
    def most(self) -> int:
        return sum(1 for one in _held(self.root, self.wanted.topic, self.wanted.partition) if self.wanted.holds(int(one["offset"])))

    @property
    def size_bytes(self) -> int:
        return 0

    def pin(self) -> Mapping[str, Any]:
        one = self.wanted
        return {"lane": list(one.lane), "span": [one.start_offset, one.end_offset]}

    def parts(self, most: int) -> Sequence[_FolderStretch]:
        one = self.wanted
        cuts = [one.start, *range(one.start - one.start % most + most, one.end, most), one.end]
        return [replace(self, wanted=replace(one, start_offset=str(start), end_offset=str(end))) for start, end in pairwise(cuts)]

    def check(self) -> None:
        one, now = self.wanted, _marks(self.root, self.wanted.topic, self.wanted.partition)
        if now.log_id != one.log_id:
            raise ReplayBasisMismatch(f"{one.topic}/{one.partition} counts in log {now.log_id} now, the basis in {one.log_id}.",
                                      path=f"{one.topic}/{one.partition}")

    def read(self) -> Iterator[Record | Undecodable]:
        return (self._decoded(one) for one in self._lines())

    def chosen(self) -> Iterator[Chosen]:
        lines = self._lines()
        batches = iter(lambda: list(islice(lines, _AT_ONCE)), [])
        return chosen_in(batches, lambda one: int(one["offset"]), _is_null, self._decoded, self.choice)

    def _decoded(self, one: Mapping[str, Any]) -> Record | Undecodable:
        found = decode(one["held"]) if isinstance(one["held"], dict) else None
        if found is None:
            return Undecodable(int(one["offset"]), "null_value" if _is_null(one) else "undecodable")
        return replace_topic(found, self.wanted.topic)

    def _lines(self) -> Iterator[dict[str, Any]]:
        _heed(self.root)
        self.check()
        start, stable = _marks(self.root, self.wanted.topic, self.wanted.partition).span
        if self.wanted.start < start or self.wanted.end > stable:
            raise ReplayBasisGap(f"the bus has [{start}, {stable}) of {self.wanted.topic}/{self.wanted.partition}, not all of "
                                 f"[{self.wanted.start}, {self.wanted.end}).", path=f"{self.wanted.topic}/{self.wanted.partition}")
        for one in _held(self.root, self.wanted.topic, self.wanted.partition):
            if self.wanted.holds(int(one["offset"])):
                yield one


def replace_topic(record: Record, topic: str) -> Record:
    """A record under the name that its topic has in plane.yaml."""
    return record if record.topic == topic else record._replace(topic=topic)


def _is_null(one: Mapping[str, Any]) -> bool:
    return bool(one["held"] == NULL)


def _heed(root: Path) -> None:
    if (root / "down").exists():
        raise StorageIoFailure("the bus does not answer.", path=str(root))


def _marks(root: Path, topic: str, partition: int) -> Watermarks:
    _heed(root)
    state = json.loads((root / topic / f"{partition}.json").read_text())
    return Watermarks(topic, partition, state["offset_kind"], state["log_id"], state["log_start"], state["last_stable"], state["end"],
                      is_compacted=state["is_compacted"])


def _held(root: Path, topic: str, partition: int) -> Iterator[dict[str, Any]]:
    with (root / topic / f"{partition}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
