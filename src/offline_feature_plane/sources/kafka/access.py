"""How a cluster is reached: what settings say, as its driver wants it. Secrets come in from the top floor, and stay out of messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.kafka import KafkaSecurity, KafkaTopic
from offline_feature_plane.errors import OfsError, SettingsInvalid
from offline_feature_plane.plain_files import open_regular

Secret = Callable[[str | None, str | None, str], str]

# Seconds between attempts to reach a server that is away.
_AGAIN_MS = {"reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 2_000, "socket.connection.setup.timeout.ms": 10_000}
_FILES = {"ca_file": "ssl.ca.location", "certificate_file": "ssl.certificate.location", "key_file": "ssl.key.location"}
_MB = 1_000_000  # also how much is asked for at once: nothing of an answer is heard before it is whole


@dataclass(frozen=True)
class KafkaAccess:
    """Where a topic's cluster is, how it is reached, and how much of it is taken at once. No secret is in it, so that it can travel.

    `place` is where plane.yaml says so, for errors.
    """

    servers: str
    security: KafkaSecurity
    timeout_s: int = 60
    buffer_mb: int = 32
    max_message_mb: int = 128
    place: str = "kafka"

    @classmethod
    def of(cls, name: str, topic: KafkaTopic) -> KafkaAccess:
        """That of an entry of plane.yaml, by its name there."""
        return cls(topic.servers, topic.security, topic.timeout_s, topic.buffer_mb, topic.max_message_mb, f"kafka.{name}")

    def client(self, secret: Secret) -> dict[str, Any]:
        """The settings of every client of the driver.

        Args:
            secret: gives the secret that is in an environment variable, or in a file, for a setting. Raises as it likes.

        Raises:
            SettingsInvalid: a file that is named cannot be read.
        """
        said, found = self.security, {"bootstrap.servers": self.servers, **_AGAIN_MS, "log_level": 0,
                                      "receive.message.max.bytes": self.max_message_mb * _MB + 2 * _MB}
        protocol = ("SASL_" if said.mechanism else "") + ("SSL" if said.tls else "PLAINTEXT")
        found["security.protocol"] = protocol
        named = {name: value for name in _FILES if (value := getattr(said, name)) is not None}
        for name, value in named.items():
            _check_file(value, f"{self.place}.security.{name}")  # the driver tells neither which file it is, nor why
        found |= {_FILES[name]: value for name, value in named.items()}
        if said.key_password_env is not None or said.key_password_file is not None:
            found["ssl.key.password"] = secret(said.key_password_env, said.key_password_file, f"{self.place}.security.key_password")
        if said.mechanism is not None:
            found |= {"sasl.mechanism": said.mechanism, "sasl.username": said.username,
                      "sasl.password": secret(said.password_env, said.password_file, f"{self.place}.security.password")}
        return found

    def consumer(self, secret: Secret) -> dict[str, Any]:
        """The settings of a client that reads from exactly where it is told, only what is committed, no further ahead than its buffer.

        It joins no group and commits nothing; the driver wants a group's name all the same.
        """
        return {**self.client(secret), "group.id": "offline-feature-plane", "enable.auto.commit": False, "enable.auto.offset.store": False,
                "auto.offset.reset": "error", "enable.partition.eof": True, "isolation.level": "read_committed", "check.crcs": True,
                "queued.max.messages.kbytes": self.buffer_mb * 1_000, "fetch.message.max.bytes": _MB, "fetch.max.bytes": _MB,
                "max.poll.interval.ms": 86_400_000,  # it waits while others are read
                "fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 100}


def _check_file(file: str, place: str) -> None:
    try:
        open_regular(Path(file)).close()
    except (OSError, OfsError) as wrong:
        raise SettingsInvalid(f"{file} cannot be read: {getattr(wrong, 'strerror', None) or wrong}.", path=place,
                              fix="Correct the path, which is relative to the folder of plane.yaml, or the file's permissions.") from wrong
