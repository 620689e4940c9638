"""Label assertions as documents (`domain.md` §1.6)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_feature_plane.contracts.assertions import read_assertion, write_assertion
from offline_feature_plane.domain.resolution import SOURCES, Assertion
from offline_feature_plane.errors import LabelPolicyInvalid, OfsError, SchemaInvalid

DOCUMENT = {"label_subject_key": {"platform_run_id": "cards", "event_id": "tx-1"}, "label_type": "chargeback", "label_value": "CHARGEBACK",
            "observed_time": "2026-05-01T02:00:00+02:00", "effective_time": "2026-04-02T09:30:00Z", "source_type": "EXTERNAL"}
words = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Z", "C"]), min_size=1, max_size=6)
instants = st.integers(-10**15, 10**16)


@given(st.builds(Assertion, words, words, words, instants, instants, st.sampled_from(SOURCES), st.none() | words, st.none() | words))
def test_writing_and_reading_are_inverse(one):
    """A statement comes back from its document unchanged."""
    assert read_assertion(write_assertion(one, "cards", "ann")) == one


def test_offsets_are_read_as_instants():
    """Two notations of one instant are one statement."""
    assert read_assertion(DOCUMENT) == read_assertion({**DOCUMENT, "observed_time": "2026-05-01T00:00:00.000000Z"})


def test_a_human_statement_names_its_actor():
    """HUMAN without actor_id is refused with the policy's code."""
    with pytest.raises(LabelPolicyInvalid, match="actor_id"):
        read_assertion({**DOCUMENT, "source_type": "HUMAN"})


@pytest.mark.parametrize("wrong", [{"source_type": "ROBOT"}, {"label_value": " "}, {"observed_time": "2026-05-01T00:00:00"}, {"more": 1},
                                   {"label_subject_key": {"event_id": "x"}}, {"effective_time": 5}, {"schema_version": "v0"}])
def test_documents_are_closed_and_strict(wrong):
    """Unknown members, unknown sources, blank values, times without offset and missing parts are refused."""
    with pytest.raises(SchemaInvalid) as caught:
        read_assertion({**DOCUMENT, **wrong})
    assert len(caught.value.problems) == 1


def test_not_a_document_at_all():
    """Something that is no mapping is refused, not a traceback."""
    with pytest.raises(OfsError, match="mapping"):
        read_assertion("chargeback")
