"""Computing a published dataset again, to compare: do the same events and labels still give the same rows? (`decisions.md` D5)."""

from __future__ import annotations

from pathlib import Path

from offline_feature_plane.corridor.build import Built, compute
from offline_feature_plane.corridor.dataset import parse_manifest
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import manifest_key
from offline_feature_plane.corridor.receipts import Receipts
from offline_feature_plane.corridor.steps import Machine, scratch
from offline_feature_plane.errors import LabelHistoryChanged, NondeterminismDetected, ReplayBasisMismatch
from offline_feature_plane.ports import Ports, Progress


def recompute(planned: Planned, ports: Ports, machine: Machine, folder: Path, progress: Progress) -> Built:
    """Compute a published dataset again in a folder that is made and removed, and compare; nothing else is written.

    Raises:
        ReplayBasisMismatch: the events are not the ones of the published dataset.
        LabelHistoryChanged: the label assertions below the cut are not.
        NondeterminismDetected: both are, and the rows differ.
    """
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    standing = parse_manifest(ports.store.get(key), key)
    seconds: dict[str, float] = {}
    with scratch(folder):
        computed = compute(planned, machine, folder, Receipts(ports.clock, seconds), progress)
    core = standing.core
    if computed.replayed.events_digest != core.events_digest:
        raise ReplayBasisMismatch(f"the events of {planned.dm_id} had digest {core.events_digest}, now {computed.replayed.events_digest}.")
    if computed.labelled.slice_digest != core.label_slice_digest:
        raise LabelHistoryChanged(f"the labels of {planned.dm_id} known at the as-of had digest {core.label_slice_digest}, "
                                  f"now {computed.labelled.slice_digest}.",
                                  fix="Assertions were added, changed or removed below the cut: ask the owner of the label timeline.")
    if computed.staged.content_digest != core.content_digest:
        raise NondeterminismDetected(f"{planned.dm_id} has content {core.content_digest}, computed again "
                                     f"{computed.staged.content_digest}.", fix="Report this as a defect, with both digests.")
    return Built("REPRODUCED", standing, ports.store.uri(key), None, seconds)
