"""Runs that are asked for in one place and worked on in another: enqueue, worker, retry-publish, cancel."""

import json
import signal
import sqlite3
import subprocess
import sys

import pytest
from answers import ask, check_answer
from small_plane import make_plane

import offline_feature_plane as ofs
from offline_feature_plane.__main__ import run as command
from offline_feature_plane.contracts.receipts import FailureReceipt, QuarantineReceipt
from offline_feature_plane.corridor.publish import bury
from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.plane import LEASE_US, Plane
from offline_feature_plane.settings import load_settings
from offline_feature_plane.testing.asking import ManualClock


@pytest.fixture
def small(place):
    """A small plane in a folder that syncs fast."""
    return make_plane(place / "small")


def opened(small, clock=None):
    """The plane as a worker opens it."""
    if clock is None:
        return ofs.open(small.folder / "plane.yaml")
    return Plane(load_settings(small.folder / "plane.yaml"), small.folder, clock=clock)


def served(plane):
    """What became of everything that is due."""
    return list(plane.work(once=True))


def outcomes(ended):
    """Outcome and code of each."""
    return [(one.outcome, one.error.code if one.error else None) for one in ended]


def test_a_worker_builds_what_was_asked_for(small, capsys):
    """Enqueue answers with the run; a worker publishes it; the same intent is the same run and the same dataset afterwards."""
    intent, plane = str(small.intent_path), str(small.folder / "plane.yaml")
    assert command(["enqueue", intent, "--json"]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert (asked["outcome"], asked["state"], asked["attempt"]) == ("NEW", "QUEUED", 0)
    assert command(["worker", "--once", "--plane", plane, "--json"]) == 0
    ended = json.loads(capsys.readouterr().out)
    assert (ended["run_key"], ended["outcome"], ended["error"]) == (asked["run_key"], "PUBLISHED", None)
    assert command(["enqueue", intent, "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["outcome"], again["state"], again["run_key"]) == ("DUPLICATE", "DONE", asked["run_key"])
    built = opened(small).build(small.intent_path)
    assert (built.outcome, built.manifest.dataset_manifest_id) == ("ALREADY_PUBLISHED", ended["dataset_manifest_id"])
    assert command(["worker", "--once", "--plane", plane, "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_what_cannot_be_planned_is_said_to_who_asks_and_opens_no_run(small, capsys):
    """The queue holds only what was planned."""
    small.intent["label"]["positive"] = []
    small.documents()
    check_answer(ask(capsys, "enqueue", str(small.intent_path)), 2, "LABEL_POLICY_INVALID")
    assert opened(small).runs() == ()


def test_refs_of_an_intent_are_found_from_where_it_was_asked(small):
    """An intent in a folder of its own is planned again by a worker that stands in the plane's."""
    folder = small.folder / "asks" / "one"
    folder.mkdir(parents=True)
    for name in ("intent.yaml", "features.yaml"):
        (small.folder / name).rename(folder / name)
    opened(small).enqueue(folder / "intent.yaml")
    assert outcomes(served(opened(small))) == [("PUBLISHED", None)]


def test_a_worker_of_another_configuration_leaves_the_run_to_others(small):
    """The configuration that bears meaning is stamped on the run: a differing worker gives it back, a fitting one takes it.

    asked under A ─▶ worker B: back to the queue, due later ─▶ worker A: published
    """
    clock = ManualClock()
    opened(small, clock).enqueue(small.intent_path)
    small.plane["labels"]["chargeback"]["min_lag"] = "1h"
    small.documents()
    assert outcomes(served(opened(small, clock))) == [("QUEUED", "RUN_CONFIG_DIGEST_MISMATCH")]
    assert served(opened(small, clock)) == []
    clock.go_on(1_000_000)
    del small.plane["labels"]["chargeback"]["min_lag"]
    small.documents()
    assert outcomes(served(opened(small, clock))) == [("PUBLISHED", None)]


def test_a_run_that_no_worker_fits_ends_with_that_code(small):
    """When its attempts are spent, the run is buried and fails with RUN_CONFIG_DIGEST_MISMATCH, and a receipt says so."""
    clock = ManualClock()
    asked = opened(small, clock).enqueue(small.intent_path).run
    small.plane["labels"]["chargeback"]["min_lag"] = "1h"
    small.documents()
    ended = []
    while not ended or ended[-1] != ("FAILED", "RUN_CONFIG_DIGEST_MISMATCH"):
        ended += outcomes(served(opened(small, clock)))
        clock.go_on(400_000_000)
        assert len(ended) < 20
    assert ended[:-1] == [("QUEUED", "RUN_CONFIG_DIGEST_MISMATCH")] * 10
    run = opened(small, clock).run(asked.run_key).run
    assert (run.state, run.reason_code, small.manifests(), small.staged()) == ("FAILED", "RUN_CONFIG_DIGEST_MISMATCH", [], [])
    (receipt,) = (small.folder / "store/cards/ofs/receipts").rglob("failure.json")
    assert FailureReceipt.model_validate(load_json(receipt.read_bytes())).error["code"] == "RUN_CONFIG_DIGEST_MISMATCH"


@pytest.mark.parametrize(("name", "code"), [("features.yaml", "FEATURE_PROFILE_UNRESOLVED"), ("transactions.parquet", "SOURCE_UNREADABLE")])
def test_what_could_be_read_when_asked_is_waited_for(small, name, code):
    """A worker that does not see a file which the asker saw gives the run back; once it is there, the run goes on."""
    clock = ManualClock()
    opened(small, clock).enqueue(small.intent_path)
    away = small.folder / "away"
    (small.folder / name).rename(away)
    assert outcomes(served(opened(small, clock))) == [("QUEUED", code)]
    away.rename(small.folder / name)
    clock.go_on(1_000_000)
    assert outcomes(served(opened(small, clock))) == [("PUBLISHED", None)]


def test_what_changed_since_it_was_asked_ends_the_run(small):
    """A pinned input with other bytes is not what was asked for: the run fails for good, and says so in a receipt."""
    opened(small).enqueue(small.intent_path)
    small.profile["groups"]["customer"]["features"]["most"] = "max(amount)"
    small.documents()
    ((outcome, code),) = outcomes(served(opened(small)))
    assert (outcome, small.manifests()) == ("FAILED", [])
    assert code in {"FEATURE_PROFILE_DRIFT", "REPLAY_BASIS_MISMATCH", "BUILD_PLAN_IMMUTABILITY_VIOLATION", "DIGEST_MISMATCH"}
    assert list((small.folder / "store/cards/ofs/receipts").rglob("failure.json"))


def test_a_poisoned_request_is_quarantined_and_starves_nobody(small, capsys):
    """A run whose record was changed in the ledger is put aside with a receipt; the one behind it is built; the lists tell both."""
    small.intent["request_id"] = "request-poison"
    small.documents()
    poison = opened(small).enqueue(small.intent_path).run
    small.intent["request_id"] = "request-good"
    small.documents()
    opened(small).enqueue(small.intent_path)
    with sqlite3.connect(small.folder / "ledger.sqlite") as connection:
        connection.execute("DROP TRIGGER runs_keep_who_they_are")
        connection.execute("UPDATE runs SET payload = '{\"a\":' WHERE run_key = ?", (poison.run_key,))
    connection.close()
    assert outcomes(served(opened(small))) == [("QUARANTINED", "LEDGER_CHAIN_BROKEN"), ("PUBLISHED", None)]
    assert served(opened(small)) == []
    (receipt,) = (small.folder / "store/cards/ofs/receipts").rglob("quarantine.json")
    assert QuarantineReceipt.model_validate(load_json(receipt.read_bytes())).run_key == poison.run_key
    assert command(["runs", "--plane", str(small.folder / "plane.yaml"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["state"], one["reason_code"]) for one in listed] == [("DONE", None), ("QUARANTINED", "LEDGER_CHAIN_BROKEN")]


def test_a_request_that_holds_something_else_ends_and_starves_nobody(small):
    """A run with a sound chain whose payload is no pins ends FAILED with a receipt; the one behind it is built."""
    plane = opened(small)
    plane.ledger.submit(request_id="request-foreign", payload_digest="sha256:" + "0" * 64, platform_run_id="cards",
                        payload={"dataset_manifest_id": "../../etc", "asked": 1})
    plane.enqueue(small.intent_path)
    assert outcomes(served(opened(small))) == [("FAILED", "REF_INVALID"), ("PUBLISHED", None)]


def test_a_worker_serves_its_own_scope_only(small, capsys):
    """Runs of another scope stay untouched, and verbs that name one are refused."""
    other = opened(small).ledger.submit(request_id="request-other", payload_digest="sha256:" + "0" * 64, platform_run_id="loans",
                                        payload={}).run
    assert served(opened(small)) == []
    for verb in (("cancel", other.run_key, "--reason", "x"), ("retry-publish", other.run_key)):
        check_answer(ask(capsys, *verb, "--plane", str(small.folder / "plane.yaml")), 2, "RUN_SCOPE_INVALID")
    assert opened(small).run(other.run_key).run.state == "QUEUED"


def test_a_publication_is_tried_again_without_computing(small, capsys, monkeypatch):
    """What was staged is published by a retry although the inputs are gone; afterwards there is nothing to retry.

    build ─▶ staged ─▶ vow ─▶ the store fails: PUBLISH_PENDING ─▶ inputs removed ─▶ retry-publish: hashes, publishes
    """
    put_new = LocalStore.put_new

    def failing(self, key, data):
        if "/manifests/" in key:
            raise StorageIoFailure("the store is away.", path=key, fix="Wait.")
        return put_new(self, key, data)

    monkeypatch.setattr(LocalStore, "put_new", failing)
    with pytest.raises(StorageIoFailure):
        opened(small).build(small.intent_path)
    monkeypatch.undo()
    (run,) = opened(small).runs()
    assert (run.state, run.full_run_attempts, run.publish_retry_attempts) == ("PUBLISH_PENDING", 1, 0)
    for name in ("transactions.parquet", "chargebacks.parquet", "features.yaml"):
        (small.folder / name).unlink()
    plane = str(small.folder / "plane.yaml")
    assert command(["retry-publish", run.run_key[:10], "--plane", plane, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "PUBLISHED"
    after = opened(small).run(run.run_key).run
    assert (after.state, after.full_run_attempts, after.publish_retry_attempts) == ("DONE", 1, 1)
    check_answer(ask(capsys, "retry-publish", run.run_key, "--plane", plane), 5, "RETRY_NOT_PENDING")
    check_answer(ask(capsys, "retry-publish", "no-such-run", "--plane", plane), 2, "RUN_NOT_FOUND")
    assert opened(small).verify(small.manifests()[0].stem).intact


def test_staged_bytes_that_are_gone_are_not_published(small, monkeypatch):
    """A retry hashes what was staged; damaged bytes send the run back to be computed once more, and nothing is published meanwhile."""
    put_new = LocalStore.put_new
    monkeypatch.setattr(LocalStore, "put_new", lambda self, key, data: _away(key) if "/commits/" in key else put_new(self, key, data))
    with pytest.raises(StorageIoFailure):
        opened(small).build(small.intent_path)
    monkeypatch.undo()
    (run,) = opened(small).runs()
    (part,) = (small.folder / "store/cards/ofs/datasets").rglob("*.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    assert opened(small).retry_publish(run.run_key).outcome == "QUEUED"
    assert small.manifests() == []
    part.unlink()
    assert outcomes(served(opened(small))) == [("PUBLISHED", None)]


def _away(key):
    raise StorageIoFailure("the store is away.", path=key, fix="Wait.")


def test_a_run_is_cancelled_before_it_commits_and_not_after(small, capsys):
    """A waiting run is cancelled at once, one at work at its next step; a published one is not."""
    plane, clock = str(small.folder / "plane.yaml"), ManualClock()
    waiting = opened(small, clock).enqueue(small.intent_path).run
    assert command(["cancel", waiting.run_key, "--reason", "wrong as-of", "--plane", plane]) == 0
    assert "is cancelled" in capsys.readouterr().out
    held = opened(small, clock).enqueue(small.intent_path).run
    assert held.run_key != waiting.run_key
    opened(small, clock).ledger.claim(held.run_key, worker="somebody", lease_us=LEASE_US)
    assert command(["cancel", held.run_key, "--reason", "wrong as-of", "--plane", plane]) == 0
    assert "will be cancelled" in capsys.readouterr().out
    clock.go_on(LEASE_US)
    assert outcomes(served(opened(small, clock))) == [("CANCELLED", "RUN_ENDED")]
    assert [run.state for run in opened(small).runs()] == ["CANCELLED", "CANCELLED"]
    assert small.manifests() == []
    done = opened(small).build(small.intent_path).run
    check_answer(ask(capsys, "cancel", done.run_key, "--reason", "late", "--plane", plane), 5, "RUN_ENDED")


def test_a_running_build_notices_that_it_is_cancelled(small):
    """The tombstone that a cancellation writes ends a build at its next step, before it commits."""
    plane = opened(small)

    def cancelling(step, done, total):
        for run in opened(small).runs():
            bury(plane.store, run, "RUN_CANCELLED")

    with pytest.raises(ofs.OfsError) as ended:
        plane.build(small.intent_path, progress=cancelling)
    assert (ended.value.code, small.manifests()) == ("RUN_ENDED", [])
    assert [run.state for run in opened(small).runs()] == ["CANCELLED"]


def test_a_worker_that_is_told_to_stop_stops(small):
    """On SIGTERM a worker gives back what it has and ends with status 0; what it finished stays finished."""
    opened(small).enqueue(small.intent_path)
    worker = subprocess.Popen([sys.executable, "-m", "offline_feature_plane", "worker", "--plane", str(small.folder / "plane.yaml")],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "PUBLISHED" in worker.stdout.readline()
    worker.send_signal(signal.SIGTERM)
    _, complaint = worker.communicate(timeout=60)
    assert (worker.returncode, "Stopped" in complaint, "Traceback" in complaint) == (0, True, False)
    assert [run.state for run in opened(small).runs()] == ["DONE"]


def test_a_poisoned_request_that_is_the_newest_keeps_no_worker_from_its_work(small):
    """Whether a worker can begin is asked of the ledger and the store, not of the runs that happen to stand in front."""
    for name in ("good", "poison"):
        small.intent["request_id"] = f"request-{name}"
        small.documents()
        opened(small).enqueue(small.intent_path)
    with sqlite3.connect(small.folder / "ledger.sqlite") as connection:
        connection.execute("DROP TRIGGER runs_keep_who_they_are")
        connection.execute("UPDATE runs SET payload = '{\"a\":' WHERE request_id = 'request-poison'")
    connection.close()
    assert outcomes(served(opened(small))) == [("PUBLISHED", None), ("QUARANTINED", "LEDGER_CHAIN_BROKEN")]
