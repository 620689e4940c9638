"""Batches of a log that are made on several threads: the same, in the same order, up to the same error, and nobody stays behind."""

import threading

import pytest

from offline_feature_plane.domain.admission import Scope
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import ReplayBasisMismatch
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.logs import records
from offline_feature_plane.testing.archives import ArchiveWriter, archived

SOURCES = (Source("pay", ("pay",), (Field("cents", ColumnType("int64"), ("cents",)),)),)
RECORDS, PER_SEGMENT = 24, 4


@pytest.fixture(autouse=True)
def always_in_batches(monkeypatch):
    """However few records there are."""
    monkeypatch.setattr(records, "WORTH_A_COMPILER", 0)


def make_log(root, form, wrong=None):
    """Some segments of a topic; the record `wrong` is not what its hash says, and the second one is undecodable."""
    with ArchiveWriter(root, per_segment=PER_SEGMENT, form=(form,)) as out:
        for number in range(RECORDS):
            one = archived(f"e{number}", number, {"cents": number}, topic="pay", partition=0, offset=number, event_type="pay",
                           platform_run_id="run1")
            one |= {"payload_hash": f"sha256:{'0' * 64}"} if number == wrong else {}
            out.add(one | {"ts_utc": "no instant"} if number == 1 else one)
    pinned = ArchiveSource({"pay": ArchiveMapping(root)}).pin("pay")
    return pinned.reading(pinned.ranges(), SOURCES)


def scan(log, threads, take=lambda _: None):
    """What is taken, and what is said at the end, or the error; no thread is left."""
    taken, before = [], threading.active_count()

    def keep(_, batch):
        taken.extend(batch["event_id"].to_pylist())
        take(len(taken))
    try:
        said = log.scan(Scope.of("run1", (), SOURCES), keep, threads=threads)
    except ReplayBasisMismatch as wrong:
        said = wrong.describe()
    assert threading.active_count() == before
    return taken, said


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
@pytest.mark.parametrize("wrong", [None, 0, 3, 9, RECORDS - 1])
def test_several_threads_say_what_one_says(tmp_path, form, wrong):
    """The record that is refused, what was taken before it, and what was found by then do not depend on threads.

    segments   [ e0 ?  e2 e3 )[ e4 … e7 )[ e8 ✗ …        ✗ is refused: e8 is in its batch, so e0 … e7 were taken
    """
    log = make_log(tmp_path, form, wrong)
    alone, together = scan(log, 1), scan(log, 2)
    assert together == alone
    assert len(alone[0]) == (RECORDS - 1 if wrong is None else max(0, wrong // PER_SEGMENT * PER_SEGMENT - 1))


@pytest.mark.parametrize("stop", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [3, 11, RECORDS - 1])
def test_whoever_stops_ends_all_threads(tmp_path, stop, at):
    """What is raised while records are taken, also Ctrl-C, comes out as it is, and whoever reads ahead ends."""
    before = threading.active_count()

    def take(count):
        if count == at:
            raise stop
    with pytest.raises(stop):
        scan(make_log(tmp_path, "parquet"), 2, take)
    assert threading.active_count() == before
