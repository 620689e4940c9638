"""The run facts view is closed, checked whole, and digested as it was read."""

import pytest
from test_gates import facts, proof

from offline_feature_plane.contracts.run_facts import parse_run_facts, run_facts_digest
from offline_feature_plane.errors import OfsError


def test_a_good_view_reads_back_as_itself():
    """What was read is what is digested; order of keys and written nulls are no content."""
    view = facts(instance_receipts=[proof()])
    read = parse_run_facts(view)
    assert parse_run_facts(read.document()) == read
    assert run_facts_digest(read) == run_facts_digest(parse_run_facts(dict(reversed([*view.items(), ("environment", None)]))))
    assert run_facts_digest(read) != run_facts_digest(parse_run_facts({**view, "plan_ref": "other"}))


@pytest.mark.parametrize(("change", "path", "code"), [
    ({"pins": ...}, "$.pins", "RUN_FACTS_UNAVAILABLE"), ({"pins": {}}, "$.pins.seed", "RUN_FACTS_UNAVAILABLE"),
    ({"platform_run_id": ""}, "$.platform_run_id", "RUN_SCOPE_INVALID"), ({"scenario_run_id": ...}, "$.scenario_run_id",
                                                                          "RUN_SCOPE_INVALID"),
    ({"bundle_hash": "abc"}, "$.bundle_hash", "RUN_FACTS_UNAVAILABLE"), ({"locators": [{"output_id": "x"}]}, "$.locators[0].path",
                                                                         "RUN_FACTS_UNAVAILABLE"),
    ({"gate_receipts": [{"gate_id": "a b", "status": "PASS", "scope": {"manifest_fingerprint": "m"}}]}, "$.gate_receipts[0].gate_id",
     "RUN_FACTS_UNAVAILABLE"), ({"colour": 1}, "$.colour", "RUN_FACTS_UNAVAILABLE")])
def test_anything_else_is_not_a_view(change, path, code):
    """Missing, blank, malformed and unknown fields are refused at their place."""
    view = {key: value for key, value in {**facts(), **change}.items() if value is not ...}
    with pytest.raises(OfsError) as caught:
        parse_run_facts(view)
    assert (path, code) in {(one.path, one.code) for one in caught.value.problems}


@pytest.mark.parametrize("document", [None, [], "x"])
def test_no_mapping_is_no_view(document):
    """What is no mapping is RUN_FACTS_UNAVAILABLE."""
    with pytest.raises(OfsError) as caught:
        parse_run_facts(document)
    assert caught.value.code == "RUN_FACTS_UNAVAILABLE"
    assert caught.value.exit_status == 3
