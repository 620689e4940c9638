"""A topic that an archive and a bus hold together: one log, read across the cut, whose overlap is compared."""

import json
import pickle
from dataclasses import replace
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_feature_plane.domain.admission import Admission, Scope
from offline_feature_plane.domain.basis import Range, Selector, canonical_basis
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.closure import Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.completeness import refusal
from offline_feature_plane.domain.cutover import check_key, is_checked_by_hash
from offline_feature_plane.errors import (
    BasisUnresolved,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayDuplicateOffsetMismatch,
    ReplayIncomplete,
    SelectorUnresolved,
    StorageIoFailure,
)
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.sources.logs import records
from offline_feature_plane.sources.streams import join_streams
from offline_feature_plane.testing.archives import archived, write_archive
from offline_feature_plane.testing.buses import NULL, BusFolder, FolderBus

TX = Source("tx", ("transaction",), (Field("who", ColumnType("string"), ("who",)),))


def record(offset, **changes):
    """One record whose id, times and payload follow its offset."""
    return archived(changes.pop("event_id", f"e{offset}"), offset * 1_000, changes.pop("payload", {"who": f"c{offset % 3}"}), offset=offset,
                    **changes)


def stream(root, mode="sample"):
    """The pinned topic of the archive and the bus in a folder."""
    archive, bus = ArchiveSource({"transaction": ArchiveMapping(root / "archive")}), FolderBus(root / "bus")
    (source,) = (one for one in join_streams([archive, bus], archive, mode) if "transaction" in one.topics)
    return source.pin("transaction")


def part(start, end, partition=0, log="log1", kind="kafka_offset"):
    """A range of the topic."""
    return Range("transaction", partition, kind, log, str(start), str(end))


def read(pinned, ranges=None):
    """The coordinates that a stream gives, in the order of reading, and what it tells: one by one, and the same in batches."""
    wanted = ranges if ranges is not None else canonical_basis(Range(**one) for one in pinned.basis())
    log, found, scanned = pinned.reading(wanted, (TX,)), [], {}

    def take(_, batch, into=found):
        into.extend(zip(batch["partition"].to_pylist(), map(int, batch["offset"].to_pylist()), batch["event_id"].to_pylist(), strict=True))
    told = log.read(Admission("run1", (), (TX,)), take)
    for least in (0, 10**9):  # decoded by kernels, and by the law
        with patch.object(records, "WORTH_A_COMPILER", least):
            scanned[least] = []
            again = log.scan(Scope.of("run1", (), (TX,)), lambda _, batch, into=scanned[least]: take(_, batch, into))
        assert (scanned[least], again.findings, again.compared) == (found, told.findings, told.compared)
    return found, told


def both(root, archived_offsets, bus_offsets, **ways):
    """An archive of some offsets and a bus of others."""
    write_archive(root / "archive", [record(n) for n in archived_offsets], **ways)
    bus = BusFolder(root / "bus")
    bus.produce(record(n) for n in bus_offsets)
    bus.retain(0, min(bus_offsets))
    return bus


def edit_index(root, change):
    """Rewrite an index."""
    place = root / "archive/index.json"
    index = json.loads(place.read_text())
    change(index["segments"])
    place.write_text(json.dumps(index))


def rewrite(root, number, change):
    """Write a segment anew, and what the index says of its bytes."""
    def restated(segments):
        place = root / "archive" / segments[number]["path"]
        place.write_bytes(change(place.read_bytes()))
        segments[number].update(sha256=sha256_of(place.read_bytes()), size=place.stat().st_size)
    edit_index(root, restated)


@pytest.mark.parametrize("mode", ["sample", "full", "off"])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_one_log_is_read_across_the_cut(tmp_path, mode, form):
    """Archive first, bus for the rest: each offset once, in order, whatever is compared.

    archive   [0 ─────────── 70)
    bus               [50 ─────────── 100)
    """
    both(tmp_path, range(70), range(50, 100), per_segment=8, form=form)
    found, told = read(stream(tmp_path, mode))
    assert found == [(0, n, f"e{n}") for n in range(100)]
    assert (dict(told.left_out), told.findings) == ({}, ())
    ends = {n for n in (*range(0, 70, 8), *range(7, 70, 8), 69) if n >= 50}
    key = check_key("transaction", 0, "log1")
    sampled = [n for n in range(50, 70) if n in ends or is_checked_by_hash(key, n)]
    assert told.compared == {"off": 0, "full": 20, "sample": len(sampled)}[mode]


def test_the_same_log_whoever_holds_it(tmp_path):
    """Where the cut lies is evidence: a log that is read from the archive alone, from the bus alone, or across any cut is the same."""
    expected = [(0, n, f"e{n}") for n in range(40)]
    for cut in (1, 17, 40):
        both(tmp_path / str(cut), range(cut), range(max(cut - 5, 0), 40), per_segment=6)
        assert read(stream(tmp_path / str(cut), "full"))[0] == expected


def test_a_hole_of_the_archive_is_filled_from_the_bus(tmp_path):
    """A missing segment is read from the bus, if that still has it; when retention has passed it, it is a gap.

    archive   [0 ── 10)      [20 ── 30)
    bus            [5 ────────────────── 40)
    """
    bus = both(tmp_path, range(30), range(5, 40), per_segment=10)
    edit_index(tmp_path, lambda segments: segments.pop(1))
    pinned = stream(tmp_path, "full")
    found, told = read(pinned)
    assert [n for _, n, _ in found] == list(range(40))
    assert (told.findings, told.compared) == ((), 15)
    bus.retain(0, 15)
    verdict = stream(tmp_path).completeness([part(0, 40)])
    (gap,) = verdict.anomalies
    assert (gap.start_offset, gap.end_offset, gap.why, verdict.feasibility) == ("10", "15", "archive_gap", "INFEASIBLE_ARCHIVE_GAP")
    assert isinstance(refusal(verdict), ReplayBasisGap)


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_another_event_on_either_side_is_a_conflict_with_its_place(tmp_path, mode):
    """One record that differs is found: always by `full`, and by `sample` at the end of a segment. The archive's record is read."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    bus.forge(0, record(19, payload={"who": "mallory"}))
    found, told = read(stream(tmp_path, mode))
    (conflict,) = told.findings
    assert (conflict.reason, conflict.count, conflict.first_offset) == (ReplayBasisMismatch.code, 1, "19")
    assert "archive and bus hold different events at transaction/0@19" in conflict.sentence
    assert found == [(0, n, f"e{n}") for n in range(40)]


def test_a_sample_may_miss_what_full_finds(tmp_path):
    """What a sample does not take is not compared: that is what it is."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    key = check_key("transaction", 0, "log1")
    assert not is_checked_by_hash(key, 15)
    bus.forge(0, record(15, payload={"who": "mallory"}))
    assert read(stream(tmp_path, "sample"))[1].findings == ()
    assert read(stream(tmp_path, "full"))[1].findings[0].first_offset == "15"
    assert read(stream(tmp_path, "off"))[1].compared == 0


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_a_record_that_only_one_of_both_has_is_a_conflict(tmp_path, mode):
    """An event that the bus lost, and one that the archiver lost without saying so: found by a sample too, which takes neither.

    archive   … 10    12 13 …        11 is not there, and not declared
    bus       … 10 11 12    …        13 is not there
    """
    both(tmp_path, [n for n in range(20) if n != 11], [n for n in range(5, 25) if n != 13], per_segment=20)
    assert not any(is_checked_by_hash(check_key("transaction", 0, "log1"), n) for n in (11, 13))
    found, told = read(stream(tmp_path, mode))
    (conflict,) = told.findings
    assert (conflict.count, conflict.stretches) == (2, (("13", "14"), ("11", "12")))
    assert "the archive has an event at transaction/0@13, the bus has none" in conflict.sentence
    assert [n for _, n, _ in found] == [n for n in range(25) if n != 11]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ours=st.sets(st.integers(0, 60), min_size=2), theirs=st.sets(st.integers(0, 60), min_size=2), declared=st.sampled_from([0, 0, 3]))
def test_a_sample_sees_every_offset_as_full_does(tmp_path_factory, ours, theirs, declared):
    """Whichever offsets each of both has, all at one only are found alike, as single ones and as runs, whatever the batches are.

    archive   ●●  ●●●●●  ●●   ●●●
    bus         ●●●●●  ●●●●●●   ●●●●
    """
    root = tmp_path_factory.mktemp("offsets")
    both(root, sorted(ours), sorted(theirs), per_segment=9)
    edit_index(root, lambda segments: segments[0].update(dispositions={"foreign_run": declared}))
    wanted = [part(min(ours), max(ours) + 1)]
    (_, sampled), (_, full) = (read(stream(root, mode), wanted) for mode in ("sample", "full"))
    assert sampled.findings == full.findings
    start, end = max(min(ours), min(theirs)), min(max(ours), max(theirs)) + 1
    lost, dropped = ({n for n in one if start <= n < end} for one in (ours - theirs, theirs - ours))
    held = [one.evidence.span for one in stream(root).archive.segments]
    dropped = {n for n in dropped if any(first <= n < stop for first, stop in held)}
    excused = declared if held[0][1] > start else 0
    found = sum(one.count for one in full.findings)
    assert found == len(lost) + (len(dropped) if len(dropped) > excused else 0)


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_what_the_archiver_declares_to_have_left_out_is_no_conflict(tmp_path, mode):
    """An index that declares its dispositions explains records that only the bus has, as many as it declares."""
    both(tmp_path, [n for n in range(20) if n not in (11, 12)], range(5, 25), per_segment=20)
    for declared, conflicts in ((2, 0), (1, 2)):
        edit_index(tmp_path, lambda segments, declared=declared: segments[0].update(dispositions={"foreign_run": declared}))
        assert sum(one.count for one in read(stream(tmp_path, mode))[1].findings) == conflicts


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_what_an_archiver_declares_and_keeps_excuses_nothing_else(tmp_path, mode):
    """Null values and garbage that `ofs archive write` copies stand in its segments and in its index: they are not excused twice.

    bus       … 7 null   8 null   9 garbage   …     archived, all of it
    archive   … 7 null   8 null   9 garbage   …     and then 12 is dropped from the file, and the index counts one record less
    """
    bus = BusFolder(tmp_path / "bus")
    bus.produce(record(n) for n in range(30))
    for at, what in ((7, NULL), (8, NULL), (9, "garbage")):
        bus.forge(0, (0, at, what))
    write_archive(tmp_path / "archive", [record(n) for n in range(20) if n not in {7, 8, 9}], per_segment=20)
    lane = {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset"}
    odd = {at: json.dumps({**lane, "offset": str(at), "payload": "cGluZw==" if at == 9 else None}).encode() + b"\n" for at in (7, 8, 9)}

    def archive(*dropped):
        lines = [odd.get(n) or json.dumps(record(n)).encode() + b"\n" for n in range(20) if n not in dropped]
        rewrite(tmp_path, 0, lambda _: b"".join(lines))
        edit_index(tmp_path, lambda segments: segments[0].update(record_count=len(lines), dispositions={
            "archived": len(lines) - 3, "undecodable": 1, "null_value": 2}))
    archive()
    _, told = read(stream(tmp_path, mode))
    assert [(one.reason, one.count) for one in told.findings] == [("null_value", 2), ("undecodable", 1)]
    archive(12)
    assert not is_checked_by_hash(check_key("transaction", 0, "log1"), 12)
    (conflict,) = (one for one in read(stream(tmp_path, mode))[1].findings if one.reason == ReplayBasisMismatch.code)
    assert "the bus has 4 records where the archive has none and declares 3" in conflict.sentence


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_a_compacted_bus_may_lack_records_but_not_change_them(tmp_path, mode):
    """What compaction took is no conflict, what it left must be what was archived; and nothing is read from it."""
    bus = both(tmp_path, range(30), range(10, 30), per_segment=10)
    bus.compact(0, [12, 13, 19])
    pinned = stream(tmp_path, mode)
    found, told = read(pinned)
    assert (len(found), told.findings) == (30, ())
    bus.forge(0, record(20, payload={"who": "mallory"}))
    assert read(stream(tmp_path, mode))[1].findings[0].first_offset == "20"
    bus.produce([record(30)])
    verdict = stream(tmp_path).completeness([part(0, 31)])
    assert (verdict.feasibility, verdict.anomalies[0].why) == ("UNCHECKABLE", "compacted")


def test_records_that_nobody_can_read(tmp_path):
    """Undecodable on the bus where the archive can read: a conflict. In the archive: a disposition, which the bus's record explains."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    bus.forge(0, (0, 12, "garbage"))
    _, told = read(stream(tmp_path, "full"))
    assert ("can be decoded in the archive, not on the bus" in told.findings[0].sentence, told.findings[0].first_offset) == (True, "12")
    bus.forge(0, (0, 35, "garbage"))
    found, told = read(stream(tmp_path, "off"))
    assert (dict(told.left_out), [n for _, n, _ in found]) == ({"undecodable": 1}, [n for n in range(40) if n != 35])
    assert [(one.reason, one.first_offset) for one in told.findings] == [("undecodable", "35")]
    both(tmp_path / "other", range(30), range(10, 40), per_segment=10)
    lines = (tmp_path / "other/archive/transaction/0/00001.jsonl").read_bytes().splitlines(keepends=True)
    rewrite(tmp_path / "other", 1, lambda held: held.replace(lines[5], b"garbage\n"))
    _, told = read(stream(tmp_path / "other", "full"))
    assert (dict(told.left_out), [one.reason for one in told.findings]) == ({"undecodable": 1}, ["undecodable"])


def test_a_bus_that_goes_away_while_it_is_compared_is_no_obstacle(tmp_path):
    """What the archive has is read whatever the bus does; that it could not be compared is told."""
    bus = both(tmp_path, range(30), range(10, 30), per_segment=10)
    pinned = stream(tmp_path, "full")
    log = pinned.reading([part(0, 30)], (TX,))
    bus.go_down()
    told = log.read(Admission("run1", (), (TX,)), lambda _, __: None)
    assert [(one.reason, one.count) for one in told.findings] == [("overlap_not_compared", 1)]
    assert told.compared == 0


def test_a_bus_that_is_read_must_still_have_what_it_had(tmp_path):
    """Between plan and read retention may pass a stretch that is wanted, or the topic be made anew: neither is read over."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    log = stream(tmp_path, "off").reading([part(0, 40)], (TX,))
    bus.retain(0, 35)
    with pytest.raises(ReplayBasisGap):
        log.read(Admission("run1", (), (TX,)), lambda _, __: None)
    bus.recreate(0, "log2")
    with pytest.raises(ReplayBasisMismatch, match="log2"):
        log.read(Admission("run1", (), (TX,)), lambda _, __: None)


def test_a_silent_bus(tmp_path):
    """It does not stand in the way of ranges that the archive has; without ranges nobody knows where the log ends."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    bus.go_down()
    pinned = stream(tmp_path)
    assert len(read(pinned, [part(5, 30)])[0]) == 25
    verdict = pinned.completeness([part(5, 35)])
    assert (verdict.feasibility, verdict.anomalies[0].why, verdict.anomalies[0].start_offset) == ("UNCHECKABLE", "bus_silent", "30")
    assert isinstance(refusal(verdict), ReplayIncomplete)
    with pytest.raises(StorageIoFailure):
        pinned.basis()


def test_a_topic_that_was_made_anew_is_another_log(tmp_path):
    """Its offsets count anew: the archive holds the old log alone, and a basis without ranges is refused."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    bus.recreate(0, "log2")
    bus.produce([record(n, event_id=f"new{n}") for n in range(5)])
    pinned = stream(tmp_path, "full")
    found, told = read(pinned, [part(0, 30)])
    assert ([n for _, n, _ in found], told.compared) == (list(range(30)), 0)
    verdict = pinned.completeness([part(0, 40)])
    assert (verdict.anomalies[0].start_offset, verdict.feasibility) == ("30", "INFEASIBLE_ARCHIVE_GAP")
    assert "the bus counts in log log2: the topic was made anew" in verdict.anomalies[0].sentence
    anew = pinned.completeness([part(0, 5, log="log2")])
    assert (anew.is_complete, anew.feasibility) == (True, "FEASIBLE_BUS_ONLY")
    assert [event for _, _, event in read(pinned, [part(0, 5, log="log2")])[0]] == [f"new{n}" for n in range(5)]
    assert pinned.completeness([part(0, 5, log="log3")]).anomalies[0].why == "unknown_log"
    with pytest.raises(BasisUnresolved, match="log1, its bus in log log2"):
        pinned.basis()


def test_an_end_that_is_not_settled_is_unchecked(tmp_path):
    """Records of an open transaction may still be taken back."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    bus.open_transaction(0, 37)
    pinned = stream(tmp_path)
    assert pinned.basis()[0]["end_offset"] == "37"
    verdict = pinned.completeness([part(0, 40)])
    assert (verdict.feasibility, verdict.anomalies[0].why, verdict.anomalies[0].start_offset) == ("UNCHECKABLE", "not_settled", "37")


def beside(root, records, first, name="more"):
    """Another archiver's segment in the same index, which begins at some offset."""
    write_archive(root / "archive" / name, records)
    (extra,) = json.loads((root / "archive" / name / "index.json").read_text())["segments"]
    edit_index(root, lambda segments: segments.append(extra | {"path": f"{name}/{extra['path']}", "first_offset": str(first)}))


@pytest.mark.parametrize("mode", ["off", "full"])
def test_two_archives_of_one_log_that_disagree(tmp_path, mode):
    """Segments of two archivers in one index, with other events at some coordinates: refused, and all of it is in the error.

    first     [0 ──────────── 10)
    second           [5 ─7─8────── 12)
    third                [7 ─── 9)         what stands at 8 is told once, however many segments have it
    """
    both(tmp_path, range(10), range(2, 13))
    rewrite(tmp_path, 0, lambda held: held.replace(json.dumps(record(1)).encode(), json.dumps(record(1, platform_run_id="run2")).encode()))
    beside(tmp_path, [record(n, event_id="other" if n in {7, 8} else f"e{n}") for n in range(5, 12)], 5)
    beside(tmp_path, [record(7), record(8, event_id="third")], 7, "third")
    with pytest.raises(ReplayDuplicateOffsetMismatch, match="2 offsets, the first of them transaction/0@7") as refused:
        read(stream(tmp_path, mode), [part(0, 12)])
    assert refused.value.fields["segments"] == ["transaction/0/00000.jsonl", "more/transaction/0/00000.jsonl"]
    assert all(one in refused.value.what for one in refused.value.fields["segments"])
    assert [(one["reason"], one["count"], one["stretches"]) for one in refused.value.fields["findings"]] == [
        ("REPLAY_DUPLICATE_OFFSET_MISMATCH", 2, [{"start_offset": "7", "end_offset": "9"}]),
        ("foreign_run", 1, [{"start_offset": "1", "end_offset": "2"}])]


@pytest.mark.parametrize("mode", ["sample", "full"])
def test_segments_that_overlap_are_compared_as_one(tmp_path, mode):
    """What an archive has in either of two segments it has, and a difference to the bus is counted once.

    first     [0 ─────────────────── 20)
    second         [8 9 · 11 ── 16)           has no 10, as its archiver says
    bus            [8 ─────── x ────────── 30)     another event at 15
    """
    bus = both(tmp_path, range(20), range(8, 30))
    beside(tmp_path, [record(n) for n in range(8, 16) if n != 10], 8)
    found, told = read(stream(tmp_path, mode))
    assert found == [(0, n, f"e{n}") for n in range(30)]
    assert told.findings == ()
    key = check_key("transaction", 0, "log1")
    assert told.compared == sum(mode == "full" or n in {8, 15, 19} or is_checked_by_hash(key, n) for n in range(8, 20))
    bus.forge(0, record(15, event_id="x"))
    (finding,) = read(stream(tmp_path, mode))[1].findings
    assert (finding.reason, finding.count, finding.stretches) == ("REPLAY_BASIS_MISMATCH", 1, (("15", "16"),))


def test_an_archive_that_was_replaced_between_plan_and_read_is_refused(tmp_path):
    """Its segments are pinned by their bytes, compared or not."""
    both(tmp_path, range(30), range(10, 40), per_segment=10)
    logs = [stream(tmp_path, mode).reading([part(0, 40)], (TX,)) for mode in ("off", "full")]
    rewrite(tmp_path, 1, lambda held: held.replace(b"e15", b"x15"))
    for log in logs:
        with pytest.raises(ReplayBasisMismatch):
            log.read(Admission("run1", (), (TX,)), lambda _, __: None)


def test_ranges_around_what_is_missing_may_be_named(tmp_path):
    """Several ranges of one partition share segments, and each overlap is compared once.

    ranges    [3 ── 12)     [18 ──────────── 36)
    archive   [0 ─ 10)[10 ─ 20)[20 ─ 30)
    bus                [11 ────────────────── 40)
    """
    both(tmp_path, range(30), range(11, 40), per_segment=10)
    found, told = read(stream(tmp_path, "full"), [part(3, 12), part(18, 36)])
    assert [n for _, n, _ in found] == [*range(3, 12), *range(18, 36)]
    assert (told.compared, told.findings) == (1 + 12, ())


def test_partitions_are_cut_apart_and_travel(tmp_path):
    """Each partition is one piece that can be read elsewhere, and has a cut of its own."""
    write_archive(tmp_path / "archive", [record(n, partition=p) for p, high in ((0, 20), (1, 30)) for n in range(high)], per_segment=10)
    bus = BusFolder(tmp_path / "bus")
    bus.produce(record(n, partition=p) for p in (0, 1, 2) for n in range(40))
    bus.retain(0, 15)
    bus.retain(1, 28)
    log = stream(tmp_path, "full").reading(canonical_basis(Range(**one) for one in stream(tmp_path).basis()), (TX,))
    pieces = [pickle.loads(pickle.dumps(one)) for one in log.by_partition()]  # noqa: S301 - our own
    counts, compared = [], []
    for piece in pieces:
        rows = []
        told = piece.read(Admission("run1", (), (TX,)), lambda _, batch, rows=rows: rows.extend(batch["offset"].to_pylist()))
        compared.append(told.compared)
        counts.append(len(rows))
    assert (counts, compared) == ([40, 40, 40], [5, 2, 0])


def test_a_selector_is_settled_by_whoever_has_its_ends(tmp_path):
    """Log time, half-open: one end may lie in the archive and the other on the bus.

    log time   0 ms ... each offset one ms later
    archive   [0 ─────── 30)
    bus               [20 ────────── 50)
    """
    both(tmp_path, range(30), range(20, 50), per_segment=10)
    pinned = stream(tmp_path)

    def resolved(start_ms, end_ms):
        return [(one.start, one.end) for one in pinned.resolve(Selector("transaction", start_ms * 1_000, end_ms * 1_000))]

    assert resolved(5, 25) == [(5, 25)]
    assert resolved(5, 45) == [(5, 45)]
    assert resolved(35, 45) == [(35, 45)]
    for span in ((5, 60), (60, 70), (7, 7)):
        with pytest.raises(SelectorUnresolved):
            resolved(*span)


def test_a_moment_in_a_stretch_that_nobody_has_is_unresolved(tmp_path):
    """Where the archive ends before the bus begins, a moment in between has no offset."""
    both(tmp_path, range(20), range(30, 50), per_segment=10)
    pinned = stream(tmp_path)
    with pytest.raises(SelectorUnresolved, match="nobody has"):
        pinned.resolve(Selector("transaction", 5_000, 25_000))
    with pytest.raises(SelectorUnresolved, match=r"archived up to .* only, .* and the bus has no record from then on yet"):
        pinned.resolve(Selector("transaction", 5_000, 90_000))
    BusFolder(tmp_path / "bus").go_down()
    with pytest.raises(StorageIoFailure):
        stream(tmp_path).resolve(Selector("transaction", 5_000, 35_000))


def test_a_clock_that_ran_backwards_is_told_where_the_bus_has_nothing_left(tmp_path):
    """What the archive lacks is the reason, if retention has taken all of the bus: that one would wait for is not said."""
    bus = both(tmp_path, range(20), range(10, 20), per_segment=10)
    edit_index(tmp_path, lambda segments: segments[0].update(last_log_time_utc="2030-01-01T00:00:00.000000Z"))
    bus.retain(0, 20)
    with pytest.raises(SelectorUnresolved, match=r"run backwards, so .*, and the bus has no record any more"):
        stream(tmp_path).resolve(Selector("transaction", 5_000, 15_000))


def test_a_moment_of_which_the_bus_knows_an_earlier_record_is_unresolved(tmp_path):
    """The archive ends before the moment, and the bus has a record from then on below that end: whose clock is right nobody can say.

    log time   archive   0 … 19 ms            bus   15: 100 ms, 16 … 29: 16 … 29 ms
    """
    write_archive(tmp_path / "archive", [record(n) for n in range(20)], per_segment=10)
    bus = BusFolder(tmp_path / "bus")
    bus.produce(record(n, log_us=100_000 if n == 15 else n * 1_000) for n in range(30))
    with pytest.raises(SelectorUnresolved, match="the bus says offset 15, where the archive has earlier records"):
        stream(tmp_path).resolve(Selector("transaction", 5_000, 25_000))


def test_an_overlap_is_compared_where_the_basis_is(tmp_path):
    """Records that differ beside the basis are nothing of its; those in it are told, whatever row groups are left undecoded.

    archive   [0 … 9│ … │40 … 49]     one segment, row groups of ten
    bus       [0 ─── 25✗ ── 45✗ ── 60)       basis [0, 20), then [20, 30)
    """
    bus = both(tmp_path, range(50), range(60), per_segment=50, form="parquet")
    (path,) = (tmp_path / "archive").rglob("*.parquet")
    pq.write_table(pq.read_table(path), path, row_group_size=10)
    edit_index(tmp_path, lambda segments: segments[0].update(sha256=sha256_of(path.read_bytes()), size=path.stat().st_size))
    for offset in (25, 45):
        bus.forge(0, record(offset, payload={"who": "forged"}))
    found, told = read(stream(tmp_path, "full"), [part(0, 20)])
    assert ([n for _, n, _ in found], told.findings, told.compared) == (list(range(20)), (), 20)
    found, told = read(stream(tmp_path, "full"), [part(20, 30)])
    assert ([n for _, n, _ in found], [one.first_offset for one in told.findings], told.compared) == (list(range(20, 30)), ["25"], 10)


def test_sequences_are_cut_and_compared_without_counting(tmp_path):
    """A stream of sequences that lie 10²⁷ apart: read across the cut, compared in full and by a sample."""
    base, far = 49590338271490256608559692538361571095921575989136588898, 10**27
    numbers = [base + far * n for n in range(12)]
    records = [archived(f"e{n}", n * 1_000, {"who": "c"}, offset=number, offset_kind="kinesis_sequence")
               for n, number in enumerate(numbers)]
    write_archive(tmp_path / "archive", records[:8], per_segment=3)
    bus = BusFolder(tmp_path / "bus", offset_kind="kinesis_sequence")
    bus.produce(records)
    bus.retain(0, numbers[5])
    for mode, compared in (("full", 3), ("sample", 3)):
        pinned = stream(tmp_path, mode)
        assert pinned.completeness([Range(**one) for one in pinned.basis()]).feasibility == "FEASIBLE_REQUIRES_ARCHIVE"
        found, told = read(pinned)
        assert ([n for _, n, _ in found], told.findings) == (numbers, ())
        assert told.compared == compared


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_sequences_of_any_length_are_compared_in_one_shard(tmp_path, mode):
    """Numbers that 64 bits hold and such that they do not stand in one log, and segments end at either.

    archive   [0 … 4][5 … 8 2⁶³][10³⁰]
    bus       [0 … 4  5 │ … 8 2⁶³ 10³⁰]        │ ends a batch
    """
    numbers = [*range(9), 1 << 63, 10**30]
    held = [archived(f"e{n}", n * 1_000, {"who": "c"}, offset=number, offset_kind="kinesis_sequence") for n, number in enumerate(numbers)]
    write_archive(tmp_path / "archive", held, per_segment=5)
    BusFolder(tmp_path / "bus", offset_kind="kinesis_sequence").produce(held)
    found, told = read(stream(tmp_path, mode), [part(0, 10**30 + 1, kind="kinesis_sequence")])
    assert ([n for _, n, _ in found], told.findings, told.compared) == (numbers, (), 11 if mode == "full" else 5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 60), min_size=1), st.integers(1, 60), st.integers(0, 60), st.integers(1, 7), st.sets(st.integers(0, 60)),
       st.sampled_from(["sample", "full", "off"]))
def test_any_cut_gives_the_log_and_finds_exactly_what_was_forged(tmp_path_factory, offsets, high, low, per_segment, forged, mode):
    """Whatever is archived and retained: the events are the log's; `full` tells exactly the forged ones that both hold."""
    root = tmp_path_factory.mktemp("cut")
    ascending = sorted(offsets)
    kept = [n for n in ascending if n < high] or ascending[:1]
    low = min(low, kept[-1] + 1)
    write_archive(root / "archive", [record(n) for n in kept], per_segment=per_segment)
    bus = BusFolder(root / "bus")
    bus.produce(record(n) for n in ascending)
    for n in forged & offsets:
        if low <= n <= kept[-1]:
            bus.forge(0, record(n, payload={"who": "mallory"}))
    bus.retain(0, low)
    found, told = read(stream(root, mode))
    assert found == [(0, n, f"e{n}") for n in ascending]
    differing = {n for n in forged & offsets if low <= n <= kept[-1]}
    said = {at for one in told.findings for start, end in one.stretches for at in range(int(start), int(end))}
    assert said <= differing
    if mode == "full":
        assert said == differing
        assert told.compared == len([n for n in kept if n >= low])


def test_the_records_of_a_gzipped_archive_are_compared_too(tmp_path):
    """The form of a segment does not matter to what is compared."""
    bus = both(tmp_path, range(30), range(10, 30), per_segment=10, form="jsonl.gz")
    bus.forge(0, record(29, payload={"who": "mallory"}))
    assert read(stream(tmp_path))[1].findings[0].first_offset == "29"


def test_a_plan_can_be_pinned_again(tmp_path):
    """Pinning asks anew: a bus that has moved on, moves the end of an unstated basis."""
    bus = both(tmp_path, range(30), range(10, 40), per_segment=10)
    first = stream(tmp_path)
    bus.produce([record(40)])
    again = stream(tmp_path)
    assert (first.basis()[0]["end_offset"], again.basis()[0]["end_offset"]) == ("40", "41")
    assert replace(first.watermarks[0], end="41", last_stable="41") == again.watermarks[0]


def nothing(root, *offsets):
    """Let the segment [10, 20) hold null values at some offsets."""
    lines = (root / "archive/transaction/0/00001.jsonl").read_bytes().splitlines(keepends=True)
    for at in offsets:
        lane = {"topic": "transaction", "partition": 0, "offset_kind": "kafka_offset", "offset": str(at), "payload": None}
        lines[at - 10] = json.dumps(lane).encode() + b"\n"
    rewrite(root, 1, lambda _: b"".join(lines))


def test_a_deletion_counts_as_one_wherever_it_is_read(tmp_path):
    """A null value of the bus is its coordinate alone in the archive: the same disposition, and no conflict."""
    bus = both(tmp_path, range(20), range(10, 30), per_segment=10)
    nothing(tmp_path, 15)
    bus.forge(0, (0, 15, NULL))
    _, told = read(stream(tmp_path, "full"))
    assert (dict(told.left_out), [one.reason for one in told.findings]) == ({"null_value": 1}, ["null_value"])


@pytest.mark.parametrize("mode", ["full", "sample"])
def test_an_event_is_no_deletion_on_either_side(tmp_path, mode):
    """Whose event is a null value with the other is a conflict, also where a sample compares no hash; deletions beside it explain nothing.

    archive   … 13 null   14   15 null   16 …
    bus       … 13 null   14   15        16 null …
    """
    bus = both(tmp_path, range(20), range(10, 30), per_segment=10)
    nothing(tmp_path, 13, 15)
    for at in (13, 16):
        bus.forge(0, (0, at, NULL))
    key = check_key("transaction", 0, "log1")
    assert not any(is_checked_by_hash(key, at) for at in (13, 15, 16))
    _, told = read(stream(tmp_path, mode))
    (conflict,) = (one for one in told.findings if one.reason == ReplayBasisMismatch.code)
    assert conflict.sentence == "the archive has an event at transaction/0@16, the bus a null value."
    assert (conflict.count, conflict.stretches) == (3, (("16", "17"), ("13", "14"), ("15", "16")))
    bus.forge(0, record(16))
    (conflict,) = (one for one in read(stream(tmp_path, mode))[1].findings if one.reason == ReplayBasisMismatch.code)
    assert "the bus has 2 records where the archive has none and declares 1" in conflict.sentence
