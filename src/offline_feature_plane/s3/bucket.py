"""Requests to one bucket, repeated until it is known what the store holds, or known that this cannot be known.

The SDK repeats nothing: a PUT that is sent again behind our back would turn our own success into "exists". Reading and deleting may simply
be asked again. Creating may not: after every answer that is not a plain success the store is read back, and what stands there counts.

    send ─┬─▶ 200 ─────────────────────────────────────────▶ created
          ├─▶ 412, 409 ──▶ look ─▶ there ──────────────────▶ exists
          ├─▶ no answer ─▶ read ─┬─▶ our bytes ────────────▶ created
          │      or 5xx          └─▶ other bytes ──────────▶ exists
          └─◀────────────── wait ◀─── nothing there
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from offline_feature_plane.aws import FAILURES, Unintelligible, by_sdk, code_of, status_of
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import DigestMismatch, RefNotFound, ResourceExceeded, StorageIoFailure
from offline_feature_plane.ports import Clock, PutOutcome
from offline_feature_plane.s3.failures import Verdict, verdict_on
from offline_feature_plane.s3.place import S3Place

DIGEST: Final = "ofs-sha256"  # the object's own metadata: what its bytes hash to, so that no damage on the way goes unseen
ATTEMPTS: Final = 5
FIRST_WAIT_US: Final = 100_000

_BLOCK: Final = 1 << 20
Answer = TypeVar("Answer")


class Damaged(Unintelligible):
    """The bytes that came are not those that were put."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


class Bucket:
    """Requests below one prefix. Safe for threads."""

    def __init__(self, client: Any, place: S3Place, clock: Clock) -> None:
        self._client = client
        self.place = place
        self._clock = clock

    def request(self, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
        """One request about an object, by the SDK's name of the operation. Raises one of FAILURES."""
        answer: dict[str, Any] = by_sdk(getattr(self._client, operation), Bucket=self.place.bucket, Key=self.place.prefix + key,
                                        **parameters)
        return answer

    def ask(self, doing: str, key: str, request: Callable[[], Answer]) -> Answer:
        """Ask until there is an answer: for requests that may be repeated.

        Raises:
            RefNotFound: there is no such object. DigestMismatch: the same wrong bytes came twice, so they are what is stored.
            StorageIoFailure: the store refuses, or keeps failing.
        """
        damages: set[str] = set()
        for pause_us in self._pauses(key):
            try:
                return request()
            except FAILURES as wrong:
                verdict = verdict_on(wrong)
                if verdict.meaning == "absent" and doing in {"read", "delete"}:
                    raise RefNotFound(f"there is no object at {self.place.uri(key)}.", path=key) from wrong
                if isinstance(wrong, Damaged):
                    if wrong.digest in damages:
                        raise DigestMismatch(f"the bytes of {self.place.uri(key)} are not those that were put.", path=key,
                                             fix="Restore the object from a copy of the store.") from wrong
                    damages.add(wrong.digest)
                if verdict.meaning == "refused" or pause_us is None:
                    raise self._failure(doing, key, verdict, wrong) from wrong
            self._clock.sleep_us(pause_us)
        raise AssertionError("unreachable")

    def create(self, key: str, digest: str, send: Callable[[], object]) -> PutOutcome:
        """Send a request that creates an object if it is absent, until it is known what stands there.

        Args:
            key: the object.
            digest: of its bytes.
            send: the request; carried out more than once if need be.

        Raises:
            StorageIoFailure: it could not be found out.
        """
        in_doubt = False
        for pause_us in self._pauses(key):
            try:
                send()
            except FAILURES as wrong:
                verdict = verdict_on(wrong)
                if verdict.meaning == "refused":
                    raise self._failure("write", key, verdict, wrong) from wrong
                in_doubt = in_doubt or verdict.meaning in {"doubt", "absent"}
                if (outcome := self._standing(key, digest if in_doubt else None)) is not None:
                    return outcome
                if pause_us is None:
                    raise self._failure("write", key, verdict, wrong) from wrong
            else:
                return "created"
            self._clock.sleep_us(pause_us)
        raise AssertionError("unreachable")

    def put(self, key: str, body: Any, digest: str, *, if_absent: bool = True, **condition: str) -> None:
        """One request that creates an object from bytes or from a file, which is read from its start."""
        if not isinstance(body, bytes):
            body.seek(0)
        if if_absent:
            condition = {**condition, "IfNoneMatch": "*"}
        self.request("put_object", key, Body=body, ChecksumSHA256=checksum(digest), Metadata=promise(digest), **condition)

    def read(self, key: str, most: int) -> bytes:
        """All bytes of an object. Raises RefNotFound, ResourceExceeded, DigestMismatch, StorageIoFailure."""
        def whole() -> bytes:
            with self.opened(key) as answer:
                blocks: list[bytes] = []
                self.receive(answer, key, blocks.append, most)
                return b"".join(blocks)
        return self.ask("read", key, whole)

    def digest(self, key: str) -> str:
        """`sha256:<hex>` of an object's bytes as they come. Raises RefNotFound, DigestMismatch, StorageIoFailure."""
        def hashed() -> str:
            with self.opened(key) as answer:
                return self.receive(answer, key)
        return self.ask("read", key, hashed)

    def holds(self, key: str) -> bool:
        """Is there an object? The first byte is asked for, since the answer to a HEAD has no error code. Raises StorageIoFailure."""
        def look() -> bool:
            try:
                with self.opened(key, Range="bytes=0-0") as answer:
                    by_sdk(answer["Body"].read, 1)
            except FAILURES as wrong:
                if status_of(wrong) != 416:  # there is an object, and it has no first byte
                    raise
            return True
        try:
            return self.ask("read", key, look)
        except RefNotFound:
            return False

    def size(self, key: str) -> int:
        """How many bytes an object has. Raises RefNotFound, StorageIoFailure."""
        def look() -> int:
            with self.opened(key) as answer:
                return _length(answer)
        return self.ask("read", key, look)

    def measure(self, key: str, **only: str) -> int:
        """How many bytes an object has, in one request whose connection can be used again. Raises one of FAILURES."""
        try:
            with self.opened(key, Range="bytes=0-0", **only) as answer:
                by_sdk(answer["Body"].read, 1)
                return int(part_of(answer, "ContentRange").rpartition("/")[2])
        except ValueError as wrong:
            raise Unintelligible("no length") from wrong
        except FAILURES as wrong:
            if status_of(wrong) != 416:  # there is an object, and it has no first byte
                raise
            return 0

    def uploads(self, below: str) -> list[tuple[str, str]]:
        """Uploads in parts that were begun and not ended: key and id, sorted. Raises StorageIoFailure."""
        start = self.place.prefix + below

        def every_page() -> list[dict[str, Any]]:
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.place.bucket, Prefix=start)
            return [one for page in pages for one in page.get("Uploads", ())]
        begun = self.ask("list", below, partial(by_sdk, every_page))
        named = ((one.get("Key", ""), one.get("UploadId", "")) for one in begun)
        return sorted((key.removeprefix(self.place.prefix), upload) for key, upload in named if key.startswith(start))

    def keys(self, below: str) -> list[str]:
        """Names of objects that begin with a text, without our prefix. Raises StorageIoFailure."""
        return [key for key, _, _ in self.objects(below)]

    def objects(self, below: str) -> list[tuple[str, int, str]]:
        """Objects whose names begin with a text: name without our prefix, bytes, etag. Raises StorageIoFailure."""
        start = self.place.prefix + below
        found: list[tuple[str, int, str]] = []
        tokens = [""]
        while True:
            page = self.ask("list", below, partial(self._page, start, tokens[-1]))
            found += [(one.get("Key", ""), int(one.get("Size", 0)), one.get("ETag", "")) for one in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return [(key.removeprefix(self.place.prefix), size, etag) for key, size, etag in found if key.startswith(start)]
            tokens.append(page.get("NextContinuationToken", ""))
            if tokens[-1] in tokens[:-1]:
                raise StorageIoFailure(f"cannot list {self.place.uri(below)}: the pages of the list do not end.", path=below,
                                       fix="Check the store.")

    def remove(self, key: str) -> None:
        """Remove an object, if there is one. Raises StorageIoFailure."""
        try:
            self.ask("delete", key, lambda: self.request("delete_object", key))
        except RefNotFound:
            return

    @contextmanager
    def opened(self, key: str, **only: str) -> Iterator[dict[str, Any]]:
        """The answer to a GET, whose body is still to come."""
        answer = self.request("get_object", key, **only)
        try:
            yield answer
        finally:
            answer["Body"].close()

    def receive(self, answer: dict[str, Any], key: str, take: Callable[[bytes], object] = len, most: int | None = None) -> str:
        """Hand over the body of an answer block by block, and return its digest.

        Raises:
            Unintelligible: nothing says how long it is. Damaged: it is not what was put. ResourceExceeded: it is longer than `most`.
        """
        length = _length(answer)
        if most is not None and length > most:
            raise ResourceExceeded(f"{self.place.uri(key)} has {length:,} bytes; no document is longer than {most:,}.", path=key,
                                   fix="Look what it is, and restore the document from a copy of the store.")
        hashed = hashlib.sha256()
        while block := by_sdk(answer["Body"].read, _BLOCK):
            hashed.update(block)
            take(block)
        digest = f"sha256:{hashed.hexdigest()}"
        if promised(answer) not in {None, digest}:
            raise Damaged(digest)
        return digest

    def _page(self, start: str, token: str) -> dict[str, Any]:
        more = {"ContinuationToken": token} if token else {}
        page: dict[str, Any] = by_sdk(self._client.list_objects_v2, Bucket=self.place.bucket, Prefix=start, **more)
        if "IsTruncated" not in page:
            raise Unintelligible("half a page")
        return page

    def _standing(self, key: str, digest: str | None) -> PutOutcome | None:
        """What a put comes to, by what is there now; without a digest nothing of ours can be there."""
        try:
            if digest is None:
                return "exists" if self.holds(key) else None
            return "created" if self.digest(key) == digest else "exists"
        except DigestMismatch:  # whoever reads it will be told
            return "exists"
        except RefNotFound:
            return None

    def _failure(self, doing: str, key: str, verdict: Verdict, wrong: Exception) -> StorageIoFailure:
        what = {"taken": "the store says that there is an object, and does not return it"}.get(verdict.meaning, verdict.what)
        return StorageIoFailure(f"cannot {doing} {self.place.uri(key)}: {what}.", path=key, fix=verdict.fix,
                                endpoint=self.place.access.endpoint, answer=code_of(wrong), cause=type(wrong).__name__)

    def _pauses(self, key: str) -> Iterator[int | None]:
        """How long to wait after each attempt; None after the last. Nobody else waits as long, so that writers of one key part."""
        for attempt in range(ATTEMPTS - 1):
            longest = FIRST_WAIT_US * 3**attempt
            who = f"{key} {os.getpid()} {threading.get_ident()} {attempt}"
            yield longest - longest // 2 * int(sha256_of(who.encode())[7:15], 16) // 0xFFFFFFFF
        yield None


def _length(answer: dict[str, Any]) -> int:
    if not isinstance(length := answer.get("ContentLength"), int):
        raise Unintelligible("no length")
    return length


def part_of(answer: dict[str, Any], name: str) -> str:
    """A part that an answer must have. Raises Unintelligible."""
    if not isinstance(said := answer.get(name), str) or not said:
        raise Unintelligible(f"no {name}")
    return said


def checksum(digest: str) -> str:
    """A digest as the protocol writes it."""
    return base64.b64encode(bytes.fromhex(digest.removeprefix("sha256:"))).decode()


def promise(digest: str) -> dict[str, str]:
    """The metadata of an object: the digest of its bytes."""
    return {DIGEST: digest.removeprefix("sha256:")}


def promised(answer: dict[str, Any]) -> str | None:
    """The digest that an object was put with; None if something else put it."""
    said = answer.get("Metadata", {}).get(DIGEST)
    return None if said is None else f"sha256:{said}"
