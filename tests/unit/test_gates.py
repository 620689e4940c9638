"""No PASS, no read; and what must hold before something is published."""

import copy

import pytest

from offline_feature_plane.contracts.run_facts import parse_run_facts
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.domain.findings import Finding
from offline_feature_plane.domain.gates import (
    judge_coverage,
    judge_decoding,
    judge_inputs,
    judge_lag,
    judge_outputs,
    judge_target,
    judge_truth_fields,
)
from offline_feature_plane.errors import NoPassNoRead, OfsError, RunScopeInvalid

HEX = "a" * 64
MAP = {"gate.events": {"outputs": ["events_6B"], "upstream": ["gate.arrivals"]}, "gate.arrivals": {"upstream": ["gate.sites"]},
       "gate.other": {"outputs": ["x"]}}


def gate(name, status="PASS", **scope):
    """A gate receipt of the manifest m1."""
    return {"gate_id": name, "status": status, "scope": {"manifest_fingerprint": "m1", **scope}}


def facts(**changes):
    """A view with one locator and PASS all along its chain of gates."""
    view = {"run_id": "r1", "platform_run_id": "p1", "scenario_run_id": "s1",
            "pins": {"manifest_fingerprint": "m1", "parameter_hash": "h", "seed": 42, "scenario_id": "base", "platform_run_id": "p1",
                     "scenario_run_id": "s1", "run_id": "r1"},
            "locators": [{"output_id": "events_6B", "path": "data/e", "manifest_fingerprint": "m1", "seed": 42,
                          "content_digest": {"algo": "sha256", "hex": HEX}}],
            "gate_receipts": [gate("gate.events"), gate("gate.arrivals", seed=42), gate("gate.sites")],
            "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": HEX}, "bundle_hash": HEX, "plan_ref": "a",
            "record_ref": "b", "status_ref": "c"}
    return {**copy.deepcopy(view), **changes}


def proof(status="PASS", digest=HEX, **target):
    """An instance receipt for the locator of `facts`."""
    return {"output_id": "events_6B", "status": status, "scope": {"manifest_fingerprint": "m1", "seed": 42},
            "target_ref": {**facts()["locators"][0], **target}, "target_digest": {"algo": "sha256", "hex": digest}}


def judged(view, wanted=("events_6B",), deny=("s4_*",), scenarios=()):
    """The gate's answer for a view that was read through its contract."""
    return judge_inputs(parse_run_facts(view).document(), wanted, MAP, deny, platform_run_id="p1", scenario_run_ids=scenarios)


def refusal(*args, **named):
    """The sentences of a refusal."""
    with pytest.raises(NoPassNoRead) as caught:
        judged(*args, **named)
    return [problem.sentence for problem in caught.value.problems]


def test_all_gates_with_their_upstream_let_an_output_be_read():
    """The mapped gate and everything upstream of it must say PASS in the output's world."""
    (found,) = judged(facts())
    assert (found.output_id, found.path, found.content_digest) == ("events_6B", "data/e", f"sha256:{HEX}")
    assert [one["gate_id"] for one in found.evidence] == ["gate.arrivals", "gate.events", "gate.sites"]
    assert found.describe()["evidence"][0]["kind"] == "gate"


@pytest.mark.parametrize("missing", ["gate.events", "gate.arrivals", "gate.sites"])
def test_each_gate_of_the_chain_is_needed(missing):
    """A missing, unknown or foreign status anywhere upstream is no PASS."""
    kept = [one for one in facts()["gate_receipts"] if one["gate_id"] != missing]
    sentence = f"the gate {missing} has no PASS in its scope"
    assert refusal(facts(gate_receipts=kept)) == [sentence]
    for receipt in (gate(missing, "WAIVED"), gate(missing, None), {**gate(missing), "scope": {"manifest_fingerprint": "m2"}},
                    gate(missing, seed=7)):
        assert refusal(facts(gate_receipts=[*kept, receipt])) == [sentence]


@pytest.mark.parametrize("scope", [{}, {"seed": 42}, {"run_id": "r9"}])
def test_a_fail_anywhere_in_scope_blocks(scope):
    """One FAIL blocks beside any PASS, of any gate, also where its scope is only possibly ours; another world's FAIL does not."""
    view = facts(gate_receipts=[*facts()["gate_receipts"], gate("gate.unrelated", "FAIL", **scope)])
    assert refusal(view) == ["the gate gate.unrelated failed"]
    assert judged(facts(gate_receipts=[*facts()["gate_receipts"], gate("gate.events", "FAIL", seed=7)]))
    assert refusal(facts(instance_receipts=[proof(), proof("FAIL")])) == ["an instance receipt for data/e says FAIL"]


def test_one_failed_gate_is_one_problem():
    """A gate that failed, however often and also where its PASS is needed, is told once."""
    failed = [gate("gate.events", "FAIL"), gate("gate.events", "FAIL", seed=42)]
    view = facts(gate_receipts=[*failed, gate("gate.arrivals"), gate("gate.sites")])
    assert refusal(view) == ["the gate gate.events failed"]


def test_an_instance_receipt_must_be_of_exactly_this_target():
    """Where instance receipts exist they decide, gates do not help; path, world and digest must be the locator's."""
    (found,) = judged(facts(instance_receipts=[proof()], gate_receipts=[]))
    assert found.evidence[0]["kind"] == "instance"
    for wrong in (proof(path="data/other"), proof(seed=7), proof(digest="b" * 64), proof("WAIVED")):
        assert refusal(facts(instance_receipts=[wrong])) == ["no instance receipt for exactly this target and digest says PASS"]


def test_everything_missing_is_told_at_once():
    """No locator, two locators, a truth product, no mapping: one error, every output named."""
    locator = facts()["locators"][0]
    view = facts(locators=[{**locator, "output_id": name} for name in ("s4_event_labels_6B", "twice", "twice", "lonely")])
    with pytest.raises(NoPassNoRead) as caught:
        judged(view, ["events_6B", "s4_event_labels_6B", "twice", "lonely"])
    assert [(one.path.rpartition(".")[2], one.sentence) for one in caught.value.problems] == [
        ("events_6B", "it has no locator"), ("lonely", "it has no instance receipt and no gate is mapped to it"),
        ("s4_event_labels_6B", "it is a truth product and can never be a world input"),
        ("s4_event_labels_6B", "it has no instance receipt and no gate is mapped to it"), ("twice", "it has 2 locators")]
    assert caught.value.exit_status == 4


def test_the_run_must_be_the_one_asked_about():
    """A view of another platform run, another scenario run, or with contradicting pins is refused as such."""
    for view, scenarios in ((facts(platform_run_id="p2"), ()), (facts(), ("s2",)), (facts(run_id="r2"), ())):
        with pytest.raises(RunScopeInvalid):
            judged(view, scenarios=scenarios)
    assert judged(facts(), scenarios=("s0", "s1"))


def test_no_world_inputs_need_no_view():
    """Nothing wanted, nothing judged; something wanted without a view is refused."""
    assert judge_inputs(None, [], MAP, [], platform_run_id="p1") == ()
    with pytest.raises(NoPassNoRead, match="no run facts view"):
        judge_inputs(None, ["o"], MAP, [], platform_run_id="p1")


def test_upstream_circles_end():
    """Gates that name each other are each needed once."""
    circle = {"a": {"outputs": ["events_6B"], "upstream": ["b"]}, "b": {"upstream": ["a"]}}
    view = facts(gate_receipts=[gate("a"), gate("b")])
    assert len(judge_inputs(view, ["events_6B"], circle, [], platform_run_id="p1")[0].evidence) == 2


COUNTS = {"cb": {"subjects": 100, "resolved": 90, "not_found": 9, "conflict": 1}}


@pytest.mark.parametrize(("answered", "conflicts", "unlabeled", "verdict"), [
    ("0.9", "0.01", "exclude", "PASS"), ("0.900001", "0.01", "exclude", "FAIL"), ("0.9", "0", "exclude", "FAIL"),
    ("0.99", "0.01", "negative_when_mature", "PASS"), ("1", "0.01", "negative_when_mature", "FAIL"), ("0.99", "1", "refuse", "FAIL")])
def test_coverage(answered, conflicts, unlabeled, verdict):
    """Answered is RESOLVED, and NOT_FOUND too where silence is a negative; thresholds are inclusive and exact."""
    result = judge_coverage(COUNTS, {"cb": answered}, conflicts, unlabeled=unlabeled and {"cb": unlabeled})
    assert (result.verdict, result.passed) == (verdict, verdict == "PASS")
    assert result.reason_code == (None if result.passed else "COVERAGE_POLICY_VIOLATION")
    assert bool(result.sentences) != result.passed


def test_coverage_of_nobody_and_of_unnamed_types():
    """No subject is no answer; a type without a demand is only shown."""
    assert not judge_coverage({}, {"cb": "0.5"}, "0").passed
    assert judge_coverage(COUNTS, {}, "0").describe()["details"]["types"]["cb"]["answered"] == "0.900000"


@pytest.mark.parametrize(("undecodable", "declared", "verdict"), [(0, 0, "PASS"), (2, 2, "PASS"), (1, 2, "PASS"), (2, 1, "FAIL"),
                                                                  (1, 0, "FAIL")])
def test_decoding(undecodable, declared, verdict):
    """Records that nobody can read pass if the index declares at least as many; what it declares is no part of the verdict's details."""
    result = judge_decoding(undecodable, declared)
    assert (result.verdict, result.describe()["details"]) == (verdict, {"undecodable": undecodable})
    assert result.reason_code == (None if result.passed else "REPLAY_INCOMPLETE")
    assert bool(result.sentences) != result.passed


def test_what_cannot_be_decoded_is_told_with_its_places():
    """Partition, offsets and segment of the first few; the first one's is the place of the error. Findings of other reasons are none."""
    found = [Finding(reason, "tx", n, "kafka_offset", "log", 3, "20", "30", (("20", "21"), ("29", "31"))) for n, reason in
             enumerate(["undecodable", "null_value", *["undecodable"] * 2])]
    segments = [SegmentEvidence("tx", n, "kafka_offset", log, f"{log}/{n}.jsonl", "0", "24", end, 25, "sha256:0")
                for log in ("old", "log") for n, end in enumerate(("25", "40", "25"))]
    result = judge_decoding(9, 0, found, segments)
    (said,) = result.sentences
    assert said == ("9 records of the basis cannot be decoded (tx/0@20 in log/0.jsonl, tx/0@29 to 30, tx/2@20 in log/2.jsonl, …), "
                    "but 0 are declared")
    assert result.path == "log/0.jsonl"
    assert judge_decoding(9, 0, found).path == "tx/0@20"
    assert judge_decoding(9, 9, found, segments).path is None


def test_target_lag_truth_and_grant():
    """Each split needs both classes; over half prompt labels fail, exactly half does not; label columns are no features."""
    assert judge_target({"train": {"positive": 1, "negative": 1}}).passed
    assert judge_target({"train": {"positive": 1, "negative": 1}, "test": {"positive": 0,
                                                                           "negative": 5}}).reason_code == "TARGET_DEGENERATE"
    assert not judge_target({}).passed
    lag = {"cb": {"min_lag_us": None, "observed_lag": {"assertions": 4, "sooner": 2}}, "late": {"observed_lag": {"assertions": 0,
                                                                                                                 "sooner": 0}}}
    assert judge_lag(lag).passed
    lag["cb"]["observed_lag"]["sooner"] = 3
    assert judge_lag(lag).reason_code == "LABEL_LAG_IMPLAUSIBLE"
    assert judge_lag(lag, ["late"]).passed
    assert judge_truth_fields({"amount": "tx_amount"}, ["is_fraud"]).passed
    result = judge_truth_fields({"risk": "is_fraud"}, ["is_fraud"])
    assert result.reason_code == "TRUTH_FIELD_AS_FEATURE"
    assert "risk" in result.sentences[0]
    assert judge_outputs(["dataset_manifest"]).passed
    assert judge_outputs([]).reason_code == "OWNERSHIP_BOUNDARY_VIOLATION"


def test_refusals_are_errors_of_ours():
    """A refusal carries the code, family and exit status of its law."""
    with pytest.raises(OfsError) as caught:
        judged(facts(gate_receipts=[]))
    assert (caught.value.code, caught.value.family) == ("NO_PASS_NO_READ", "refused")
