"""Where a store in a bucket is: the prefix leaves room for every key of ours."""

from __future__ import annotations

from typing import Final

from offline_feature_plane.contracts.plane import S3Access
from offline_feature_plane.errors import SettingsInvalid
from offline_feature_plane.objects.keys import MAX_KEY, is_segment
from offline_feature_plane.s3.place import S3Place, split_address

MAX_PREFIX: Final = 1_024 - MAX_KEY  # what S3 leaves of a name beside the longest key


def place_from(text: str, access: S3Access) -> S3Place:
    """Read `s3://bucket/prefix`; messages never repeat what was written.

    Raises:
        SettingsInvalid: it holds credentials, or is no bucket and prefix.

    >>> place_from("s3://datasets/cards/", S3Access()).uri("by_id/dm_1.json")
    's3://datasets/cards/by_id/dm_1.json'
    """
    bucket, segments = split_address(text, "the store")
    prefix = "".join(f"{one}/" for one in segments)
    if not all(map(is_segment, segments)) or len(prefix) > MAX_PREFIX:
        raise SettingsInvalid("the prefix in the address of the store is not valid.",
                              fix=f"Use up to {MAX_PREFIX} of A-Z a-z 0-9 _ . - and single slashes.")
    return S3Place(bucket, prefix, access)
