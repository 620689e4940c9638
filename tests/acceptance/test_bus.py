"""A plane whose events are on a bus (librdkafka's mock of one): asked through the command line, and refused with a place and advice."""

import json
import sys
from pathlib import Path

import pytest
from answers import ask
from mock_cluster import MockCluster
from topic_plane import make_topic_plane, payments

from offline_feature_plane.__main__ import run as command
from offline_feature_plane.errors import RequestCommandUnsupported
from offline_feature_plane.plane import open_plane
from offline_feature_plane.testing.archives import write_archive
from offline_feature_plane.testing.envelopes import envelope, log_time_ms

NAMED = {"log_id": "log1", "cleanup_policy": "delete"}  # what a mock cannot be asked


@pytest.fixture(scope="module")
def cluster():
    """A cluster with the payments."""
    made = MockCluster()
    for one in payments():
        made.produce("transaction", one["partition"], envelope(one), log_time_ms(one))
    return made


def answered(capsys, *arguments):
    """The JSON document of a command that succeeds."""
    assert command([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_dataset_from_a_bus_is_the_one_from_its_archive(tmp_path, cluster, monkeypatch, capsys):
    """Which holder a log is read from means nothing: the same id, the same content, and it is published once."""
    plane = make_topic_plane(tmp_path / "p", cluster.address, **NAMED)
    monkeypatch.chdir(plane.folder)
    planned = answered(capsys, "plan", "intent.yaml")
    (events,) = (one for one in planned["sources"] if one["kind"] != "labels")
    assert (events["kind"], events["log_id"], events["read_by"]) == ("bus", "log1", "kafka@1")
    assert [(one["partition"], one["start_offset"], one["end_offset"], one["last_stable"]) for one in events["bus"]] == [
        (0, "0", "67", "67"), (1, "0", "67", "67"), (2, "0", "66", "66")]
    assert planned["estimate"]["events"] == 200
    assert command(["plan", "intent.yaml"]) == 0
    assert "≤ 200" in capsys.readouterr().out  # of a kind whose offsets may skip
    built = answered(capsys, "build", "intent.yaml")
    assert answered(capsys, "verify", built["dataset_manifest_id"])
    write_archive(plane.folder / "archive", payments(), per_segment=30)
    del plane.plane["kafka"]
    plane.plane["archives"] = {"transaction": {"path": "archive"}}
    plane.documents()
    again = answered(capsys, "build", "intent.yaml", "--recompute")
    assert again["dataset_manifest_id"] == built["dataset_manifest_id"]
    assert len(plane.manifests()) == 1


def test_every_engine_reads_a_bus_alike(tmp_path, cluster):
    """The oracle and the local engine give one content."""
    plane = make_topic_plane(tmp_path / "p", cluster.address, **NAMED)
    found = []
    for engine in ("local", "oracle"):
        plane.plane["store"], plane.plane["ledger"] = f"store-{engine}", f"ledger-{engine}.sqlite"
        plane.documents()
        built = open_plane(plane.folder / "plane.yaml", **{"engine.name": engine}).build(plane.intent_path)
        found.append((built.manifest.core.content_digest, built.manifest.core.events_digest))
    assert found[0] == found[1]


def test_a_bus_that_is_not_there_is_said_so(tmp_path, monkeypatch, capsys):
    """Exit status 7, transient, with the topic, and nothing left behind."""
    plane = make_topic_plane(tmp_path / "p", "127.0.0.1:9", **(NAMED | {"timeout_s": 1}))
    monkeypatch.chdir(plane.folder)
    for verb in ("plan", "build"):
        said = ask(capsys, verb, "intent.yaml")
        assert (said.status, said.error["code"], said.error["path"]) == (7, "EVENT_BUS_UNAVAILABLE", "transaction")
    assert not plane.manifests()


def test_a_secret_that_is_named_and_not_there_is_said_so(tmp_path, monkeypatch, capsys):
    """Before anybody is reached."""
    security = {"mechanism": "PLAIN", "username": "u", "password_env": "NO_SUCH_SECRET"}
    plane = make_topic_plane(tmp_path / "p", "127.0.0.1:9", security=security)
    monkeypatch.chdir(plane.folder)
    said = ask(capsys, "plan", "intent.yaml")
    assert (said.status, said.error["code"]) == (2, "SETTINGS_INVALID")
    assert "NO_SUCH_SECRET" in said.text


def test_without_the_driver_it_is_said_what_to_install(tmp_path, monkeypatch):
    """A plane with a topic but without confluent-kafka is refused with the command that installs it; another never misses it."""
    plane = make_topic_plane(tmp_path / "p", "127.0.0.1:9")
    for name in [name for name in sys.modules if name.startswith(("confluent_kafka", "offline_feature_plane.sources.kafka.cluster"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(RequestCommandUnsupported, match="driver is not installed") as refused:
        open_plane(plane.folder / "plane.yaml").plan(plane.intent_path)
    assert "pip install 'offline-feature-plane[kafka]'" in refused.value.fix


@pytest.mark.parametrize(("entry", "place", "word"), [
    ({"servers": "kafka://b:9092"}, "$.kafka.transaction.servers", "without a scheme"),
    ({"servers": "u:hunter2@b:9092"}, "$.kafka.transaction.servers", "without credentials"),
    ({"servers": "b"}, "$.kafka.transaction.servers", "org:9092"),
    ({"servers": "b:99999"}, "$.kafka.transaction.servers", "servers"),
    ({"security": {"password": "hunter2"}}, "$.kafka.transaction.security.password", "password_env"),
    ({"password": "hunter2"}, "$.kafka.transaction.password", "password_file"),
    ({"security": {"mechanism": "PLAIN", "username": "u"}}, "$.kafka.transaction.security", "password_env"),
    ({"security": {"mechanism": "PLAIN", "username": "u", "password_env": "hunter2!"}}, "$.kafka.transaction.security.password_env",
     "variable"),
    ({"security": {"username": "u"}}, "$.kafka.transaction.security", "mechanism"),
    ({"security": {"ca_file": "ca.pem"}}, "$.kafka.transaction.security", "tls: true"),
    ({"security": {"tls": True, "ca_file": "s3://b/ca.pem"}}, "$.kafka.transaction.security.ca_file", "local"),
    ({"security": {"tls": True, "key_file": "k.pem"}}, "$.kafka.transaction.security", "go together"),
    ({"security": {"mechanism": "GSSAPI"}}, "$.kafka.transaction.security.mechanism", "SCRAM"),
    ({"event_type": "x"}, "$.kafka.transaction", "topic"), ({"topic": "a b"}, "$.kafka.transaction.topic", "not a topic"),
    ({"timeout_s": 0}, "$.kafka.transaction.timeout_s", "1"), ({"brokers": "b:1"}, "$.kafka.transaction.brokers", "servers")], ids=str)
def test_what_plane_yaml_says_of_a_topic_is_checked_where_it_stands(tmp_path, monkeypatch, capsys, entry, place, word):
    """Every slip at its place with advice; what may be a secret is never repeated."""
    plane = make_topic_plane(tmp_path / "p", "127.0.0.1:9")
    plane.plane["kafka"]["transaction"] |= entry
    plane.documents()
    monkeypatch.chdir(plane.folder)
    said = ask(capsys, "plan", "intent.yaml")
    assert said.status == 2
    told = json.dumps(said.error) + said.text
    assert place in told
    assert word in told
    assert "hunter2" not in told


def test_one_name_is_one_log(tmp_path, monkeypatch, capsys):
    """A topic has no table's name, and an archive of its name says the same of their log."""
    plane = make_topic_plane(tmp_path / "p", "127.0.0.1:9", zone="Europe/Berlin")
    plane.plane["archives"] = {"transaction": {"path": "archive", "zone": "UTC"}}
    plane.documents()
    monkeypatch.chdir(plane.folder)
    said = ask(capsys, "plan", "intent.yaml")
    assert "$.kafka.transaction.zone" in json.dumps(said.error)
    plane.plane["events"] = {"transaction": {"path": "t.parquet", "time": "t"}}
    plane.documents()
    assert "there is already a table of this name" in ask(capsys, "plan", "intent.yaml").text


def test_files_of_a_topic_are_found_beside_plane_yaml(tmp_path):
    """Like every path of the settings."""
    plane = make_topic_plane(tmp_path / "p", "b:9092", security={"tls": True, "ca_file": "certificates/ca.pem"})
    found = open_plane(plane.folder / "plane.yaml").settings.kafka["transaction"].security
    assert Path(str(found.ca_file)) == plane.folder.resolve() / "certificates/ca.pem"
