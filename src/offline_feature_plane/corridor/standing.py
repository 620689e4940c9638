"""How a dataset stands: what facts beside it say about it (`decisions.md` D7, D8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.facts import DatasetSupersession
from offline_feature_plane.corridor.facts import parse_fact
from offline_feature_plane.corridor.retirement import NOT_RETIRED, Retirement, read_retirement
from offline_feature_plane.corridor.supersession import links_of
from offline_feature_plane.errors import DigestMismatch
from offline_feature_plane.ports import ObjectStore


@dataclass(frozen=True)
class Standing:
    """Whether a dataset was retired, which ones it replaces and which replace it; and facts about it that cannot be read."""

    retirement: Retirement | None = None
    supersedes: tuple[DatasetSupersession, ...] = ()
    superseded_by: tuple[DatasetSupersession, ...] = ()
    damaged: tuple[DigestMismatch, ...] = ()

    def document(self) -> dict[str, Any]:
        """For `--json`, beside the manifest's own fields."""
        return {**(NOT_RETIRED if self.retirement is None else self.retirement.document()),
                "supersedes": [fact.model_dump(mode="json") for fact in self.supersedes],
                "superseded_by": [fact.model_dump(mode="json") for fact in self.superseded_by]}


def read_standing(store: ObjectStore, platform_run_id: str, dm_id: str) -> Standing:
    """What facts say about a dataset; one that cannot be read hides no other. Raises StorageIoFailure."""
    retirement, damaged = None, []
    try:
        retirement = read_retirement(store, platform_run_id, dm_id)
    except DigestMismatch as wrong:
        damaged.append(wrong)
    links: dict[bool, list[DatasetSupersession]] = {True: [], False: []}
    for link in links_of(store, platform_run_id, dm_id):
        try:
            links[link.new == dm_id].append(parse_fact(DatasetSupersession, store.get(link.key), link.key))
        except DigestMismatch as wrong:
            damaged.append(wrong)
    return Standing(retirement, tuple(links[True]), tuple(links[False]), tuple(damaged))
