"""Topics of Kafka clusters as `plane.yaml` maps them: where they are, who may read them, how much of them is taken at once."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from offline_feature_plane.contracts.intent import Duration, Instant, Zone
from offline_feature_plane.contracts.model import Contract, Text, shown

_SERVER = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _servers(text: str) -> str:
    """No part of it is repeated: somebody may have written a password there."""
    for server in text.split(","):
        found = _SERVER.fullmatch(server.strip())
        if found is None or not 0 < int(found[1]) < 1 << 16:
            raise ValueError("this is not a list of servers; write for example broker1.example.org:9092,broker2.example.org:9092, without "
                             "a scheme and without credentials")
    return ",".join(server.strip() for server in text.split(","))


def _topic(text: str) -> str:
    if not _TOPIC.fullmatch(text) or text in {".", ".."}:
        raise ValueError(f"{shown(text)} is not a topic's name; use up to 249 letters, digits, `.`, `_`, `-`")
    return text


def _variable(text: str) -> str:
    """It is not repeated: it may be the password itself."""
    if not _VARIABLE.fullmatch(text):
        raise ValueError("this is not the name of an environment variable; name the variable that holds the secret, not the secret")
    return text


Servers = Annotated[str, AfterValidator(_servers)]
TopicName = Annotated[str, AfterValidator(_topic)]
Variable = Annotated[str, AfterValidator(_variable)]


class KafkaSecurity(Contract):
    """How a cluster is reached safely. Secrets are named, by an environment variable or a file; they never stand here."""

    tls: bool = Field(default=False, description="Whether the servers are spoken to by TLS; their certificates are always checked.")
    ca_file: Text | None = Field(None, description="The certificates (PEM) of the authorities that vouch for the servers; default: the "
                                                   "system's.")
    certificate_file: Text | None = Field(None, description="The client's own certificate (PEM), where the servers ask for one.")
    key_file: Text | None = Field(None, description="The private key (PEM) of the client's certificate.")
    key_password_env: Variable | None = Field(None, description="The environment variable with the password of the private key.")
    key_password_file: Text | None = Field(None, description="The file with the password of the private key.")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="How the client says who it is (SASL); default: it does not.")
    username: Text | None = Field(None, description="Who the client is.")
    password_env: Variable | None = Field(None, description="The environment variable with the password.")
    password_file: Text | None = Field(None, description="The file with the password.")

    @model_validator(mode="after")
    def _complete(self) -> KafkaSecurity:
        named = [self.password_env, self.password_file]
        if self.mechanism is not None and (self.username is None or named.count(None) != 1):
            raise ValueError("with `mechanism`, say `username` and either `password_env` or `password_file`")
        if self.mechanism is None and (self.username is not None or any(named)):
            raise ValueError("`username` and its password need a `mechanism`: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        if not self.tls and any([self.ca_file, self.certificate_file, self.key_file, self.key_password_env, self.key_password_file]):
            raise ValueError("certificates and keys are of use only with `tls: true`")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("`certificate_file` and `key_file` go together")
        if self.key_file is None and any([self.key_password_env, self.key_password_file]):
            raise ValueError("the password of a key needs its `key_file`")
        if self.key_password_env is not None and self.key_password_file is not None:
            raise ValueError("say either `key_password_env` or `key_password_file`")
        return self


class KafkaTopic(Contract):
    """A topic on a Kafka cluster. Of the same name as an archive, both are one log: the archive first, the bus for the rest."""

    servers: Servers = Field(description="Some servers of the cluster, as `host:port,host:port`.")
    zone: Zone | None = Field(None, description="The zone of times in payloads that carry no offset.")
    history_start: Instant | None = Field(None, description="The instant from which the topic is complete; default: its first event.")
    topic: TopicName | None = Field(None, description="The topic on the cluster, if it is not of this entry's name. Its events of one type "
                                                      "become events of a type of this name; all others are left out.")
    event_type: Text | None = Field(None, description="Which type that is, with `topic` only; default: the one named like that topic.")
    max_ahead: Duration | None = Field(None, description="How far the time of an event may lie ahead of when the log took it, like `5m`. "
                                                         "One further ahead comes from a clock that was wrong: it is left out, and counted "
                                                         "as `future_quarantined`. Default: any.")
    log_id: Text | None = Field(None, description="The name of the log that offsets count in, for clusters that give topics no id (before "
                                                  "Kafka 2.8); it must change when the topic is made anew. Default: the topic's id.")
    cleanup_policy: Literal["delete", "compact"] | None = Field(
        None, description="Whether the topic is compacted; default: the cluster is asked, for which the account needs DescribeConfigs.")
    security: KafkaSecurity = Field(KafkaSecurity(), description="How the cluster is reached safely.")
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = Field(60, description="How many seconds the cluster may be silent.")
    buffer_mb: Annotated[int, Field(ge=1, le=1024)] = Field(
        32, description="How many megabytes of a partition are fetched ahead of their being read.")
    max_message_mb: Annotated[int, Field(ge=1, le=1024)] = Field(
        128, description="The longest message that may come, in megabytes. One of more than 16 MB is no event, and is counted; one of more "
                         "than this ends the reading.")

    @model_validator(mode="after")
    def _of_a_topic(self) -> KafkaTopic:
        if self.event_type is not None and self.topic is None:
            raise ValueError("event_type says what is taken from another topic; add `topic:`, or leave it out")
        return self
