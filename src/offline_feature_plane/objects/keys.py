"""Keys of objects: what every store takes for one, so that a key is safe as a path below a root and as a name in a bucket (R15)."""

from __future__ import annotations

import re

from offline_feature_plane.errors import RefInvalid

MAX_KEY = 1_000
MAX_DOCUMENT = 256 << 20  # bytes of an object that is read whole; data files never are

Segments = list[str]

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


def segments_of(key: str) -> Segments:
    """The safe segments of a key.

    Raises:
        RefInvalid: it has another segment, or is longer than 1,000 characters.

    >>> segments_of("cards/ofs/manifests/dm_1.json")
    ['cards', 'ofs', 'manifests', 'dm_1.json']
    """
    segments = key.split("/")
    if len(key) > MAX_KEY or not all(map(is_segment, segments)):
        raise RefInvalid(f"{key[:80]!a} is not a valid object key.", path=ascii(key[:80])[1:-1],
                         fix="A key is segments of A-Z a-z 0-9 _ . - that begin with a letter or digit, separated by single slashes.")
    return segments


def is_segment(text: str) -> bool:
    """May this stand between two slashes of a key?"""
    return _SEGMENT.fullmatch(text) is not None
