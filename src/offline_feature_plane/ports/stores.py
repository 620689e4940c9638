"""The object store: where artifacts are created, each only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

PutOutcome = Literal["created", "exists"]


@dataclass(frozen=True)
class Leftover:
    """What a writer that is gone left in a store beside its objects: no key reaches it, and nobody goes on with it.

    `name` names it to the store that found it, and to people.
    """

    name: str
    size_bytes: int
    why: str


@runtime_checkable
class ObjectStore(Protocol):
    """Keys are relative POSIX paths of safe segments; an object is never changed once it is visible (`domain.md` §5)."""

    name: str

    def prove(self) -> None:
        """Try whether objects can be created here, and each only once, before work begins that relies on it; leaves no object.

        Raises:
            StoreUnsafe: the store does what would lose or mix datasets. StorageIoFailure: it cannot be written to.
        """

    def put_new(self, key: str, data: bytes) -> PutOutcome:
        """Create `key` with `data` iff it does not exist yet, durably; `exists` leaves the existing object untouched.

        Of any number of writers with different bytes one is told `created`. After a lost reply a store may take equal bytes for its own.

        Raises:
            RefInvalid: a key with unsafe segments.
            StorageIoFailure: the store failed; whether the object exists is unknown: read it back.
        """

    def put_file(self, key: str, path: Path) -> PutOutcome:
        """Like `put_new` from a local file, which may be moved away (hard-linked) and must not be written afterwards."""

    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            RefNotFound, StorageIoFailure. DigestMismatch: the store itself can tell that they are damaged; so for all that read.
        """

    def digest(self, key: str) -> str:
        """`sha256:<hex>` of an object's bytes, without holding them. Raises RefNotFound, StorageIoFailure."""

    def local_copy(self, key: str, scratch: Path) -> Path:
        """A local file with the object's bytes, read only: the object itself, or a copy in the folder `scratch`, made if it is needed.

        Raises:
            RefNotFound, StorageIoFailure.
        """

    def exists(self, key: str) -> bool:
        """Is there an object at `key`?"""

    def size(self, key: str) -> int:
        """How many bytes an object has, without reading them. Raises RefNotFound, StorageIoFailure."""

    def list(self, prefix: str) -> Iterator[str]:
        """Keys below `prefix` (whole segments), in byte order."""

    def delete(self, key: str) -> None:
        """Remove an unpublished or retired data file. Nothing else is ever deleted; the caller proves that it may."""

    def leftovers(self, prefix: str, is_over: Callable[[str], bool]) -> Iterator[Leftover]:
        """What writers left that are known to be gone; never what somebody may still be writing, however old it is.

        Two kinds of proof count. A store that can see that a writer is dead (a lock that ends with its process) needs no other, and may
        pass over `prefix`. Else what was begun below `prefix` for a key is left over iff `is_over(key)`: the run that owns the key has
        ended, so that whatever its workers still write is read by nobody.

        Raises:
            StorageIoFailure.
        """

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove what `leftovers` found; False if it is gone already, or somebody has come to hold it. Raises StorageIoFailure."""

    def uri(self, key: str) -> str:
        """How a person names the object."""
