"""How a cluster is reached: what settings say, as its driver wants it. Secrets come in from the top floor, and stay out of messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.kafka import KafkaSecurity, KafkaTopic

Secret = Callable[[str | None, str | None, str], str]

# Seconds between attempts to reach a server that is away.
_AGAIN_MS = {"reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 2_000, "socket.connection.setup.timeout.ms": 10_000}
_MB = 1_000_000  # also how much is asked for at once: nothing of an answer is heard before it is whole


@dataclass(frozen=True)
class KafkaAccess:
    """Where a topic's cluster is, how it is reached, and how much of it is taken at once. No secret is in it, so that it can travel."""

    servers: str
    security: KafkaSecurity
    timeout_s: int = 60
    buffer_mb: int = 32
    max_message_mb: int = 128

    @classmethod
    def of(cls, topic: KafkaTopic) -> KafkaAccess:
        """That of a topic in plane.yaml."""
        return cls(topic.servers, topic.security, topic.timeout_s, topic.buffer_mb, topic.max_message_mb)

    def client(self, secret: Secret) -> dict[str, Any]:
        """The settings of every client of the driver.

        Args:
            secret: gives the secret that is in an environment variable, or in a file, by its name here. Raises as it likes.
        """
        said, found = self.security, {"bootstrap.servers": self.servers, **_AGAIN_MS, "log_level": 0,
                                      "receive.message.max.bytes": self.max_message_mb * _MB + 2 * _MB}
        protocol = ("SASL_" if said.mechanism else "") + ("SSL" if said.tls else "PLAINTEXT")
        found["security.protocol"] = protocol
        named = {"ssl.ca.location": said.ca_file, "ssl.certificate.location": said.certificate_file, "ssl.key.location": said.key_file}
        found |= {name: value for name, value in named.items() if value is not None}
        if said.key_password_env is not None or said.key_password_file is not None:
            found["ssl.key.password"] = secret(said.key_password_env, said.key_password_file, "key_password")
        if said.mechanism is not None:
            found |= {"sasl.mechanism": said.mechanism, "sasl.username": said.username,
                      "sasl.password": secret(said.password_env, said.password_file, "password")}
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
