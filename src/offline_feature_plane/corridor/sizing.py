"""What a build reads and about what it costs here: the parts of a plan that decide nothing."""

from __future__ import annotations

from collections.abc import Sequence

from offline_feature_plane.contracts.plan import Estimate, SourceFile, SourcePlan
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.footprint import held_bytes
from offline_feature_plane.domain.visibility import Visibility
from offline_feature_plane.ports.inputs import LabelTable

# Measured on two cores: a fixed part for starting, then per event for moving it and per event and column for computing and writing.
START_S, EVENT_US, CELL_US = 2, 1.0, 0.07


def describe_labels(table: LabelTable, read_by: str) -> SourcePlan:
    """Where the labels of one type come from."""
    files = [SourceFile(path=file.relative, sha256=file.sha256, rows=file.rows, size_bytes=file.size) for file in table.files]
    return SourcePlan(name=table.label_type, kind="labels", read_by=read_by, log_id=table.log_id, files=files, ranges=[])


def estimate(sources: Sequence[SourcePlan], closure: Closure, visibility: Visibility) -> Estimate:
    """Roughly how long and how large the build will be."""
    events = sum(file.rows for source in sources if source.kind != "labels" for file in source.files)
    labels = sum(file.rows for source in sources if source.kind == "labels" for file in source.files)
    columns = len(closure.columns())
    return Estimate(events=events, labels=labels, feature_columns=columns,
                    input_bytes=sum(file.size_bytes for source in sources for file in source.files),
                    memory_bytes=held_bytes(closure, events, labels, visibility),
                    seconds=round(START_S + (events + labels) * EVENT_US / 1e6 + events * columns * CELL_US / 1e6))
