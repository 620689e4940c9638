"""What is said of a record that stands where the index of its archive has another."""

import pytest

from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.sources.archives.misplaced import misplaced

CLAIM = SegmentEvidence("tx", 0, "kafka_offset", "log1", "a.jsonl", "0", "199", "200", 200, "sha256:0")


@pytest.mark.parametrize(("found", "before", "said"), [
    (("tx", 0, "kafka_offset", 101), 101,
     "a.jsonl holds tx/0@101 after tx/0@101: a segment holds each offset once, the smaller ones first."),
    (("tx", 0, "kafka_offset", 500), 99, "a.jsonl holds tx/0@500 where tx/0 [0, 200) of kafka_offset is indexed."),
    (("tx", 1, "kafka_offset", 7), 6, "a.jsonl holds tx/1@7 where tx/0 [0, 200) of kafka_offset is indexed."),
    (("tx", 0, "file_line", 7), 6, "a.jsonl holds tx/0@7, a file_line, where tx/0 [0, 200) of kafka_offset is indexed.")],
    ids=["order", "range", "partition", "kind"])
def test_the_sentence_says_what_is_wrong_with_its_place(found, before, said):
    """Another order, a place beyond the claim, another partition and another kind of offset are told apart."""
    assert misplaced("a.jsonl", "tx", CLAIM, found, before).what == said
