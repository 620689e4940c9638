"""What passes between a client and a server of objects: requests, answers, and the bytes that go over the wire."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BufferedIOBase, BytesIO
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit

Headers = tuple[tuple[str, str], ...]


class Request:
    """A request on its way. The body is read from the client when somebody asks for it."""

    def __init__(self, method: str, target: str, headers: Headers, stream: BufferedIOBase) -> None:
        self.method, self.target, self.headers = method, target, headers
        self._stream = stream

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return int(self.header("content-length") or 0)

    @cached_property
    def body(self) -> bytes:
        """The whole body."""
        return self._stream.read(self.length)

    def read(self, length: int) -> bytes:
        """The beginning of a body that is not read otherwise."""
        return self._stream.read(length)

    @property
    def operation(self) -> str:
        """S3's name of it."""
        return operation_of(self.method, self.target)

    def header(self, name: str) -> str | None:
        """A header's value."""
        return next((value for one, value in self.headers if one.lower() == name), None)

    def changed(self, *, body: bytes | None = None, without: Sequence[str] = ()) -> Request:
        """The request with another body of the same length, or without some headers."""
        headers = tuple(one for one in self.headers if one[0].lower() not in without)
        return Request(self.method, self.target, headers, BytesIO(self.body if body is None else body))


@dataclass(frozen=True)
class Wire:
    """Bytes that are sent to the client, after which the connection stays, or ends, politely or by a reset."""

    data: bytes = b""
    then: Literal["stays", "ends", "resets"] = "stays"


@dataclass(frozen=True)
class Answer:
    """What a server answers."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @classmethod
    def error(cls, status: int, code: str) -> Self:
        """An error as S3 says it."""
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>made up</Message></Error>'.encode()
        return cls(status, (("Content-Type", "application/xml"),), body)

    def wire(self) -> Wire:
        """All of its bytes."""
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status != 204 and "content-length" not in {name.lower() for name, _ in self.headers}:
            lines.append(f"Content-Length: {len(self.body)}")
        return Wire("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + self.body)


def operation_of(method: str, target: str) -> str:
    """S3's name of an operation, from a request that has the bucket in its path.

    >>> operation_of("PUT", "/bucket/a/b"), operation_of("POST", "/bucket/a?uploadId=1"), operation_of("GET", "/bucket?list-type=2")
    ('PutObject', 'CompleteMultipartUpload', 'ListObjectsV2')
    """
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    if "uploadId" in query:
        named = {"PUT": "UploadPart", "POST": "CompleteMultipartUpload", "DELETE": "AbortMultipartUpload"}
    elif "uploads" in query:
        named = {"POST": "CreateMultipartUpload"}
    elif "/" in parts.path.strip("/"):
        named = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
    else:
        named = {"GET": "ListObjectsV2", "HEAD": "HeadBucket", "PUT": "CreateBucket"}
    return named.get(method, method)
