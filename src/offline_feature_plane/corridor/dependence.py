"""What a published dataset rests on beside its events: its labels, the key of its tokens, plane.yaml, the release of the code.

Nothing of it is read but lists of files and, of labels in a database, how far its log reaches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest, SourceUsed
from offline_feature_plane.contracts.plan import StoreMarker
from offline_feature_plane.contracts.plane import Settings, config_meaning
from offline_feature_plane.domain.identity import config_digest
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.prognosis import Prognosis, State
from offline_feature_plane.domain.rows import TokenKey
from offline_feature_plane.errors import OfsError, SourceUnreadable
from offline_feature_plane.ports.inputs import LabelsInFiles, LabelStore

__all__ = ["foresee_key", "foresee_labels", "names", "settings_hold", "told"]

_MOST_NAMED = 3  # files

Markers = dict[tuple[str, int], StoreMarker | OfsError | None]


def foresee_labels(manifest: DatasetManifest, keepers: Mapping[str, LabelStore] | OfsError, asked: Markers) -> Iterator[Prognosis]:
    """How the timelines of a dataset's labels are.

    Args:
        manifest: the dataset's.
        keepers: by label type, who has them now; the error that opening these ended with.
        asked: what databases said already, by type and cut.
    """
    for used in (one for one in manifest.evidence.sources if one.kind == "labels"):
        topic = f"{used.name} labels"
        if isinstance(keepers, OfsError):
            yield told("unknown", topic, f"the {topic} cannot be asked: {keepers.what}")
        elif (keeper := keepers.get(used.name)) is None:
            yield told("unknown", topic, f"plane.yaml has no {topic} any more")
        elif used.marker is not None:
            yield _of_log(topic, used.marker, _asked(keeper, used.name, _cut(manifest), asked))
        else:
            yield _of_files(topic, used, keeper)


def foresee_key(manifest: DatasetManifest, key: TokenKey | OfsError | None) -> Iterator[Prognosis]:
    """Is the key there that a dataset's tokens were made with? Nothing is said where it is, or where there are no tokens."""
    identifiers = manifest.core.identity["identifiers"]
    made_with = identifiers.get("key_id") if isinstance(identifiers, dict) else None
    if made_with is None or (isinstance(key, TokenKey) and key.key_id == made_with):
        return
    if isinstance(key, OfsError):
        yield told("unknown", "tokens", f"the token key cannot be read: {key.what}")
    else:
        has = "the plane has none" if key is None else f"the plane has {key.key_id}"
        yield told("lost", "tokens", f"its tokens were made with the key {made_with}, and {has}: restore that key")


def settings_hold(manifest: DatasetManifest, settings: Settings) -> bool:
    """Does plane.yaml still say of a dataset's sources, labels and gates what it said when that was built?"""
    identity: dict[str, Any] = manifest.core.identity
    topics = {str(entry["topic"]) for entry in manifest.replay_basis}
    labels = {*identity["label_basis"]["label_types"],
              *(one.name for one in manifest.evidence.sources if one.kind == "labels")}
    meant = config_meaning(settings, topics=topics, label_types=labels, outputs=identity["join_scope"]["required_output_ids"],
                           visibility=manifest.core.replay["visibility"])
    return config_digest(meant) == str(identity["config_digest"])


def names(some: Collection[str]) -> str:
    """The first of some files."""
    first = sorted(some)[:_MOST_NAMED]
    return ", ".join(first) + (f" and {len(some) - len(first):,} more" if len(some) > len(first) else "")


def told(state: State, topic: str, sentence: str) -> Prognosis:
    """What becomes of something as a whole."""
    return Prognosis(state, topic, None, None, None, None, sentence.removesuffix("."))


def _cut(manifest: DatasetManifest) -> int:
    """The latest as-of: up to it labels were read."""
    asofs = [str(manifest.core.labels["label_asof_utc"]), *manifest.core.evaluation_asofs.values()]
    return max(map(parse_instant, asofs))


def _of_files(topic: str, used: SourceUsed, keeper: LabelStore) -> Prognosis:
    if not isinstance(keeper, LabelsInFiles):
        return told("unknown", topic, f"the {topic} were in files, and plane.yaml has them elsewhere: whether these are the same, only "
                                      "reading them tells")
    try:
        there = keeper.file_names(used.name)
    except SourceUnreadable as wrong:
        return told("lost", topic, f"the {topic}: {wrong.what}")
    except OfsError as wrong:
        return told("unknown", topic, f"the {topic} cannot be asked: {wrong.what}")
    if gone := {*used.files} - {*there}:
        return told("unknown", topic, f"the {topic} lack {names(gone)}: whether the files that are there have its assertions, only reading "
                                      "them tells")
    return told("files", topic, f"the {topic} have the files that they were read from, {len(used.files):,}")


def _asked(keeper: LabelStore, label_type: str, cut: int, asked: Markers) -> StoreMarker | OfsError | None:
    if (label_type, cut) not in asked:
        try:
            (pinned,) = keeper.pin([label_type], cut)
            asked[label_type, cut] = pinned.describe("").marker
        except OfsError as wrong:
            asked[label_type, cut] = wrong
    return asked[label_type, cut]


def _of_log(topic: str, was: StoreMarker, now: StoreMarker | OfsError | None) -> Prognosis:
    if isinstance(now, OfsError):
        return told("unknown", topic, f"the {topic} cannot be asked: {now.what}")
    if now is None:
        return told("unknown", topic, f"the {topic} were in a label store, and plane.yaml has them in files: whether these are the same, "
                                      "only reading them tells")
    if now.store_id != was.store_id:
        return told("lost", topic, f"the {topic} were read from the label store {was.store_id}, and this is {now.store_id}")
    if now.assertions < was.assertions:
        return told("lost", topic, f"the {topic} were {was.assertions:,} up to the as-of, and are {now.assertions:,} now")
    if now.assertions > was.assertions:
        return told("unknown", topic, f"of the {topic} {now.assertions - was.assertions:,} were loaded since that had been observed by the "
                                      "as-of: whether they are about its events, only resolving them tells")
    return told("files", topic, f"the {topic} are in the label store that they were read from")
