"""How a cluster is reached: what is wrong with it is told by its place in plane.yaml, before anybody is called."""

import pytest
from s3_servers import free_ports

from offline_feature_plane.adapters import _secret, open_cluster
from offline_feature_plane.contracts.kafka import KafkaSecurity, KafkaTopic
from offline_feature_plane.errors import EventBusUnavailable, SettingsInvalid
from offline_feature_plane.sources.kafka.access import KafkaAccess


def access(servers="127.0.0.1:9", timeout_s=1, **security):
    """That of an entry `payments` of plane.yaml."""
    return KafkaAccess.of("payments", KafkaTopic(servers=servers, timeout_s=timeout_s, security=KafkaSecurity(**security)))


@pytest.mark.parametrize("setting", ["ca_file", "certificate_file"])
def test_a_file_that_is_not_there_is_named_with_its_setting(tmp_path, setting):
    """Which file of which topic, and why it cannot be read."""
    (tmp_path / "there.pem").write_text("")
    named = {"certificate_file": str(tmp_path / "there.pem"), "key_file": str(tmp_path / "there.pem")} if setting != "ca_file" else {}
    gone = str(tmp_path / "gone.pem")
    with pytest.raises(SettingsInvalid, match=r"gone\.pem cannot be read: No such file") as refused:
        open_cluster(access(tls=True, **(named | {setting: gone})))
    assert refused.value.path == f"kafka.payments.security.{setting}"


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"", "no text"), (b"\nsecret\n", "no text"), (b"\xff\n", "no text")])
def test_a_secret_that_is_no_secret_is_told_with_its_place(tmp_path, content, why):
    """No such file, nothing in it, an empty first line, bytes that are no text."""
    if content is not None:
        (tmp_path / "bus").write_bytes(content)
    with pytest.raises(SettingsInvalid, match=f"bus cannot be read: .*{why}") as refused:
        open_cluster(access(mechanism="PLAIN", username="u", password_file=str(tmp_path / "bus")))
    assert refused.value.path == "kafka.payments.security.password_file"


@pytest.mark.parametrize("content", [b"hunter2", b"hunter2\n", b"hunter2\r\n\r\n", b"\xef\xbb\xbfhunter2\n"])
def test_a_secret_is_the_first_line_as_editors_write_it(tmp_path, content):
    """With an end of line or without one, with a mark of its encoding or without."""
    (tmp_path / "bus").write_bytes(content)
    said = access(mechanism="PLAIN", username="u", password_file=str(tmp_path / "bus")).client(_secret)
    assert said["sasl.password"] == "hunter2"


@pytest.mark.parametrize(("host", "port", "why"), [("no-such-host.invalid", 9092, "Failed to resolve 'no-such-host.invalid:9092'"),
                                                   ("127.0.0.1", None, "Connection refused")])
def test_a_bus_that_is_away_is_told_with_what_the_driver_heard(host, port, why):
    """A name that nobody knows, a port on which nobody listens: which server, and why."""
    server = f"{host}:{port or free_ports(1)}"
    with pytest.raises(EventBusUnavailable, match=why) as away:
        open_cluster(access(server)).partitions("payments")
    assert server in away.value.what
    assert away.value.transient
    with pytest.raises(EventBusUnavailable, match=why):
        open_cluster(access(server)).topic_id("payments")
