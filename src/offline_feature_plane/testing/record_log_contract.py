"""The contract suite of event sources that read records: subclass `RecordLogContract` and give it one fixture.

    class TestMySource(RecordLogContract):
        @pytest.fixture
        def holding(self):
            def hold(records, names=None):
                ...                      # put the records where the source finds them
                return MySource(...)     # which maps the topics of the records, or those of `names`
            return hold

Records are documents as `testing.archives.archived` makes them: those of one topic and partition have the offsets from 0 on, in order.
`names` maps topics of the plane to a stored topic and the event type that is taken from it. Sources that turn spans of log time into ranges
have `TimedLogContract`. A log that gives its records other offsets says so by `offset_kind` and `number_of`.
"""

# ruff: noqa: S101 - a contract suite asserts
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import pyarrow as pa
import pytest

from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.errors import (
    BasisUnresolved,
    EventSchemaMissingFields,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayEventIdConflict,
    SelectorUnresolved,
)
from offline_feature_plane.ports.inputs import EventInput, EventSource, PinnedEvents, PlainTable
from offline_feature_plane.testing.archives import archived

Holding = Callable[..., EventSource]

LOGGED_US = 1_700_000_000_000_000  # producers take 0 for the present
TX = Source("tx", ("transaction",), (Field("who", ColumnType("string"), ("card", "who")),
                                     Field("amount", ColumnType("decimal", 9, 2), ("amount",), nullable=True)))
LOGIN = Source("login", ("login",), (Field("who", ColumnType("string"), ("who",)),))
AGAIN = Source("back", ("again",), (Field("who", ColumnType("string"), ("to",)),))


def record(offset: int, **changes: Any) -> dict[str, Any]:
    """One record whose id, time and payload follow its offset."""
    payload = changes.pop("payload", {"card": {"who": f"c{offset % 3}"}, "amount": offset})
    return archived(changes.pop("event_id", f"e{offset}"), changes.pop("ts_us", offset * 1_000_000), payload, offset=offset, **changes)


def read(log: EventInput, sources: Sequence[Source] = (TX,),
         scenarios: Sequence[str] = ()) -> tuple[list[tuple[str, dict[str, Any]]], Mapping[str, int]]:
    """The events of a log as (source, row), in the order in which they came, and what gave none."""
    found: list[tuple[str, dict[str, Any]]] = []

    def take(name: str, batch: pa.RecordBatch) -> None:
        found.extend((name, row) for row in batch.to_pylist())

    assert not isinstance(log, PlainTable)
    report = log.read(Admission("run1", scenarios, sources), take)
    return found, report.left_out


def ids(found: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """The ids of events."""
    return [row["event_id"] for _, row in found]


def whole(pinned: PinnedEvents) -> tuple[Range, ...]:
    """Everything that a topic holds."""
    return canonical_basis(Range(**entry) for entry in pinned.basis())


class RecordLogContract:
    """Laws of sources of records; each test has a log of its own."""

    offset_kind = "kafka_offset"

    def number_of(self, place: int, partition: int = 0) -> int:  # noqa: ARG002 - of some logs it matters
        """The offset of the n-th record of a partition, counted from 0; behind the last one, any that is larger."""
        return place

    def part(self, pinned: PinnedEvents, start: int, end: int, partition: int = 0) -> Range:
        """A range of a topic."""
        return Range(pinned.topic, partition, self.offset_kind, pinned.log_ids[0],
                     *(str(self.number_of(place, partition)) for place in (start, end)))

    def test_what_was_written_is_read_by_partition_and_offset(self, holding: Holding) -> None:
        """Every event comes once, typed, with its coordinate, its hash, and the running maximum of the log's time as its arrival."""
        records = [record(0, log_us=5_000_000), record(1, log_us=3_000_000), record(2, log_us=9_000_000),
                   record(0, partition=1, event_id="p1", log_us=1_000_000)]
        pinned = holding(records).pin("transaction")
        found, left_out = read(pinned.reading(whole(pinned), (TX,)))
        assert (ids(found), left_out) == (["e0", "e1", "e2", "p1"], {})
        assert [(row["partition"], row["offset"], row["arrival"]) for _, row in found] == [
            (of, str(self.number_of(place, of)), arrival) for of, place, arrival in (
                (0, 0, 5_000_000), (0, 1, 5_000_000), (0, 2, 9_000_000), (1, 0, 1_000_000))]
        assert [row["payload_hash"] for _, row in found] == [one["payload_hash"] for one in records]
        assert [(row["who"], int(row["amount"] * 100)) for _, row in found][:3] == [("c0", 0), ("c1", 100), ("c2", 200)]

    def test_ranges_are_half_open_and_splitting_them_changes_nothing(self, holding: Holding) -> None:
        """The end of a range is not inside it.

        offsets  0 1 [2 3 4 5) 6 7     2 is in, 6 is not
        """
        pinned = holding([record(n) for n in range(8)]).pin("transaction")
        found, _ = read(pinned.reading([self.part(pinned, 2, 6)], (TX,)))
        assert ids(found) == ["e2", "e3", "e4", "e5"]
        assert read(pinned.reading(canonical_basis([self.part(pinned, 2, 4), self.part(pinned, 4, 6)]), (TX,)))[0] == found
        apart, _ = read(pinned.reading([self.part(pinned, 0, 1), self.part(pinned, 7, 8)], (TX,)))
        assert ids(apart) == ["e0", "e7"]

    def test_every_coordinate_counts_once_by_the_first_reason_that_matches(self, holding: Holding) -> None:
        """Foreign run, null value, duplicate, other scope and undecodable add up with the events to the coordinates read."""
        records = [record(0), record(1, platform_run_id="run2"), record(2, payload=None),
                   record(3, event_id="e0", ts_us=0, payload=record(0)["payload"]), record(4, event_type="ping"),
                   {**record(5), "ts_utc": "yesterday"}, record(6, event_type="login", payload={"who": "w"})]
        pinned = holding(records).pin("transaction")
        found, left_out = read(pinned.reading(whole(pinned), (TX, LOGIN)), (TX, LOGIN))
        assert sorted(ids(found)) == ["e0", "e6"]
        assert left_out == {"foreign_run": 1, "null_value": 1, "duplicate": 1, "other_scope": 1, "undecodable": 1}

    def test_scenarios_narrow_the_run(self, holding: Holding) -> None:
        """A record of another scenario is of a foreign run."""
        records = [record(0, scenario_run_id="s1"), record(1, scenario_run_id="s2"), record(2)]
        pinned = holding(records).pin("transaction")
        found, left_out = read(pinned.reading(whole(pinned), (TX,)), scenarios=("s1",))
        assert (ids(found), left_out) == (["e0"], {"foreign_run": 2})

    def test_one_id_has_one_content_wherever_it_stands(self, holding: Holding) -> None:
        """The smallest coordinate is the event; the same again is a duplicate, and something else under its id a conflict."""
        again = {"event_id": "e0", "ts_us": 0, "payload": record(0)["payload"]}
        pinned = holding([record(0), record(1, **again), record(0, partition=1, **again)]).pin("transaction")
        found, left_out = read(pinned.reading(whole(pinned), (TX,)))
        assert ([(row["partition"], row["offset"]) for _, row in found], left_out) == (
            [(0, str(self.number_of(0)))], {"duplicate": 2})

    def test_one_id_with_two_contents_is_a_conflict(self, holding: Holding) -> None:
        """A producer must not reuse an event id."""
        pinned = holding([record(0), record(1, event_id="e0")]).pin("transaction")
        with pytest.raises(ReplayEventIdConflict, match="e0"):
            read(pinned.reading(whole(pinned), (TX,)))

    def test_pieces_of_partitions_travel_and_together_are_the_log(self, holding: Holding) -> None:
        """Engines read the partitions of a log in different processes."""
        pinned = holding([record(n // 2, partition=n % 2, event_id=f"e{n}") for n in range(10)]).pin("transaction")
        log = pinned.reading(whole(pinned), (TX,))
        assert log.rows >= 10
        assert not isinstance(log, PlainTable)
        pieces = log.by_partition()
        assert [[lane.partition for lane in piece.lanes] for piece in pieces] == [[0], [1]]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            assert [one for found, _ in other.map(read, pieces) for one in found] == read(log)[0]

    def test_a_topic_of_several_sources_is_read_once_and_again_the_same(self, holding: Holding) -> None:
        """One pass hands each source its events; reading again finds the same."""
        records = [record(0), record(1, event_type="login", payload={"who": "w"}), record(2), record(3, event_type="ping")]
        pinned = holding(records).pin("transaction")
        log = pinned.reading(whole(pinned), (TX, LOGIN))
        for _ in range(2):
            found, left_out = read(log, (TX, LOGIN))
            assert sorted((name, row["event_id"]) for name, row in found) == [("login", "e1"), ("tx", "e0"), ("tx", "e2")]
            assert left_out == {"other_scope": 1}

    @pytest.mark.parametrize("scenarios", [(), ("s1",)])
    def test_scanning_a_log_gives_what_reading_it_gives(self, holding: Holding, scenarios: tuple[str, ...]) -> None:
        """Engines scan, many records at a time: the same events by source, coordinate, time, hash and field, and the same is left out.

        What is of another scope is handed out without a source there, and repeats are told apart later.
        """
        records = [record(0, scenario_run_id="s1"), record(1, platform_run_id="run2"), record(2, payload=None),
                   record(3, event_type="ping"), {**record(4), "ts_utc": "yesterday"}, record(5, event_type="login", payload={"who": "w"}),
                   record(6, scenario_run_id="s1", payload={"card": {"who": '\u00e9 "\\'}}), record(0, partition=1, event_id="p1")]
        pinned = holding(records).pin("transaction")
        log = pinned.reading(whole(pinned), (TX, LOGIN))
        expected, left_out = read(log, (TX, LOGIN), scenarios)
        assert not isinstance(log, PlainTable)
        found, elsewhere = list[tuple[str, dict[str, Any]]](), 0

        def take(name: str | None, batch: pa.RecordBatch) -> None:
            nonlocal elsewhere
            elsewhere += batch.num_rows if name is None else 0
            found.extend((name, row) for row in batch.to_pylist() if name is not None)

        report = log.scan(Scope.of("run1", scenarios, (TX, LOGIN)), take)
        for _, row in found:
            row["payload_hash"] = f"sha256:{row['payload_hash'].hex()}"
            del row["event_type"], row["position"]
        assert sorted(found, key=str) == sorted(expected, key=str)
        assert {**report.left_out, **({"other_scope": elsewhere} if elsewhere else {})} == left_out

    def test_a_topic_read_under_another_name_gives_events_of_their_own(self, holding: Holding) -> None:
        """The events of one type, by the fields of their own source; all others are left out.

        offset           0    1      2
        transaction      tx   login  tx
        again            tx   other  tx
        """
        records = [record(0, payload={"card": {"who": "a"}, "to": "b"}), record(1, event_type="login", payload={"who": "w"}),
                   record(2, payload={"card": {"who": "b"}, "to": "a"})]
        source = holding(records, {"again": ("transaction", "transaction")})
        assert not source.mixes_types("again")
        pinned = source.pin("again")
        found, left_out = read(pinned.reading(whole(pinned), (AGAIN,)), (AGAIN,))
        assert ([(name, row["who"]) for name, row in found], left_out) == ([("back", "b"), ("back", "a")], {"other_scope": 1})

    def test_a_required_field_that_is_absent_names_its_coordinate(self, holding: Holding) -> None:
        """The error says which event lacks what."""
        pinned = holding([record(0), record(1, payload={"amount": 1})]).pin("transaction")
        with pytest.raises(EventSchemaMissingFields, match=f"transaction/0@{self.number_of(1)}"):
            read(pinned.reading(whole(pinned), (TX,)))

    def test_what_it_holds_is_complete_and_nothing_else_is(self, holding: Holding) -> None:
        """A range beyond the end, of another partition or of another log is not proved, and the verdict says why."""
        source = holding([record(n) for n in range(4)])
        pinned = source.pin("transaction")
        verdict = pinned.completeness(whole(pinned))
        assert (refusal(verdict), verdict.is_complete) == (None, True)
        assert source.pin("transaction").log_ids == pinned.log_ids
        for wrong, error in ((self.part(pinned, 0, 5), (ReplayBasisGap, BasisUnresolved)), (self.part(pinned, 0, 2, 99), BasisUnresolved),
                             (replace(self.part(pinned, 0, 2), log_id="another"), ReplayBasisMismatch)):
            assert isinstance(refusal(pinned.completeness([wrong])), error)

    def test_what_is_read_is_described(self, holding: Holding) -> None:
        """The plan names the log, the ranges, and how many records there may be."""
        pinned = holding([record(n) for n in range(4)]).pin("transaction")
        said = pinned.describe([self.part(pinned, 1, 3)], "source@1")
        assert (said.name, said.read_by, said.log_id) == ("transaction", "source@1", pinned.log_ids[0])
        assert [(one["start_offset"], one["end_offset"]) for one in said.ranges] == [
            (str(self.number_of(1)), str(self.number_of(3)))]
        assert said.most_rows >= 2


class TimedLogContract(RecordLogContract):
    """The same, and what spans of log time mean."""

    def test_a_selector_takes_the_first_offsets_at_or_after_its_ends(self, holding: Holding) -> None:
        """Selectors are about log time, and half-open.

        log time  0  10  10  20  30 ms after LOGGED_US     offsets 0 1 2 3 4
        [10, 30)  ───[1──────────)4
        """
        pinned = holding([record(n, log_us=LOGGED_US + at * 1_000) for n, at in enumerate((0, 10, 10, 20, 30))]).pin("transaction")
        for start, end, expected in ((10_000, 30_000, (1, 4)), (9_001, 30_000, (1, 4)), (10_001, 20_001, (3, 4)), (-5_000, 10_000, (0, 1)),
                                     (-LOGGED_US - 5_000, 20_000, (0, 3))):
            assert pinned.resolve(Selector("transaction", LOGGED_US + start, LOGGED_US + end)) == (self.part(pinned, *expected),)

    @pytest.mark.parametrize("span", [(5, 21), (20, 20), (11, 15)])
    def test_a_selector_that_cannot_be_settled_is_unresolved(self, holding: Holding, span: tuple[int, int]) -> None:
        """Beyond the end, empty, between two records: never a guess."""
        pinned = holding([record(n, log_us=LOGGED_US + at * 1_000) for n, at in enumerate((0, 10, 20))]).pin("transaction")
        with pytest.raises(SelectorUnresolved):
            pinned.resolve(Selector("transaction", *(LOGGED_US + at * 1_000 for at in span)))
