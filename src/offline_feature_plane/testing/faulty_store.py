"""A store in memory, and faults at any single operation on a store or a ledger: failures, lost replies, crashes, pauses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import OfsError, RefNotFound
from offline_feature_plane.ports import Leftover, PutOutcome

How = Literal["fail before", "fail after", "crash before", "crash after"]


class MemoryStore:
    """A `ports.ObjectStore` that lives and dies with the process. Safe for threads.

    `unfinished` holds by key what somebody began to write and did not finish, as uploads in parts of a remote store do.
    """

    name = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.unfinished: dict[str, bytes] = {}
        self._turn = threading.Lock()

    def prove(self) -> None:
        """Memory keeps its word."""

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create if absent."""
        with self._turn:
            if key in self.objects:
                return "exists"
            self.objects[key] = data
            return "created"

    def put_file(self, key: str, path: Path) -> PutOutcome:
        """Create if absent from a file, which is left where it is."""
        return self.put_new(key, path.read_bytes())

    def get(self, key: str) -> bytes:
        """All bytes. Raises RefNotFound."""
        if key not in self.objects:
            raise RefNotFound(f"there is no object at {key}.", path=key)
        return self.objects[key]

    def digest(self, key: str) -> str:
        """`sha256:<hex>` of the bytes. Raises RefNotFound."""
        return sha256_of(self.get(key))

    def local_copy(self, key: str, scratch: Path) -> Path:
        """The bytes as a file in `scratch`. Raises RefNotFound."""
        scratch.mkdir(parents=True, exist_ok=True)
        copy = scratch / key.replace("/", "_")
        copy.write_bytes(self.get(key))
        return copy

    def exists(self, key: str) -> bool:
        """Is there an object?"""
        return key in self.objects

    def size(self, key: str) -> int:
        """How many bytes. Raises RefNotFound."""
        return len(self.get(key))

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below a prefix of whole segments, in byte order."""
        below = prefix.rstrip("/") + "/" if prefix else ""
        return iter(sorted(key for key in self.objects if key.startswith(below)))

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is fine."""
        self.objects.pop(key, None)

    def leftovers(self, prefix: str, is_over: Callable[[str], bool]) -> Iterator[Leftover]:
        """What was begun below a prefix for keys that are over."""
        for key in sorted(one for one in self.unfinished if one.startswith(f"{prefix}/")):
            if is_over(key):
                yield Leftover(key, len(self.unfinished.get(key, b"")), "its run has ended")

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Forget what was begun."""
        return self.unfinished.pop(leftover.name, None) is not None

    def uri(self, key: str) -> str:
        """`memory:` and the key."""
        return f"memory:{key}"


class Crashed(BaseException):
    """The worker's process is gone. Nothing of ours catches this."""


class Fuse:
    """One fault at the `at`-th operation (from 0) that passes through, whatever it passes to; after a crash every operation crashes.

    Args:
        at: which operation.
        how: `fail` raises, `crash` ends the worker, each `before` the operation happened or `after` it (a lost reply); or a function that
            runs between two operations while the worker is paused.
    """

    def __init__(self, at: int, how: How | Callable[[], object]) -> None:
        self.passed = 0
        self.dead = False
        self._at = at
        self._how = how

    @property
    def blown(self) -> bool:
        """Did the fault happen?"""
        return self.passed > self._at

    def through(self, operation: Callable[[], Any], failure: type[OfsError]) -> Any:
        """Do the operation, with the fault if it is its turn."""
        if self.dead:
            raise Crashed
        self.passed += 1
        if self.passed != self._at + 1:
            return operation()
        if callable(self._how):
            self._how()
            return operation()
        kind, _, when = self._how.partition(" ")
        if when == "after":
            operation()
        if kind == "crash":
            self.dead = True
            raise Crashed
        raise failure(f"operation {self._at} failed on purpose", fix="")


class Faulty:
    """Anything with methods, every call of which passes through a fuse.

    >>> from offline_feature_plane.errors import StorageIoFailure
    >>> store = Faulty(MemoryStore(), Fuse(0, "fail after"), StorageIoFailure)
    >>> try:
    ...     store.put_new("a", b"1")
    ... except StorageIoFailure:
    ...     store.get("a")
    b'1'
    """

    def __init__(self, target: Any, fuse: Fuse, failure: type[OfsError]) -> None:
        self._target = target
        self._fuse = fuse
        self._failure = failure

    def __getattr__(self, name: str) -> Any:
        """A method of the target behind the fuse; other attributes as they are."""
        member = getattr(self._target, name)
        if not callable(member):
            return member
        return lambda *args, **kwargs: self._fuse.through(lambda: member(*args, **kwargs), self._failure)


