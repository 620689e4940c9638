"""Writing and reading what is written once: create if absent, and afterwards only what is stored counts (`domain.md` §5)."""

from __future__ import annotations

from typing import TypeVar

from offline_feature_plane.contracts.facts import Fact
from offline_feature_plane.contracts.model import validate
from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.errors import DigestMismatch, OfsError, RefNotFound, StorageIoFailure
from offline_feature_plane.ports import ObjectStore

AnyFact = TypeVar("AnyFact", bound=Fact)


def look(store: ObjectStore, key: str) -> bytes | None:
    """An object's bytes, or None. Raises StorageIoFailure."""
    try:
        return store.get(key)
    except RefNotFound:
        return None


def stands(store: ObjectStore, key: str, data: bytes) -> bytes:
    """Create if absent, and return what is stored afterwards: after "exists", a failure or a lost reply by reading it back."""
    failure: OfsError
    try:
        if store.put_new(key, data) == "created":
            return data
        failure = StorageIoFailure(f"the store says that {key} exists, but does not return it.", path=key, fix="Check the store.")
    except StorageIoFailure as failed:
        failure = failed
    standing = look(store, key)
    if standing is None:
        raise failure
    return standing


def keep_fact(store: ObjectStore, key: str, fact: AnyFact) -> AnyFact:
    """State a fact, unless one of this name stands; the standing one is returned. Raises DigestMismatch if it is damaged."""
    return parse_fact(type(fact), stands(store, key, fact.document()), key)


def read_fact(store: ObjectStore, kind: type[AnyFact], key: str) -> AnyFact | None:
    """A fact, or None if nobody stated it. Raises DigestMismatch for a damaged one, StorageIoFailure."""
    data = look(store, key)
    return None if data is None else parse_fact(kind, data, key)


def parse_fact(kind: type[AnyFact], data: bytes, key: str) -> AnyFact:
    """A fact from its stored bytes. Raises DigestMismatch."""
    try:
        return validate(kind, load_json(data))
    except OfsError as wrong:
        what = wrong.problems[0].sentence if wrong.problems else wrong.what.rstrip(".")
        raise DigestMismatch(f"the {kind.called} {key} is not readable: {what}.", path=key,
                             fix="Restore it from a copy of the store; until then it decides nothing.") from wrong
