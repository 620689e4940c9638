"""Computing a published dataset again, to compare: do the same events and labels still give the same rows? (`decisions.md` D5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from offline_feature_plane.contracts.manifest import DatasetManifest
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
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.resolution import Assertion
from offline_feature_plane.errors import LabelHistoryChanged, NondeterminismDetected, RefNotFound, ReplayBasisMismatch
from offline_feature_plane.ports import Ports, Progress
from offline_feature_plane.ports.inputs import LabelChanges

SHOWN: Final = 5  # assertions that the sentence names; the fields name more


def recompute(planned: Planned, ports: Ports, machine: Machine, folder: Path, progress: Progress, costs: Costs) -> Built:
    """Compute a published dataset again in a work folder, and compare; nothing else is written. `costs` collects where the time goes.

    Raises:
        ReplayBasisMismatch: the events are not the ones of the published dataset.
        LabelHistoryChanged: the label assertions below the cut are not.
        NondeterminismDetected: both are, and the rows differ.
    """
    key = manifest_key(planned.platform_run_id, planned.dm_id)
    raw = find_published(ports.store, planned.platform_run_id, planned.dm_id)
    if raw is None:
        raise RefNotFound(f"{planned.dm_id} is not published.", path=key, fix="Build it without --recompute.")
    standing = authenticate(raw, key, ports.store)
    with scratch(folder / "published") as copies:
        open_published(standing, ports.store, copies)
    computed = compute(planned, machine, folder, Receipts(ports.clock, machine.meter, costs), progress)
    core = standing.core
    if computed.replayed.events_digest != core.events_digest:
        raise ReplayBasisMismatch(f"the events of {planned.dm_id} had digest {core.events_digest}, now {computed.replayed.events_digest}.")
    if computed.labelled.slice_digest != core.label_slice_digest:
        raise _history_changed(planned, standing, computed.labelled.slice_digest)
    again = write_core(planned.pins, planned.task, computed, completeness=planned.completeness, registered=planned.registered)
    if again != core:
        named = ", ".join(name for name in type(core).model_fields if getattr(again, name) != getattr(core, name))
        raise NondeterminismDetected(f"{planned.dm_id} has content {core.content_digest}, computed again {again.content_digest}; "
                                     f"of the core differ: {named}.", fix="Report this as a defect, with both digests.")
    return Built("REPRODUCED", standing, ports.store.uri(key), None, costs)


def _history_changed(planned: Planned, standing: DatasetManifest, now: str) -> LabelHistoryChanged:
    """The error that names the assertions which appeared below the cut, where the store can tell them (`domain.md` §1.8)."""
    markers = {source.name: source.marker for source in standing.evidence.sources if source.kind == "labels"}
    changes = {one.label_type: found for one in planned.labels if (marker := markers.get(one.label_type)) is not None
               and (found := one.changes_since(marker)) is not None}
    told = [_told(label_type, found) for label_type, found in changes.items()]
    fields: dict[str, Any] = {"changes": {
        label_type: {"appeared": found.appeared_in_all, "gone": found.gone, "first": [_described(one) for one in found.appeared]}
        for label_type, found in changes.items()}} if changes else {}
    return LabelHistoryChanged(
        " ".join([f"the labels of {planned.dm_id} known at the as-of had digest {standing.core.label_slice_digest}, now {now}.", *told]),
        fix="Assertions were added, changed or removed below the cut: ask the owner of the label timeline.", **fields)


def _told(label_type: str, found: LabelChanges) -> str:
    if not found.appeared_in_all and not found.gone:
        return f"No {label_type} assertion appeared or is gone since: some were changed in place."
    shown = ", ".join(f"{one.assertion_id} (event {one.subject} is {one.value}, observed {format_instant(one.observed_us)})"
                      for one in found.appeared[:SHOWN])
    more = "" if found.appeared_in_all <= SHOWN else ", …"
    appeared = f"{found.appeared_in_all} {label_type} assertions appeared below the cut: {shown}{more}." if shown else ""
    return f"{appeared} {found.gone} {label_type} assertions are gone.".strip() if found.gone else appeared


def _described(one: Assertion) -> dict[str, Any]:
    return {"label_assertion_id": one.assertion_id, "event_id": one.subject, "label_value": one.value,
            "observed_time": format_instant(one.observed_us), "effective_time": format_instant(one.effective_us),
            "source_type": one.source, "supersedes": one.supersedes}
