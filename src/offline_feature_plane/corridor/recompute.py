"""Computing a published dataset again, to compare: do the same events and labels still give the same rows? (`decisions.md` D5)."""

from __future__ import annotations

from pathlib import Path

from offline_feature_plane.corridor.answer import Built
from offline_feature_plane.corridor.authenticity import authenticate
from offline_feature_plane.corridor.build import compute
from offline_feature_plane.corridor.dataset import open_published
from offline_feature_plane.corridor.layout import manifest_key
from offline_feature_plane.corridor.manifest import write_core
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.publish import find_published
from offline_feature_plane.corridor.receipts import Costs, Receipts
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.corridor.workfolders import scratch
from offline_feature_plane.errors import NondeterminismDetected, RefNotFound
from offline_feature_plane.ports import Ports, Progress


def recompute(planned: Planned, ports: Ports, machine: Machine, folder: Path, progress: Progress, costs: Costs) -> Built:
    """Compute a published dataset again in a work folder, and compare; nothing else is written. `costs` collects where the time goes.

    Raises:
        RefNotFound: there is no such dataset.
        ReplayBasisMismatch: the events are not the ones of the published dataset.
        LabelHistoryChanged: the label assertions below the cut are not.
        NondeterminismDetected: both are, and the rest of the core differs.
    """
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    raw = find_published(ports.store, planned.platform_run_id, planned.dm_id)
    if raw is None:
        raise RefNotFound(f"{planned.dm_id} is not published.", path=key, fix="Build it without --recompute.")
    standing = authenticate(raw, key, ports.store)
    with scratch(folder / "published") as copies:
        open_published(standing, ports.store, copies)
    computed = compute(planned, machine, folder, Receipts(ports.clock, machine.meter, costs), progress, standing=standing)
    core = standing.core
    again = write_core(planned.pins, planned.task, computed, completeness=planned.completeness, registered=planned.registered)
    if again != core:
        named = ", ".join(name for name in type(core).model_fields if getattr(again, name) != getattr(core, name))
        raise NondeterminismDetected(f"{planned.dm_id} has content {core.content_digest}, computed again {again.content_digest}; "
                                     f"of the core differ: {named}.", fix="Report this as a defect, with both digests.")
    return Built("REPRODUCED", standing, ports.store.uri(key), None, costs)

