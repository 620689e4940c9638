"""What an error of the Kafka driver means: the edge at which its codes become ours.

The driver tries again by itself, without end: whatever may pass is `away`, and becomes an error only when the bus was silent for too long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from confluent_kafka import KafkaError

from offline_feature_plane.errors import (
    EventBusUnavailable,
    OfsError,
    ReplayBasisGap,
    ReplayBasisMismatch,
    ResourceExceeded,
    SourceUnreadable,
)

Meaning = Literal["nothing", "away", "identity", "tls", "rights", "topic", "range", "truncated", "large", "damaged", "old", "other"]

_BY_NAME: Final[Mapping[Meaning, frozenset[str]]] = {
    # Groups are none of our business: we join none, and commit nothing.
    "nothing": frozenset({
        "NO_ERROR", "_PARTITION_EOF", "GROUP_AUTHORIZATION_FAILED", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE",
        "NOT_COORDINATOR", "GROUP_ID_NOT_FOUND", "_WAIT_COORD", "_MAX_POLL_EXCEEDED", "_ASSIGNMENT_LOST", "_ASSIGN_PARTITIONS",
        "_REVOKE_PARTITIONS", "_NOOP"}),
    "away": frozenset({
        "_ALL_BROKERS_DOWN", "_TRANSPORT", "_RESOLVE", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_MSG_TIMED_OUT", "_NODE_UPDATE", "_WAIT_CACHE",
        "_RETRY", "_DESTROY_BROKER", "_UNKNOWN_BROKER", "_IN_PROGRESS", "_PREV_IN_PROGRESS", "_INTR", "BROKER_NOT_AVAILABLE",
        "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "REQUEST_TIMED_OUT", "NETWORK_EXCEPTION",
        "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "OFFSET_NOT_AVAILABLE", "PREFERRED_LEADER_NOT_AVAILABLE",
        "ELIGIBLE_LEADERS_NOT_AVAILABLE", "LISTENER_NOT_FOUND", "NOT_CONTROLLER", "UNKNOWN_CONTROLLER_ID", "STALE_BROKER_EPOCH",
        "STALE_CTRL_EPOCH", "KAFKA_STORAGE_ERROR", "LOG_DIR_NOT_FOUND", "THROTTLING_QUOTA_EXCEEDED", "FETCH_SESSION_ID_NOT_FOUND",
        "INVALID_FETCH_SESSION_EPOCH", "REASSIGNMENT_IN_PROGRESS", "REBOOTSTRAP_REQUIRED", "NOT_ENOUGH_REPLICAS", "UNKNOWN"}),
    "identity": frozenset({
        "_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM", "ILLEGAL_SASL_STATE", "SECURITY_DISABLED",
        "UNACCEPTABLE_CREDENTIAL", "PRINCIPAL_DESERIALIZATION_FAILURE", "INVALID_PRINCIPAL_TYPE"}),
    "tls": frozenset({"_SSL"}),
    "rights": frozenset({"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "POLICY_VIOLATION"}),
    "topic": frozenset({
        "UNKNOWN_TOPIC_OR_PART", "UNKNOWN_TOPIC_ID", "INCONSISTENT_TOPIC_ID", "TOPIC_EXCEPTION", "INVALID_PARTITIONS", "_UNKNOWN_TOPIC",
        "_UNKNOWN_PARTITION", "_NOENT", "RESOURCE_NOT_FOUND"}),
    "range": frozenset({"OFFSET_OUT_OF_RANGE", "_AUTO_OFFSET_RESET", "_NO_OFFSET"}),
    "truncated": frozenset({"_LOG_TRUNCATION"}),
    "large": frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "_UNDERFLOW", "INVALID_MSG_SIZE"}),
    "damaged": frozenset({
        "_BAD_MSG", "_BAD_COMPRESSION", "INVALID_MSG", "INVALID_RECORD", "UNSUPPORTED_COMPRESSION_TYPE", "_PARTIAL",
        "UNSUPPORTED_FOR_MESSAGE_FORMAT"}),
    "old": frozenset({
        "UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE", "_UNKNOWN_PROTOCOL", "INVALID_REQUEST", "MISMATCHED_ENDPOINT_TYPE",
        "UNSUPPORTED_ENDPOINT_TYPE"}),
}
_MEANINGS: Final[Mapping[str, Meaning]] = {name: meaning for meaning, names in _BY_NAME.items() for name in names}

_ERRORS: Final[Mapping[Meaning, tuple[type[OfsError], str, str | None]]] = {
    "nothing": (EventBusUnavailable, "the bus said something that is no failure", None),
    "away": (EventBusUnavailable, "the bus cannot be reached, or does not answer",
             "Check the cluster, `servers` and the network, and `security`: who wants TLS or an account hangs up without a word."),
    "identity": (EventBusUnavailable, "the bus does not know this account, or its password is another",
                 "Check `security` of this topic: mechanism, username, where the password is, and whether the servers want TLS."),
    "tls": (EventBusUnavailable, "no safe connection to the bus could be made",
            "Check `security.tls`, `security.ca_file`, and that the certificates of the servers are valid for their names in `servers`."),
    "rights": (EventBusUnavailable, "the account may not do this on the bus",
               "Grant it Read, Describe and DescribeConfigs on the topic; it needs no group."),
    "topic": (SourceUnreadable, "the cluster has no such topic or partition",
              "Correct the name, or `topic:` of this entry, or create the topic."),
    "range": (ReplayBasisGap, "the bus does not have these offsets any more",
              "Read them from an archive: map one of the same name under `archives:`."),
    "truncated": (ReplayBasisMismatch, "the bus has lost records that it had promised to keep, and its log goes on with others",
                  "Write a new intent that pins the log as it is now, and tell the owners of the cluster."),
    "large": (ResourceExceeded, "a message is longer than `max_message_mb` allows",
              "Raise `max_message_mb` of this topic in plane.yaml."),
    "damaged": (SourceUnreadable, "what the bus sends is damaged", "Check the cluster's disks and its replicas of this partition."),
    "old": (EventBusUnavailable, "the cluster does not know a request that is needed",
            "Use a cluster from Kafka 2.8 on; for an older one state `log_id` and `cleanup_policy` of this topic in plane.yaml."),
    "other": (EventBusUnavailable, "the bus refused", None),
}
_MAY_PASS: Final = frozenset({"away", "nothing"})
_SUMS: Final = frozenset({"_ALL_BROKERS_DOWN", "_TIMED_OUT"})  # that it is away, and not why


def meaning_of(error: KafkaError) -> Meaning:
    """What an error of the driver or of a broker means for somebody who reads."""
    if error.name() == "_BAD_MSG" and "receive.message.max.bytes" in (error.str() or ""):
        return "large"  # an answer of that length is refused before it is looked at
    return _MEANINGS.get(error.name(), "other")


def nearest_cause(heard: Sequence[KafkaError]) -> KafkaError | None:
    """The last complaint that says why the bus is away: a name that nobody knows, a connection that was refused or ended."""
    return next((one for one in reversed(heard) if meaning_of(one) == "away" and one.name() not in _SUMS), None)


def explain(error: KafkaError, place: str, **fields: Any) -> OfsError:
    """The error of ours that it is.

    Args:
        error: of the driver.
        place: what was read: topic, with partition where it is known.
        fields: for machines, beside the driver's name of the error.
    """
    meaning = meaning_of(error)
    kind, what, fix = _ERRORS[meaning]
    if meaning == "topic":
        fields = {**fields, "absent": "topic"}
    found = kind(f"{what} ({words_of(error)}).", fix=fix, path=place, kafka_error=error.name(), **fields)
    if kind is EventBusUnavailable:
        found.transient = meaning in _MAY_PASS
    return found


def words_of(error: KafkaError) -> str:
    """The driver's name of an error and the first line of its words."""
    words = " ".join((error.str() or "").splitlines()[:1])[:200].rstrip(".")
    return f"{error.name()}: {words}" if words else error.name()
