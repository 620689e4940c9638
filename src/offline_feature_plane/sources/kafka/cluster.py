"""A Kafka cluster as one account sees it: what a topic is, where its logs begin and end, where an instant lies, what stands there."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from offline_feature_plane.errors import EventBusUnavailable
from offline_feature_plane.sources.buses.silence import Silence
from offline_feature_plane.sources.kafka.access import KafkaAccess, Secret
from offline_feature_plane.sources.kafka.bus import FoundRecord, LogEnds, Message
from offline_feature_plane.sources.kafka.failures import explain, meaning_of, nearest_cause, words_of
from offline_feature_plane.sources.kafka.reading import open_consumer, read_lane, unusable

_COMMITTED: Final = {"isolation_level": IsolationLevel.READ_COMMITTED}
_FIRST_STEP, _WIDER, _MOST_STEP = 8, 16, 1 << 20  # how far back the last record is looked for
_SMALL: Final = {"queued.max.messages.kbytes": 1_024, "fetch.message.max.bytes": 65_536}
_NONE: Final = -1  # there is no such record
_TICK_S, _PATIENCE_S = 0.1, 1.0  # between looks at what the driver complains of
# What a broker says that was away, or whose partition another one leads by now, until it knows; the driver's admin does not ask again.
# `_NOENT` is the driver's own, of a topic whose leaders it does not know: once it has noted that nobody leads, it does not look anew.
_LEADERLESS: Final = frozenset({
    "UNKNOWN_LEADER_EPOCH", "FENCED_LEADER_EPOCH", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "_NOENT"})


class Cluster:
    """`sources.kafka.bus.Bus` by the driver. What it refuses is what `failures.explain` makes of it."""

    def __init__(self, access: KafkaAccess, secret: Secret) -> None:
        self._access, self._timeout_s = access, float(access.timeout_s)
        self._reading = access.consumer(secret)
        self._heard: list[KafkaError] = []
        try:
            self._admin = AdminClient({**access.client(secret), "error_cb": self._heard.append})
        except KafkaException as wrong:
            raise unusable(wrong.args[0], access.place) from wrong

    def topic_id(self, topic: str) -> str | None:
        """A topic's id; None if the cluster gives none."""
        asked = TopicCollection([topic])
        said = self._ask(lambda: self._admin.describe_topics(asked, request_timeout=self._timeout_s)[topic], topic)
        raw = b"".join((half % (1 << 64)).to_bytes(8, "big")
                       for half in (said.topic_id.get_most_significant_bits(), said.topic_id.get_least_significant_bits()))
        return urlsafe_b64encode(raw).decode().rstrip("=") if any(raw) else None

    def partitions(self, topic: str) -> tuple[int, ...]:
        """A topic's partitions."""
        heard, silence = list[KafkaError](), Silence(self._timeout_s)
        with closing(open_consumer(self._reading, heard)) as consumer:  # it never makes a topic that is not there
            while True:
                try:
                    found = consumer.list_topics(topic, timeout=_PATIENCE_S).topics[topic]
                except KafkaException as failed:
                    consumer.poll(0)
                    if meaning_of(failed.args[0]) != "away" or silence.is_over or _hopeless(heard):
                        raise explain(_cause(failed.args[0], heard), topic) from failed
                else:
                    if found.error is not None:
                        raise explain(found.error, topic)
                    return tuple(sorted(found.partitions))

    def is_compacted(self, topic: str) -> bool:
        """Does the cluster compact a topic?"""
        return "compact" in self._config(topic)["cleanup.policy"].value

    def retention_ms(self, topic: str) -> int | None:
        """For how long the cluster keeps a topic's records; None: it keeps them for good, or drops them by their size too."""
        said = self._config(topic)
        if "delete" not in said["cleanup.policy"].value or int(said["retention.bytes"].value) >= 0:
            return None
        kept = int(said["retention.ms"].value)
        return kept if kept >= 0 else None

    def retention_bytes(self, topic: str) -> int | None:
        """How much of each partition of a topic the cluster keeps, whatever its age; None: it does not go by that."""
        said = self._config(topic)
        kept = int(said["retention.bytes"].value)
        return kept if "delete" in said["cleanup.policy"].value and kept >= 0 else None

    def ends(self, topic: str, partitions: Sequence[int]) -> Mapping[int, LogEnds]:
        """Where some partitions begin and end."""
        starts = self._offsets(topic, partitions, OffsetSpec.earliest(), **_COMMITTED)
        ends = self._offsets(topic, partitions, OffsetSpec.latest(), isolation_level=IsolationLevel.READ_UNCOMMITTED)
        stable = self._offsets(topic, partitions, OffsetSpec.latest(), **_COMMITTED)  # asked last: it never lies behind an end
        return {one: LogEnds(starts[one].offset, stable[one].offset, max(ends[one].offset, stable[one].offset)) for one in partitions}

    def first_at(self, topic: str, partitions: Sequence[int], time_ms: int) -> Mapping[int, FoundRecord | None]:
        """The first record of each partition whose log time is not before an instant; None where there is no such one yet."""
        found = self._offsets(topic, partitions, OffsetSpec.for_timestamp(time_ms), least=_NONE, **_COMMITTED)
        return {one: FoundRecord(said.offset, said.leader_epoch, said.timestamp) if said.offset >= 0 else None
                for one, said in found.items()}

    def edges(self, topic: str, partition: int, start: int, end: int) -> tuple[FoundRecord | None, FoundRecord | None]:
        """The first and the last record of a stretch; None where there is none, or where the last lies behind a very long hole."""
        first = next(self._records(topic, partition, start, end), None)
        last, step = first, _FIRST_STEP
        while first is not None and step <= _MOST_STEP:
            for last in self._records(topic, partition, max(first.offset, end - step), end):  # noqa: B007 - the last one is wanted
                pass
            if last is not first or end - step <= first.offset:
                return first, last
            step *= _WIDER
        return first, None

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Sequence[Message]]:
        """The committed messages of a stretch, in batches; raises as `reading.read_lane`."""
        return read_lane(self._reading, topic, partition, start, end, self._timeout_s)

    def _config(self, topic: str) -> Mapping[str, Any]:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        said: Mapping[str, Any] = self._ask(lambda: self._admin.describe_configs([resource], request_timeout=self._timeout_s)[resource],
                                            topic)
        return said

    def _records(self, topic: str, partition: int, start: int, end: int) -> Iterator[FoundRecord]:
        with closing(read_lane({**self._reading, **_SMALL}, topic, partition, start, end, self._timeout_s)) as batches:
            for one in (message for batch in batches for message in batch):
                yield FoundRecord(one.offset(), one.leader_epoch(), one.timestamp()[1])

    def _offsets(self, topic: str, partitions: Sequence[int], what: OffsetSpec, *, least: int = 0, **options: Any) -> Mapping[int, Any]:
        asked = {TopicPartition(topic, one): what for one in partitions}
        promised = self._admin.list_offsets(asked, request_timeout=self._timeout_s, **options) if asked else {}

        def again(place: TopicPartition) -> Future[Any]:
            with suppress(KafkaException):  # who leads it now: of all topics, for one that is asked for by name might be made
                self._admin.list_topics(timeout=_PATIENCE_S)
            return next(iter(self._admin.list_offsets({place: what}, request_timeout=self._timeout_s, **options).values()))
        found = {place.partition: self._ask(partial(again, place), f"{topic}/{place.partition}", future)
                 for place, future in promised.items()}
        for partition, said in found.items():
            if said.offset < least:  # an answer that never came, told without an error
                raise explain(KafkaError(KafkaError._TRANSPORT), f"{topic}/{partition}")  # noqa: SLF001 - the driver's own spelling
        return found

    def _ask(self, ask: Callable[[], Future[Any]], place: str, promised: Future[Any] | None = None) -> Any:
        """What is promised, or was. While it does not come, what the driver complains of may say that it never will.

        A cluster that is finding out who leads a partition is asked again, as long as it may be silent.
        """
        silence, pause_s, future = Silence(self._timeout_s), _TICK_S, promised or ask()
        while True:
            try:
                return future.result(_TICK_S)
            except KafkaException as failed:
                if failed.args[0].name() not in _LEADERLESS or silence.is_over:
                    raise self._blame(failed.args[0], place) from failed
                time.sleep(pause_s)
                pause_s, future = min(2 * pause_s, _PATIENCE_S), ask()
            except TimeoutError:
                self._admin.poll(0)
                if hopeless := _hopeless(self._heard):
                    raise explain(hopeless, place) from None
                if silence.is_over:
                    why = nearest_cause(self._heard)
                    raise EventBusUnavailable(f"the bus did not answer within {self._timeout_s:g} s"
                                              f"{'' if why is None else f' ({words_of(why)})'}.", path=place) from None

    def _blame(self, error: KafkaError, place: str) -> Exception:
        """The error of ours: where the driver only waited too long, for what it complained of meanwhile."""
        self._admin.poll(0)
        return explain(_cause(error, self._heard), place)


def _cause(error: KafkaError, heard: Sequence[KafkaError]) -> KafkaError:
    """What stands behind an error, by what was heard meanwhile: behind a bus that is away something that no waiting mends, or why."""
    return (_hopeless(heard) or nearest_cause(heard) or error) if meaning_of(error) == "away" else error


def _hopeless(heard: Sequence[KafkaError]) -> KafkaError | None:
    """What was heard that no waiting mends."""
    return next((one for one in heard if meaning_of(one) in {"identity", "tls"}), None)

