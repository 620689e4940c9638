"""Completeness: a chain of evidence without a hole, and nothing at odds with it."""

from dataclasses import replace

import pytest

from offline_feature_plane.contracts.replay_receipt import completeness_receipt
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, TableEvidence, assess, combine, refusal
from offline_feature_plane.domain.cutover import Watermarks
from offline_feature_plane.errors import (
    BasisUnresolved,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ReplayDuplicateOffsetMismatch,
    ReplayIncomplete,
    TopicCompacted,
)


def segment(first, after, digest="a", log="log1", kind="kafka_offset", partition=0, count=1):
    """What one segment claims."""
    return SegmentEvidence("tx", partition, kind, log, f"{first}-{after}-{digest}", str(first), str(after - 1), str(after), count,
                           f"sha256:{digest * 64}")


WANTED = Range("tx", 0, "kafka_offset", "log1", "100", "300")


def test_a_sparse_chain_without_a_hole_is_complete():
    """Three records may cover two hundred offsets: evidence counts, not contiguity."""
    verdict = assess([WANTED], [segment(250, 320), segment(0, 180), segment(180, 250)])
    assert verdict.is_complete
    assert refusal(verdict) is None
    assert verdict.describe()["status"] == "COMPLETE"


def test_a_hole_is_a_gap_with_its_exact_bounds():
    """A hole in the chain shows, to the offset.

    segments  [0 ── 180)[180 ── 240)   [250 ── 320)
    gap                         [240,250)
    """
    verdict = assess([WANTED], [segment(0, 180), segment(180, 240), segment(250, 320)])
    (gap,) = verdict.anomalies
    assert (gap.code, gap.start_offset, gap.end_offset) == ("REPLAY_BASIS_GAP", "240", "250")
    assert isinstance(refusal(verdict), ReplayBasisGap)


def test_missing_ends_are_gaps_and_the_offset_before_the_start_is_not_needed():
    """The range is half-open: offset 300 itself may be missing, 299 not."""
    assert assess([WANTED], [segment(100, 300)]).is_complete
    assert [gap.start_offset for gap in assess([WANTED], [segment(101, 299)]).anomalies] == ["100", "299"]


def test_equal_spans_with_other_bytes_contradict_each_other():
    """Two segments of one span are one only if their bytes are."""
    assert assess([WANTED], [segment(0, 400), segment(0, 400)]).is_complete
    assert isinstance(refusal(assess([WANTED], [segment(0, 400, "a"), segment(0, 400, "b")])), ReplayDuplicateOffsetMismatch)


def test_a_segment_of_another_log_covers_nothing():
    """The same offsets in a recreated topic are other events, and no obstacle to those of this log.

    log1   [0 ─────────── 400)
    log2   [0 ─── 150)
    """
    verdict = assess([WANTED], [segment(0, 400, log="log2")])
    assert [(one.code, one.why) for one in verdict.anomalies] == [("REPLAY_BASIS_MISMATCH", "unknown_log")]
    assert "the basis counts kafka_offset in log log1, and tx is known to count kafka_offset in log log2" in str(refusal(verdict))
    assert isinstance(refusal(verdict), ReplayBasisMismatch)
    assert assess([WANTED], [segment(0, 150, log="log2"), segment(0, 400)]).is_complete


def test_a_partition_that_the_log_does_not_have_is_no_gap():
    """Nothing was lost there: the request is wrong, and is told which partitions there are."""
    verdict = assess([replace(WANTED, partition=7)], [segment(0, 400), segment(0, 400, partition=2)])
    assert (verdict.feasibility, verdict.anomalies[0].why) == ("INFEASIBLE_UNKNOWN_PARTITION", "unknown_partition")
    assert isinstance(wrong := refusal(verdict), BasisUnresolved)
    assert "has no partition 7; known are 0, 2." in wrong.what
    assert wrong.fix == "Name a partition that there is."


def watermarks(start, stable, end=None, *, log="log1", partition=0, compacted=False):
    """What a bus says of a partition."""
    return Watermarks("tx", partition, "kafka_offset", log, str(start), str(stable), str(end or stable), is_compacted=compacted)


@pytest.mark.parametrize(("segments", "bus", "code", "words"), [
    ([segment(0, 150)], [watermarks(200, 400)], ReplayBasisGap, "the archive has a hole here, and the bus keeps it from 200 on"),
    ([segment(0, 150)], [watermarks(0, 400, log="log2")], ReplayBasisGap, "and the bus counts in log log2: the topic was made anew"),
    ([segment(0, 150)], [watermarks(0, 400, partition=1)], ReplayBasisGap, "the bus has no such partition"),
    ([], [watermarks(200, 400)], ReplayBasisGap, "the bus keeps it from 200 on, and there is no archive of this log"),
    ([], [watermarks(0, 250)], BasisUnresolved, "the bus has it settled up to 250; there is no more"),
    ([], [watermarks(0, 250, 400)], BasisUnresolved, "settled up to 250; transactions are open from there on"),
    ([], [watermarks(0, 400, compacted=True)], TopicCompacted, "the bus is compacted: what it lost does not show"),
    ([segment(0, 150)], "silent", ReplayIncomplete, "the bus could not be asked"),
    ([], [watermarks(0, 400, log="log2")], ReplayBasisMismatch, "is known to count kafka_offset in log log2"),
    ([segment(0, 400, log="log3")], [watermarks(0, 400, log="log2")], ReplayBasisMismatch, "in log log2 and kafka_offset in log log3"),
    ([], [watermarks(0, 400, partition=1)], BasisUnresolved, "log log1 of tx has no partition 0; known are 1."),
    ([segment(0, 400, partition=3)], [watermarks(0, 400, log="log2")], BasisUnresolved, "has no partition 0; known are 3."),
    ([segment(0, 400, partition=3)], "silent", ReplayIncomplete, "the bus could not be asked")])
def test_what_is_missing_is_told_with_what_is_known(segments, bus, code, words):
    """Each reason has its code and says what the holders of the topic do have."""
    wrong = refusal(assess([WANTED], segments, bus))
    assert isinstance(wrong, code)
    assert words in wrong.what


def test_kinesis_sequences_need_a_chain_not_a_count():
    """Two truly adjacent records whose sequences lie far apart are complete."""
    start = 10**55
    wanted = Range("tx", 0, "kinesis_sequence", "log1", str(start), str(start + 10**40))
    assert assess([wanted], [segment(start, start + 10**40, kind="kinesis_sequence", count=2)]).is_complete


def test_the_receipt_says_what_was_asked_and_what_proves_it():
    """A receipt is a pure function of the verdict, so equal verdicts have equal receipts."""
    verdict = assess([WANTED], [segment(0, 180), segment(200, 300)])
    receipt = completeness_receipt("run1", verdict, ((Selector("tx", 0, 10), (WANTED,)),))
    again = completeness_receipt("run1", assess([WANTED], [segment(200, 300), segment(0, 180)]), ((Selector("tx", 0, 10), (WANTED,)),))
    assert receipt == again
    assert receipt.status == "INCOMPLETE"
    assert receipt.totals == {"ranges": 1, "segments": 2, "records": 2, "gaps": 1}
    assert receipt.selectors[0]["from_utc"] == "1970-01-01T00:00:00.000000Z"


def test_tables_stand_beside_ranges_and_the_kind_is_that_of_the_log():
    """One verdict over all topics of a basis; a table alone is complete relative to its files (`decisions.md` H)."""
    table = Completeness((), (), (), "pinned_files", (TableEvidence("card", "sha256:1", 2, 30),))
    whole, holed = assess([WANTED], [segment(0, 400)]), assess([WANTED], [segment(0, 180)])
    assert (combine([table]).is_complete, combine([table]).kind) == (True, "pinned_files")
    assert (combine([table, whole]).is_complete, combine([table, whole]).kind) == (True, "archive_chain")
    assert combine([holed, table]).anomalies == holed.anomalies
    receipt = completeness_receipt("run1", combine([table, whole]))
    assert receipt.tables == [{"topic": "card", "log_id": "sha256:1", "files": 2, "rows": 30}]
    assert completeness_receipt("run1", whole).basis_digest != receipt.basis_digest
    assert refusal(combine([table, whole])) is None
