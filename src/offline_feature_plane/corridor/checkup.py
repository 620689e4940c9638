"""`ofs doctor`: which published datasets can no longer be built again, and which ones soon cannot (`domain.md` §1.3).

Nothing is read but indexes and what a bus says of itself; files of tables are not hashed. Whatever cannot be asked is told, and stops
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.catalog import Listing
from offline_feature_plane.corridor.found_gaps import found_since
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps, no_more_compacted, read_of
from offline_feature_plane.domain.prognosis import Prognosis, State, foresee, worst_state
from offline_feature_plane.errors import OfsError
from offline_feature_plane.ports.inputs import EventSource, KeptForAWhile, PinnedEvents

__all__ = ["Checkup", "Diagnosis", "examine"]

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Diagnosis:
    """How one dataset is: its state is the worst of its ranges'.

    `lacks` is what was declared to be missing when it was built; `found` are those of them that somebody has now.
    """

    dataset_manifest_id: str
    prognoses: tuple[Prognosis, ...]
    lacks: tuple[DeclaredGap, ...] = ()
    found: tuple[DeclaredGap, ...] = ()

    @property
    def state(self) -> State:
        """The worst."""
        return worst_state(one.state for one in self.prognoses)

    @property
    def until_us(self) -> int | None:
        """When the first of what only a bus has may go, as far as it says."""
        return min((one.until_us for one in self.prognoses if one.until_us is not None), default=None)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"dataset_manifest_id": self.dataset_manifest_id, "state": self.state,
                "ranges": [one.describe() for one in self.prognoses],
                **({"gaps": describe_gaps(self.lacks), "found_since": describe_gaps(self.found)} if self.lacks else {})}


@dataclass(frozen=True)
class Checkup:
    """How the datasets of a plane are, and why some of its manifests cannot be believed."""

    diagnoses: tuple[Diagnosis, ...]
    damaged: tuple[OfsError, ...]

    @property
    def well(self) -> bool:
        """Can everything be built again, and for a while?"""
        return not self.damaged and all(one.state not in {"lost", "fading", "unknown"} for one in self.diagnoses)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        return {"well": self.well, "datasets": [one.document() for one in self.diagnoses],
                "damaged": [one.describe() for one in self.damaged]}


def examine(listing: Listing, sources: Sequence[EventSource], *, now_us: int, within_days: int) -> Checkup:
    """Look at every dataset that was not retired.

    Args:
        listing: the plane's datasets.
        sources: what the plane reads events from.
        now_us: the time.
        within_days: what a bus lets go within so many days is told as fading.
    """
    owners = {topic: source for source in sources for topic in source.topics}
    asked: dict[str, PinnedEvents | OfsError] = {}
    found = []
    for manifest in listing.datasets:
        if manifest.dataset_manifest_id in listing.retired:
            continue
        by_topic: dict[str, list[Range]] = {}
        gaps = manifest.core.declared_gaps
        for one in read_of(_ranges_of(manifest), gaps):
            by_topic.setdefault(one.topic, []).append(one)
        told = [one for topic, ranges in by_topic.items()
                for one in _foresee(topic, ranges, gaps, _pinned(topic, owners, asked), now_us, within_days * DAY_US)]
        found.append(Diagnosis(manifest.dataset_manifest_id, tuple(told), gaps, _found(gaps, asked)))
    return Checkup(tuple(found), listing.damaged)


def _ranges_of(manifest: DatasetManifest) -> tuple[Range, ...]:
    """The ranges of a dataset's logs; plain tables have none."""
    entries = [one for one in manifest.replay_basis if "partition" in one]
    return canonical_basis(Range(**entry) for entry in entries) if entries else ()  # type: ignore[arg-type]  # a manifest was validated


def _pinned(topic: str, owners: Mapping[str, EventSource], asked: dict[str, PinnedEvents | OfsError]) -> PinnedEvents | OfsError | None:
    """The topic as it is now; the error that asking ended with; None: the plane has it no more."""
    if topic in owners and topic not in asked:
        try:
            asked[topic] = owners[topic].pin(topic)
        except OfsError as wrong:
            asked[topic] = wrong
    return asked.get(topic)


def _found(gaps: Sequence[DeclaredGap], asked: Mapping[str, PinnedEvents | OfsError]) -> tuple[DeclaredGap, ...]:
    """Declared gaps that somebody has now; where nobody can be asked, none is known."""
    try:
        return found_since(gaps, {topic: one for topic, one in asked.items() if not isinstance(one, OfsError)})
    except OfsError:
        return ()


def _foresee(topic: str, ranges: Sequence[Range], gaps: Sequence[DeclaredGap], pinned: PinnedEvents | OfsError | None, now_us: int,
             within_us: int) -> list[Prognosis]:
    if pinned is None or isinstance(pinned, OfsError):
        why = f"plane.yaml has no topic {topic} any more" if pinned is None else f"{topic} cannot be asked: {pinned.what}"
        return [Prognosis("unknown", topic, None, None, None, None, why.removesuffix("."))]
    try:
        routes = pinned.completeness(ranges).routes
        other = no_more_compacted([one for one in gaps if one.stretch.topic == topic], routes)
        return [*(foresee(way, partial(_until, pinned, way.wanted), now_us, within_us) for way in routes),
                *(Prognosis("lost", topic, one.stretch.partition, one.stretch.start_offset, one.stretch.end_offset, None,
                            f"{one} was declared, and is not compacted any more: what is there now are other records") for one in other)]
    except OfsError as wrong:
        return [Prognosis("unknown", topic, None, None, None, None, f"{topic} cannot be asked: {wrong.what}".removesuffix("."))]


def _until(pinned: PinnedEvents, wanted: Range, offset: int) -> int | None:
    return pinned.kept_until_us(wanted, offset) if isinstance(pinned, KeptForAWhile) else None
