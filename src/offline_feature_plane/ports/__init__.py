"""The doors: small Protocols that use cases call and adapters implement, and the frozen values that pass through them.

What a build reads, event sources and label stores, is in `ports.inputs`. Every method names the errors it raises; adapters map foreign
exceptions to ours at their own edge.
"""

from __future__ import annotations

from dataclasses import dataclass

from offline_feature_plane.ports.engines import CONFLICTS_TOLD, Engine, EngineSession, EventLabels, LabelFacts, ReplayFacts, SelectionFacts
from offline_feature_plane.ports.ledgers import Ledger, LedgerEvent, Quarantined, Rebuilt, Run, Submitted
from offline_feature_plane.ports.process import Clock, Meter, Progress, Spent
from offline_feature_plane.ports.stores import Leftover, ObjectStore, PutOutcome

__all__ = ["CONFLICTS_TOLD", "Clock", "Engine", "EngineSession", "EventLabels", "LabelFacts", "Ledger", "LedgerEvent", "Leftover", "Meter",
           "ObjectStore",
           "Ports", "Progress", "PutOutcome", "Quarantined", "Rebuilt", "ReplayFacts", "Run", "SelectionFacts", "Spent",
           "Submitted"]


@dataclass(frozen=True)
class Ports:
    """What every run uses: the object store, the ledger and the clock."""

    store: ObjectStore
    ledger: Ledger
    clock: Clock
