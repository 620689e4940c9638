"""Completeness: a chain of evidence without a hole, and nothing at odds with it."""

from offline_feature_plane.contracts.replay_receipt import completeness_receipt
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.completeness import Completeness, SegmentEvidence, TableEvidence, assess, combine, refusal
from offline_feature_plane.errors import ReplayBasisGap, ReplayBasisMismatch, ReplayDuplicateOffsetMismatch


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
    """The same offsets in a recreated topic are other events."""
    verdict = assess([WANTED], [segment(0, 400, log="log2")])
    assert {one.code for one in verdict.anomalies} == {"REPLAY_BASIS_MISMATCH", "REPLAY_BASIS_GAP"}
    assert isinstance(refusal(verdict), ReplayBasisMismatch)


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
