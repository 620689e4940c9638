"""What a plane leaves in its store says what happened, in documents that keep their contracts (`domain.md` §4, §6, `decisions.md` D4)."""

import json

import pytest
from archive_plane import edit_index, make_archive_plane
from small_plane import make_plane

from offline_feature_plane.contracts.plan import Pins, pins_digest
from offline_feature_plane.contracts.receipts import FailureReceipt, PhaseReceipt, RunReceipt
from offline_feature_plane.contracts.replay_receipt import ReplayCompletenessReceipt
from offline_feature_plane.contracts.schemas import SCHEMAS
from offline_feature_plane.domain.canonical import canonical_bytes, load_json, sha256_of
from offline_feature_plane.errors import OfsError
from offline_feature_plane.plane import open_plane

PHASES = ["replay", "labels", "selection", "staging", "publication"]


@pytest.fixture
def plane(tmp_path):
    """The small plane."""
    return make_plane(tmp_path / "p")


def opened(plane, **settings):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml", **settings)


def receipts(plane, run, attempt=1):
    """What one attempt left, by name."""
    folder = plane.folder / "store/cards/ofs/receipts" / run.run_key / str(attempt)
    return {path.stem: path for path in folder.iterdir()}


def run_receipt(plane, run):
    """How a run ended, as its receipt says."""
    return RunReceipt.model_validate(load_json(receipts(plane, run, run.attempt)["run"].read_bytes()))


def held(plane):
    """Every document of the store, by its path."""
    root = plane.folder / "store"
    return {str(path.relative_to(root)): load_json(path.read_bytes()) for path in sorted(root.rglob("*.json"))}


def test_a_run_that_published_says_so(plane):
    """The receipt of a publishing run names its manifest by digest, its pins, attempts and provenance, and its phases' receipts."""
    plane.intent["request_id"] = "request-0001"
    built = opened(plane).build(plane.intent_path)
    told, manifest, run = run_receipt(plane, built.run), built.manifest, built.run
    (path,) = plane.manifests()
    assert (told.outcome, told.run_key, told.request_id) == ("PUBLISHED", run.run_key, "request-0001")
    assert (told.dataset_manifest_id, told.manifest_digest) == (manifest.dataset_manifest_id, sha256_of(path.read_bytes()))
    assert plane.folder / "store" / told.manifest_key == path
    assert (told.core_digest, told.manifest_digest) == (run.result["core_digest"], run.result["manifest_digest"])
    pins = Pins.model_validate(load_json((plane.folder / f"store/cards/ofs/plans/{run.run_key}.json").read_bytes()))
    assert told.pins_digest == pins_digest(pins)
    assert (told.attempt, told.full_run_attempts, told.publish_retry_attempts) == (1, 1, 0)
    assert told.provenance == {
        "ofs_code_release_id": manifest.provenance.ofs_code_release_id, "policy_revision": manifest.provenance.policy_revision,
        "config_revision": manifest.provenance.config_revision, "run_config_digest": manifest.provenance.run_config_digest,
        "run_facts_ref": "none", "actor": manifest.evidence.publisher["actor"], "worker": run.worker}
    assert (told.asked["splits"], told.asked["intent_kind"], told.asked["supersedes"]) == (2, "dataset_build", None)
    assert [one.name for one in told.receipts] == [f"{phase} receipt" for phase in PHASES]
    for phase, ref in zip(PHASES, told.receipts, strict=True):
        data = (plane.folder / "store" / ref.key).read_bytes()
        assert ref.sha256 == sha256_of(data)
        receipt = PhaseReceipt.model_validate(load_json(data))
        assert (receipt.phase, receipt.status, receipt.run_key, receipt.attempt) == (phase, "COMPLETE", run.run_key, 1)
        assert receipt.pins_digest == told.pins_digest
    assert set(receipts(plane, run)) == {*PHASES, "run"}


def test_a_run_that_found_its_dataset_says_so_and_claims_no_work(plane):
    """The receipt of a run that was answered names the same manifest, its own request and attempt, and no phase."""
    first = opened(plane).build(plane.intent_path)
    plane.intent["request_id"] = "request-0002"
    second = opened(plane).build(plane.intent_path)
    one, other = run_receipt(plane, first.run), run_receipt(plane, second.run)
    assert (one.outcome, other.outcome) == ("PUBLISHED", "ALREADY_PUBLISHED")
    assert (other.manifest_digest, other.core_digest, other.manifest_key) == (one.manifest_digest, one.core_digest, one.manifest_key)
    assert (other.request_id, other.run_key, other.receipts) == ("request-0002", second.run.run_key, [])
    assert set(receipts(plane, second.run)) == {"run"}
    before = held(plane)
    assert opened(plane).build(plane.intent_path).outcome == "ALREADY_PUBLISHED"  # the same run, which has ended already
    assert held(plane) == before


def test_a_run_that_failed_claims_no_dataset(plane):
    """No run receipt where no manifest is: the failed phase says why, and a failure receipt that the run is over, naming the phases."""
    plane.intent["label"]["positive"] = ["STOLEN"]
    with pytest.raises(OfsError):
        opened(plane).build(plane.intent_path)
    (run,) = opened(plane).runs()
    left = receipts(plane, run)
    assert set(left) == {"replay", "labels", "selection", "failure"}
    told = FailureReceipt.model_validate(load_json(left["failure"].read_bytes()))
    assert told.error["code"] == run.reason_code
    assert {ref.name: ref.sha256 for ref in told.receipts} == {f"{phase} receipt": sha256_of(left[phase].read_bytes())
                                                               for phase in ("replay", "labels", "selection")}
    assert PhaseReceipt.model_validate(load_json(left["selection"].read_bytes())).status == "FAILED"


def test_the_replay_tells_what_proves_the_basis(tmp_path):
    """A replay's receipt carries the whole completeness receipt; a refused basis leaves one of the same contract."""
    plane = make_archive_plane(tmp_path / "archive")
    built = opened(plane).build(plane.intent_path)
    facts = load_json(receipts(plane, built.run)["replay"].read_bytes())["facts"]
    proof = ReplayCompletenessReceipt.model_validate(facts["completeness"])
    assert (proof.status, proof.evidence_kind, proof.anomalies) == ("COMPLETE", "archive_chain", [])
    assert facts["events_read"] == 200
    edit_index(plane, lambda segments: segments.pop(1))
    with pytest.raises(OfsError):
        opened(plane).build(plane.intent_path)
    (kept,) = (plane.folder / "store/cards/ofs/receipts/refused").iterdir()
    refused = ReplayCompletenessReceipt.model_validate(load_json(kept.read_bytes()))
    assert (refused.status, refused.totals["gaps"]) == ("INCOMPLETE", 1)
    assert refused.basis_digest == proof.basis_digest


def test_every_stored_document_keeps_its_contract(plane):
    """Each document of the store is canonical JSON; whatever names a schema has exactly what that schema allows, the rest is known."""
    plane.intent["request_id"] = "request-0001"
    old = opened(plane).build(plane.intent_path).manifest.dataset_manifest_id
    plane.intent |= {"request_id": "request-0002"}
    opened(plane).build(plane.intent_path)
    plane.intent |= {"request_id": "request-0003", "correction": "late", "supersedes": old, "backfill_reason": "they came late"}
    opened(plane).build(plane.intent_path)
    plane.intent = {key: value for key, value in plane.intent.items() if key not in {"supersedes", "backfill_reason", "request_id"}}
    plane.intent["label"] = plane.intent["label"] | {"positive": ["STOLEN"]}
    with pytest.raises(OfsError):
        opened(plane).build(plane.intent_path)
    opened(plane).retire(old, reason="its labels were late", expire_data=True)
    seen, plain = {}, set()
    for name, document in held(plane).items():
        data = (plane.folder / "store" / name).read_bytes()
        assert data == canonical_bytes(document), name
        kind = name.removeprefix("cards/ofs/").split("/")[0]
        schema = document.get("schema_version")
        if schema in SCHEMAS:
            SCHEMAS[schema].model_validate(document)
            seen.setdefault(schema, set()).add(kind)
        elif kind == "plans":
            Pins.model_validate(document)
        else:
            plain.add((kind, schema))
    assert seen == {"learning.dataset_manifest.v1": {"manifests", "datasets"}, "learning.ofs_phase_receipt.v1": {"receipts"},
                    "learning.ofs_run_receipt.v1": {"receipts"}, "learning.ofs_failure_receipt.v1": {"receipts"},
                    "learning.ofs_dataset_pointer.v1": {"by_id"}, "learning.ofs_commit_record.v1": {"commits"},
                    "learning.ofs_dataset_supersession.v1": {"claims", "supersession"},
                    "learning.ofs_dataset_retirement.v1": {"retired"}, "learning.ofs_dataset_data_expiry.v1": {"expired"}}
    assert plain == {("datasets", "ofs.column_digests.v1")}


@pytest.mark.parametrize("kind", ["manifests", "receipts"])
def test_a_contract_is_closed(plane, kind):
    """A stored document with one more name, or one fewer, is none of its contract any more."""
    opened(plane).build(plane.intent_path)
    for name, document in held(plane).items():
        if f"/{kind}/" not in name:
            continue
        model = SCHEMAS[document["schema_version"]]
        dropped = json.loads(json.dumps(document))
        dropped.pop(min(set(dropped) - {"schema_version"}))
        for harmed in ({**document, "more": 1}, dropped):
            with pytest.raises(ValueError, match="validation error"):
                model.model_validate(harmed)
