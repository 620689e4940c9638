"""What a build is estimated to take: more events and more columns take more, and few events take little."""

from __future__ import annotations

from itertools import pairwise

import pytest

from offline_feature_plane.contracts.plan import BusRange, SourceFile, SourcePlan
from offline_feature_plane.contracts.profile import read_profile
from offline_feature_plane.corridor.sizing import estimate
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.footprint import LEAST_BLOCK, PROCESS_BYTES, group_bytes, held_bytes, least_bytes, staging_bytes


def closure(features: int) -> Closure:
    """A group with so many features over two windows."""
    profile = read_profile({"fields": {"card": "string", "amount": "decimal(12,2)"}, "groups": {"g": {
        "key": "card", "windows": ["1d", "7d"], "features": {f"f{n}": f"sum_if(amount, amount > {n})" for n in range(features)}}}})
    return profile.closure("default@v1", "rows")


def test_few_events_take_little_however_many_columns_there_are() -> None:
    """2,000 columns of 200 events are a few megabytes more than the process itself: no buffer is larger than what is put into it."""
    assert held_bytes(closure(1_000), 200, 0) < PROCESS_BYTES + 100_000_000


def test_more_is_never_estimated_to_take_less() -> None:
    """The estimate grows with events, labels and columns."""
    sizes = (0, 10, 1_000, 200_000, 300_000, 10_000_000)
    for found in ([held_bytes(closure(3), many, 0) for many in sizes], [held_bytes(closure(3), 1_000, many) for many in sizes],
                  [held_bytes(closure(many), 1_000, 0) for many in (1, 2, 10, 500)]):
        assert all(one < other for one, other in pairwise(found))


def test_by_arrival_a_build_takes_more_than_twice_as_much_for_its_groups() -> None:
    """What rows see is laid out as it happened, in worlds that they share and as edits of one another, beside the order of arrival."""
    (group,) = closure(3).groups
    assert group_bytes(closure(3), group, "arrival") > 3 * group_bytes(closure(3), group)
    assert held_bytes(closure(3), 1_000, 0, "arrival") > held_bytes(closure(3), 1_000, 0)


def test_rows_that_are_called_by_texts_take_more() -> None:
    """A text id is held with its event, and is at hand several times on the way of its row to a file."""
    wide, narrow = (staging_bytes(closure(3), LEAST_BLOCK, 1_000_000, text_ids=texts) for texts in (True, False))
    assert wide - narrow > 50_000_000
    assert least_bytes(closure(3), 1_000_000, text_ids=True) - least_bytes(closure(3), 1_000_000) == wide - narrow
    assert held_bytes(closure(3), 1_000_000, 0, text_ids=True) - held_bytes(closure(3), 1_000_000, 0) > wide - narrow


def events_of(kind: str, count: int) -> SourcePlan:
    """A source of so many events."""
    return SourcePlan(name="t", kind=kind, read_by="x@1", log_id="l", ranges=[],  # type: ignore[arg-type]
                      files=[SourceFile(path="f", sha256="sha256:0", rows=count, size_bytes=70 * count)])


@pytest.mark.parametrize("kind", ["archive", "stream"])
def test_records_of_logs_take_more_than_rows_of_tables(kind: str) -> None:
    """Records are decoded, hashed and compared, and wait until all are; their ids are texts. A plan tells so, in seconds and bytes."""
    log, table = (estimate([events_of(one, 1_000_000)], closure(3), "event_time", text_ids=False) for one in (kind, "plain_table"))
    assert log.seconds >= table.seconds + 5
    assert log.memory_bytes > table.memory_bytes + 200_000_000
    assert (log.input_bytes, log.events) == (table.input_bytes, table.events)


def test_offsets_of_a_bus_count_as_records() -> None:
    """What is read from a bus is estimated by how many offsets there are."""
    on_bus = BusRange(partition=0, start_offset="5", end_offset="1000005", log_start="0", last_stable="1000005", end="1000005",
                      first_leader_epoch=None, last_leader_epoch=None)
    said = estimate([events_of("bus", 0).model_copy(update={"files": [], "bus": [on_bus]})], closure(3), "event_time", text_ids=False)
    assert said.seconds == estimate([events_of("archive", 1_000_000)], closure(3), "event_time", text_ids=False).seconds
