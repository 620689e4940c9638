"""Identifier tokens: what replaces a customer's or a card's id wherever its name would leave as data (`decisions.md` D12).

A token says which entity it is of, so one entity has one token in every column, and two entities with equal names have different ones.
Whoever holds the same key makes the same tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from offline_feature_plane.errors import SettingsInvalid

__all__ = ["key_id", "token", "tokens"]

_KEY_ID_OF = b"ofs.key_id.v1"
_LONGEST_KEY = 32  # BLAKE2s takes no longer one


def token(secret: bytes, entity: str, text: str) -> str:
    """The token of one identifier: 32 hex of BLAKE2s, keyed, over `entity ‖ 0x00 ‖ text`.

    Args:
        secret: the key, 1 to 32 bytes.
        entity: what the identifier names, for example `customer_id`.
        text: its value; integers as decimal text.

    Raises:
        SettingsInvalid: the key is empty or too long.

    >>> token(b"k" * 32, "customer", "C1") == token(b"k" * 32, "card", "C1")
    False
    """
    return next(iter(tokens(secret, entity, (text,))))


def tokens(secret: bytes, entity: str, texts: Iterable[str]) -> Iterable[str]:
    """The tokens of many identifiers of one entity, in their order; `token` of each.

    Raises:
        SettingsInvalid: the key is empty or too long.
    """
    begun = _keyed(secret)
    begun.update(entity.encode("utf-8") + b"\0")
    for text in texts:
        mac = begun.copy()
        mac.update(text.encode("utf-8"))
        yield mac.hexdigest()


def key_id(secret: bytes) -> str:
    """The public name of a key: 16 hex that follow from it and do not lead back.

    Raises:
        SettingsInvalid: the key is empty or too long.

    >>> len(key_id(b"k" * 32))
    16
    """
    begun = _keyed(secret)
    begun.update(_KEY_ID_OF)
    return begun.hexdigest()[:16]


def _keyed(secret: bytes) -> hashlib.blake2s:
    if not 1 <= len(secret) <= _LONGEST_KEY:
        raise SettingsInvalid(f"the token key has {len(secret)} bytes; BLAKE2s takes 1 to {_LONGEST_KEY}.",
                              fix="Make a key of 32 random bytes.")
    return hashlib.blake2s(key=secret, digest_size=16)
