"""Where something in a bucket is, as settings say it: never with a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from offline_feature_plane.contracts.plane import S3Access
from offline_feature_plane.errors import SettingsInvalid

SCHEME: Final = "s3://"
BY_REFERENCE: Final = ("Give them by reference: the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile of the SDK that "
                       "`s3.profile` names, or the role of the machine.")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class S3Place:
    """A bucket, the part of it that is ours, and how it is reached.

    Attributes:
        bucket: its name.
        prefix: what every key of ours begins with: empty, or ending with a slash.
        access: the server, and by which name the SDK finds the credentials.
    """

    bucket: str
    prefix: str
    access: S3Access

    def uri(self, key: str) -> str:
        """How a person names an object."""
        return f"{SCHEME}{self.bucket}/{self.prefix}{key}"


def is_bucket(text: str) -> bool:
    """Is this meant as a place in a bucket?

    >>> is_bucket("s3://datasets/cards"), is_bucket("s3/datasets")
    (True, False)
    """
    return text.startswith(SCHEME)


def split_address(text: str, what: str) -> tuple[str, list[str]]:
    """The bucket and the segments of the prefix in `s3://bucket/prefix`; messages never repeat what was written.

    Args:
        text: the address.
        what: what lies there, such as `the store`.

    Raises:
        SettingsInvalid: it holds credentials, is no bucket and prefix, or has empty segments.

    >>> split_address("s3://lake/cards/2026/", "the archive")
    ('lake', ['cards', '2026'])
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _unreadable(what) from None
    if "@" in text:
        raise SettingsInvalid(f"the address of {what} holds credentials, which everybody would read who reads the settings.",
                              fix=BY_REFERENCE)
    if not is_bucket(text) or parts.query or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise _unreadable(what)
    if "//" in parts.path:
        raise SettingsInvalid(f"the prefix in the address of {what} is not valid.", fix="Put single slashes between its parts.")
    return parts.netloc, [one for one in parts.path.strip("/").split("/") if one]


def archive_place(text: str, access: S3Access) -> S3Place:
    """Where an archive in a bucket is; others named its objects, so the prefix may hold what keys of ours never do (`dt=2026-01-01`).

    Raises:
        SettingsInvalid: as `split_address`.

    >>> archive_place("s3://lake/topics/tx", S3Access()).uri("partition=0/a.jsonl")
    's3://lake/topics/tx/partition=0/a.jsonl'
    """
    bucket, segments = split_address(text, "the archive")
    return S3Place(bucket, "".join(f"{one}/" for one in segments), access)


def _unreadable(what: str) -> SettingsInvalid:
    return SettingsInvalid(f"the address of {what} is not a bucket and a prefix.", fix="Write s3://bucket/prefix.")
