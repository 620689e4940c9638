"""Which dataset replaces which: facts beside datasets, never in a core, and never in a circle (`decisions.md` D8).

    plan: check ──▶ before the vow: claim, check ─┬─▶ vow ─▶ manifest ─▶ fact
                                                  └─▶ a circle: tombstone, FAILED

Checking while planning is not enough: two datasets may be made to replace each other at once. So a run states its claim first and looks
afterwards. Of the runs whose claims would close a circle, the last to claim sees the others and fails before it vows. A claim is over
when its run ended with a tombstone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from offline_feature_plane.contracts.facts import DatasetPointer, DatasetSupersession
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.facts import keep_fact, look, parse_fact, read_fact
from offline_feature_plane.corridor.layout import by_id_key, claims_prefix, manifest_key, supersession_prefix
from offline_feature_plane.corridor.publish import read_vow
from offline_feature_plane.errors import DigestMismatch, SupersessionLinkInvalid
from offline_feature_plane.ports import ObjectStore, Run

_PLACE = re.compile(r".*/(?P<new>dm_[0-9a-f]{32})/(?P<old>dm_[0-9a-f]{32})(?:/(?P<claimed_by>[0-9a-f]{32}))?\.json")


@dataclass(frozen=True)
class Link:
    """A link that a fact states, or that a run claims: `new` replaces `old`."""

    new: str
    old: str
    claimed_by: str | None
    key: str


def link_of(platform_run_id: str, new: str, old: str, claimed_by: str | None = None) -> Link:
    """The link of two datasets, and where it is stated."""
    place = f"{new}/{old}.json" if claimed_by is None else f"{new}/{old}/{claimed_by}.json"
    return Link(new, old, claimed_by, f"{(supersession_prefix if claimed_by is None else claims_prefix)(platform_run_id)}/{place}")


def check_link(store: ObjectStore, platform_run_id: str, new: str, old: str, reason: str | None, *, own: str | None = None) -> None:
    """May one dataset replace another, for this reason? Claims of other runs count as links; `own` is the run that asks.

    Raises:
        SupersessionLinkInvalid: the older one is not published in this run, the link was stated with another reason, or it would close
            a circle. DigestMismatch, ManifestInvalid: the older one is not what was published. StorageIoFailure.
    """
    _check_published(store, platform_run_id, old)
    links = tuple(_links(store, platform_run_id))
    for link in links:
        if (link.new, link.old) == (new, old) and link.claimed_by != own and _counts(store, platform_run_id, link):
            stated = parse_fact(DatasetSupersession, store.get(link.key), link.key).backfill_reason
            if stated != reason:
                raise SupersessionLinkInvalid(f"{new} replaces {old} already, for another reason: {stated!r}.", path="$.backfill_reason",
                                              fix="A recorded reason cannot change: give the same one, or leave `supersedes` out.")
    reached, todo = {old}, [old]
    while todo:
        at = todo.pop()
        found = {link.old for link in links if link.new == at and link.old not in reached and _counts(store, platform_run_id, link)}
        reached |= found
        todo += found
    if new in reached:
        raise SupersessionLinkInvalid(f"{old} is {new} or replaces it; the links would form a cycle.", path="$.supersedes",
                                      fix="Leave `supersedes` out.")


def claim_link(store: ObjectStore, run: Run, new: str, old: str, reason: str | None) -> None:
    """Claim a link before the vow, and only then look whether it is sound. Raises as `check_link`."""
    key = link_of(run.platform_run_id, new, old, run.run_key).key
    keep_fact(store, key, DatasetSupersession(dataset_manifest_id=new, supersedes=old, backfill_reason=reason))
    check_link(store, run.platform_run_id, new, old, reason, own=run.run_key)


def link_superseded(store: ObjectStore, platform_run_id: str, new: str, old: str, reason: str | None) -> None:
    """State that a dataset replaces an older one, after its manifest is visible and before its run is DONE (`decisions.md` D8)."""
    key = link_of(platform_run_id, new, old).key
    keep_fact(store, key, DatasetSupersession(dataset_manifest_id=new, supersedes=old, backfill_reason=reason))


def links_of(store: ObjectStore, platform_run_id: str, dm_id: str) -> Iterator[Link]:
    """The links, in both directions, that facts state about a dataset."""
    return (link for link in _links(store, platform_run_id) if link.claimed_by is None and dm_id in {link.new, link.old})


def _links(store: ObjectStore, platform_run_id: str) -> Iterator[Link]:
    for key in (*store.list(supersession_prefix(platform_run_id)), *store.list(claims_prefix(platform_run_id))):
        if (place := _PLACE.fullmatch(key)) is not None:
            yield Link(**place.groupdict(), key=key)


def _counts(store: ObjectStore, platform_run_id: str, link: Link) -> bool:
    """A fact counts, and so does the claim of a run that has not ended with a tombstone."""
    if link.claimed_by is None:
        return True
    with suppress(DigestMismatch):  # what cannot be read may still be a vow
        vow = read_vow(store, platform_run_id, link.claimed_by)
        return vow is None or vow.outcome != "tombstone"
    return True


def _check_published(store: ObjectStore, platform_run_id: str, dm_id: str) -> None:
    key = manifest_key(platform_run_id, dm_id)
    raw = look(store, key)
    if raw is not None:
        authenticate(raw, key, store)
        return
    pointer = None
    with suppress(DigestMismatch):
        pointer = read_fact(store, DatasetPointer, by_id_key(dm_id))
    elsewhere = "" if pointer is None else f"; it belongs to the run {pointer.platform_run_id}, and this is {platform_run_id}"
    raise SupersessionLinkInvalid(f"{dm_id} is not published here{elsewhere}.", path="$.supersedes",
                                  fix="Name a dataset that `ofs datasets` lists.")
