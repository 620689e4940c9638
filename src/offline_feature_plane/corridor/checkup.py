"""`ofs doctor`: which published datasets can no longer be built again, and which ones soon cannot (`domain.md` §1.3).

Nothing is read but indexes, lists of files, and what a bus or a label store says of itself: whether a file that is there is still the
same, only those who read it can say (`ofs build --recompute`). Whatever cannot be asked is told, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor.catalog import Listing
from offline_feature_plane.corridor.dependence import Markers, foresee_key, foresee_labels, names, settings_hold, told
from offline_feature_plane.corridor.found_gaps import found_since
from offline_feature_plane.corridor.inputs import PlanningInputs
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.gaps import DeclaredGap, describe_gaps, no_more_compacted, read_of
from offline_feature_plane.domain.prognosis import Missing, Prognosis, State, foresee, worst_state
from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.errors import OfsError, SourceUnreadable
from offline_feature_plane.ports.inputs import EventSource, HeldInFiles, KeptForAWhile, KeptSomehow, LabelStore, PinnedEvents, SourceOfFiles

__all__ = ["Checkup", "Diagnosis", "examine"]

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Diagnosis:
    """How one dataset is: its state is the worst of its ranges', tables', labels' and its token key's.

    `lacks` is what was declared to be missing when it was built; `found` are those of them that somebody has now. `release` is the one of
    the code that can build it, if that is not this; `settings_hold`: plane.yaml says of its inputs what it said then.
    """

    dataset_manifest_id: str
    prognoses: tuple[Prognosis, ...]
    lacks: tuple[DeclaredGap, ...] = ()
    found: tuple[DeclaredGap, ...] = ()
    release: str | None = None
    settings_hold: bool = True

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
                "ranges": [one.describe() for one in self.prognoses], "release": self.release, "settings_hold": self.settings_hold,
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


def examine(listing: Listing, inputs: PlanningInputs, *, now_us: int, within_days: int) -> Checkup:
    """Look at every dataset that was not retired.

    Args:
        listing: the plane's datasets.
        inputs: what the plane reads.
        now_us: the time.
        within_days: what a bus lets go within so many days is told as fading.
    """
    owners = {topic: source for source in inputs.event_sources for topic in source.topics}
    keepers, key, markers = _keepers(inputs), _key(inputs), Markers()
    asked: dict[str, PinnedEvents | OfsError] = {}
    missing: dict[str, Sequence[Missing] | OfsError] = {}
    found = []
    for manifest in listing.datasets:
        if manifest.dataset_manifest_id in listing.retired:
            continue
        by_topic: dict[str, list[Range]] = {}
        gaps = manifest.core.declared_gaps
        for one in read_of(_ranges_of(manifest), gaps):
            by_topic.setdefault(one.topic, []).append(one)
        prognoses = [_of_files(one.name, one.files, owners) for one in manifest.evidence.sources if one.kind == "plain_table"]
        for topic, ranges in by_topic.items():
            pinned = _pinned(topic, owners, asked)
            if topic not in missing:
                missing[topic] = _missing(pinned)
            prognoses += _foresee(topic, ranges, gaps, pinned, missing[topic], now_us, within_days * DAY_US)
        prognoses += [*foresee_labels(manifest, keepers, markers), *foresee_key(manifest, key)]
        release = str(manifest.core.identity["ofs_code_release_id"])
        found.append(Diagnosis(manifest.dataset_manifest_id, tuple(prognoses), gaps, _found(gaps, asked),
                               None if release == inputs.code_release_id else release, settings_hold(manifest, inputs.settings)))
    return Checkup(tuple(found), listing.damaged)


def _keepers(inputs: PlanningInputs) -> Mapping[str, LabelStore] | OfsError:
    """By label type, who has its timeline now."""
    try:
        return {label_type: store for store in inputs.label_stores for label_type in store.label_types}
    except OfsError as wrong:
        return wrong


def _key(inputs: PlanningInputs) -> TokenKey | OfsError | None:
    try:
        return inputs.token_key()
    except OfsError as wrong:
        return wrong


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


def _missing(pinned: PinnedEvents | OfsError | None) -> Sequence[Missing] | OfsError:
    """What an index names and is not there; the error that looking ended with."""
    try:
        return pinned.missing() if isinstance(pinned, HeldInFiles) else ()
    except OfsError as wrong:
        return wrong


def _of_files(topic: str, wanted: Collection[str], owners: Mapping[str, EventSource]) -> Prognosis:
    """How a table is: are the files that it was there, and no others?"""
    owner = owners.get(topic)
    if not isinstance(owner, SourceOfFiles):
        return told("unknown", topic, f"plane.yaml has no table {topic} any more")
    try:
        there = owner.file_names(topic)
    except SourceUnreadable as wrong:
        return told("lost", topic, f"{topic}: {wrong.what}")
    except OfsError as wrong:
        return told("unknown", topic, f"{topic} cannot be asked: {wrong.what}")
    odd = [f"{named} {names(some)}" for named, some in (("lacks", {*wanted} - {*there}), ("has got", {*there} - {*wanted})) if some]
    if odd:
        return told("lost", topic, f"{topic} {' and '.join(odd)}: as it is now it is another table")
    return told("files", topic, f"{topic} has the files that it was read from, {len(wanted):,}; whether their bytes are the same, only "
                                 "reading them tells")


def _foresee(topic: str, ranges: Sequence[Range], gaps: Sequence[DeclaredGap], pinned: PinnedEvents | OfsError | None,
             missing: Sequence[Missing] | OfsError, now_us: int, within_us: int) -> list[Prognosis]:
    if isinstance(pinned, OfsError) and pinned.fields.get("absent") == "topic":
        return [told("lost", topic, f"{topic}: {pinned.what.removesuffix('.')}, and there is no archive of it")]
    if pinned is None:
        return [told("unknown", topic, f"plane.yaml has no topic {topic} any more")]
    if isinstance(pinned, OfsError) or isinstance(missing, OfsError):
        return [told("unknown", topic, f"{topic} cannot be asked: {one.what}") for one in (pinned, missing) if isinstance(one, OfsError)]
    try:
        routes = pinned.completeness(ranges).routes
        other = no_more_compacted([one for one in gaps if one.stretch.topic == topic], routes)
        return [*(foresee(way, partial(_until, pinned, way.wanted), now_us, within_us, missing, partial(_how, pinned, way.wanted))
                  for way in routes),
                *(Prognosis("lost", topic, one.stretch.partition, one.stretch.start_offset, one.stretch.end_offset, None,
                            f"{one} was declared, and is not compacted any more: what is there now are other records") for one in other)]
    except OfsError as wrong:
        return [told("unknown", topic, f"{topic} cannot be asked: {wrong.what}")]


def _how(pinned: PinnedEvents, wanted: Range, offset: int) -> str:
    return pinned.kept_how(wanted, offset) if isinstance(pinned, KeptSomehow) else "which does not say for how long"


def _until(pinned: PinnedEvents, wanted: Range, offset: int) -> int | None:
    return pinned.kept_until_us(wanted, offset) if isinstance(pinned, KeptForAWhile) else None
