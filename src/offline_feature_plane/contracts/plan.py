"""The resolved build plan: every pin of a build, immutable once its run exists (`domain.md` §7, `decisions.md` D4).

`pins` decide the result, are digested, and are written once per run. `sources` and `estimate` say how this machine would get
there; each attempt makes them anew.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from offline_feature_plane.contracts.model import Contract
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.cutover import Feasibility, VerifyOverlap
from offline_feature_plane.domain.outcomes import Answer, Use


class ProfileRef(Contract):
    """Which feature profile was read, and what of it is used.

    `closure_digest` is of all that the intent uses, `set_digest` of the feature set alone: what its revision promises.
    """

    ref: str
    policy_id: str
    revision: str
    feature_set: str
    file_digest: str
    closure_digest: str
    set_digest: str
    versioned: bool

    @property
    def set_name(self) -> str:
        """What a revision must not change under: the set of this profile."""
        return f"{self.policy_id}@{self.revision}/{self.feature_set}"


class Pins(Contract):
    """Everything that decides the dataset. `refs_from` is the folder that refs in the intent are relative to, seen from the plane's."""

    intent: dict[str, Any]
    filled: list[dict[str, JsonValue]]
    dataset_fingerprint: str
    dataset_manifest_id: str
    identity: dict[str, Any]
    closure: dict[str, Any]
    profile: ProfileRef
    world: dict[str, JsonValue]
    history_start: dict[str, str | None]
    refs_from: str

    def meaning(self) -> dict[str, Any]:
        """What two attempts of one run must agree on; the actor, and how long a label log has grown, may differ (`decisions.md` D4)."""
        return self.model_dump(mode="json", include={"dataset_fingerprint", "identity", "closure", "world", "history_start"})


def pins_digest(pins: Pins) -> str:
    """The digest of a plan's pins."""
    return digest("ofs.plan_pins.v1", pins.model_dump(mode="json"))


class SourceFile(Contract):
    """One pinned file."""

    path: str
    sha256: str
    rows: int
    size_bytes: int


SourceKind = Literal["plain_table", "archive", "bus", "stream", "labels"]


class StoreMarker(Contract):
    """How far a log in a database was read: its id, the last position below the cut, and how many assertions there are up to there."""

    store_id: str
    position: int
    assertions: int


class BusRange(Contract):
    """A stretch of one partition that is read from a bus, and what the bus said when it was asked: it is evidence, and no pin.

    `log_start` is the first offset that it keeps, `last_stable` where what is settled ends, `end` where its next record will stand. Leader
    epochs are those of the first and last record of the stretch. `most_records` is there where offsets do not bound how many there are.
    """

    partition: int
    start_offset: str
    end_offset: str
    log_start: str | None
    last_stable: str
    end: str
    first_leader_epoch: int | None
    last_leader_epoch: int | None
    most_records: int | None = None

    @property
    def records(self) -> int:
        """It can hold not more records than this."""
        return int(self.end_offset) - int(self.start_offset) if self.most_records is None else self.most_records


class SourcePlan(Contract):
    """Where one topic's events or one type's labels come from; `read_by` is the event source or label store, as `name@version`.

    `marker` only where assertions are read from a database: nothing of it is in files before a build has read it. `bus` only where events
    are read from one. `routes` say of each range of a log which stretch is read from the archive and which from the
    bus, and how far the bus reached when it was asked; `verify_overlap` what is compared of what both have.
    """

    name: str
    kind: SourceKind
    read_by: str
    log_id: str
    files: list[SourceFile]
    ranges: list[dict[str, JsonValue]]
    marker: StoreMarker | None = None
    bus: list[BusRange] | None = None
    routes: list[dict[str, JsonValue]] = Field(default_factory=list)
    verify_overlap: VerifyOverlap | None = None
    notices: list[str] = Field(default_factory=list)

    @property
    def most_rows(self) -> int:
        """Not more rows than this."""
        return sum(file.rows for file in self.files) + sum(one.records for one in self.bus or ())


class Estimate(Contract):
    """What the build will cost here, roughly."""

    events: int
    labels: int
    feature_columns: int
    input_bytes: int
    memory_bytes: int
    seconds: int


class BuildPlan(Contract):
    """The document that `ofs plan` prints and `ofs build` runs.

    `feasibility` is of what is read: of all but the declared `gaps`.
    """

    schema_version: Literal["learning.ofs_resolved_build_plan.v1"] = "learning.ofs_resolved_build_plan.v1"
    pins: Pins
    pins_digest: str
    use: Use
    answer: Answer
    feasibility: Feasibility
    gaps: list[dict[str, JsonValue]]
    sources: list[SourcePlan]
    estimate: Estimate
    warnings: list[str]
