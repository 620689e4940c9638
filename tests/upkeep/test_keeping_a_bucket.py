"""Keeping a store in order where it is a bucket: as on a disk, and what uploads in parts left goes too (R6, R8)."""

import shutil
import subprocess
import sys

import pytest
from s3_servers import ENVIRONMENT, open_store, place_at
from small_asking import build, dataset, opened, say, tell
from small_plane import make_plane

from offline_feature_plane.corridor import layout
from offline_feature_plane.domain.identity import run_key
from offline_feature_plane.objects.s3.store import S3Store


@pytest.fixture
def in_a_bucket(weed, tmp_path, monkeypatch):
    """A small plane whose store is in a bucket, and that store."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    store = open_store(place_at(weed.url))
    plane = make_plane(tmp_path / "p")
    plane.plane |= {"store": store.place.uri("").rstrip("/"), "s3": {"endpoint": weed.url, "timeout_s": 10}}
    return plane, store


def test_a_bucket_is_kept_in_order(in_a_bucket, monkeypatch, capsys):
    """Retire, expire, collect, verify, and rebuild the ledger: only what is garbage goes, begun uploads of ended runs among it."""
    plane, store = in_a_bucket
    kept = dataset(plane, "kept", request_id="request-kept1")
    old = dataset(plane, "old", request_id="request-old01")
    honest = S3Store.put_new

    def put_new(self, key, data):
        if "/commits/" in key:
            monkeypatch.setattr(S3Store, "put_new", honest)
            raise KeyboardInterrupt
        return honest(self, key, data)

    monkeypatch.setattr(S3Store, "put_new", put_new)
    with pytest.raises(KeyboardInterrupt):
        build(plane, "never", request_id="request-never")
    opened(plane).cancel("request-never", reason="wrong")
    opened(plane).retire(old, reason="must go", expire_data=True)
    for request_id in ("request-never", "request-kept1"):  # an attempt that was killed before another one published
        store._bucket.request("create_multipart_upload", f"{layout.data_prefix('cards', kept, run_key(request_id))}/{'1' * 64}.parquet")
    before = set(store.list(""))
    status, report, _ = say(plane, capsys, "gc", "--dry-run")
    assert (status, set(store.list(""))) == (0, before)
    status, report, _ = say(plane, capsys, "gc", "--apply")
    assert status == 0
    gone = before - set(store.list(""))
    assert gone == {item["key"] for item in report["items"] if "?uploadId=" not in item["key"]}
    assert sorted(key.rpartition(".")[2] for key in gone) == ["json", "json", "parquet", "parquet"]
    assert [item["removed"] for item in report["items"] if "?uploadId=" in item["key"]] == [True, True]
    assert opened(plane).verify(kept).intact
    assert tell(plane, capsys, "verify", old)[0] == 0
    assert say(plane, capsys, "gc", "--apply")[1]["items"] == []
    (plane.folder / "ledger.sqlite").unlink()
    assert say(plane, capsys, "ledger", "rebuild")[0] == 0
    assert {run.request_id: run.state for run in opened(plane).runs()} == {
        "request-kept1": "DONE", "request-old01": "DONE", "request-never": "CANCELLED"}
    assert say(plane, capsys, "ledger", "verify")[0] == 0


READER = """
import sys
from offline_feature_plane.plane import open_plane
dataset = open_plane(sys.argv[1]).dataset(sys.argv[2])
print("opened", flush=True)
sys.stdin.readline()
print(dataset.to_arrow().num_rows, flush=True)
"""


def test_copies_go_when_nobody_reads_them(in_a_bucket, capsys):
    """Copies of remote files, whole and half ones, stay as long as a process has opened a dataset here; then they go, and come again."""
    plane, _ = in_a_bucket
    dm_id = dataset(plane)
    copies = plane.folder / "work/copies"
    reader = subprocess.Popen([sys.executable, "-c", READER, str(plane.folder / "plane.yaml"), dm_id], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout.readline() == "opened\n"
        (copies / ".1-1").write_bytes(b"half")
        (copies / "mine.txt").write_bytes(b"mine")
        (copy,) = copies.glob("*.parquet")
        assert say(plane, capsys, "gc", "--apply")[:2] == (0, {"applied": True, "garbage_bytes": 0, "removed_bytes": 0, "items": []})
        reader.stdin.write("go on\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "164\n"
    finally:
        reader.kill()
        reader.communicate()
    size = copy.stat().st_size + 4
    for words, left in (("--dry-run", 3), ("--apply", 1)):
        status, report, _ = say(plane, capsys, "gc", words)
        assert (status, report["garbage_bytes"], report["removed_bytes"]) == (0, size, 0 if left == 3 else size)
        assert len(list(copies.iterdir())) == left
    assert say(plane, capsys, "gc", "--apply")[1]["items"] == []
    assert len(opened(plane).dataset(dm_id)) == 164
    shutil.rmtree(copies)  # by hand
    assert len(opened(plane).dataset(dm_id)) == 164
    assert say(plane, capsys, "gc", "--apply")[1]["items"] == []


def test_damage_in_a_bucket_is_told_page_by_page(in_a_bucket, capsys):
    """A file that was replaced in the bucket: its copy here is inspected as a file on a disk is."""
    plane, store = in_a_bucket
    dm_id = dataset(plane)
    (part,) = opened(plane).manifest(dm_id).evidence.parts
    harmed = bytearray(store.local_copy(part.key, plane.folder / "look").read_bytes())
    harmed[100] ^= 1
    store.delete(part.key)
    store.put_new(part.key, bytes(harmed))
    status, report, _ = say(plane, capsys, "verify", dm_id)
    assert (status, [damage["column"] for damage in report["files"][0]["damages"]]) == (6, ["event_id"])
