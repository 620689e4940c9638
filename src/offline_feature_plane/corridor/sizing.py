"""What a build reads and about what it costs here: the parts of a plan that decide nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from offline_feature_plane.contracts.plan import Estimate, SourceFile, SourcePlan
from offline_feature_plane.domain.basis import Range, describe_basis
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.completeness import SegmentEvidence
from offline_feature_plane.ports import LabelTable, PinnedFile, PlainTable

# Measured on two cores: a fixed part for starting, then per event for moving it and per event and column for computing and writing.
START_S, EVENT_US, CELL_US = 2, 1.0, 0.07
START_BYTES, EVENT_BYTES, FIELD_BYTES, GROUP_BYTES = 500_000_000, 40, 9, 60


def list_sources(tables: Iterable[PlainTable], archives: Iterable[tuple[str, Sequence[SegmentEvidence]]], labels: Iterable[LabelTable],
                 ranges: Sequence[Range]) -> list[SourcePlan]:
    """Where the events and labels of a build come from."""
    found = [SourcePlan(name=table.topic, kind="plain_table", log_id=table.log_id, files=_files(table.files), ranges=[])
             for table in tables]
    for topic, evidence in archives:
        mine = [one for one in ranges if one.topic == topic]
        used = [one for one in evidence if any(item.partition == one.partition and one.span[0] < item.end and item.start < one.span[1]
                                               for item in mine)]
        found.append(SourcePlan(name=topic, kind="archive", log_id=mine[0].log_id if mine else "",
                                files=[SourceFile(path=one.ref, sha256=one.sha256, rows=one.record_count, size_bytes=0) for one in used],
                                ranges=describe_basis(mine)))
    return [*found, *(SourcePlan(name=table.label_type, kind="labels", log_id=table.log_id, files=_files(table.files), ranges=[])
                      for table in labels)]


def estimate(sources: Sequence[SourcePlan], closure: Closure) -> Estimate:
    """Roughly how long and how large the build will be."""
    events = sum(file.rows for source in sources if source.kind != "labels" for file in source.files)
    labels = sum(file.rows for source in sources if source.kind == "labels" for file in source.files)
    columns, fields = len(closure.columns()), sum(len(source.fields) for source in closure.sources)
    return Estimate(events=events, labels=labels, feature_columns=columns,
                    input_bytes=sum(file.size_bytes for source in sources for file in source.files),
                    memory_bytes=START_BYTES + events * (EVENT_BYTES + FIELD_BYTES * fields + GROUP_BYTES * len(closure.groups)),
                    seconds=round(START_S + (events + labels) * EVENT_US / 1e6 + events * columns * CELL_US / 1e6))


def _files(files: Iterable[PinnedFile]) -> list[SourceFile]:
    return [SourceFile(path=file.relative, sha256=file.sha256, rows=file.rows, size_bytes=file.size) for file in files]
