"""Where a store in a bucket is, as settings say it: never with a secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from offline_feature_plane.contracts.plane import S3Access
from offline_feature_plane.errors import SettingsInvalid
from offline_feature_plane.objects.keys import MAX_KEY, is_segment

SCHEME: Final = "s3://"
MAX_PREFIX: Final = 1_024 - MAX_KEY  # what S3 leaves of a name beside the longest key
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


def place_from(text: str, access: S3Access) -> S3Place:
    """Read `s3://bucket/prefix`; messages never repeat what was written.

    Raises:
        SettingsInvalid: it holds credentials, or is no bucket and prefix.

    >>> place_from("s3://datasets/cards/", S3Access()).uri("by_id/dm_1.json")
    's3://datasets/cards/by_id/dm_1.json'
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _unreadable() from None
    if "@" in text:
        raise SettingsInvalid("the address of the store holds credentials, which everybody would read who reads the settings.",
                              fix=BY_REFERENCE)
    segments = [one for one in parts.path.strip("/").split("/") if one]
    prefix = "".join(f"{one}/" for one in segments)
    if not is_bucket(text) or parts.query or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise _unreadable()
    if "//" in parts.path or not all(map(is_segment, segments)) or len(prefix) > MAX_PREFIX:
        raise SettingsInvalid("the prefix in the address of the store is not valid.",
                              fix=f"Use up to {MAX_PREFIX} of A-Z a-z 0-9 _ . - and single slashes.")
    return S3Place(parts.netloc, prefix, access)



def _unreadable() -> SettingsInvalid:
    return SettingsInvalid("the address of the store is not a bucket and a prefix.", fix="Write s3://bucket/prefix.")
