"""Whole builds from a real bus, through the command line: the same dataset for as long as the bus, or an archive, has its log."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))
from kafka_broker import PASSWORD, READER
from topic_plane import PARTITIONS, make_topic_plane, of_partition, payments

from offline_feature_plane.__main__ import run as command
from offline_feature_plane.sources.kafka.stretch import TopicStretch
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.envelopes import envelope, log_time_ms


def asked(capsys, *arguments, status=0):
    """The JSON document of a command."""
    found, told = command([*map(str, arguments), "--json"]), capsys.readouterr().out
    assert found == status, told[:2_000]
    return json.loads(told)


def written(broker, topic, records, *, commit=None):
    """Write records as an ordinary producer does, partition by partition; with `commit`, the first thirty in a transaction."""
    for partition in range(PARTITIONS):
        mine = of_partition(records, partition)
        broker.produce(topic, [envelope(one) for one in mine], partition=partition, times=[log_time_ms(one) for one in mine])
        if commit is not None:
            broker.transact(topic, [envelope(one) for one in mine[:2]], partition=partition, commit=commit)


@pytest.fixture
def topic(broker):
    """A topic with the payments."""
    made = broker.new_topic("open", partitions=PARTITIONS)
    written(broker, made, payments(), commit=False)
    return made


def mapped(topic, **entry):
    """How plane.yaml maps it."""
    return {"topic": topic, "event_type": "transaction", **entry}


def test_a_pinned_intent_gives_the_same_dataset_when_the_bus_has_gone_on(broker, topic, tmp_path, monkeypatch, capsys):
    """`ofs pin` writes the ranges down; what comes later, and what is built from scratch elsewhere, changes nothing."""
    plane = make_topic_plane(tmp_path / "p", broker.address(), **mapped(topic))
    monkeypatch.chdir(plane.folder)
    assert command(["pin", "intent.yaml"]) == 0
    Path("pinned.yaml").write_text(capsys.readouterr().out)
    planned = asked(capsys, "plan", "pinned.yaml")
    (events,) = (one for one in planned["sources"] if one["kind"] == "bus")
    assert all(int(one["end_offset"]) <= int(one["last_stable"]) <= int(one["end"]) for one in events["bus"])
    assert all(one["first_leader_epoch"] is not None and one["last_leader_epoch"] is not None for one in events["bus"])
    built = asked(capsys, "build", "pinned.yaml")
    written(broker, topic, payments()[:90], commit=True)  # as an ordinary producer that tries again
    broker.kill()
    broker.start()
    assert asked(capsys, "build", "pinned.yaml", "--recompute")["dataset_manifest_id"] == built["dataset_manifest_id"]
    plane.plane["store"], plane.plane["ledger"] = "elsewhere", "elsewhere.sqlite"
    plane.documents()
    again = asked(capsys, "build", "pinned.yaml")
    assert (again["dataset_manifest_id"], again["content_digest"]) == (built["dataset_manifest_id"], built["content_digest"])
    later = asked(capsys, "build", "intent.yaml")  # not pinned: everything that is settled by now, its duplicates counted
    assert later["dataset_manifest_id"] != built["dataset_manifest_id"]
    assert later["content_digest"] == built["content_digest"]


def test_what_retention_takes_is_refused_until_an_archive_has_it(broker, topic, tmp_path, monkeypatch, capsys):
    """A dataset can be built again as long as somebody has its log: the bus, or an archive of the same log."""
    plane = make_topic_plane(tmp_path / "p", broker.address(), **mapped(topic))
    monkeypatch.chdir(plane.folder)
    assert command(["pin", "intent.yaml"]) == 0
    Path("pinned.yaml").write_text(capsys.readouterr().out)
    built = asked(capsys, "build", "pinned.yaml")
    for partition in range(PARTITIONS):
        broker.delete_records(topic, partition, 50)
    gone = asked(capsys, "plan", "pinned.yaml", status=3)
    assert gone["error"]["code"] == "REPLAY_BASIS_GAP"
    log_id = asked(capsys, "plan", "intent.yaml")["sources"][0]["log_id"]
    plane.plane["archives"] = {"transaction": {"path": "archive", **mapped(topic)}}
    plane.documents()
    write_archive(plane.folder / "archive", [one | {"topic": topic} for one in payments() if int(one["offset"]) < 60], per_segment=20,
                  log_id=log_id)
    again = asked(capsys, "build", "pinned.yaml", "--recompute")
    assert again["dataset_manifest_id"] == built["dataset_manifest_id"]


def test_a_topic_that_was_made_anew_is_not_the_pinned_one(broker, tmp_path, monkeypatch, capsys):
    """The same name, the same records, and another log."""
    topic = broker.new_topic("open", partitions=PARTITIONS)
    written(broker, topic, payments())
    plane = make_topic_plane(tmp_path / "p", broker.address(), **mapped(topic))
    monkeypatch.chdir(plane.folder)
    assert command(["pin", "intent.yaml"]) == 0
    Path("pinned.yaml").write_text(capsys.readouterr().out)
    broker.delete_topic(topic)
    assert asked(capsys, "plan", "pinned.yaml", status=3)["error"]["code"] == "SOURCE_UNREADABLE"
    broker.new_topic(topic, unique=False, partitions=PARTITIONS)
    written(broker, topic, payments())
    assert asked(capsys, "plan", "pinned.yaml", status=3)["error"]["code"] == "REPLAY_BASIS_MISMATCH"


def test_a_span_of_log_time_is_resolved_once_and_recorded(broker, topic, tmp_path, monkeypatch, capsys):
    """A selector in the intent becomes ranges of the plan, by the broker's index of times; beyond what is settled it is refused."""
    plane = make_topic_plane(tmp_path / "p", broker.address(), **mapped(topic))
    plane.intent["replay_basis"] = [{"topic": "transaction", "from_utc": "2026-01-01T00:00:00Z", "to_utc": "2026-02-15T00:00:00Z"}]
    plane.intent["splits"] = {"train": ["2026-01-03", "2026-01-25"], "test": ["2026-02-01", "2026-02-10"]}
    plane.documents()
    monkeypatch.chdir(plane.folder)
    planned = asked(capsys, "plan", "intent.yaml")
    assert [(one["start_offset"], one["end_offset"]) for one in planned["sources"][0]["ranges"]] == [("0", "60")] * 3
    built = asked(capsys, "build", "intent.yaml")
    receipt = json.loads(next((plane.folder / "store").glob("*/ofs/receipts/*/*/replay.json")).read_text())["facts"]["completeness"]
    assert (receipt["evidence_kind"], receipt["status"]) == ("broker_read", "COMPLETE")
    assert receipt["selectors"][0]["to_utc"] == "2026-02-15T00:00:00.000000Z"
    assert all(one["segments"][0]["last_record"]["leader_epoch"] is not None for one in receipt["ranges"])
    assert asked(capsys, "verify", built["dataset_manifest_id"])
    plane.intent["replay_basis"][0]["to_utc"] = "2199-01-01T00:00:00Z"
    plane.documents()
    assert asked(capsys, "plan", "intent.yaml", status=3)["error"]["code"] == "SELECTOR_UNRESOLVED"


def test_a_build_over_tls_by_an_account_that_may_only_read(broker, topic, tmp_path, monkeypatch, capsys):
    """What is named in plane.yaml is read where it is; the password stands nowhere in what is stored or said."""
    plane = make_topic_plane(tmp_path / "p", broker.address("sasl_tls"), **mapped(topic, security={
        "tls": True, "ca_file": "ca.pem", "mechanism": "SCRAM-SHA-512", "username": READER, "password_file": "bus.password"}))
    (plane.folder / "ca.pem").write_text(broker.certificate.read_text())
    (plane.folder / "bus.password").write_text(PASSWORD)
    monkeypatch.chdir(plane.folder)
    assert asked(capsys, "build", "intent.yaml")["dataset_manifest_id"]
    (plane.folder / "bus.password").unlink()
    for path in plane.folder.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path


def test_records_that_nobody_can_read_are_counted_and_refused_for_training(broker, topic, tmp_path, monkeypatch, capsys):
    """A dataset for another purpose says how many there are, and that it may not be learned from."""
    broker.produce(topic, [b"{", None, b'{"event_id": 5}'], partition=1)
    plane = make_topic_plane(tmp_path / "p", broker.address(), **mapped(topic))
    monkeypatch.chdir(plane.folder)
    refused = asked(capsys, "build", "intent.yaml", status=3)["error"]
    assert refused["code"] == "REPLAY_INCOMPLETE"
    assert "2 records of the basis cannot be decoded" in refused["what"]
    plane.intent["non_training_allowed"] = True
    plane.documents()
    built = asked(capsys, "build", "intent.yaml")
    shown = asked(capsys, "show", built["dataset_manifest_id"])
    accounting = json.loads(plane.manifests()[0].read_text())["core"]["row_accounting"]
    assert (accounting["undecodable"], accounting["null_value"]) == (2, 1)
    assert shown


def test_a_bus_that_dies_under_a_build_costs_an_attempt_and_no_dataset(broker, topic, tmp_path, monkeypatch, capsys):
    """The run waits with its failure recorded, the same command goes on with it, and the dataset is the one of a quiet day.

    ```
    attempt 1   plan ── check ── × killed          attempt 2   plan ── check ── replay ── … ── published
    ```
    """
    plane = make_topic_plane(tmp_path / "p", broker.address(), **mapped(topic, timeout_s=2))
    monkeypatch.chdir(plane.folder)
    checked = TopicStretch.check

    def check_and_die(stretch):
        checked(stretch)
        if broker.is_alive:
            broker.kill()

    with monkeypatch.context() as patched:
        patched.setattr(TopicStretch, "check", check_and_die)
        refused = asked(capsys, "build", "intent.yaml", status=7)["error"]
    assert refused["code"] == "EVENT_BUS_UNAVAILABLE"
    assert refused["path"].startswith(("transaction", topic))
    assert not plane.manifests()
    receipts = [json.loads(path.read_text()) for path in (plane.folder / "store").glob("*/ofs/receipts/*/1/replay*.json")]
    assert [one["status"] for one in receipts] == ["FAILED"]
    assert not plane.leftovers()
    broker.start()
    built = asked(capsys, "build", "intent.yaml")
    (run,) = asked(capsys, "runs")
    assert (run["state"], run["attempt"]) == ("DONE", 2)
    plane.plane["store"], plane.plane["ledger"] = "quiet", "quiet.sqlite"
    plane.documents()
    assert asked(capsys, "build", "intent.yaml")["dataset_manifest_id"] == built["dataset_manifest_id"]
