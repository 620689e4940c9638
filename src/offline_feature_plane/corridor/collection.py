"""Collecting what nobody reads: by reachability and by how runs ended, never by age (`decisions.md` D2, R6).

    run's commit record            visible manifest of the dataset      what the run staged is
    none                           any                                  kept: the run has not ended
    vow                            none yet                             kept: its manifest is still to come
    vow                            this run's, not expired              read: it is the dataset; but for data that the manifest
                                                                        does not name, from an attempt that another one overtook
    vow                            this run's, data expired             garbage, but for the digests of its columns
    vow                            of another run                       garbage: adopted it, or lost to it
    tombstone                      any but this run's                   garbage: it never publishes

Commit records, visible manifests and facts are written once and never change, so each line that says garbage stays true for ever:
nothing that happens meanwhile can make it false. What cannot be believed, or does not belong there, is doubtful and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from offline_feature_plane.contracts.facts import Vow
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.facts import look
from offline_feature_plane.corridor.layout import data_prefix, datasets_prefix, manifest_key
from offline_feature_plane.corridor.publish import read_vow
from offline_feature_plane.corridor.retirement import read_retirement
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.identity import core_digest
from offline_feature_plane.errors import DigestMismatch, OfsError, OutsideError, RefNotFound
from offline_feature_plane.ports import ObjectStore, Progress

Fate = Literal["read", "kept", "garbage", "doubtful"]

_PLACE: Final = re.compile(r".*/ofs/datasets/(?P<dm_id>dm_[0-9a-f]{32})/(?P<run_key>[0-9a-f]{32})/(?P<name>[^/]+)")
_DATA: Final = re.compile(r"[0-9a-f]{64}\.parquet")
_COMPANIONS: Final = frozenset({"manifest.json", "column-digests.json"})


@dataclass(frozen=True)
class Item:
    """Something in the store that is not plainly a dataset's: its key, its size, what becomes of it and why. `removed`: it is gone now."""

    key: str
    size_bytes: int
    fate: Fate
    why: str
    removed: bool = False


@dataclass(frozen=True)
class Collection:
    """What a collection found and, if it was applied, removed."""

    applied: bool
    items: tuple[Item, ...]

    def of(self, fate: Fate) -> tuple[Item, ...]:
        """The items of one fate."""
        return tuple(item for item in self.items if item.fate == fate)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"applied": self.applied, "garbage_bytes": sum(item.size_bytes for item in self.of("garbage")),
                "removed_bytes": sum(item.size_bytes for item in self.items if item.removed), "items": [vars(item) for item in self.items]}


@dataclass(frozen=True)
class _Verdict:
    """What becomes of all that one run staged for one dataset. `companions` are judged apart: those of expired data stay.

    `named` are the data files of a dataset that is read; what else its run staged is garbage.
    """

    fate: Fate
    why: str
    companions: Fate
    named: frozenset[str] = frozenset()

    def of(self, key: str) -> tuple[Fate, str]:
        """What becomes of one object, and why."""
        if key.rpartition("/")[2] in _COMPANIONS:
            return self.companions, self.why
        if self.fate == "read" and key not in self.named:
            return "garbage", "its run published without it"
        return self.fate, self.why


def collect(store: ObjectStore, platform_run_id: str, progress: Progress, *, apply: bool) -> Collection:
    """Find what nobody reads any more below a run's datasets, and with `apply` remove it.

    Safe at any time, beside builds and other collections, and when it is killed: another collection goes on.

    Raises:
        StorageIoFailure: the store failed; what was removed before is gone.
    """
    verdicts: dict[tuple[str, str], _Verdict] = {}
    items: list[Item] = []
    keys = list(store.list(datasets_prefix(platform_run_id)))
    for done, key in enumerate(keys, start=1):
        item = _judged(store, platform_run_id, key, verdicts)
        if item is not None and item.fate == "garbage" and apply:
            item = _removed(store, platform_run_id, item)
        items += [item] if item is not None else []
        progress("collect", done, len(keys))
    items += _leftovers(store, platform_run_id, apply=apply)
    return Collection(apply, tuple(_gathered(items, platform_run_id)))


def _judged(store: ObjectStore, platform_run_id: str, key: str, verdicts: dict[tuple[str, str], _Verdict]) -> Item | None:
    """An object and what becomes of it; None if it is a dataset's, or gone by now."""
    place = _staged_at(key)
    if place is None:
        verdict = _Verdict("doubtful", "no run stages a file of this name", "doubtful")
    elif (of := (place["dm_id"], place["run_key"])) in verdicts:
        verdict = verdicts[of]
    else:
        verdict = verdicts[of] = _judge(store, platform_run_id, *of)
    fate, why = verdict.of(key)
    if fate == "read":
        return None
    try:
        return Item(key, store.size(key), fate, why)
    except RefNotFound:  # another collection was quicker
        return None


def _judge(store: ObjectStore, platform_run_id: str, dm_id: str, run_key: str) -> _Verdict:
    """What becomes of what a run staged for a dataset, by the table above. Raises StorageIoFailure."""
    try:
        vow = read_vow(store, platform_run_id, run_key)
        if vow is None:
            return _Verdict("kept", "its run has not ended", "kept")
        key = manifest_key(platform_run_id, dm_id)
        raw = look(store, key)
        manifest = None if raw is None else authenticate(raw, key, store)
        fate, why = _fate(vow, dm_id, run_key, manifest)
        if fate == "read" and raw is not None and (expired := _expired(store, platform_run_id, dm_id, raw)) is not None:
            return _Verdict("garbage", expired, "read")
        named = frozenset(part.key for part in manifest.evidence.parts) if fate == "read" and manifest is not None else frozenset()
        return _Verdict(fate, why, fate, named)
    except OutsideError:
        raise
    except OfsError as doubt:
        return _Verdict("doubtful", doubt.what, "doubtful")


def _fate(vow: Vow, dm_id: str, run_key: str, manifest: DatasetManifest | None) -> tuple[Fate, str]:
    publisher = None if manifest is None else manifest.evidence.publisher.get("run_key")
    if vow.outcome == "tombstone":  # an authentic manifest is never this run's
        return "garbage", f"its run ended without publishing ({vow.code})"
    if vow.dm_id != dm_id:
        return "doubtful", f"its run committed to {vow.dm_id}"
    if manifest is None:
        return "kept", "its run has committed to publish it"
    if publisher == run_key:
        return "read", ""
    if core_digest(manifest.model_dump(mode="json")) == vow.core_digest:
        return "garbage", f"its run adopted what run {publisher} published"
    return "garbage", f"its run lost to what run {publisher} published"


def _expired(store: ObjectStore, platform_run_id: str, dm_id: str, raw: bytes) -> str | None:
    """Why the data of a visible manifest may go; None if it may not. Raises DigestMismatch for facts about other bytes."""
    retirement = read_retirement(store, platform_run_id, dm_id)
    if retirement is None or retirement.expiry is None:
        return None
    for fact in (retirement.fact, retirement.expiry):
        if fact.manifest_digest != sha256_of(raw):
            raise DigestMismatch(f"the {fact.called} of {dm_id} is about another manifest.", path=dm_id)
    return f"{dm_id} was {retirement}"


def _removed(store: ObjectStore, platform_run_id: str, item: Item) -> Item:
    """Look once more, then remove: what was changed by hand since then is doubtful."""
    again = _judged(store, platform_run_id, item.key, {})
    if again is None or again.fate != "garbage":
        return again or replace(item, removed=True)
    store.delete(item.key)
    return replace(again, removed=True)


def _leftovers(store: ObjectStore, platform_run_id: str, *, apply: bool) -> Iterator[Item]:
    """What dead writers left beside the objects. Of a run that published, too: all that its dataset needs is there (R5)."""
    def is_over(key: str) -> bool:
        place = _PLACE.fullmatch(key)
        return place is not None and _judge(store, platform_run_id, place["dm_id"], place["run_key"]).fate in {"garbage", "read"}

    for found in list(store.leftovers(datasets_prefix(platform_run_id), is_over)):
        removed = apply and store.remove_leftover(found)
        yield Item(found.name, found.size_bytes, "garbage", found.why, removed)


def _gathered(items: list[Item], platform_run_id: str) -> Iterator[Item]:
    """The items, those of one run that are kept, or doubtful for one reason, as one: nobody decides about them one by one."""
    together: dict[tuple[str, Fate, str], Item] = {}
    for item in items:
        place = _staged_at(item.key)
        if item.fate in {"kept", "doubtful"} and place is not None:
            folder = f"{data_prefix(platform_run_id, place['dm_id'], place['run_key'])}/"
            before = together.get((folder, item.fate, item.why))
            together[folder, item.fate, item.why] = replace(item, key=folder,
                                                            size_bytes=item.size_bytes + (before.size_bytes if before else 0))
        else:
            yield item
    yield from together.values()


def _staged_at(key: str) -> re.Match[str] | None:
    """Where in the store a key is, if runs stage files of this name."""
    place = _PLACE.fullmatch(key)
    return place if place is not None and (_DATA.fullmatch(place["name"]) or place["name"] in _COMPANIONS) else None
