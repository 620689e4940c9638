"""Readers look all the time while others publish: whoever sees a manifest sees all of its bytes (R5)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import publication
import pytest
from processes import Processes

from offline_feature_plane.corridor import layout
from offline_feature_plane.corridor.publish import read_manifest


@pytest.mark.parametrize("datasets", [12, pytest.param(1_000, marks=pytest.mark.long)])
def test_a_reader_sees_whole_datasets_or_none(processes: Processes, session_folder: Path, datasets: int) -> None:
    """Two processes publish the same meanings, each by requests of its own; a third looks: each manifest is whole when it is first seen.

        one    ─ publish 0 ─ publish 1 ─ publish 2 …
        two    ─ publish 0 ─ publish 1 ─ publish 2 …
        reader · · · · · · · · · · · · · · · · · · ·

    In the end every meaning has one dataset, found there by one of the two.
    """
    place, seen, looks = session_folder / f"readers-{datasets}", set[str](), 0
    (place / "disk").mkdir(parents=True)
    store = publication.open_store(place / "disk")
    writers = [processes.start(place, program=f"many {datasets} {who}", name=who) for who in ("one", "two")]
    while len(ended := told(place)) < len(writers) and (looks := looks + 1):
        for key in store.list(f"{publication.PLACE}/ofs/manifests"):
            if key not in seen:
                publication.check_parts(store, read_manifest(store.get(key)))
                seen.add(key)
        for pointer in store.list("by_id"):
            assert store.exists(layout.manifest_key(publication.PLACE, Path(pointer).stem))
    assert [processes.wait(writer) for writer in writers] == [0, 0], [(place / f"stderr.{who}").read_text() for who in ("one", "two")]
    assert looks > datasets / 2
    assert sum(ended, Counter()) == {"PUBLISHED": datasets, "ALREADY_PUBLISHED": datasets}
    assert len(seen) > datasets / 2
    assert len(list(store.list(f"{publication.PLACE}/ofs/commits"))) == 2 * datasets
    shutil.rmtree(place)


def told(place: Path) -> list[Counter[str]]:
    """How the writers that have ended ended."""
    if not (place / "told").exists():
        return []
    return [Counter(json.loads(json.loads(line)[1])) for line in (place / "told").read_text().splitlines()]
