"""What a build reads and about what it costs here: the parts of a plan that decide nothing."""

from __future__ import annotations

from collections.abc import Sequence

from offline_feature_plane.contracts.plan import Estimate, SourcePlan
from offline_feature_plane.domain.closure import Closure
from offline_feature_plane.domain.footprint import held_bytes, scanned_bytes
from offline_feature_plane.domain.visibility import Visibility

# Measured on two cores: a fixed part for starting, then per event for moving it and per event and column for computing and writing; per
# record of a log for decoding it, hashing it, and looking for its key among all others.
START_S, EVENT_US, CELL_US, RECORD_US = 2, 1.0, 0.07, 6.0


def estimate(sources: Sequence[SourcePlan], closure: Closure, visibility: Visibility, *, text_ids: bool) -> Estimate:
    """Roughly how long and how large the build will be; `text_ids`: are its rows known to be called by texts? Those of a log are."""
    events = sum(source.most_rows for source in sources if source.kind != "labels")
    records = sum(source.most_rows for source in sources if source.kind not in {"labels", "plain_table"})
    labels = sum(source.most_rows for source in sources if source.kind == "labels")
    labels += sum(source.marker.assertions for source in sources if source.marker is not None)
    columns = len(closure.columns())
    return Estimate(events=events, labels=labels, feature_columns=columns,
                    input_bytes=sum(file.size_bytes for source in sources for file in source.files),
                    memory_bytes=held_bytes(closure, events, labels, visibility, text_ids=text_ids or records > 0)
                    + scanned_bytes(closure, records),
                    seconds=round(START_S + ((events + labels) * EVENT_US + events * columns * CELL_US + records * RECORD_US) / 1e6))
