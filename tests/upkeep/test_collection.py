"""Collecting: only what ended runs staged in vain goes, and what a second fact gave up (`decisions.md` D2, D7, R6)."""

import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from small_asking import build, dataset, files, opened, say, tell
from true_manifests import PLACE, data_key, dataset_id, manifest_of

from offline_feature_plane.contracts.facts import DataExpiry, DatasetRetirement, Vow
from offline_feature_plane.contracts.intent import Actor
from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor.collection import collect
from offline_feature_plane.corridor.publish import keep_vow, read_manifest
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.identity import run_key
from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.machines import ledger_name
from offline_feature_plane.objects.local import STAGING, LocalStore
from offline_feature_plane.testing.faulty_store import Faulty, Fuse, MemoryStore

DM = dataset_id("a")
WHO = Actor(name="tester", source="declared")


def hush(step, done, total):
    """Nobody listens."""


class Shelf:
    """A store in memory on which runs leave things as their protocol does."""

    def __init__(self):
        self.store = MemoryStore()

    def stage(self, request_id, rows=b"rows", companions=True):
        """Data, column digests and the staged manifest of a run."""
        key = run_key(request_id)
        self.store.put_new(data_key(key, rows), rows)
        if companions:
            self.store.put_new(f"{layout.data_prefix(PLACE, DM, key)}/column-digests.json", b"{}")
            self.store.put_new(layout.staged_key(PLACE, DM, key), manifest_of(key, rows))
        return key

    def vow(self, request_id, rows=b"rows"):
        """A vow to publish these rows."""
        key = run_key(request_id)
        manifest = read_manifest(manifest_of(key, rows))
        vow = Vow(outcome="commit", request_id=request_id, dm_id=DM, core_digest=manifest.core_digest, manifest_digest=manifest.digest,
                  attempt=1)
        self.store.put_new(layout.commit_key(PLACE, key), vow.document())
        return vow, manifest

    def publish(self, request_id, rows=b"rows"):
        """All of it; the run's key."""
        key = self.stage(request_id, rows)
        vow, manifest = self.vow(request_id, rows)
        keep_vow(self.store, Ran(key), vow, manifest)
        return key

    def bury(self, request_id, code="TARGET_DEGENERATE"):
        """A tombstone."""
        key = run_key(request_id)
        self.store.put_new(layout.commit_key(PLACE, key), Vow(outcome="tombstone", request_id=request_id, code=code).document())

    def retire(self, *, expire, digest=None):
        """The facts of a retirement."""
        said = {"dataset_manifest_id": DM, "reason": "wrong", "actor": WHO,
                "manifest_digest": digest or sha256_of(self.store.get(layout.manifest_key(PLACE, DM)))}
        self.store.put_new(layout.retired_key(PLACE, DM), DatasetRetirement(retired_at="2026-01-01T00:00:00.000000Z", **said).document())
        if expire:
            self.store.put_new(layout.expired_key(PLACE, DM), DataExpiry(expired_at="2026-01-02T00:00:00.000000Z", **said).document())

    def collect(self, *, apply=True):
        """What a collection says, after whatever it deleted."""
        before = dict(self.store.objects)
        found = collect(self.store, PLACE, hush, apply=apply)
        gone = set(before) - set(self.store.objects)
        assert gone == {item.key for item in found.items if item.removed}
        assert all(before[key] == data for key, data in self.store.objects.items())
        assert {item.key: item.size_bytes for item in found.of("garbage")} == {item.key: len(before[item.key])
                                                                               for item in found.of("garbage")}
        return found


class Ran:
    """As much of a run as publishing looks at."""

    def __init__(self, key):
        self.run_key, self.platform_run_id = key, PLACE


@pytest.fixture
def shelf():
    """An empty store."""
    return Shelf()


def fates(found):
    """Fate and reason by the run of the key."""
    return {(item.key.split("/")[4], item.fate, item.why.partition(" (")[0]) for item in found.items}


def test_what_each_kind_of_run_left_is_judged_by_its_end(shelf):
    """The whole table: only runs that can never publish, or adopted, or lost, lose what they staged; a dry run deletes nothing."""
    shelf.publish("request-published")
    shelf.stage("request-running")
    shelf.stage("request-buried")
    shelf.bury("request-buried")
    shelf.stage("request-adopted")
    shelf.vow("request-adopted")
    shelf.stage("request-lost", b"others")
    shelf.vow("request-lost", b"others")
    told = {(run_key("request-running"), "kept", "its run has not ended"),
            (run_key("request-buried"), "garbage", "its run ended without publishing"),
            (run_key("request-adopted"), "garbage", f"its run adopted what run {run_key('request-published')} published"),
            (run_key("request-lost"), "garbage", f"its run lost to what run {run_key('request-published')} published")}
    before = dict(shelf.store.objects)
    assert fates(shelf.collect(apply=False)) == told
    assert shelf.store.objects == before
    found = shelf.collect()
    assert fates(found) == told
    assert len(found.of("garbage")) == 9
    left = {key for key in shelf.store.objects if "/datasets/" in key}
    assert {key.split("/")[4] for key in left} == {run_key("request-published"), run_key("request-running")}
    assert fates(shelf.collect()) == {(run_key("request-running"), "kept", "its run has not ended")}


@pytest.mark.parametrize("expire", [False, True])
def test_what_a_published_dataset_does_not_name_goes(shelf, expire):
    """An attempt on another engine or release staged other files of the same rows, and died; the attempt that published left them there."""
    key = shelf.publish("request-published")
    shelf.store.put_new(data_key(key, b"rows in another file"), b"rows in another file")
    if expire:
        shelf.retire(expire=True)
    found = shelf.collect()
    assert {item.key: item.why.partition(" on ")[0] for item in found.items} == {
        data_key(key, b"rows in another file"): f"{DM} was retired" if expire else "its run published without it",
        **({data_key(key): f"{DM} was retired"} if expire else {})}
    left = {one.rpartition("/")[2] for one in shelf.store.objects if "/datasets/" in one}
    assert left == {"manifest.json", "column-digests.json", *([] if expire else [data_key(key).rpartition("/")[2]])}
    assert shelf.collect().items == ()


def test_a_vow_that_is_still_to_be_kept_keeps_its_data(shelf):
    """Between vow and manifest the data is what the run will publish."""
    shelf.stage("request-vowed")
    shelf.vow("request-vowed")
    (item,) = shelf.collect().items
    assert (item.fate, item.why) == ("kept", "its run has committed to publish it")
    assert (item.key, item.size_bytes) == (f"{layout.data_prefix(PLACE, DM, run_key('request-vowed'))}/", sum(
        len(data) for key, data in shelf.store.objects.items() if "/datasets/" in key))


def test_retired_data_goes_only_once_it_expired(shelf):
    """A retirement alone deletes nothing; with expired data the data files go, and what says what they were stays."""
    key = shelf.publish("request-published")
    shelf.retire(expire=False)
    assert shelf.collect().items == ()
    shelf.retire(expire=True)
    (item,) = shelf.collect().items
    assert (item.key, item.removed) == (data_key(key), True)
    assert "expired on 2026-01-02" in item.why
    assert {name.rsplit("/", 1)[1] for name in shelf.store.objects if "/datasets/" in name} == {"column-digests.json", "manifest.json"}
    assert shelf.collect().items == ()


def test_an_expiry_without_a_retirement_gives_up_nothing(shelf):
    """The second fact alone, as after a loss of the first, lets nothing go."""
    shelf.publish("request-published")
    shelf.retire(expire=True)
    shelf.store.delete(layout.retired_key(PLACE, DM))
    assert shelf.collect().items == ()


def break_manifest(shelf):
    """Edit the visible manifest."""
    key = layout.manifest_key(PLACE, DM)
    shelf.store.objects[key] = shelf.store.objects[key].replace(b'"purpose":"training"', b'"purpose":"tracking"')


DOUBTS = {
    "an edited manifest": break_manifest,
    "a manifest that is none": lambda shelf: shelf.store.objects.update({layout.manifest_key(PLACE, DM): b"{}"}),
    "the publisher's vow gone": lambda shelf: shelf.store.delete(layout.commit_key(PLACE, run_key("request-published"))),
    "a pointer elsewhere": lambda shelf: shelf.store.objects.update({layout.by_id_key(DM): b"{}"}),
    "a broken record": lambda shelf: shelf.store.objects.update({layout.commit_key(PLACE, run_key("request-buried")): b"{}"}),
    "the record of another run": lambda shelf: shelf.store.objects.update({
        layout.commit_key(PLACE, run_key("request-buried")): shelf.store.objects[layout.commit_key(PLACE, run_key("request-other"))]}),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_cannot_be_believed_is_left_alone(shelf, doubt):
    """A manifest, vow or pointer that is damaged decides nothing: what hangs on it is doubtful and stays."""
    shelf.publish("request-published")
    shelf.stage("request-buried")
    shelf.bury("request-buried")
    shelf.bury("request-other")
    DOUBTS[doubt](shelf)
    found = shelf.collect()
    assert len({(item.key, item.why) for item in found.of("doubtful")}) == len(found.of("doubtful")) > 0  # one for a run and a reason
    assert not found.of("garbage")


def test_a_retirement_of_another_manifest_gives_up_nothing(shelf):
    """Facts whose manifest is not the visible one are doubtful."""
    shelf.publish("request-published")
    shelf.retire(expire=True, digest=sha256_of(b"another"))
    assert {(item.fate, item.removed) for item in shelf.collect().items} == {("doubtful", False)}


@pytest.mark.parametrize("name", ["notes.txt", "deeper/manifest.json", f"{'0' * 63}.parquet", f"{'0' * 64}.parquet.tmp"])
def test_a_foreign_file_is_never_deleted(shelf, name):
    """Whatever no run stages is somebody's: also in the folder of a run that is buried."""
    shelf.stage("request-buried")
    shelf.bury("request-buried")
    foreign = f"{layout.data_prefix(PLACE, DM, run_key('request-buried'))}/{name}"
    shelf.store.put_new(foreign, b"mine")
    found = shelf.collect()
    assert [item.key for item in found.of("doubtful")] == [foreign]
    assert len(found.of("garbage")) == 3
    assert shelf.store.get(foreign) == b"mine"


def test_what_was_begun_for_an_ended_run_goes_too(shelf):
    """An upload in parts that a dead writer began is left over iff its key's run can never be read."""
    for request_id in ("request-running", "request-buried"):
        shelf.store.unfinished[f"{layout.data_prefix(PLACE, DM, run_key(request_id))}/{'1' * 64}.parquet"] = b"half"
    shelf.bury("request-buried")
    (item,) = collect(shelf.store, PLACE, hush, apply=True).items
    assert (run_key("request-buried") in item.key, item.removed, item.size_bytes) == (True, True, 4)
    (left,) = shelf.store.unfinished
    assert run_key("request-running") in left


def test_a_store_that_fails_is_no_proof(shelf):
    """At any operation a failing store ends the collection with its own error; nothing live is gone, and the next one goes on."""
    for at in range(200):
        shelf.store.objects.clear()
        live = shelf.publish("request-published")
        shelf.stage("request-buried")
        shelf.bury("request-buried")
        fuse = Fuse(at, "fail before")
        with suppress(StorageIoFailure):
            collect(Faulty(shelf.store, fuse, StorageIoFailure), PLACE, hush, apply=True)
        assert shelf.store.get(data_key(live)) == b"rows"
        shelf.collect()
        assert {key.split("/")[4] for key in shelf.store.objects if "/datasets/" in key} == {live}
        if not fuse.blown:
            return
    raise AssertionError("a collection never ends")


# --- the real plane -----------------------------------------------------------------------------------------


def interrupt(monkeypatch, part):
    """The next put of a key with this part in it is interrupted."""
    honest = LocalStore.put_new

    def put_new(store, key, data):
        if part in key:
            monkeypatch.setattr(LocalStore, "put_new", honest)
            raise KeyboardInterrupt
        return honest(store, key, data)

    monkeypatch.setattr(LocalStore, "put_new", put_new)


def test_collecting_after_an_eventful_night(plane, monkeypatch, capsys):
    """A cancelled build, one that adopted, one that waits, a retired dataset: the command lists, deletes and keeps, and all verifies."""
    kept = dataset(plane, "kept", request_id="request-0001")
    old = dataset(plane, "old", request_id="request-0002")
    for name, request_id in (("late", "request-0003"), ("never", "request-0004"), ("waits", "request-0005")):
        interrupt(monkeypatch, "/commits/")
        with pytest.raises(KeyboardInterrupt):
            build(plane, name, request_id=request_id)
    late = dataset(plane, "late", request_id="request-0006")
    build(plane, "late", request_id="request-0003")  # adopts
    opened(plane).cancel("request-0004", reason="wrong")
    opened(plane).retire(old, reason="must go", expire_data=True)
    before = files(plane)
    status, text = tell(plane, capsys, "gc", "--dry-run")
    assert status == 0, text
    assert files(plane) == before
    for part in ("adopted what run", "RUN_CANCELLED", "must go", "its run has not ended", "ofs gc --apply"):
        assert part in text
    status, report, _ = say(plane, capsys, "gc", "--apply")
    assert (status, report["applied"]) == (0, True)
    after = files(plane)
    assert {item["key"] for item in report["items"] if item["removed"]} == set(before) - set(after)
    assert report["removed_bytes"] == sum(len(before[key]) for key in set(before) - set(after))
    assert {key.rsplit("/", 1)[1].partition(".")[2] or key for key in set(before) - set(after)} == {"parquet", "json"}
    assert all("/datasets/" in key for key in set(before) - set(after))
    for dm_id in (kept, late):
        assert opened(plane).verify(dm_id).intact
    assert build(plane, "waits", request_id="request-0005").outcome == "PUBLISHED"
    status, text = tell(plane, capsys, "gc", "--apply")
    assert (status, text) == (0, "Nothing to delete.\n")


def test_doubt_shows_in_the_exit_status(plane, capsys):
    """A foreign file is listed and left, and the command ends 6 after it has deleted the rest."""
    dm_id = dataset(plane)
    (plane.folder / f"store/cards/ofs/datasets/{dm_id}/readme.txt").write_text("mine")
    status, text = tell(plane, capsys, "gc", "--apply")
    assert status == 6
    assert "readme.txt" in text
    assert opened(plane).verify(dm_id).intact


@pytest.mark.parametrize("words", [(), ("--dry-run", "--apply")])
def test_what_to_do_is_said(plane, capsys, words):
    """Neither or both of the two is a mistake, and nothing is done."""
    status, text = tell(plane, capsys, "gc", *words)
    assert (status, "--dry-run" in text) == (2, True)


HOLDER = """
import sys, time
from pathlib import Path
from offline_feature_plane.corridor.workfolders import look, scratch
from offline_feature_plane.objects.asides import new_aside
import os
with scratch(Path(sys.argv[1])) as folder, look(folder.parent) as looked:
    (folder / "spill").write_bytes(b"spilled")
    (looked / "copy").write_bytes(b"mine")
    staging = Path(sys.argv[2])
    staging.mkdir(parents=True, exist_ok=True)
    descriptor = new_aside("1-1", os.open(staging, os.O_RDONLY))
    os.write(descriptor, b"half")
    print(looked.name, flush=True)
    time.sleep(600)
"""


def test_what_a_dead_process_left_is_told_from_what_a_live_one_holds(plane, capsys):
    """Asides and work folders of a process that lives, even one that was stopped, stay; once it was killed they go."""
    dataset(plane)
    work, staging = plane.folder / f"work/{'0' * 32}.abc.1", plane.folder / "store" / STAGING
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(work), str(staging)], stdout=subprocess.PIPE, text=True)
    try:
        looked = work.parent / holder.stdout.readline().strip()
        for name in ("mine.txt", "look-1", "copies/x"):
            (plane.folder / "work" / name).parent.mkdir(exist_ok=True)
            (plane.folder / "work" / name).write_text("mine")
        for stop in (None, signal.SIGSTOP):
            if stop is not None:
                holder.send_signal(stop)
            assert say(plane, capsys, "gc", "--apply")[1]["items"] == []
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    _, report, _ = say(plane, capsys, "gc", "--dry-run")
    assert {(item["key"], item["size_bytes"], item["removed"]) for item in report["items"]} == {
        (f"{STAGING}/1-1", 4, False), (str(work), 7, False), (str(looked), 4, False)}
    assert say(plane, capsys, "gc", "--apply")[0] == 0
    assert not work.exists()
    assert list(staging.iterdir()) == []
    assert sorted(path.name for path in work.parent.iterdir()) == ["copies", "look-1", "mine.txt"]


LOOKER = """
import sys
from pathlib import Path
from offline_feature_plane.corridor.workfolders import look
with look(Path(sys.argv[1])) as folder:
    (folder / "copy").write_bytes(sys.argv[2].encode())
    print(folder.name, flush=True)
    sys.stdin.readline()
    print((folder / "copy").read_bytes().decode(), flush=True)
"""


def test_processes_of_one_number_look_in_folders_of_their_own(plane, capsys):
    """Containers share a work folder, and each has a process 1: neither takes the other's folder, nor collects what it cannot see live."""
    work = plane.folder / "work"
    apart = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us make process namespaces")
    lookers = [subprocess.Popen([*apart, sys.executable, "-c", LOOKER, str(work), words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True) for words in ("one", "two")]
    try:
        names = [looker.stdout.readline().strip() for looker in lookers]
        assert sorted(names) == ["look-1-0", "look-1-1"]
        assert say(plane, capsys, "gc", "--apply")[1]["items"] == []
        assert [looker.communicate("go on\n")[0] for looker in lookers] == ["one\n", "two\n"]
    finally:
        for looker in lookers:
            looker.kill()
            looker.wait()
    assert not work.exists() or list(work.iterdir()) == []  # whoever made it and ends last takes it along


def test_what_attempts_keep_for_each_other_goes_when_their_run_has_ended(plane, monkeypatch, capsys):
    """While a run goes on, what it has read is kept for its next attempt; once it has its commit record, nothing reads it. Others' stays.

    run                ──read──☠             kept
                       ──cancelled──         to delete
    another ledger's                          nothing is said of it
    """
    interrupt(monkeypatch, "/commits/")
    with pytest.raises(KeyboardInterrupt):
        build(plane, "waits", request_id="request-0001")
    name = ledger_name(opened(plane).settings)
    mine, others = (plane.folder / "work" / f"{run_key('request-0001')}.{ledger}.kept" for ledger in (name, "0" * 12))
    for folder in (mine, others):
        (folder / "release/portion").mkdir(parents=True)
        (folder / "release/portion/0").write_bytes(b"12345")

    def told(*words):
        status, report, _ = say(plane, capsys, "gc", *words)
        assert status == 0
        return {one["key"]: (one["fate"], one["size_bytes"], one["removed"]) for one in report["items"] if one["key"].endswith(".kept")}
    assert told("--apply") == {str(mine): ("kept", 5, False)}
    opened(plane).cancel("request-0001", reason="nobody wants it")
    assert told("--dry-run") == {str(mine): ("garbage", 5, False)}
    assert told("--apply") == {str(mine): ("garbage", 5, True)}
    assert (mine.exists(), others.exists()) == (False, True)
