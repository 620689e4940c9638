"""A stream as one account sees it, by the SDK: what it is, where its shards begin and end, where an instant lies, what stands there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from threading import Lock
from typing import Any, Final

import boto3.session
from botocore.config import Config

from offline_feature_plane.aws import FAILURES, Unintelligible, by_sdk
from offline_feature_plane.errors import EventBusUnavailable, SourceUnreadable
from offline_feature_plane.sources.buses.envelopes import Held
from offline_feature_plane.sources.kinesis.access import KinesisAccess
from offline_feature_plane.sources.kinesis.bus import FoundRecord, Shard, ShardEnds, StreamFacts
from offline_feature_plane.sources.kinesis.failures import explain
from offline_feature_plane.sources.kinesis.walking import AT_ONCE, FIRST, Answer, Place, Requests, at, at_time, instant_us, walk

__all__ = ["Service"]

_SHARD: Final = re.compile(r"shardId-([0-9]{1,20})")
_MOST_SHARD: Final = (1 << 31) - 1
_CONNECT_S, _ANSWER_S = 5, 60
_HOUR_US: Final = 3_600_000_000
_COUNTED: Final = 1_000  # a shard that has no more records than this is looked at as a whole
_TICK_US = 1_000_000  # of the clock in the headers of its answers
_BACK_US, _WIDER = 5_000_000, 16  # how far before now the last record is looked for, at first
_NEAR_US: Final = 1_000_000  # two moments that are not worth another question
_opening = Lock()


class Service:
    """`sources.kinesis.bus.Stream` by the SDK. What it refuses is what `failures.explain` makes of it."""

    def __init__(self, access: KinesisAccess) -> None:
        self._access = access
        with _opening:  # the SDK opens one session at a time; each process has connections of its own
            self._requests = Requests(_client(access.region, access.endpoint, access.profile, access.timeout_s, access.place, os.getpid()),
                                      float(access.timeout_s))

    def facts(self) -> StreamFacts:
        """What it is now, by its own clock."""
        said = self._requests.told("describe_stream_summary", self._access.stream, None, **self._access.named)
        try:
            stream, clock = said["StreamDescriptionSummary"], said["ResponseMetadata"]["HTTPHeaders"]["date"]
            created_us = instant_us(stream["StreamCreationTimestamp"]) // 1_000 * 1_000  # the service tells ms, in binary
            return StreamFacts(str(stream["StreamARN"]), created_us, int(stream["RetentionPeriodHours"]) * _HOUR_US,
                               instant_us(parsedate_to_datetime(clock).astimezone(UTC)))
        except (KeyError, TypeError, ValueError, Unintelligible) as wrong:
            raise explain(Unintelligible(type(wrong).__name__), self._access.stream) from wrong

    def shards(self, facts: StreamFacts) -> tuple[Shard, ...]:
        """Its shards, by number. Raises SourceUnreadable for one whose name has no number."""
        found: list[Shard] = []
        page: dict[str, Any] = {"StreamARN": facts.arn}
        while page:
            said = self._requests.told("list_shards", self._access.stream, None, **page)
            found += [_shard(one, self._access.stream) for one in said.get("Shards", [])]
            page = {"NextToken": said["NextToken"]} if said.get("NextToken") else {}
        return tuple(sorted(found, key=lambda one: one.number))

    def ends(self, facts: StreamFacts, shard: Shard) -> ShardEnds:
        """Where a shard begins and ends, and how many records it has if they are few."""
        first, last, count = None, None, 0
        for answer in self._walk(facts, shard, FIRST, _COUNTED):
            first, last, count = first or answer.first, answer.last or last, count + len(answer.held)
            if _has_all(answer, shard):
                return ShardEnds(first, last, count)
            if first is not None and count >= _COUNTED:
                return ShardEnds(first, self._last(facts, shard, first), None)
        return ShardEnds(first, last, count)

    def first(self, facts: StreamFacts, shard: Shard) -> FoundRecord | None:
        """The first record that a shard keeps."""
        return next((answer.first for answer in self._walk(facts, shard, FIRST, 1) if answer.held or answer.is_tip), None)

    def first_from(self, facts: StreamFacts, shard: Shard, start: int) -> FoundRecord | None:
        """The first of a shard from a sequence on; of several in one record the one that is meant."""
        for answer in self._from(facts, shard, start, 1):
            for one in answer.held:
                if one.number >= start and one.log_us is not None:
                    return FoundRecord(one.number, one.log_us, one.number + 1)
            if answer.is_tip and not answer.held:
                break
        return None

    def first_at(self, facts: StreamFacts, shard: Shard, moment_us: int) -> FoundRecord | None:
        """The first record of a shard that the stream took at a moment or later; None: there is no such one yet."""
        if moment_us >= facts.now_us + _TICK_US:
            return None  # a stream refuses to be asked about the future
        try:
            for answer in self._walk(facts, shard, at_time(moment_us), 1):
                if answer.first is not None and answer.first.time_us >= moment_us:
                    return answer.first
                if answer.is_tip and not answer.held:
                    break
        except SourceUnreadable as wrong:
            if wrong.fields.get("answer") != "InvalidArgumentException":
                raise
        return None

    def read(self, facts: StreamFacts, shard: Shard, start: int, end: int) -> Iterator[Sequence[Held]]:
        """What a shard holds from one sequence up to another, in batches.

        The end is proved by what stands right before it, or behind it, or by the shard's end.
        """
        reached = start
        try:
            for answer in self._from(facts, shard, start, AT_ONCE):
                wanted = [one for one in answer.held if start <= one.number < end]
                if answer.held:
                    reached = max(reached, answer.held[-1].number + 1)
                if wanted:
                    yield wanted
                if reached >= end:
                    return
        except EventBusUnavailable as wrong:
            wrong.fields.update(start_offset=str(start), end_offset=str(end), reached=str(reached))
            raise

    def _last(self, facts: StreamFacts, shard: Shard, first: FoundRecord) -> FoundRecord:
        """The last record of a shard of many, without reading all of them.

        first ──────────── known ──────── ? ──────── empty ── now      steps back from now, then halves of what is left
        """
        known, empty_us, back_us = first, facts.now_us, _BACK_US
        while (moment := facts.now_us - back_us) > first.time_us:
            if (found := self.first_at(facts, shard, moment)) is not None:
                known = found
                break
            empty_us, back_us = moment, back_us * _WIDER
        while True:
            for answer in self._walk(facts, shard, at(known.number), AT_ONCE):
                known = answer.last or known
                if _has_all(answer, shard):
                    return known
                if answer.held and empty_us - known.time_us > _NEAR_US:
                    break
            middle = (known.time_us + empty_us) // 2
            if (found := self.first_at(facts, shard, middle)) is None:
                empty_us = middle
            elif found.number > known.number:
                known = found

    def _from(self, facts: StreamFacts, shard: Shard, start: int, most: int) -> Iterator[Answer]:
        """A walk that begins not behind a sequence: at a record there, or right before it; else, whatever the server says, at the first.

        Only a record that answers to its own sequence shows that nothing was passed over: the sequence may lie within a pack.
        """
        for number in (start, start - 1):
            answers = self._walk(facts, shard, at(number), most, may_be_unknown=True)
            found = next((one for one in answers if one.held or one.is_tip), None)
            if found is not None and found.first is not None and found.first.number == number:
                yield found
                yield from answers
                return
        yield from self._walk(facts, shard, FIRST, AT_ONCE)

    def _walk(self, facts: StreamFacts, shard: Shard, begin: Place, most: int, *, may_be_unknown: bool = False) -> Iterator[Answer]:
        return walk(self._requests, {"StreamARN": facts.arn, "ShardId": shard.name}, f"{self._access.stream}/{shard.number}", begin, most,
                    may_be_unknown=may_be_unknown)


def _has_all(answer: Answer, shard: Shard) -> bool:
    """Was the last record seen? Of an open shard the last one that there is now is enough; of a closed one it must be the last of all."""
    return answer.is_end or (answer.is_tip and not (shard.is_closed and answer.held))


def _shard(said: Mapping[str, Any], stream: str) -> Shard:
    name = str(said.get("ShardId"))
    found = _SHARD.fullmatch(name)
    if found is None or int(found[1]) > _MOST_SHARD:
        raise SourceUnreadable(f"{name!r} is no shard that has a number.", path=stream, fix="Tell us which server it is.")
    return Shard(int(found[1]), name, "EndingSequenceNumber" in said.get("SequenceNumberRange", {}))


@lru_cache(maxsize=16)
def _client(region: str | None, endpoint: str | None, profile: str | None, timeout_s: int, place: str, process: int) -> Any:  # noqa: ARG001
    """A client of the SDK that repeats nothing by itself; making one costs more than most requests."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=min(_CONNECT_S, timeout_s), read_timeout=min(_ANSWER_S, timeout_s),
                    max_pool_connections=16, user_agent_extra="offline-feature-plane")
    try:
        session = by_sdk(boto3.session.Session, profile_name=profile, region_name=region)
        return by_sdk(session.client, "kinesis", endpoint_url=endpoint, config=config)
    except FAILURES as wrong:
        raise explain(wrong, place) from wrong
