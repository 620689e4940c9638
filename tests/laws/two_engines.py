"""What the engines say of one task over the same files, for tests that hold them against each other."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from offline_feature_plane.domain.closure import Aggregation, Closure, Computed, Feature, Field, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.domain.rows import LabelTask, Target, Task
from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.errors import OfsError
from offline_feature_plane.labelstores.files import pin_labels
from offline_feature_plane.labelstores.mapping import mapping_from
from offline_feature_plane.leaves import leaves_of, settle
from offline_feature_plane.sources.files import TableMapping, pin_table

SMALL = Sizes(block=3, run_rows=5, ids=10, merge_total=8, index=2, data=500)


def tell(engine: Any, task: Task, events: Any, labels: Any, folder: Path) -> dict[str, Any]:
    """Everything an engine says about a task: facts, columns, rows and leaf digests, or the code of its error."""
    work = folder / f"work-{engine.name}"
    work.mkdir(parents=True)
    said: dict[str, Any] = {}
    try:
        with engine.session(task, work=work, threads=2) as session:
            said["replay"] = asdict(session.replay(events))
            said["labels"] = asdict(session.labels(labels))
            said["of events"] = told_of(session, sorted(said["labels"]["sketches"]), said["replay"]["events_admitted"])
            said["selection"] = asdict(session.select())
            said["columns"] = session.columns()
            batches = list(session.rows())
            said["hidden"] = session.rows_with_hidden_events()
            digested = session.leaves()
    except OfsError as wrong:
        return {"error": wrong.code}
    if not batches:
        return {**said, "rows": []}
    settled = pa.Table.from_batches([settle(said["columns"], pa.Table.from_batches([one])) for one in batches])
    batch = settle(said["columns"], settled)
    said["rows"] = [{name: repr(value) for name, value in row.items()} for row in batch.to_pylist()]
    said["leaves"] = leaves_of(said["columns"], batch)
    assert digested is None or list(digested) == said["leaves"]
    return said


def hold_together(world: Any, seed: int) -> dict[str, Any]:
    """What the oracle, the local engine and the local engine in small files all say of the world of a seed, its errors included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events, labels = world.write(folder)
        expected, *others = (tell(engine, world.task, events, labels, folder / str(number)) for number, engine in enumerate((
            OracleEngine(), LocalEngine(), LocalEngine(SMALL))))
    for found in others:
        for part in expected | found:
            assert found.get(part) == expected.get(part), f"seed {seed}: {part}"
    return expected


def told_of(session: Any, label_types: list[str], events: int) -> list[Any]:
    """What a session says of the labels of its first and last events, as values that can be compared."""
    positions = sorted({place for place in (0, 1, events // 2, events - 1) if 0 <= place < events})
    return [(name, one.position, one.event_id, sorted(repr((said.value, said.observed_us, said.effective_us, said.source, said.assertion_id,
                                                            said.supersedes)) for said in one.assertions))
            for name in label_types for one in session.labels_of(name, positions)]


def ask_both(folder: Path, task: Task, tables: dict[str, Any], labels: dict[str, Any] | None = None) -> dict[str, Any]:
    """What both engines say of files as plane.yaml maps them; they must say one thing. `tables` holds arguments of a TableMapping."""
    pinned = [pin_table(name, TableMapping(**mapping)) for name, mapping in tables.items()]
    timelines = [] if labels is None else [pin_labels(mapping_from(labels, "fraud"), folder)]
    expected, found = (tell(engine, task, pinned, timelines, folder / str(len(list(folder.iterdir())))) for engine in (
        OracleEngine(), LocalEngine()))
    assert found == expected
    return found


def label_task(sources: tuple[str, ...] = ("tx",), asof_us: int = 10**15) -> Task:
    """Rows of `tx` with a target and, by key and source, how many events in the past are known as FRAUD at each row."""
    text = ColumnType("string")
    groups = tuple(Group(f"of_{name}", "v1", name, ("who",), None, False, 0, "skip", (
        Feature(f"of_{name}__bad", Aggregation("label_count", None, "fraud", ("FRAUD",)), Window("lifetime", "lifetime"),
                ColumnType("int64")),)) for name in sources)
    held = tuple(Source(name, (name,), (Field("who", text, ("who",)),)) for name in sources)
    closure = Closure("p", "1", "s", "v1", held, groups, (), ())
    return Task("run", (), closure, "tx", None, (), LabelTask(asof_us, "latest_observed.v1", ("fraud",)),
                Target("fraud", ("FRAUD",), None, "negative_when_mature"), None, "allow", (), None)


def field_task(*fields: Field, computed: dict[str, str] | None = None) -> Task:
    """Rows of `tx` with each field as it is, or with expressions over them, and no labels."""
    scope = {field.name: field.type for field in fields} | {"ts": ColumnType("timestamp")}
    made = {name: parse(text, scope) for name, text in (computed or {f"is_{field.name}": field.name for field in fields}).items()}
    closure = Closure("p", "1", "s", "v1", (Source("tx", ("tx",), fields),), (),
                      tuple(Computed(name, one, one.type) for name, one in made.items()), ())
    return Task("run", (), closure, "tx", None, (), LabelTask(0, "latest_observed.v1", ()), None, None, "allow", (), None)
