"""A long file on its way in parts: it becomes visible when the parts are joined, and only if nobody was first."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

from offline_feature_plane.aws import FAILURES, code_of
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.errors import OfsError
from offline_feature_plane.objects.disk import on_disk
from offline_feature_plane.s3.bucket import Bucket, checksum, part_of, promise
from offline_feature_plane.s3.failures import verdict_on

PART: Final = 16 << 20
MOST_PARTS: Final = 10_000
_AT_ONCE: Final = 4


class Upload:
    """The parts of one file in the store, which only this object knows."""

    def __init__(self, bucket: Bucket, key: str, path: Path, file: BufferedReader, size: int, digest: str) -> None:
        self._bucket, self._key, self._path, self._file, self._size, self._digest = bucket, key, path, file, size, digest
        self._part = max(PART, -(-size // MOST_PARTS))
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def send(self) -> None:
        """Bring all parts into the store, unless they are there, and join them if the object is absent."""
        if not self._parts:
            self._id = self._bucket.ask("write", self._key, self._begin)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                self._parts = list(pool.map(self._send_part, range(-(-self._size // self._part))))
        try:
            part_of(self._request("complete_multipart_upload", MultipartUpload={"Parts": self._parts}, IfNoneMatch="*"), "ETag")
        except FAILURES as wrong:
            if code_of(wrong) == "NoSuchUpload" or verdict_on(wrong).meaning == "again":  # these parts cannot be joined any more
                self.abort()
            raise

    def abort(self) -> None:
        """Forget the parts; what a store that fails keeps of them is invisible, and its clean-up rule's business."""
        if self._id is not None:
            with suppress(OfsError):
                self._bucket.ask("write", self._key, lambda: self._request("abort_multipart_upload"))
        self._id, self._parts = None, []

    def _begin(self) -> str:
        answer = self._bucket.request("create_multipart_upload", self._key, ChecksumAlgorithm="SHA256", Metadata=promise(self._digest))
        return part_of(answer, "UploadId")

    def _send_part(self, number: int) -> dict[str, Any]:
        with on_disk("read", self._path):
            data = os.pread(self._file.fileno(), self._part, number * self._part)
        which = {"PartNumber": number + 1, "ChecksumSHA256": checksum(sha256_of(data))}
        return {**which, "ETag": self._bucket.ask("write", self._key,
                                                  lambda: part_of(self._request("upload_part", **which, Body=data), "ETag"))}

    def _request(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self._bucket.request(operation, self._key, UploadId=self._id, **parameters)
