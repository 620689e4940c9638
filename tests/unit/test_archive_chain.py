"""What files alone prove about a log: runs of records, and nothing about what is not there."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_feature_plane.contracts.archive_index import IndexedSegment
from offline_feature_plane.domain.admission import Vacant, decode
from offline_feature_plane.domain.archive_chain import Disorder, FileRuns, NothingDecoded, holes_and_overlaps
from offline_feature_plane.filesets import digest_of
from offline_feature_plane.ports.inputs import PinnedFile
from offline_feature_plane.sources.archives.scanning import scan
from offline_feature_plane.sources.archives.segments import records_of
from offline_feature_plane.testing.archives import _encoded, archived


def runs_of(*offsets, lawful=False, **changes):
    """The runs of a file with records at these offsets; None is a line that cannot be decoded, `(partition, offset)` another partition."""
    found = FileRuns(holes_are_lawful=lawful)
    for one in offsets:
        partition, offset = one if isinstance(one, tuple) else (0, one)
        found.take(None if one is None else decode(archived(f"e{offset}", 0, {}, partition=partition, offset=offset, **changes)))
    return found.runs()


def spans(*offsets, **changes):
    """What those runs cover."""
    return [(run.begin, run.end) for run in runs_of(*offsets, **changes)]


def test_offsets_that_follow_each_other_are_one_run():
    """Where nothing is missing, a file is one run.

    4 5 6     [4, 7)
    """
    assert spans(4, 5, 6) == [(4, 7)]
    (run,) = runs_of(4, 5, 6)
    assert (run.first, run.last, run.count, run.undecodable) == (4, 6, 3, 0)


def test_a_hole_ends_a_run_unless_it_is_declared_lawful():
    """A file does not say whether the log had a record there.

    4 5 . . 8      [4, 6) [8, 9)      declared: [4, 9)
    """
    assert spans(4, 5, 8) == [(4, 6), (8, 9)]
    assert spans(4, 5, 8, lawful=True) == [(4, 9)]


def test_partitions_that_share_a_file_have_runs_of_their_own():
    """Order is a matter of each partition.

    0/4 1/9 0/5 1/10
    """
    assert spans((0, 4), (1, 9), (0, 5), (1, 10)) == [(4, 6), (9, 11)]


def test_a_line_that_cannot_be_decoded_takes_the_place_of_a_missing_offset():
    """It belongs to the run before it, at the beginning of a file to the first one.

    ? 4 ? 6 ?      ──▶ [3, 8): 3, 5 and 7 may be theirs
    4 ? . 7        ──▶ [4, 6) and [7, 8): one line is not enough for two offsets
    """
    (run,) = runs_of(None, 4, None, 6, None)
    assert (run.begin, run.end, run.count, run.undecodable) == (3, 8, 5, 3)
    assert spans(4, None, 7) == [(4, 6), (7, 8)]
    assert spans(4, None, 7, lawful=True) == [(4, 8)]


def vacant(partition, offset, reason="null_value"):
    """What stands at a coordinate without a record."""
    return Vacant("transaction", partition, "kafka_offset", offset, reason)


def runs_with(*standing, lawful=False):
    """The runs of a file with these records, by partition and offset, and with what stands for others."""
    found = FileRuns(holes_are_lawful=lawful)
    for one in standing:
        is_record = one is not None and not isinstance(one, Vacant)
        found.take(decode(archived(f"e{one[1]}", 7, {}, partition=one[0], offset=one[1])) if is_record else one)
    return [(run.lane[1], run.begin, run.end, run.count, run.undecodable) for run in found.runs()]


def test_what_has_a_coordinate_stands_there_whether_it_is_a_record_or_not():
    """Null values, and records that cannot be decoded but say where they stand, are of their own partition, and fill their own offset.

    0/4 1/9 0/5 null, 1/10 ?      partition 0: [4, 6)      partition 1: [9, 11)
    0/4 . . 0/7 null              [4, 5) and [7, 8): the null value fills 7, and not 5
    """
    assert runs_with((0, 4), (1, 9), vacant(0, 5), vacant(1, 10, "undecodable")) == [(0, 4, 6, 2, 0), (1, 9, 11, 2, 1)]
    assert runs_with((0, 4), vacant(0, 7)) == [(0, 4, 5, 1, 0), (0, 7, 8, 1, 0)]
    assert runs_with((0, 4), vacant(0, 7), lawful=True) == [(0, 4, 8, 2, 0)]
    assert runs_with((0, 4), None, vacant(0, 6), (0, 7)) == [(0, 4, 8, 4, 1)]
    with pytest.raises(Disorder):
        runs_with((0, 4), vacant(0, 4))


def test_a_file_of_null_values_alone_is_part_of_a_log():
    """A log may hold nothing else for a while; what cannot be decoded, and is all there is, is another kind of file."""
    assert runs_with(vacant(0, 4), vacant(0, 5)) == [(0, 4, 6, 2, 0)]
    with pytest.raises(NothingDecoded, match="none of its 2 records"):
        runs_with(vacant(0, 4), vacant(0, 5, "undecodable"))


def test_log_times_are_those_of_records():
    """A null value has none: the first and the last record that has one say when a run begins and ends."""
    found = FileRuns(holes_are_lawful=False)
    for one in (vacant(0, 3), decode(archived("e4", 7, {}, offset=4, log_us=40)), decode(archived("e5", 7, {}, offset=5, log_us=50)),
                vacant(0, 6)):
        found.take(one)
    (run,) = found.runs()
    assert (run.begin, run.end, run.first_log_us, run.last_log_us) == (3, 7, 40, 50)


@pytest.mark.parametrize("offsets", [(4, 4), (4, 3), (4, None, 5), (None, 0), (None, None)], ids=str)
def test_what_is_no_part_of_a_log_is_refused(offsets):
    """An offset twice, one that goes back, a line for which no offset is missing, a file in which nothing can be decoded."""
    with pytest.raises(Disorder):
        runs_of(*offsets)


def test_offsets_that_are_never_counted_are_one_run():
    """Kinesis' sequence numbers are ordered, and say nothing about what is between them."""
    assert spans(10, 500, lawful=True, offset_kind="kinesis_sequence") == [(10, 501)]


@given(st.lists(st.one_of(st.none(), st.integers(0, 12)), max_size=12), st.booleans())
def test_every_run_is_a_lawful_entry_and_none_claims_what_is_not_there(lines, lawful):
    """Runs cover all records of a file and, unless holes are declared lawful, no offset for which there is no line."""
    try:
        runs = runs_of(*lines, lawful=lawful)
    except Disorder:
        return
    offsets = [one for one in lines if one is not None]
    assert sum(run.count for run in runs) == len(lines)
    assert all(any(run.begin <= one < run.end for run in runs) for one in offsets)
    for run in runs:
        IndexedSegment(topic="t", partition=0, offset_kind="kafka_offset", log_id="l", path="p", first_offset=str(run.begin),
                       last_offset=str(run.last), next_offset=str(run.end), record_count=run.count, sha256=f"sha256:{'0' * 64}", size=1,
                       first_log_time_utc=None, last_log_time_utc=None)
        assert lawful or run.end - run.begin == run.count


ODD = st.sampled_from(["garbage", "null value", "a number", "another kind"])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(ODD, st.tuples(st.sampled_from([0, 0, 0, 1]), st.integers(0, 4))), max_size=30), st.booleans(),
       st.sampled_from(["jsonl", "parquet"]))
def test_runs_found_in_batches_are_those_found_one_by_one(tmp_path_factory, lines, lawful, form):
    """Compiled code tells records, gaps, other lanes, null values and what cannot be decoded as the law does, and refuses what it refuses.

    Each number is how far an offset is from the one before it in its partition; 0 goes back.
    """
    offsets, rows = {0: 5, 1: 2**33}, []
    for one in lines:
        partition, step = one if isinstance(one, tuple) else (0, 1)
        offsets[partition] += step
        row = archived(f"e{offsets[partition]}", 0, {"a": 1}, partition=partition, offset=offsets[partition], log_us=offsets[partition])
        if one == "null value":
            row = {name: row[name] if name in {"topic", "partition", "offset_kind", "offset"} else None for name in row}
        elif isinstance(one, str):
            row |= {"garbage": {"ts_utc": "?"}, "a number": {"offset": "007"}, "another kind": {"offset_kind": "file_line"}}[one]
        rows.append(row)
    path = tmp_path_factory.mktemp("runs") / f"a.{form}"
    path.write_bytes(_encoded(rows, form))
    file = PinnedFile(path.name, path, digest_of(path), len(rows), path.stat().st_size)

    def found(way):
        counted = FileRuns(holes_are_lawful=lawful)
        try:
            way(counted)
            return counted.runs()
        except Disorder as wrong:
            return str(wrong)

    def one_by_one(counted):
        for record in records_of(file):
            counted.take(record)

    assert found(partial(scan, file)) == found(one_by_one)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)), max_size=8))
def test_holes_and_overlaps_are_those_of_a_drawing(drawn):
    """Every offset between the first and the last is in a hole, covered once, or in an overlap."""
    spans = sorted((begin, begin + length) for begin, length in drawn)
    holes, overlaps = holes_and_overlaps(spans)
    for offset in range(30):
        times = sum(begin <= offset < end for begin, end in spans)
        inside = bool(spans) and spans[0][0] <= offset < max(end for _, end in spans)
        assert any(begin <= offset < end for begin, end in holes) == (inside and times == 0)
        assert any(begin <= offset < end for begin, end in overlaps) == (times > 1)
