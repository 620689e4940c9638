"""One stretch of one partition, read by assignment up to its end, or an error: never a shorter answer (`decisions.md` D20).

```
 offsets   ──100───101─103──────────107─M──────112──▶     M: the marker of a transaction; 102, 104 … are aborted or compacted away
 stretch     [100 ───────────────────────110)             reached when the bus shows something at 110 or later, or its end there
```

Nothing in a stretch need stand at its last offset, so the proof is what comes after it: a record from `end` on, or the news that the
partition's stable part ends there.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from offline_feature_plane.errors import EventBusUnavailable, SettingsInvalid
from offline_feature_plane.sources.buses.silence import Silence
from offline_feature_plane.sources.kafka.bus import Message
from offline_feature_plane.sources.kafka.failures import explain, meaning_of

_FEW, _MANY, _BATCH_BYTES = 16, 10_000, 4_000_000  # messages of a batch: at first, at most, and about so many bytes of them
_WAIT_S: Final = 0.1  # at most so long a batch waits to be full
_MAY_PASS: Final = frozenset({"nothing", "away"})


def open_consumer(settings: Mapping[str, Any], heard: list[KafkaError] | None = None) -> Consumer:
    """A consumer of the driver, whose complaints are heard while it is polled.

    Raises:
        SettingsInvalid: it does not take its settings, such as files that it cannot read.
    """
    try:
        return Consumer({**settings, "error_cb": (heard if heard is not None else []).append})
    except KafkaException as wrong:
        raise unusable(wrong.args[0]) from wrong


def unusable(error: KafkaError, place: str = "kafka") -> SettingsInvalid:
    """What the driver finds wrong with its settings, before it reaches anybody."""
    return SettingsInvalid(f"the Kafka client cannot be set up: {' '.join((error.str() or error.name()).split())[:300]}.", path=place,
                           fix="Check `security` of this topic in plane.yaml: that its files are what they should be.")


def read_lane(settings: Mapping[str, Any], topic: str, partition: int, start: int, end: int,
              timeout_s: float) -> Generator[Sequence[Message]]:
    """The committed messages of `[start, end)`, in batches, in order; they begin to come at once, and are read later.

    What is fetched ahead is bounded by the driver's buffer: who does not read on stops the bus.

    Args:
        settings: of a consumer (`KafkaAccess.consumer`).
        topic: its name on the bus.
        partition: which.
        start: the first offset.
        end: the first one that is not wanted any more.
        timeout_s: how long the bus may be silent.

    Raises:
        EventBusUnavailable: it was silent for too long, or refuses. ReplayBasisGap: it no longer has an offset.
        ReplayBasisMismatch: it lost records. SourceUnreadable: topic or partition are gone, or what comes is damaged.
        ResourceExceeded: a message is longer than may come. Each with the offset that was reached.
    """
    place, heard = f"{topic}/{partition}", list[KafkaError]()
    consumer = open_consumer(settings, heard)
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
    except KafkaException as failed:
        raise explain(failed.args[0], place, reached=str(start)) from failed
    return _read(consumer, heard, place, start, end, timeout_s)


def _read(consumer: Consumer, heard: list[KafkaError], place: str, start: int, end: int, timeout_s: float) -> Generator[Sequence[Message]]:
    reached, silence, most = start, Silence(timeout_s), _FEW
    with closing(consumer):
        try:
            while reached < end:
                found, reached_now = _taken(consumer.consume(most, _WAIT_S), reached, end, heard)
                if reached_now > reached:
                    reached = reached_now
                    silence.ends()
                if found:
                    most = max(1, min(2 * most, _MANY, _BATCH_BYTES * len(found) // (1 + sum(len(one.value() or b"") for one in found))))
                    yield found
                    silence.ends()  # what was done with them took its time
                if hopeless := next((one for one in heard if meaning_of(one) not in _MAY_PASS), None):
                    raise explain(hopeless, place, reached=str(reached))
                if reached < end and silence.is_over:
                    raise _gave_up(place, start, reached, end, timeout_s, heard)
        except KafkaException as failed:
            raise explain(failed.args[0], place, reached=str(reached)) from failed


def _taken(messages: Sequence[Any], reached: int, end: int, heard: list[KafkaError]) -> tuple[list[Message], int]:
    """What of a batch belongs to the stretch, and which offset it shows to be reached; what it complains of is heard."""
    found: list[Message] = []
    for message in messages:
        error = message.error()
        if error is None:
            reached = message.offset() + 1
            if reached > end:
                break
            found.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the driver's own spelling
            reached = max(reached, message.offset())
        else:
            heard.append(error)
    return found, reached


def _gave_up(place: str, start: int, reached: int, end: int, timeout_s: float, heard: Sequence[KafkaError]) -> EventBusUnavailable:
    why = next((f" The last that was heard: {one.name()}." for one in reversed(heard) if meaning_of(one) == "away"), "")
    return EventBusUnavailable(f"the bus was silent for {timeout_s:g} s at offset {reached} of [{start}, {end}).{why}",
                               path=place, start_offset=str(start), end_offset=str(end), reached=str(reached))
