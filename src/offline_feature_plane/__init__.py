"""Offline Feature Plane: point-in-time training datasets from an event log and a label timeline.

import offline_feature_plane as ofs

plane = ofs.open("plane.yaml")
built = plane.build("intent.yaml")
frame = plane.dataset(built.manifest.dataset_manifest_id).to_pandas(split="train")
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offline_feature_plane.contracts.audit import LeakageAudit
    from offline_feature_plane.contracts.manifest import DatasetManifest
    from offline_feature_plane.corridor.answer import Built, Pinned, RunHistory
    from offline_feature_plane.corridor.checkup import Checkup
    from offline_feature_plane.corridor.collection import Collection
    from offline_feature_plane.corridor.dataset import Dataset
    from offline_feature_plane.corridor.intake import Admission
    from offline_feature_plane.corridor.label_report import LabelReport
    from offline_feature_plane.corridor.learning import XY
    from offline_feature_plane.corridor.ledger_check import LedgerReport
    from offline_feature_plane.corridor.plan import Planned
    from offline_feature_plane.corridor.preview import Preview
    from offline_feature_plane.corridor.rebuilding import Rebuilding
    from offline_feature_plane.corridor.retirement import Retired
    from offline_feature_plane.corridor.standing import Standing
    from offline_feature_plane.corridor.verify import Verification
    from offline_feature_plane.domain.suspicion import Probe
    from offline_feature_plane.errors import OfsError, Problem
    from offline_feature_plane.plane import Plane
    from offline_feature_plane.plane import open_plane as open  # noqa: A004 - `ofs.open` is what people write
    from offline_feature_plane.ports import LedgerEvent, Run

    __version__: str

__all__ = ["XY", "Admission", "Built", "Checkup", "Collection", "Dataset", "DatasetManifest", "LabelReport", "LeakageAudit", "LedgerEvent",
           "LedgerReport", "OfsError", "Pinned", "Plane", "Planned", "Preview", "Probe", "Problem", "Rebuilding", "Retired", "Run",
           "RunHistory", "Standing", "Verification", "__version__", "open"]

_ROOMS = {"OfsError": ("errors", "OfsError"), "Problem": ("errors", "Problem"), "open": ("plane", "open_plane"),
          "Plane": ("plane", "Plane"), "Pinned": ("corridor.answer", "Pinned"),
          "RunHistory": ("corridor.answer", "RunHistory"), "Run": ("ports", "Run"), "LedgerEvent": ("ports", "LedgerEvent"),
          "DatasetManifest": ("contracts.manifest", "DatasetManifest"), "Built": ("corridor.answer", "Built"),
          "Dataset": ("corridor.dataset", "Dataset"), "Planned": ("corridor.plan", "Planned"), "Preview": ("corridor.preview", "Preview"),
          "Verification": ("corridor.verify", "Verification"), "Collection": ("corridor.collection", "Collection"),
          "LabelReport": ("corridor.label_report", "LabelReport"),
          "LeakageAudit": ("contracts.audit", "LeakageAudit"), "Probe": ("domain.suspicion", "Probe"),
          "LedgerReport": ("corridor.ledger_check", "LedgerReport"), "Rebuilding": ("corridor.rebuilding", "Rebuilding"),
          "Retired": ("corridor.retirement", "Retired"), "Standing": ("corridor.standing", "Standing"),
          "Admission": ("corridor.intake", "Admission"), "Checkup": ("corridor.checkup", "Checkup"), "XY": ("corridor.learning", "XY")}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package loads no engine."""
    if name == "__version__":
        from importlib.metadata import version

        return version("offline-feature-plane")
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    room, inner = _ROOMS[name]
    return getattr(import_module(f"{__name__}.{room}"), inner)
