"""Retiring a dataset: a fact beside it; a second fact lets its data go (`decisions.md` D7).

    published ──retire──▶ retired, data kept ──retire, expire data──▶ retired, data expired ──collect──▶ data gone
                          nobody builds the meaning again             nobody reads the data

Both facts are written once, the retirement first. Manifest, commit record, plan and receipts stay for good.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Final, Literal

from offline_feature_plane.contracts.facts import DataExpiry, DatasetRetirement
from offline_feature_plane.contracts.intent import Actor
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.facts import keep_fact, read_fact
from offline_feature_plane.corridor.layout import expired_key, retired_key
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.errors import DatasetRetired, DigestMismatch, SchemaInvalid
from offline_feature_plane.ports import Clock, ObjectStore

NOT_RETIRED: Final = {"retired": None, "expired": None}


@dataclass(frozen=True)
class Retirement:
    """That a dataset was retired, and whether its data was given up."""

    fact: DatasetRetirement
    expiry: DataExpiry | None

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"retired": self.fact.model_dump(mode="json"),
                "expired": None if self.expiry is None else self.expiry.model_dump(mode="json")}

    def __str__(self) -> str:
        """When, by whom, why, and what became of the data."""
        data = "its data is kept" if self.expiry is None else f"its data expired on {self.expiry.expired_at[:10]}"
        return f"retired on {self.fact.retired_at[:10]} by {self.fact.actor.name} ({self.fact.reason}); {data}"


@dataclass(frozen=True)
class Retired:
    """The answer to a retirement: what stands now, and what the caller should know about what stood before."""

    outcome: Literal["RETIRED", "ALREADY_RETIRED"]
    dataset_manifest_id: str
    retirement: Retirement
    notices: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"outcome": self.outcome, "dataset_manifest_id": self.dataset_manifest_id, **self.retirement.document(),
                "notices": list(self.notices)}


def retire(manifest: DatasetManifest, raw: bytes, store: ObjectStore, clock: Clock, actor: Actor, *, reason: str,
           expire_data: bool) -> Retired:
    """Retire a dataset, and let its data go if asked to. What was stated before stands.

    Args:
        manifest: an authentic one.
        raw: its stored bytes.
        store: where it is.
        clock: tells when.
        actor: who.
        reason: why, for everybody who meets the dataset later.
        expire_data: also give up its data; this cannot be taken back.

    Raises:
        SchemaInvalid: the reason says nothing. DigestMismatch: a fact that was stated before is damaged. StorageIoFailure.
    """
    words = unicodedata.normalize("NFC", reason).strip()
    if not words.isprintable() or not words:
        raise SchemaInvalid("the reason is blank, or not one line of text.", path="reason",
                            fix="Say why, for those who meet the dataset later.")
    dm_id, now = manifest.dataset_manifest_id, format_instant(clock.now_us())
    said: dict[str, Any] = {"dataset_manifest_id": dm_id, "manifest_digest": sha256_of(raw), "reason": words, "actor": actor}
    stated = DatasetRetirement(retired_at=now, **said)
    fact = keep_fact(store, retired_key(manifest.platform_run_id, dm_id), stated)
    if expire_data:
        keep_fact(store, expired_key(manifest.platform_run_id, dm_id), DataExpiry(expired_at=now, **said))
    expiry = read_fact(store, DataExpiry, expired_key(manifest.platform_run_id, dm_id))
    notices = []
    if fact.reason != words:
        notices.append(f"{dm_id} was retired before, on {fact.retired_at[:10]} by {fact.actor.name}, and that reason stands: {fact.reason}")
    if expiry is not None and not expire_data:
        notices.append(f"the data of {dm_id} expired on {expiry.expired_at[:10]}; that cannot be taken back.")
    return Retired("RETIRED" if fact == stated else "ALREADY_RETIRED", dm_id, Retirement(fact, expiry), tuple(notices))


def read_retirement(store: ObjectStore, platform_run_id: str, dm_id: str) -> Retirement | None:
    """Whether and how a dataset was retired. Raises DigestMismatch for a fact that is damaged or another's, StorageIoFailure."""
    fact = read_fact(store, DatasetRetirement, retired_key(platform_run_id, dm_id))
    if fact is None:
        return None
    expiry = read_fact(store, DataExpiry, expired_key(platform_run_id, dm_id))
    for one in (fact, expiry):
        if one is not None and one.dataset_manifest_id != dm_id:
            raise DigestMismatch(f"the {one.called} of {dm_id} is that of {one.dataset_manifest_id}.", path=dm_id,
                                 fix="Find out who wrote it, and restore it from a copy of the store.")
    return Retirement(fact, expiry)


def refuse_retired(store: ObjectStore, platform_run_id: str, dm_id: str) -> None:
    """Nobody builds a retired meaning again; a damaged fact retires as a sound one does. Raises DatasetRetired, StorageIoFailure."""
    try:
        retirement = read_retirement(store, platform_run_id, dm_id)
    except DigestMismatch as damaged:
        raise DatasetRetired(f"{dm_id} was retired; {damaged.what}", dataset_manifest_id=dm_id) from damaged
    if retirement is not None:
        raise DatasetRetired(f"{dm_id} was {retirement}.", dataset_manifest_id=dm_id, reason=retirement.fact.reason,
                             retired_at=retirement.fact.retired_at)
