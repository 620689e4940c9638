"""An object store against a dictionary: any operations in any order, through several openings. Subclass `StoreMachine`.

    class MyMachine(StoreMachine):
        def open(self):
            return MyStore(…)   # empty at first; the same store when called again

    class TestMyStore(MyMachine.TestCase):
        settings = hypothesis.settings(deadline=None)

It must be safe for several threads and openings at once.
"""
# ruff: noqa: S101, D102 - a contract asserts; the names of the rules say what they do

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import OfsError, RefNotFound
from offline_feature_plane.ports import ObjectStore
from offline_feature_plane.testing.asking import at_once

KEYS = ("Z", "a/b/1", "a/b/2", "a/b-1/x", "a/b.x", "a/bc/d", "a0", "b/a/c/d/e")  # none lies below another
PREFIXES = ("", "a", "a/b", "a/b/", "a/bc", "b/a", "nothing/here")
OPENINGS = 3

_keys = st.sampled_from(KEYS)
_which = st.integers(0, OPENINGS - 1)
_data = st.sampled_from((b"", b"\x00bytes\xff", b"other bytes", b"x" * 70_000))


class StoreMachine(RuleBasedStateMachine):
    """What the store must hold is kept beside it. Several openings of it are used in turn, as by several workers."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[str, bytes] = {}
        self.scratch = Path(tempfile.mkdtemp(prefix="ofs-store-machine-"))
        self.files = 0
        self.stores = [self.open() for _ in range(OPENINGS)]

    def open(self) -> ObjectStore:
        """The store: empty at first, the same when called again."""
        raise NotImplementedError

    @rule(key=_keys, data=_data, which=_which)
    def put_new(self, key: str, data: bytes, which: int) -> None:
        outcome = "exists" if key in self.expected else "created"
        assert self.stores[which].put_new(key, data) == outcome
        self.expected.setdefault(key, data)

    @rule(key=_keys, data=_data, which=_which)
    def put_file(self, key: str, data: bytes, which: int) -> None:
        self.files += 1
        path = self.scratch / f"part-{self.files}"
        path.write_bytes(data)
        outcome = "exists" if key in self.expected else "created"
        assert self.stores[which].put_file(key, path) == outcome
        self.expected.setdefault(key, data)

    @rule(key=_keys, writers=st.integers(2, 6))
    def race(self, key: str, writers: int) -> None:
        outcomes = at_once(writers, lambda number: self.stores[number % OPENINGS].put_new(key, bytes([number]) * 5_000))
        if key in self.expected:
            assert outcomes == ["exists"] * writers
        else:
            assert sorted(outcomes) == ["created"] + ["exists"] * (writers - 1)
            self.expected[key] = bytes([outcomes.index("created")]) * 5_000

    @rule(key=_keys, which=_which)
    def read(self, key: str, which: int) -> None:
        store = self.stores[which]
        assert store.exists(key) == (key in self.expected)
        if key in self.expected:
            data = self.expected[key]
            assert store.get(key) == data
            assert store.digest(key) == sha256_of(data)
            assert store.local_copy(key, self.scratch / "copies").read_bytes() == data
            return
        for ask in (store.get, store.digest, lambda absent: store.local_copy(absent, self.scratch / "copies")):
            try:
                answer = ask(key)
            except RefNotFound:
                continue
            except OfsError as wrong:
                raise AssertionError(f"{key} is absent") from wrong
            raise AssertionError(f"{key} is absent, not {answer!r}")

    @rule(key=_keys, which=_which)
    def delete(self, key: str, which: int) -> None:
        self.stores[which].delete(key)
        self.expected.pop(key, None)

    @rule(which=_which)
    def open_again(self, which: int) -> None:
        self.stores[which] = self.open()

    @rule(prefix=st.sampled_from(PREFIXES), which=_which)
    def list_below(self, prefix: str, which: int) -> None:
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        assert list(self.stores[which].list(prefix)) == sorted(key for key in self.expected if key.startswith(below))

    @invariant()
    def exactly_the_objects_are_there(self) -> None:
        assert list(self.stores[0].list("")) == sorted(self.expected)

    def teardown(self) -> None:
        """Every object is whole, through every opening."""
        for store in self.stores:
            assert {key: store.get(key) for key in store.list("")} == self.expected
        shutil.rmtree(self.scratch)
