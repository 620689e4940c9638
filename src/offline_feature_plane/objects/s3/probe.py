"""Is this a store that publication can rely on? Asked once, before the first write of a process (R7).

A store that takes `If-None-Match: *` and does not obey it would let the second of two writers win, silently and only in a race. So it is
tried: one small object is created and stays for ever, and then all is tried on it that must not change it. Its name begins with a dot,
which no key of ours does. Nobody ever deletes it, so any number of processes may ask at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from offline_feature_plane.aws import FAILURES
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import DigestMismatch, OfsError, RefNotFound, ResourceExceeded, StoreUnsafe
from offline_feature_plane.s3.bucket import Bucket, checksum, part_of
from offline_feature_plane.s3.failures import verdict_on

FOLDER: Final = ".ofs-probe/"
OBJECT: Final = FOLDER + "object"
ABSENT: Final = FOLDER + "OBJECT"  # a store that takes both for one has no safe names
KEPT: Final = b"Offline Feature Plane: whoever reads this sees a store that keeps what it has.\n"
CHANGED: Final = b"Offline Feature Plane: whoever reads this sees a store that ignored If-None-Match.\n"


def check_store(bucket: Bucket) -> None:
    """Write, and try what must fail.

    Raises:
        StoreUnsafe: the store does what would lose or mix datasets. StorageIoFailure: it does not answer.
    """
    _is_refused(bucket, lambda: bucket.put(OBJECT, KEPT, sha256_of(KEPT)))  # by all but the very first process
    _see(bucket, "loses or changes what it has acknowledged")
    _refuses(bucket, "PutObject", lambda: bucket.put(OBJECT, CHANGED, sha256_of(CHANGED)))
    _try_joining(bucket)
    _see(bucket, "changes an object although it answers that it exists")
    if not bucket.holds(OBJECT) or bucket.holds(ABSENT):
        raise _unsafe(bucket, "does not know which objects it has")
    if bucket.keys(FOLDER) != [OBJECT]:
        raise _unsafe(bucket, "does not list the objects that it has")


def _see(bucket: Bucket, otherwise: str) -> None:
    try:
        found = bucket.read(OBJECT, 1 << 20)
    except (RefNotFound, DigestMismatch, ResourceExceeded):
        found = b""
    if found != KEPT:
        raise _unsafe(bucket, otherwise)


def _try_joining(bucket: Bucket) -> None:
    """The same through parts. What is begun is given up in any case."""
    which = {"PartNumber": 1, "ChecksumSHA256": checksum(sha256_of(CHANGED))}

    def begin() -> str:
        return part_of(bucket.request("create_multipart_upload", OBJECT, ChecksumAlgorithm="SHA256"), "UploadId")

    def send() -> str:
        return part_of(bucket.request("upload_part", OBJECT, UploadId=upload, Body=CHANGED, **which), "ETag")

    upload = bucket.ask("write", OBJECT, begin)
    try:
        parts = {"Parts": [{**which, "ETag": bucket.ask("write", OBJECT, send)}]}
        _refuses(bucket, "CompleteMultipartUpload", lambda: bucket.request("complete_multipart_upload", OBJECT, UploadId=upload,
                                                                           MultipartUpload=parts, IfNoneMatch="*"))
    finally:
        with suppress(OfsError):
            bucket.ask("write", OBJECT, lambda: bucket.request("abort_multipart_upload", OBJECT, UploadId=upload))


def _refuses(bucket: Bucket, operation: str, send: Callable[[], object]) -> None:
    """The request must be answered with 412; where it is not, the object is set right again for those who ask next."""
    if not _is_refused(bucket, send):
        with suppress(*FAILURES):
            bucket.put(OBJECT, KEPT, sha256_of(KEPT), if_absent=False)
        raise _unsafe(bucket, f"ignores If-None-Match on {operation}")


def _is_refused(bucket: Bucket, send: Callable[[], object]) -> bool:
    def attempt() -> bool:
        try:
            send()
        except FAILURES as wrong:
            if verdict_on(wrong).meaning != "taken":
                raise
            return True
        return False
    return bucket.ask("write", OBJECT, attempt)


def _unsafe(bucket: Bucket, does: str) -> StoreUnsafe:
    return StoreUnsafe(f"the store {does} ({bucket.place.uri(OBJECT)}).", endpoint=bucket.place.access.endpoint)
