"""Logs that do not fit in memory: pieces, keys in parts, files; the events are the same (`docs/decisions/0042`)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_worlds import logs, pinned, task, told

from offline_feature_plane.engines.local.connection import Database
from offline_feature_plane.engines.local.history.places import Folder, Memory
from offline_feature_plane.engines.local.history.storing import store_events
from offline_feature_plane.engines.local.sizes import fit
from offline_feature_plane.engines.oracle.reading import read_events
from offline_feature_plane.errors import OfsError, ReplayEventIdConflict, ReplayEventsEmpty
from offline_feature_plane.kernels import marking
from offline_feature_plane.sources.logs import records
from offline_feature_plane.testing.archives import archived

PIECES = {"written": logs(), "rows": st.integers(1, 9), "ids": st.integers(2, 9)}


@pytest.mark.parametrize("visibility", ["event_time", "arrival"])
@settings(max_examples=8, deadline=None)
@given(**PIECES)
def test_pieces_of_any_size_give_the_same_events(tmp_path_factory, visibility, written, rows, ids):
    """Decoded one by one or in batches, kept in memory or in files, in pieces and parts of any size: one history, and one digest.

    scan ──▶ spool ──▶ keys in parts ──▶ pieces ──▶ runs ──▶ events
    """
    hold_in_pieces(tmp_path_factory, visibility, written, rows, ids)


@pytest.mark.long
@pytest.mark.parametrize("visibility", ["event_time", "arrival"])
@settings(max_examples=1_000, deadline=None)
@given(**PIECES)
def test_pieces_of_any_size_give_the_same_events_of_many_logs(tmp_path_factory, visibility, written, rows, ids):
    """As above, two thousand logs."""
    hold_in_pieces(tmp_path_factory, visibility, written, rows, ids)


def hold_in_pieces(tmp_path_factory, visibility, written, rows, ids):
    """Each way says the same of a log."""
    root = tmp_path_factory.mktemp("log")
    logs_read, wanted = pinned(root, written, ("jsonl", "parquet")), task(visibility)
    said = []
    for worth, in_files in ((20_000, False), (0, False), (0, True)):
        records.WORTH_A_COMPILER, before = worth, records.WORTH_A_COMPILER
        work = tmp_path_factory.mktemp("work")
        sizes = fit(wanted, 0, 10**9)
        sizes = replace(sizes, in_files=True, run_rows=rows, ids=ids, merge_total=8) if in_files else sizes
        try:
            with Database(root) as database:
                said.append(told(*store_events(database, logs_read, wanted, Folder(work) if in_files else Memory(), sizes,
                                                threads=1 + in_files)))
        except OfsError as wrong:  # all of them must say the same
            said.append(wrong.code)
        finally:
            records.WORTH_A_COMPILER = before
    assert said[0] == said[1] == said[2]
    if said[0] == ReplayEventsEmpty.code:
        with pytest.raises(ReplayEventsEmpty):
            read_events(logs_read, wanted)
        return
    facts = read_events(logs_read, wanted)[1]
    assert (said[0][0].events_digest, said[0][0].dispositions) == (facts.events_digest, facts.dispositions)
    assert said[0][0].findings == facts.findings


def test_marks_that_are_shared_are_looked_at_again(tmp_path, monkeypatch):
    """Where ids share a mark, they are compared themselves: none is lost, repeats are found, and a conflict is one.

    offset   0    1    2    3 (0 again)
    id       e0   e1   e2   e0               all of one mark
    """
    def one_mark(data, offsets, seeds, marks):
        marks[:] = 7
    monkeypatch.setattr("offline_feature_plane.engines.local.record_keys.mark_texts", one_mark)
    assert marking.mark_texts is not one_mark
    payload = {"who": "w", "cents": 1}
    written = [archived(event_id, 1, payload, topic="t1", offset=at, event_type="a")
               for at, event_id in enumerate(["e0", "e1", "e2", "e0"])]
    with Database(tmp_path) as database:
        history, facts = store_events(database, pinned(tmp_path / "same", written, "jsonl"), task(), Memory(), fit(task(), 0, 10**9))
        assert history.ids.slice(0, history.n).to_pylist() == ["e0", "e1", "e2"]
        assert dict(facts.dispositions) == {"duplicate": 1}
        other = [*written, archived("e1", 1, {"who": "v", "cents": 1}, topic="t1", offset=4, event_type="a")]
        with pytest.raises(ReplayEventIdConflict, match="a e1 has one content at t1/0@1 and another at t1/0@4"):
            store_events(database, pinned(tmp_path / "other", other, "jsonl"), task(), Memory(), fit(task(), 0, 10**9))


def test_progress_counts_the_coordinates_of_all_logs(tmp_path):
    """What is told while logs are read grows to the number of all their coordinates, of those too that give no event.

    t1   ──0──1──2──(3 of another run)──▶     t2   ──0──1──▶      told: 3, 4, 6
    """
    payload = {"who": "w", "cents": 1}
    written = [archived(f"e{topic}{at}", 1, payload, topic=topic, offset=at, event_type="a", platform_run_id=run)
               for topic, runs in (("t1", ("run1", "run1", "run1", "run2")), ("t2", ("run1", "run1"))) for at, run in enumerate(runs)]
    heard = []
    with Database(tmp_path) as database:
        logs_read = pinned(tmp_path / "log", written, "jsonl")
        store_events(database, logs_read, task(), Memory(), fit(task(), 0, 10**9), heard.append)
    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (3, 6)
    assert sum(log.rows for log in logs_read) == 6
