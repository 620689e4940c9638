"""Looking without publishing: the same plan, replay, labels and kernels, some rows, nothing written (`decisions.md` G)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from offline_feature_plane.arrow_types import arrow_schema
from offline_feature_plane.corridor.anomalies import refuse_conflicts
from offline_feature_plane.corridor.gates import judge_records
from offline_feature_plane.corridor.plan import Planned
from offline_feature_plane.corridor.steps import Machine, fetch_labels
from offline_feature_plane.corridor.workfolders import scratch
from offline_feature_plane.domain.columns import Column
from offline_feature_plane.domain.gaps import DeclaredGap
from offline_feature_plane.errors import SourceColumnUnknown
from offline_feature_plane.ports import Progress


@dataclass(frozen=True)
class Preview:
    """Some rows of a dataset that was not published; `lacks` is what is declared to be missing of its basis.

    `warnings` are sentences about records of the basis that cannot be decoded: of those a build is refused, or tells.
    """

    table: pa.Table
    columns: tuple[Column, ...]
    rows_in_dataset: int
    lacks: tuple[DeclaredGap, ...] = ()
    warnings: tuple[str, ...] = ()


def preview(planned: Planned, machine: Machine, folder: Path, *, rows: int, keys: Mapping[str, str], progress: Progress) -> Preview:
    """The first rows, or the first rows of which every column in `keys` shows this value.

    Args:
        planned: what would be built.
        machine: brings the engine.
        folder: for scratch files.
        rows: how many rows to return at most.
        keys: column name → value as text.
        progress: called as (step, done, total).

    Raises:
        SourceColumnUnknown: no column of this name.
    """
    with scratch(folder / "scratch") as spill, machine.session(planned.task, spill, progress) as session:
        replayed = session.replay(planned.events)
        refuse_conflicts(planned, replayed)
        session.labels(fetch_labels(planned, spill))
        total = session.select().accounting.get("row", 0)
        columns = session.columns()
        names = [column.name for column in columns]
        if unknown := [name for name in keys if name not in names]:
            raise SourceColumnUnknown(f"the dataset has no column {', '.join(unknown)}.", fix=f"Its columns: {', '.join(names)}.")
        kept: list[pa.RecordBatch] = []
        schema = arrow_schema(columns)
        for batch in session.rows(None if keys else rows):
            plain = pa.Table.from_batches([batch]).cast(schema)
            for name, value in keys.items():
                plain = plain.filter(pc.equal(plain[name].cast(pa.string()), value))
            kept += plain.to_batches()
            if sum(one.num_rows for one in kept) >= rows:
                break
        end = "; a training is refused" if planned.use == "training" else ""
        return Preview(pa.Table.from_batches(kept, schema=schema).slice(0, rows), columns, total, planned.completeness.gaps,
                       tuple(f"{sentence}{end}." for sentence in judge_records(planned, replayed).sentences))
