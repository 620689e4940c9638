"""The contract suite of `ports.ObjectStore`: subclass `StoreContract` and give it one fixture.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def reopen(self, tmp_path):
            return functools.partial(MyStore, tmp_path / "store")

`reopen` opens the same, at first empty, store again each time it is called; it is sent to other processes, so it must pickle.
"""

# ruff: noqa: S101 - a contract suite asserts
from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import RefInvalid, RefNotFound
from offline_feature_plane.ports import ObjectStore

Reopen = Callable[[], ObjectStore]

UNSAFE_KEYS = (
    "", ".", "..", "/", "/etc/passwd", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a/./b", "a\\b", "a\x00b", "\x00", ".hidden",
    "a/.hidden", ".staging/x", "-a", "a/-b", "a b", "a\nb", "a/b\n", "ü", "a\u2044b", "a/%2e%2e/b", "file:///a", "C:\\a", "~", "~root/a",
    "a/\ud800", "a" * 201, "/".join(["a" * 100] * 11),
)
GOOD_KEYS = ("a", "a/b", "run_1/ofs/manifests/dm_0123.json", "A-1/b_2/c.d", "0/1", "x..y", "a.")


def _put(reopen: Reopen, key: str, mark: int) -> str:
    return reopen().put_new(key, bytes([mark]) * 70_000)


class StoreContract:
    """Laws of create-if-absent stores; each runs on an empty store."""

    @pytest.mark.parametrize("key", GOOD_KEYS)
    def test_what_was_put_is_read_back(self, reopen: Reopen, key: str, tmp_path: Path) -> None:
        """A created object reads back byte for byte, also through a newly opened store and as a local file."""
        assert not reopen().exists(key)
        assert reopen().put_new(key, b"\x00bytes\xff") == "created"
        assert reopen().exists(key)
        assert reopen().get(key) == b"\x00bytes\xff"
        assert reopen().local_copy(key, tmp_path / "made if needed").read_bytes() == b"\x00bytes\xff"
        assert reopen().digest(key) == sha256_of(b"\x00bytes\xff")

    def test_a_sound_store_is_proved_again_and_again(self, reopen: Reopen) -> None:
        """Trying a store leaves no object, whether it is new or in use."""
        reopen().prove()
        reopen().put_new("a", b"1")
        reopen().prove()
        assert list(reopen().list("")) == ["a"]

    def test_an_object_may_be_empty(self, reopen: Reopen) -> None:
        """No bytes are bytes too."""
        assert reopen().put_new("empty", b"") == "created"
        assert reopen().get("empty") == b""

    def test_the_first_put_stays(self, reopen: Reopen, tmp_path: Path) -> None:
        """A second put of either kind answers `exists` and changes nothing."""
        (tmp_path / "other").write_bytes(b"third")
        store = reopen()
        assert [store.put_new("a/b", b"first"), store.put_new("a/b", b"second"), store.put_file("a/b", tmp_path / "other")] == [
            "created", "exists", "exists"]
        assert store.get("a/b") == b"first"

    def test_a_file_is_put_whole(self, reopen: Reopen, tmp_path: Path) -> None:
        """`put_file` creates an object with the bytes of a file of several megabytes."""
        data = bytes(range(256)) * 12_000
        (tmp_path / "part").write_bytes(data)
        store = reopen()
        assert store.put_file("data/part", tmp_path / "part") == "created"
        assert store.get("data/part") == data
        assert store.put_new("data/part", b"") == "exists"

    def test_absent_is_said_so(self, reopen: Reopen, tmp_path: Path) -> None:
        """Reading what is absent raises RefNotFound, also below an object and in an empty store."""
        store = reopen()
        for key in ("a", "a/b"):
            assert not store.exists(key)
            with pytest.raises(RefNotFound):
                store.get(key)
            with pytest.raises(RefNotFound):
                store.local_copy(key, tmp_path)
        store.put_new("a", b"")
        with pytest.raises(RefNotFound):
            store.get("a/b")
        assert not store.exists("a/b")

    @pytest.mark.parametrize("key", UNSAFE_KEYS)
    def test_unsafe_keys_are_refused(self, reopen: Reopen, key: str, tmp_path: Path) -> None:
        """No operation takes a key with an unsafe segment, and none leaves anything behind."""
        (tmp_path / "file").write_bytes(b"")
        store = reopen()
        for attempt in (lambda: store.put_new(key, b""), lambda: store.put_file(key, tmp_path / "file"), lambda: store.get(key),
                        lambda: store.local_copy(key, tmp_path), lambda: store.exists(key), lambda: store.delete(key),
                        lambda: store.uri(key)):
            with pytest.raises(RefInvalid):
                attempt()
        assert list(store.list("")) == []

    def test_keys_are_listed_in_byte_order(self, reopen: Reopen) -> None:
        """`list` yields exactly the keys below a whole segment, in byte order; `a/b` is not below `a/bc`."""
        keys = ["a/b", "a/b-1/x", "a/bc/d", "a/b.x", "a0", "b/a/c", "a/b2/e/f", "Z"]
        store = reopen()
        for key in keys:
            store.put_new(key, b"")
        assert list(store.list("")) == sorted(keys)
        assert list(store.list("a")) == sorted(key for key in keys if key.startswith("a/"))
        assert list(store.list("a/b2")) == ["a/b2/e/f"]
        assert list(store.list("a/b")) == []
        assert list(store.list("nothing/here")) == []

    def test_delete_takes_one_object(self, reopen: Reopen) -> None:
        """Only the named object goes; deleting an absent one is fine; its name can be created again."""
        store = reopen()
        store.put_new("d/one", b"1")
        store.put_new("d/two", b"2")
        store.delete("d/one")
        store.delete("d/one")
        store.delete("never/was")
        assert list(store.list("")) == ["d/two"]
        assert store.put_new("d/one", b"again") == "created"
        assert store.get("d/one") == b"again"

    def test_one_of_many_threads_wins(self, reopen: Reopen) -> None:
        """Of 16 threads that create one key at once exactly one gets `created`, and its bytes stay."""
        for round_number in range(5):
            key = f"race/{round_number}/object"
            with ThreadPoolExecutor(16) as pool:
                outcomes = list(pool.map(lambda mark, key=key: _put(reopen, key, mark), range(16)))
            assert sorted(outcomes) == ["created"] + ["exists"] * 15
            assert reopen().get(key) == bytes([outcomes.index("created")]) * 70_000

    def test_one_of_many_processes_wins(self, reopen: Reopen) -> None:
        """The same among processes."""
        with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
            for round_number in range(8):
                key = f"race/{round_number}/object"
                waiting = [pool.submit(_put, reopen, key, mark) for mark in range(3)]
                outcomes = [future.result() for future in waiting]
                assert sorted(outcomes) == ["created", "exists", "exists"]
                assert reopen().get(key) == bytes([outcomes.index("created")]) * 70_000

    def test_a_reader_sees_all_or_nothing(self, reopen: Reopen) -> None:
        """While an object of 2 MB is created, a reader finds either nothing or every byte."""
        data = b"x" * 2_000_000
        with ThreadPoolExecutor(1) as pool:
            for round_number in range(20):
                key = f"poll/{round_number}"
                putting = pool.submit(reopen().put_new, key, data)
                seen = 0
                while not seen:
                    try:
                        seen = len(reopen().get(key))
                    except RefNotFound:
                        continue
                assert seen == len(data)
                assert putting.result() == "created"

    def test_a_size_is_told_without_reading(self, reopen: Reopen) -> None:
        """The number of bytes of an object; of an absent one RefNotFound."""
        store = reopen()
        for count in (0, 1, 70_000):
            store.put_new(f"sized/{count}", b"x" * count)
            assert store.size(f"sized/{count}") == count
        with pytest.raises(RefNotFound):
            store.size("sized/absent")

    def test_finished_work_leaves_nothing_over(self, reopen: Reopen, tmp_path: Path) -> None:
        """Puts of every outcome leave nothing that could be collected, whatever is said to be over."""
        (tmp_path / "part").write_bytes(bytes(12_000_000))
        store = reopen()
        for _ in range(2):
            store.put_new("run/a", b"1")
            store.put_file("run/b", tmp_path / "part")
        assert list(store.leftovers("run", lambda _: True)) == []
        assert list(store.list("run")) == ["run/a", "run/b"]

    def test_a_uri_names_the_object(self, reopen: Reopen) -> None:
        """The name for people ends in the key."""
        assert reopen().uri("a/b.json").endswith("a/b.json")

    def test_it_is_a_store(self, reopen: Reopen) -> None:
        """It has every method of the port and a name."""
        assert isinstance(reopen(), ObjectStore)
        assert reopen().name
