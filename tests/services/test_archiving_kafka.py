"""A topic of a real broker, archived by `ofs archive write`: the archive proves what the broker had when the broker has nothing left."""

import json
from itertools import pairwise

from test_across_the_cut_of_kafka import payments, pieces, world  # noqa: F401 - `world` is a fixture

from offline_feature_plane.__main__ import run
from offline_feature_plane.testing.envelopes import envelope


def archive(one, *arguments):
    """Archive what its bus has by now; the document of the command."""
    one.plane.documents()
    assert run(["archive", "write", str(one.folder / "archive"), "--topic", "transaction", "--plane", str(one.folder / "plane.yaml"),
                *arguments]) == 0


def covered(one):
    """What the index covers, as one stretch of (first, next), and by how many records."""
    segments = json.loads((one.folder / "archive/index.json").read_text())["segments"]
    assert all(left["next_offset"] == right["first_offset"] for left, right in pairwise(segments))
    assert {segment["log_id"] for segment in segments} == {one.log_id}
    return int(segments[0]["first_offset"]), int(segments[-1]["next_offset"]), sum(segment["record_count"] for segment in segments)


def test_an_archive_of_a_topic_stands_in_for_it(world, capsys):  # noqa: F811 - the fixture
    """Transactions that were committed and aborted, a deletion and a value that is no envelope; then retention takes all of it.

    broker   60 · 10 [commit] · 5 aborted [abort] · null · garbage · 40      archived in two runs, then deleted
    """
    log = world()
    log.produce(range(60))
    log.broker.transact(log.stored, [envelope(one) for one in payments(range(60, 70))])
    archive(log, "--segment-records", "25")
    assert covered(log) == (0, 71, 70)  # the marker of the commit is covered, and holds nothing
    log.broker.transact(log.stored, [envelope(one) for one in payments(range(70, 75))], commit=False)
    log.broker.produce(log.stored, [None, b"garbage"])
    log.produce(range(70, 110))
    end = 71 + 6 + 2 + 40
    log.asks_for(0, end)
    log.plane.intent["non_training_allowed"] = True
    bus_only = log.plane.plane.pop("archives")
    built = log.build()
    assert pieces(built) == [("bus", 0, end)]
    log.plane.plane["archives"] = bus_only
    archive(log)
    assert covered(log) == (0, end, 112)
    before = (log.folder / "archive/index.json").read_bytes()
    archive(log)
    assert (log.folder / "archive/index.json").read_bytes() == before
    log.broker.delete_records(log.stored, 0, end)
    del log.plane.plane["kafka"]
    again = log.opened().build(log.plane.intent_path, recompute=True)
    assert (again.outcome, again.manifest.core) == ("REPRODUCED", built.manifest.core)


def test_what_is_too_long_is_undecodable_wherever_it_stands(world):  # noqa: F811 - the fixture
    """The longest envelope that decodes on a bus decodes when it was archived; one that is longer does on neither, and stands in no way.

    broker   10 · 16,000,000 bytes · 16,000,001 · 40 MB · 10
    """
    log = world(max_message_bytes=64 << 20)
    log.produce(range(10))
    spare = payments([10], note="")[0]
    least = len(envelope(spare))
    values = [envelope(payments([10 + n], note="x" * (size - least))[0]) for n, size in enumerate((16_000_000, 16_000_001, 40_000_000))]
    assert [len(one) for one in values] == [16_000_000, 16_000_001, 40_000_000]
    log.broker.produce(log.stored, values, message_max_bytes=64 << 20, compression_type="lz4")
    log.produce(range(13, 23))
    log.asks_for(0, 23)
    log.plane.intent |= {"non_training_allowed": True, "splits": {"all": ["2026-01-01", "2026-01-25"]}}
    archives = log.plane.plane.pop("archives")
    built = log.build()
    assert built.manifest.core.row_accounting["undecodable"] == 2
    log.plane.plane["archives"] = archives
    archive(log)
    assert covered(log) == (0, 23, 23)
    both = log.opened(verify_overlap="full").build(log.plane.intent_path, recompute=True)
    assert both.manifest.core == built.manifest.core
    log.broker.delete_records(log.stored, 0, 23)
    del log.plane.plane["kafka"]
    assert log.opened().build(log.plane.intent_path, recompute=True).manifest.core == built.manifest.core


def test_a_topic_that_was_made_anew_is_another_log(world, capsys):  # noqa: F811 - the fixture
    """Its offsets begin anew, and would lie about those that are archived."""
    log = world()
    log.produce(range(5))
    archive(log)
    log.broker.delete_topic(log.stored)
    log.broker.new_topic(log.stored, unique=False)
    log.produce(range(3))
    assert run(["archive", "write", str(log.folder / "archive"), "--topic", "transaction", "--plane", str(log.folder / "plane.yaml")]) == 5
    assert "ARCHIVE_INDEX_CONFLICT" in capsys.readouterr().err
