"""A ledger held against its store, and made anew from it (R4, R8): every run ends the same, and goes on where it had not ended.

ledger  ──▶ lost        store: plans, commit records, manifests, receipts ──▶ a new ledger ──▶ workers go on
"""

import json
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Barrier

import pytest
from small_asking import build, dataset, opened, say, tell
from small_plane import make_plane

from offline_feature_plane.contracts.facts import Vow
from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor.rebuilding import rebuild
from offline_feature_plane.domain.canonical import canonical_bytes, load_json
from offline_feature_plane.domain.identity import run_key
from offline_feature_plane.domain.runstates import TERMINAL
from offline_feature_plane.errors import FeatureProfileDrift, LedgerUnavailable, OfsError, RunEnded, StorageIoFailure
from offline_feature_plane.ledger.sqlite import SqliteLedger
from offline_feature_plane.objects.local import LocalStore
from offline_feature_plane.plane import SystemClock
from offline_feature_plane.testing.faulty_store import Crashed, Faulty, Fuse


def interrupted(plane, monkeypatch, part, name, **more):
    """A build that is interrupted when it puts a key with this part in it."""
    honest = LocalStore.put_new

    def put_new(store, key, data):
        if part in key:
            monkeypatch.setattr(LocalStore, "put_new", honest)
            raise KeyboardInterrupt
        return honest(store, key, data)

    monkeypatch.setattr(LocalStore, "put_new", put_new)
    with pytest.raises(KeyboardInterrupt):
        build(plane, name, **more)


def eventful(plane, monkeypatch):
    """A plane of every kind of run: published, found, failed, cancelled, waiting, interrupted before plan, vow, manifest and pointer."""
    build(plane, "published", request_id="request-published")
    build(plane, "published", request_id="request-found")
    plane.intent.pop("request_id")
    build(plane, "unnamed")
    target = dict(plane.intent["label"])
    for stated in ({"request_id": "request-failed"}, {}):
        plane.intent |= {"label": target | {"positive": ["STOLEN"]}}
        plane.intent.pop("request_id", None)
        with pytest.raises(OfsError):
            build(plane, "failed", **stated)
    plane.intent["label"] = target
    for request_id in ("request-cancelled", "request-waiting"):
        plane.intent |= {"correction": request_id, "request_id": request_id}
        opened(plane).enqueue(plane.intent_path)
    opened(plane).cancel("request-cancelled", reason="wrong")
    interrupted(plane, monkeypatch, "/plans/", "before its plan", request_id="request-unplanned")
    opened(plane).cancel("request-unplanned", reason="wrong")
    interrupted(plane, monkeypatch, "/commits/", "before its vow", request_id="request-unvowed")
    interrupted(plane, monkeypatch, "/manifests/", "after its vow", request_id="request-vowed")
    interrupted(plane, monkeypatch, "by_id/", "before its pointer", request_id="request-unpointed")


def runs_of(plane):
    """Every run of the ledger, by its request."""
    return {run.request_id: run for run in opened(plane).runs(limit=1_000)}


def lose(plane):
    """The ledger is gone."""
    (plane.folder / "ledger.sqlite").unlink()


def test_a_lost_ledger_comes_back_from_the_store(plane, monkeypatch, capsys):
    """What had ended has ended, with the same code and result; what had not is queued; every history is a chain that says so."""
    eventful(plane, monkeypatch)
    before = runs_of(plane)
    states = {run.state for run in before.values()}
    assert {"DONE", "FAILED", "CANCELLED", "QUEUED"} <= states
    lose(plane)
    status, report, _ = say(plane, capsys, "ledger", "rebuild", "--dry-run")
    assert (status, report["applied"], report["doubtful"]) == (0, False, [])
    assert not (plane.folder / "ledger.sqlite").exists()
    status, text = tell(plane, capsys, "ledger", "rebuild")
    assert status == 0, text
    after = runs_of(plane)
    assert {run["request_id"] for run in report["runs"]} == set(after) == set(before)
    for request_id, old in before.items():
        new = after[request_id]
        assert (new.run_key, new.payload_digest, dict(new.payload)) == (old.run_key, old.payload_digest, dict(old.payload))
        if old.state in TERMINAL:
            assert (new.state, new.reason_code, new.result) == (old.state, old.reason_code, old.result), request_id
        else:
            assert (new.state, new.reason_code, new.result) == ("QUEUED", None, None)
        assert new.attempt >= old.attempt - 1
        history = opened(plane).run(request_id).events
        assert [event.kind for event in history] == ["INTENT_QUEUED", "RUN_REBUILT"]
        if old.state == "DONE":
            assert abs(new.created_us - old.created_us) < 60_000_000
            assert abs(new.updated_us - old.updated_us) < 60_000_000
    status, report, _ = say(plane, capsys, "ledger", "verify")
    assert (status, report["sound"], report["runs"], report["compared"]) == (0, True, len(before), len(before))
    status, report, _ = say(plane, capsys, "ledger", "rebuild")
    assert (status, report["error"]["code"]) == (5, "LEDGER_NOT_EMPTY")


def test_work_goes_on_with_a_rebuilt_ledger(plane, monkeypatch, capsys):
    """Published stays published, failed stays failed, unnamed runs are counted on, and workers end what had not ended."""
    eventful(plane, monkeypatch)
    lose(plane)
    assert say(plane, capsys, "ledger", "rebuild")[0] == 0
    target = dict(plane.intent["label"])
    assert build(plane, "published", request_id="request-published").outcome == "ALREADY_PUBLISHED"
    plane.intent |= {"label": target | {"positive": ["STOLEN"]}}
    with pytest.raises(RunEnded):
        build(plane, "failed", request_id="request-failed")
    plane.intent.pop("request_id")
    with pytest.raises(OfsError):
        build(plane, "failed")
    assert sorted(name.rsplit(":", 1)[1] for name in runs_of(plane) if name.startswith("auto:")) == ["1", "1", "2"]
    plane.intent["label"] = target
    ended = {one.request_id: one.outcome for one in opened(plane).work(once=True)}
    assert ended == {"request-waiting": "PUBLISHED", "request-unvowed": "PUBLISHED", "request-vowed": "PUBLISHED",
                     "request-unpointed": "PUBLISHED"}
    assert {run.state for run in runs_of(plane).values()} <= TERMINAL
    assert build(plane, "before its pointer", request_id="request-unpointed").outcome == "ALREADY_PUBLISHED"
    assert say(plane, capsys, "ledger", "verify")[0] == 0
    for path in plane.manifests():
        assert opened(plane).verify(path.stem).intact


@pytest.mark.parametrize("stop", ["by_id/", "/supersession/", "/run.json"])
def test_what_a_run_was_about_to_state_is_stated_by_a_worker(plane, monkeypatch, capsys, stop):
    """Between its manifest and its receipt a run still owes the pointer and the link: the rebuilt run is queued and states them (D8)."""
    old = dataset(plane, "old", request_id="request-older")
    interrupted(plane, monkeypatch, stop, "new", old=old, request_id="request-newer")
    lose(plane)
    assert say(plane, capsys, "ledger", "rebuild")[0] == 0
    assert {name: run.state for name, run in runs_of(plane).items()} == {"request-older": "DONE", "request-newer": "QUEUED"}
    assert [one.outcome for one in opened(plane).work(once=True)] == ["PUBLISHED"]
    (new,) = (path.stem for path in plane.manifests() if path.stem != old)
    assert [fact.supersedes for fact in opened(plane).standing(new).supersedes] == [old]
    assert opened(plane).verify(new).intact
    assert say(plane, capsys, "ledger", "verify")[0] == 0


def test_a_rebuilt_ledger_remembers_what_revisions_mean(plane, capsys):
    """An edited set under a published revision is refused as before the loss (`decisions.md` D11)."""
    plane.profile["revision"] = "r1"
    dataset(plane)
    lose(plane)
    assert say(plane, capsys, "ledger", "rebuild")[0] == 0
    plane.profile["groups"]["customer"]["windows"] = ["1d", "14d"]
    with pytest.raises(FeatureProfileDrift):
        opened(plane).plan(plane.intent_path)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_of_rebuilds_at_once_one_is_taken(plane, request, monkeypatch, capsys, kind):
    """Four at once give a new ledger every run once; the others are refused, and workers go on with what it says."""
    if kind == "postgres":
        postgres = request.getfixturevalue("postgres")
        plane.plane["ledger"] = postgres.new_ledger()
    dataset(plane, request_id="request-published")
    interrupted(plane, monkeypatch, "/manifests/", "vowed", request_id="request-vowed")
    if kind == "postgres":
        plane.plane["ledger"] = postgres.new_ledger()
    else:
        lose(plane)
    start, planes = Barrier(4), [opened(plane) for _ in range(4)]

    def rebuilt(one):
        start.wait()
        try:
            return len(one.rebuild_ledger(apply=True).runs)
        except OfsError as refused:
            return refused.code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(map(str, pool.map(rebuilt, planes))) == ["2", *["LEDGER_NOT_EMPTY"] * 3]
    assert say(plane, capsys, "ledger", "verify")[0] == 0
    assert [one.outcome for one in opened(plane).work(once=True)] == ["PUBLISHED"]
    assert {name: run.state for name, run in runs_of(plane).items()} == {"request-published": "DONE", "request-vowed": "DONE"}


def test_a_run_that_lost_its_vow_comes_back_as_failed(plane, capsys):
    """A vow of another core than the visible one: the one failure that has no tombstone."""
    build(plane, request_id="request-first")
    store = LocalStore(plane.folder / "store")
    plan = load_json(store.get(layout.plan_key("cards", run_key("request-first"))))
    plan["intent"]["request_id"] = "request-loser"
    store.put_new(layout.plan_key("cards", run_key("request-loser")), canonical_bytes(plan))
    vow = Vow(outcome="commit", request_id="request-loser", dm_id=plan["dataset_manifest_id"], core_digest="sha256:" + "0" * 64, attempt=4)
    store.put_new(layout.commit_key("cards", run_key("request-loser")), vow.document())
    lose(plane)
    assert say(plane, capsys, "ledger", "rebuild")[0] == 0
    loser = runs_of(plane)["request-loser"]
    assert (loser.state, loser.reason_code, loser.attempt) == ("FAILED", "NONDETERMINISM_DETECTED", 4)
    assert say(plane, capsys, "ledger", "verify")[0] == 0


DOUBTS = {
    "a broken record": lambda ofs, key: (ofs / f"commits/{key}.json").write_bytes(b"{}"),
    "a flipped record": lambda ofs, key: (ofs / f"commits/{key}.json").write_bytes(
        (ofs / f"commits/{key}.json").read_bytes().replace(b'"attempt":1', b'"attempt":3')),
    "no plan": lambda ofs, key: (ofs / f"plans/{key}.json").unlink(),
    "a plan that is none": lambda ofs, key: (ofs / f"plans/{key}.json").write_bytes(b'{"intent":{}}'),
    "the plan of another": lambda ofs, key: (ofs / f"plans/{key}.json").write_bytes(
        next(path for path in (ofs / "plans").iterdir() if path.stem != key).read_bytes()),
    "an edited manifest": lambda ofs, key: [path.write_bytes(path.read_bytes().replace(b'"training_ready":true', b'"training_ready":false'))
                                            for path in (ofs / "manifests").iterdir() if key in path.read_text()],
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_a_run_that_cannot_be_told_is_kept_from_workers(plane, capsys, doubt):
    """It is quarantined with the reason, the others come back, and both commands end 6 until somebody has looked."""
    build(plane, "a", request_id="request-good1")
    build(plane, "b", request_id="request-harmed")
    lose(plane)
    for path in (plane.folder / "store").rglob("*.json"):
        path.chmod(0o644)
    DOUBTS[doubt](plane.folder / "store/cards/ofs", run_key("request-harmed"))
    status, report, _ = say(plane, capsys, "ledger", "rebuild")
    assert (status, [one["run_key"] for one in report["doubtful"]]) == (6, [run_key("request-harmed")]), report
    assert set(runs_of(plane)) == {"request-good1"}
    assert [one.run_key for one in opened(plane).quarantined()] == [run_key("request-harmed")]
    assert list(opened(plane).work(once=True)) == []
    status, report, _ = say(plane, capsys, "ledger", "verify")
    assert (status, {one["run_key"] for one in report["findings"]}) == (6, {run_key("request-harmed")})


def test_a_rebuild_that_dies_anywhere_is_begun_again(tmp_path, monkeypatch):
    """A crash or failure at any operation on store or ledger leaves no half of the runs; the next rebuild gives the same ledger."""
    plane = make_plane(tmp_path / "p")
    build(plane, "a", request_id="request-a1")
    interrupted(plane, monkeypatch, "/commits/", "b", request_id="request-b1")
    store = LocalStore(plane.folder / "store")
    for at in range(500):
        with tempfile.TemporaryDirectory(dir=tmp_path) as place:
            ledger = SqliteLedger(Path(place) / "ledger.sqlite", SystemClock())
            fuse = Fuse(at, "crash after" if at % 2 else "fail before")
            with suppress(OfsError, Crashed):
                rebuild(Faulty(store, fuse, StorageIoFailure), Faulty(ledger, fuse, LedgerUnavailable), SystemClock(), "cards",
                        lambda *_: None, apply=True)
            if fuse.blown:
                assert len(ledger.run_keys()) in {0, 2}
            if not ledger.has_runs("cards"):
                rebuild(store, ledger, SystemClock(), "cards", lambda *_: None, apply=True)
            assert {run.request_id: run.state for run in ledger.runs()} == {"request-a1": "DONE", "request-b1": "QUEUED"}
        if not fuse.blown:
            return
    raise AssertionError("a rebuild never ends")


# --- holding the ledger against the store -------------------------------------------------------------------


def tamper(plane, *statements):
    """Change the ledger's file past its triggers."""
    with closing(sqlite3.connect(plane.folder / "ledger.sqlite")) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)


def test_everything_that_is_wrong_is_told_at_once(plane, monkeypatch, capsys):
    """A changed row, a changed event, a lost row, a lost record, a record of another end, and a run that only the store has."""
    eventful(plane, monkeypatch)
    assert say(plane, capsys, "ledger", "verify")[0] == 0
    keys = {name: run.run_key for name, run in runs_of(plane).items()}
    tamper(plane, f"UPDATE runs SET worker = 'nobody' WHERE run_key = '{keys['request-found']}'",
           f"UPDATE events SET at_us = at_us + 1 WHERE run_key = '{keys['request-waiting']}'",
           f"DELETE FROM runs WHERE run_key = '{keys['request-vowed']}'",
           *(f"DELETE FROM {table} WHERE run_key = '{keys['request-unvowed']}'" for table in ("events", "runs")))
    commits = plane.folder / "store/cards/ofs/commits"
    (commits / f"{keys['request-failed']}.json").unlink()
    published = commits / f"{keys['request-cancelled']}.json"
    published.chmod(0o644)
    published.write_bytes(Vow(outcome="tombstone", request_id="request-cancelled", code="TARGET_DEGENERATE").document())
    status, report, _ = say(plane, capsys, "ledger", "verify")
    assert status == 6
    told = {one["run_key"]: one["what"] for one in report["findings"]}
    for name, words in (("request-found", "worker"), ("request-waiting", "does not verify"), ("request-vowed", "its row is not"),
                        ("request-unvowed", "the ledger has no such run"), ("request-failed", "no commit record"),
                        ("request-cancelled", "by its commit record it is FAILED (TARGET_DEGENERATE)")):
        assert words in told.pop(keys[name]), name
    assert told == {}
    status, text = tell(plane, capsys, "ledger", "verify")
    assert (status, "NOT SOUND" in text) == (6, True)


def test_a_result_that_the_store_does_not_confirm_is_told(plane, capsys):
    """A DONE run whose manifest is gone, or is another's, contradicts its record."""
    build(plane, request_id="request-done1")
    (manifest,) = plane.manifests()
    sound = manifest.read_bytes()
    manifest.unlink()
    assert "still to be published" in say(plane, capsys, "ledger", "verify")[1]["findings"][0]["what"]
    manifest.write_bytes(sound.replace(b'"training_ready":true', b'"training_ready":false'))
    status, report, _ = say(plane, capsys, "ledger", "verify")
    assert (status, len(report["findings"])) == (6, 1)


def test_an_empty_ledger_is_sound_and_stays_absent(plane, capsys):
    """Looking makes no ledger; a store without runs gives an empty one."""
    plane.documents()
    status, report, _ = say(plane, capsys, "ledger", "verify")
    assert (status, report) == (0, {"sound": True, "runs": 0, "compared": 0, "findings": []})
    assert not (plane.folder / "ledger.sqlite").exists()
    status, report, _ = say(plane, capsys, "ledger", "rebuild")
    assert (status, report["runs"], report["applied"]) == (0, [], True)


def test_every_commit_record_has_its_plan(plane, monkeypatch):
    """Whatever ends a run, and however early: its plan is in the store, and is what the ledger has."""
    eventful(plane, monkeypatch)
    ofs = plane.folder / "store/cards/ofs"
    records = {path.stem for path in (ofs / "commits").iterdir()}
    assert records <= {path.stem for path in (ofs / "plans").iterdir()}
    for run in runs_of(plane).values():
        assert json.loads((ofs / f"plans/{run.run_key}.json").read_bytes()) == run.payload
