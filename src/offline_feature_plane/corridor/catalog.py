"""Which datasets there are: a manifest by any of its names, and all of a run's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from offline_feature_plane.contracts.facts import DatasetPointer
from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.contracts.model import shown
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.facts import read_fact
from offline_feature_plane.corridor.layout import by_id_key, manifest_key, manifests_prefix
from offline_feature_plane.corridor.retirement import Retirement, read_retirement
from offline_feature_plane.errors import DatasetNotFound, DigestMismatch, OfsError, RefInvalid, RefNotFound, ResourceExceeded
from offline_feature_plane.ports import ObjectStore

_RUN = r"[A-Za-z0-9][A-Za-z0-9_-]*"


@dataclass(frozen=True)
class Listing:
    """The datasets of a run, which of them were retired, and why some of its manifests and retirements cannot be believed."""

    datasets: tuple[DatasetManifest, ...]
    damaged: tuple[OfsError, ...]
    retired: Mapping[str, Retirement] = field(default_factory=dict)


def list_manifests(store: ObjectStore, platform_run_id: str) -> Listing:
    """All manifests of a run, each authenticated. Raises StorageIoFailure."""
    good: list[DatasetManifest] = []
    damaged: list[OfsError] = []
    retired: dict[str, Retirement] = {}
    for key in (one for one in store.list(manifests_prefix(platform_run_id)) if one.endswith(".json")):
        try:
            good.append(authenticate(store.get(key), key, store))
            if (retirement := read_retirement(store, platform_run_id, good[-1].dataset_manifest_id)) is not None:
                retired[good[-1].dataset_manifest_id] = retirement
        except OfsError as wrong:
            damaged.append(wrong)
    return Listing(tuple(good), tuple(damaged), retired)


def find_manifest(ref: str, store: ObjectStore, platform_run_id: str) -> tuple[bytes, str]:
    """The bytes of a manifest and its key, from an id, the beginning of one in this run, or the path of a manifest's file.

    Raises:
        DatasetNotFound: none, or more than one, matches. DigestMismatch: it was published, and is gone.
    """
    name = Path(ref).stem if ref.endswith(".json") else ref
    keys: list[str] = []
    with suppress(RefInvalid, DigestMismatch, ResourceExceeded):
        pointer = read_fact(store, DatasetPointer, by_id_key(name))
        keys = [] if pointer is None else [pointer.manifest_key]
    if not keys or not re.fullmatch(_RUN + re.escape(manifest_key("", name)), keys[0]):  # none, a damaged one, or a beginning
        found = store.list(manifests_prefix(platform_run_id))
        keys = [key for key in found if name and Path(key).stem.startswith(name) and key.endswith(".json")]
    if len(keys) != 1:
        raise DatasetNotFound(f"{'more than one dataset matches' if keys else 'no dataset matches'} {shown(ref)}.",
                              fix="`ofs datasets` lists them.")
    try:
        return store.get(keys[0]), keys[0]
    except RefNotFound as gone:
        raise DigestMismatch(f"{name} was published, but its manifest {store.uri(keys[0])} is missing.", path=keys[0],
                             fix="Restore the store from a copy.") from gone
