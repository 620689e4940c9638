"""Golden feature worlds as files, for engines that read."""

from __future__ import annotations

from pathlib import Path

import yaml
from test_oracle import world_of

from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.testing.worlds import INT, TEXT, Labels, Table, World

TIME = ColumnType("timestamp")


def golden_world(path: Path) -> World:
    """A golden world as files."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    events, assertions, task = world_of(document)
    ids = TEXT if any(isinstance(one.event_id, str) for one in events) else INT
    tables = []
    for source in task.closure.sources:
        rows = tuple({"event_id": one.event_id, "at": one.ts_us, **one.values} for one in events if one.source == source.name)
        kinds = {field.name: field.type for field in source.fields}
        if rows:
            tables.append(Table(source.event_types[0], "parquet", {"event_id": ids, "at": TIME, **kinds}, rows, ids))
    kinds = {"event": INT, "value": TEXT, "observed": TIME, "effective": TIME, "source": TEXT, "id": TEXT, "supersedes": TEXT}
    labels = [Labels(name, Table(name, "parquet", kinds, tuple(
        {"event": one.subject, "value": one.value, "observed": one.observed_us, "effective": one.effective_us, "source": one.source,
         "id": one.assertion_id, "supersedes": one.supersedes} for one in assertions if one.label_type == name)))
        for name in task.labels.types]
    return World(task, tuple(tables), tuple(labels))
