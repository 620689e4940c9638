"""The published model of archived records and the fast decoder mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from offline_feature_plane.contracts.archive_record import ArchiveEventRecord
from offline_feature_plane.contracts.events import STORED_COLUMNS
from offline_feature_plane.domain.admission import decode
from offline_feature_plane.testing.archives import archived

GOOD = archived("e1", 1_767_225_600_000_000, {"amount": 1}, scenario_run_id="s1", offset=7)
OTHERS = st.one_of(st.none(), st.just(""), st.text(max_size=3), st.integers(-2, 2**31), st.booleans(), st.just([1]), st.just({"a": 1}),
                   st.sampled_from(["kafka_offset", "kinesis_sequence", "file_line", "007", "-1", "12", "2026-01-01T00:00:00Z",
                                    "2026-01-01", "2026-01-01T00:00:00.1234567Z"]))


def accepts(document):
    """Does the model take the document?"""
    try:
        ArchiveEventRecord.model_validate(document)
    except ValidationError:
        return False
    return True


@given(st.sampled_from([name for name in STORED_COLUMNS if name not in {"payload_hash", "payload_hash_recipe", "archived_at_utc"}]), OTHERS)
def test_the_decoder_accepts_exactly_what_the_model_accepts(name, value):
    """A record with one member changed decodes iff the published model takes it."""
    document = {**GOOD, name: value, "payload_hash_recipe": None}
    assert (decode(document) is not None) == accepts(document)


@pytest.mark.parametrize("name", [name for name in STORED_COLUMNS if name != "archived_at_utc"])
def test_a_missing_member_is_judged_alike(name):
    """What may be left out may be left out of both."""
    document = {key: value for key, value in GOOD.items() if key != name}
    if name not in {"payload_hash", "payload_hash_recipe"}:
        document["payload_hash_recipe"] = None
    if name == "payload_hash":
        document["payload_hash_recipe"] = None
    assert (decode(document) is not None) == accepts(document)


def test_the_model_has_every_stored_column():
    """The model and the Parquet columns name the same members."""
    assert set(ArchiveEventRecord.model_fields) == set(STORED_COLUMNS)
