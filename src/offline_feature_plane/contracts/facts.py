"""Facts: small documents that are written once and stand beside datasets, each sealed by the digest of its own words (`domain.md` §5).

    commits/<run_key>.json         Vow                   what a run will publish, or that it never will (`decisions.md` A1)
    by_id/<dm_id>.json             DatasetPointer        where the manifest of a bare id is
    retired/<dm_id>.json           DatasetRetirement     nobody may build this meaning again (`decisions.md` D7)
    expired/<dm_id>.json           DataExpiry            its data may be deleted
    supersession/<new>/<old>.json  DatasetSupersession   one dataset replaces another (`decisions.md` D8)

The seal tells a damaged fact from a sound one: of a manifest, receipt or data file the digest stands elsewhere, of a fact nowhere.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from offline_feature_plane.contracts.intent import Actor
from offline_feature_plane.contracts.model import Contract, Text
from offline_feature_plane.domain.canonical import canonical_bytes, digest


class Fact(Contract):
    """What all facts share. One that was stored without a seal gets it when it is read."""

    called: ClassVar[str] = "fact"
    seal: str | None = None

    def document(self) -> bytes:
        """The bytes that are in the store."""
        return canonical_bytes(self.model_dump(mode="json", exclude_none=True))

    @model_validator(mode="after")
    def _sealed(self) -> Self:
        right = digest("ofs.fact.v1", self.model_dump(mode="json", exclude_none=True, exclude={"seal"}))
        if self.seal not in {None, right}:
            raise ValueError(f"the seal is {self.seal}, but these words have {right}")
        object.__setattr__(self, "seal", right)  # frozen for everybody else
        return self


class Vow(Fact):
    """A run's commit record: it will publish this core, or (a tombstone) it never will, for this code (`decisions.md` A1)."""

    called: ClassVar[str] = "commit record"
    schema_version: Literal["learning.ofs_commit_record.v1"] = "learning.ofs_commit_record.v1"
    outcome: Literal["commit", "tombstone"]
    request_id: str | None = None
    dm_id: str | None = None
    core_digest: str | None = None
    manifest_digest: str | None = None
    attempt: int | None = None
    code: str | None = None

    @property
    def promise(self) -> tuple[str, str | None, str | None]:
        """All that is compared between two attempts of a run."""
        return (self.outcome, self.dm_id, self.core_digest)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        said = (self.dm_id is not None, self.core_digest is not None, self.code is not None)
        if said != ((True, True, False) if self.outcome == "commit" else (False, False, True)):
            raise ValueError("a vow names a dataset and its core, a tombstone a code")
        return self


class DatasetPointer(Fact):
    """Where the manifest of an id is, and the digest of its bytes."""

    called: ClassVar[str] = "pointer"
    schema_version: Literal["learning.ofs_dataset_pointer.v1"] = "learning.ofs_dataset_pointer.v1"
    platform_run_id: str
    manifest_key: str
    manifest_digest: str


class DatasetRetirement(Fact):
    """A dataset was retired: nobody may build its meaning again. Who, when and why (`decisions.md` D7)."""

    called: ClassVar[str] = "retirement"
    schema_version: Literal["learning.ofs_dataset_retirement.v1"] = "learning.ofs_dataset_retirement.v1"
    dataset_manifest_id: str
    manifest_digest: str
    reason: Text
    actor: Actor
    retired_at: str


class DataExpiry(Fact):
    """The data files of a retired dataset may be deleted; its manifest and receipts stay (`decisions.md` D7)."""

    called: ClassVar[str] = "expiry"
    schema_version: Literal["learning.ofs_dataset_data_expiry.v1"] = "learning.ofs_dataset_data_expiry.v1"
    dataset_manifest_id: str
    manifest_digest: str
    reason: Text
    actor: Actor
    expired_at: str


class DatasetSupersession(Fact):
    """One dataset replaces another, and why (`decisions.md` D8)."""

    called: ClassVar[str] = "supersession fact"
    schema_version: Literal["learning.ofs_dataset_supersession.v1"] = "learning.ofs_dataset_supersession.v1"
    dataset_manifest_id: str
    supersedes: str
    backfill_reason: str | None = None
