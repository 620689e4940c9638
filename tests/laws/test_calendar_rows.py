"""Rows that a calendar makes are the rows of a table that somebody wrote by its law (`docs/decisions/0036`)."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from two_engines import SMALL, tell

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.periods import first_instant, period_around
from offline_feature_plane.domain.zones import wall_at
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.engines.oracle.reading import read_events
from offline_feature_plane.testing.drawing import draw_calendar_world
from offline_feature_plane.testing.worlds import TEXT, Table

TIME = ColumnType("timestamp")


def written_down(world, events):
    """The same rows as a table of events: written by the law, period by period, under a name that puts them last at their instant.

    The world itself, if there are none: no file is empty.
    """
    task, calendar, entity = world.task, world.task.calendar, world.task.entity
    made = task.closure.source(task.subject)
    others = tuple(one for one in task.closure.sources if one is not made)
    seen, _ = read_events(events, replace(task, subject=others[0].name, calendar=None, entity=None,
                                          closure=replace(task.closure, sources=others)))
    rows = []
    at_us, end_us = (first_instant(day, calendar.zone) for day in (calendar.start_day, calendar.end_day))
    while at_us < end_us:
        start_us, after_us = period_around(at_us, calendar.every, calendar.zone)
        if at_us == start_us:
            there = {one.values[entity] for one in seen if one.source == calendar.source and one.ts_us < after_us} - {None}
            day = wall_at(at_us, calendar.zone).date().isoformat()
            rows += [{"event_id": f"{who}@{day}", "at": after_us - 1, entity: who} for who in there]
        at_us = after_us
    if not rows:
        return world
    table = Table("~spine", "parquet", {"event_id": TEXT, "at": TIME, entity: made.field(entity).type}, tuple(rows), TEXT)
    sources = (*others, replace(made, event_types=("~spine",)))
    return replace(world, events=(*world.events, table),
                   task=replace(task, calendar=None, entity=None, closure=replace(task.closure, sources=sources)))


def hold_together(seed):
    """Oracle and local engine, in memory and in small files, say of a calendar what the oracle says of the table that it stands for."""
    world = draw_calendar_world(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events, labels = world.write(folder)
        written = written_down(world, events)
        theirs = events if written is world else written.write(folder / "theirs")[0]
        expected = tell(OracleEngine(), written.task, theirs, labels, folder / "written")
        for number, engine in enumerate((OracleEngine(), LocalEngine(), LocalEngine(SMALL))):
            assert comparable(tell(engine, world.task, events, labels, folder / str(number)), world) == comparable(expected, world), (
                f"seed {seed}, {number}")
    return expected


def comparable(said, world):
    """What both can say: the digest of events is of files, and ids that were made of identifiers leave as tokens."""
    if "error" in said:
        return said
    found = {**said, "replay": {**said["replay"], "events_digest": None}}
    if world.task.veiled is not None:
        found["leaves"] = None
        found["rows"] = [{**row, "event_id": None} for row in said["rows"]]
    return found


@pytest.mark.parametrize("seed", [3, 6, 8])
def test_a_calendar_is_the_table_that_it_stands_for(seed):
    """At the end of each period one row about every entity with an event by then, and of nothing else a difference."""
    hold_together(seed)


def test_calendars_are_drawn_that_make_rows_with_answers():
    """The worlds of these laws are not empty: they have rows, rows with labels, and rows that see events."""
    said = []
    for world in map(draw_calendar_world, (0, 3, 8)):
        with tempfile.TemporaryDirectory() as folder:
            said.append(tell(OracleEngine(), world.task, *world.write(Path(folder)), Path(folder)))
    assert all(one["rows"] for one in said)
    assert any(row["fraud__status"] == "'RESOLVED'" for one in said for row in one["rows"])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_300))
def test_many_calendars_are_the_tables_that_they_stand_for(seed):
    """As above, three hundred worlds."""
    hold_together(seed)
