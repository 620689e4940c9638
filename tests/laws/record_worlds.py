"""Logs of few ids, many of which come again, as archives, and everything that their history says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from offline_feature_plane.domain.closure import Closure, Field, Source
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.rows import LabelTask, Task
from offline_feature_plane.sources.archives.source import ArchiveMapping, ArchiveSource
from offline_feature_plane.testing.archives import ArchiveWriter, archived, write_mixed_archive

SOURCES = (Source("pay", ("a", "b"), (Field("who", ColumnType("string"), ("who",)), Field("cents", ColumnType("int64"), ("cents",)))),
           Source("login", ("c",), (Field("who", ColumnType("string"), ("who",), nullable=True),)))


def task(visibility="event_time"):
    """A task over two sources."""
    return replace(Task("run1", (), Closure("p", "r", "s", "v1", SOURCES, (), (), ()), "pay", None, (), LabelTask(0, "r", ()), None, None,
                        "mark", (), None), visibility=visibility)


@st.composite
def logs(draw):
    """Records of two topics with ids of few, so that many come again; some are of no source, of another run, deleted, or no JSON."""
    found = []
    offsets = {}
    for _ in range(draw(st.integers(1, 40))):
        topic, partition = draw(st.sampled_from(["t1", "t2"])), draw(st.integers(0, 1))
        offset = offsets[topic, partition] = offsets.get((topic, partition), -1) + draw(st.integers(1, 3))
        event_id, kind = f"e{draw(st.integers(0, 15))}", draw(st.sampled_from(["a", "b", "c", "d"]))
        # what is said follows from the id, so that repeats are equal
        said = {"who": f"w{event_id[1:]}", "cents": len(event_id)}
        run, payload = draw(st.sampled_from(["run1"] * 6 + ["run2"])), draw(st.sampled_from([said] * 6 + [None]))
        found.append(archived(event_id, int(event_id[1:]) // 3 * 1_000_000, payload, topic=topic, partition=partition, offset=offset,
                              event_type=kind, platform_run_id=run, log_us=draw(st.integers(0, 5)) * 1_000_000))
    return found


def pinned(root, written, forms, per_file=None):
    """The records as an archive, pinned, by topic; with `per_file` its files hold so many records of whatever partitions."""
    if per_file is not None:
        write_mixed_archive(root, written, per_file=per_file, form=forms[0])
    else:
        with ArchiveWriter(root, per_segment=7, form=forms) as out:
            for one in written:
                out.add(one)
    topics = sorted({one["topic"] for one in written})
    source = ArchiveSource({topic: ArchiveMapping(root) for topic in topics})
    pins = [source.pin(topic) for topic in topics]
    return [one.reading(one.ranges(), SOURCES) for one in pins]


def told(history, facts):
    """Everything that events and facts say."""
    events = history.window(0, history.n)
    return (facts, events.ts.tolist(), events.source.tolist(), history.ids.slice(0, history.n).to_pylist(),
            {key: [None if value.valid is not None and not value.valid[at] else value.data[at] if value.dictionary is None
                   else value.dictionary[int(value.data[at])].as_py() for at in range(len(value.data))]
             for key, value in events.fields.items()},
            None if events.arrivals is None else (events.arrivals.at.tolist(), events.arrivals.place.tolist()))
