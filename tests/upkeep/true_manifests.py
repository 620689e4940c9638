"""Manifests that authenticate, of datasets made of a few bytes: for tests of who may read, replace and delete what."""

from __future__ import annotations

from functools import cache
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.corridor import layout
from offline_feature_plane.domain.canonical import canonical_bytes, sha256_of
from offline_feature_plane.domain.identity import closure_digest, dataset_fingerprint, dataset_manifest_id

PLACE = "cards"


@cache
def dataset_id(name: str = "a") -> str:
    """The id of the meaning of this name."""
    return dataset_manifest_id(dataset_fingerprint({"correction": name}))


def data_key(run_key: str, rows: bytes = b"rows", name: str = "a") -> str:
    """Where a run stages its only data file."""
    return f"{layout.data_prefix(PLACE, dataset_id(name), run_key)}/{sha256_of(rows)[7:]}.parquet"


@cache
def manifest_of(run_key: str, rows: bytes = b"rows", name: str = "a", attempt: int = 1) -> bytes:
    """The manifest that a run makes of some rows, under the meaning of this name."""
    prefix, nothing = layout.data_prefix(PLACE, dataset_id(name), run_key), sha256_of(b"")
    core: dict[str, Any] = {
        "identity": {"correction": name}, "purpose": "training", "content_digest": sha256_of(b"content of " + rows),
        "column_digests": nothing, "leaf_rows": 65_536, "leaves": 1, "events_digest": nothing, "label_slice_digest": nothing,
        "row_count": 1, "columns": [], "row_accounting": {"row": 1},
        "splits": [{"name": "all", "start": None, "end": None, "rows": 1, "positive": 1, "negative": 0, "unknown": 0, "cold": 0}],
        "coverage": [], "labels": {}, "replay": {"events_read": 1}, "closure_digest": closure_digest({}), "closure": {}, "gates": [],
        "warnings": [], "registered": [],
        "eligibility": {"training_ready": True, "complete": True, "evidence_kind": "pinned_files", "reasons": []}}
    part = {"key": data_key(run_key, rows, name), "sha256": sha256_of(rows), "size_bytes": len(rows), "rows": 1, "first_row": 0,
            "first_leaf": 0, "leaves": 1}
    evidence: dict[str, Any] = {
        "parts": [part], "column_digests": {"name": "column digests", "key": f"{prefix}/column-digests.json", "sha256": nothing},
        "plan": {"name": "plan", "key": layout.plan_key(PLACE, run_key), "sha256": nothing}, "receipts": [], "engine": "none@1",
        "versions": {}, "profile": {}, "meanings": {}, "sources": [], "publisher": {"run_key": run_key, "attempt": attempt}}
    return canonical_bytes(DatasetManifest.model_validate({
        "dataset_manifest_id": dataset_id(name), "dataset_fingerprint": dataset_fingerprint({"correction": name}), "platform_run_id": PLACE,
        "scenario_run_ids": [], "replay_basis": [], "label_basis": {}, "feature_definition_set": {},
        "provenance": {"ofs_code_release_id": "0", "policy_revision": "0", "config_revision": "0", "run_config_digest": nothing},
        "core": core, "evidence": evidence}).model_dump(mode="json"))
