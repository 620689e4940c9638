"""Computing a published dataset again, to compare: do the same events and labels still give the same rows? (`decisions.md` D5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.manifest import Core
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
from offline_feature_plane.errors import NondeterminismDetected, RefNotFound, ReplayBasisMismatch
from offline_feature_plane.ports import Ports, Progress


def recompute(planned: Planned, ports: Ports, machine: Machine, folder: Path, progress: Progress, costs: Costs) -> Built:
    """Compute a published dataset again in a work folder, and compare; nothing else is written. `costs` collects where the time goes.

    Raises:
        RefNotFound: there is no such dataset.
        ReplayBasisMismatch: the events are not the ones of the published dataset; or they are, and another holder of the log, who disputed
            them then, does not now, or the other way round.
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
    if again != core and _undisputed(again) == _undisputed(core):
        then, now = ("was" if _is_disputed(one) else "was not" for one in (core, again))
        raise ReplayBasisMismatch(f"the rows of {planned.dm_id} are the same again, but its log {then} disputed by another holder when "
                                  f"they were built, and {now} this time.", path=key,
                                  fix="Its manifest and anomaly report keep what was found then; nothing is wrong with its rows.")
    if again != core:
        named = ", ".join(name for name in type(core).model_fields if getattr(again, name) != getattr(core, name))
        raise NondeterminismDetected(f"{planned.dm_id} has content {core.content_digest}, computed again {again.content_digest}; "
                                     f"of the core differ: {named}.", fix="Report this as a defect, with both digests.")
    return Built("REPRODUCED", standing, ports.store.uri(key), None, costs)


def _is_disputed(core: Core) -> bool:
    """Did another holder of the log disagree?"""
    return any(gate.gate == "overlap" for gate in core.gates)


def _undisputed(core: Core) -> dict[str, Any]:
    """A core without what other holders of its log said of it."""
    said = core.model_dump()
    return {**said, "gates": [gate for gate in said["gates"] if gate["gate"] != "overlap"],
            "eligibility": {**said["eligibility"], "complete": None,
                            "reasons": [one for one in said["eligibility"]["reasons"] if not one.startswith("overlap: ")]}}
