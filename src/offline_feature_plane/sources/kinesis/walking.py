"""Requests to one stream, and walks along one shard: from a place on, as many answers as the shard has.

```
 shard   ──r──r─────r──r──────r──▶ tip of an open shard: nothing is behind it now
         ──r──r─────r──r──────r──┤ end of a closed one: nothing will ever be
```

An answer may hold nothing although more comes. What ends a walk is the shard's end, or whoever walks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from offline_feature_plane.aws import FAILURES, Unintelligible, by_sdk
from offline_feature_plane.errors import EventBusUnavailable
from offline_feature_plane.sources.buses.envelopes import Held
from offline_feature_plane.sources.buses.silence import Silence
from offline_feature_plane.sources.kinesis.aggregates import values_in
from offline_feature_plane.sources.kinesis.bus import FoundRecord
from offline_feature_plane.sources.kinesis.failures import explain, may_pass, meaning_of, words_of

__all__ = ["AT_ONCE", "FIRST", "Answer", "Place", "Requests", "after", "at", "at_time", "instant_us", "walk"]

AT_ONCE: Final = 10_000  # the most records that one answer may have

Place = Mapping[str, Any]  # where a walk begins, as GetShardIterator wants it
FIRST: Final[Place] = {"ShardIteratorType": "TRIM_HORIZON"}

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_STEP_S: Final = 0.2  # a shard answers five times a second, whoever asks
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def at(number: int) -> Place:
    """At the record of a sequence. Where there is none, some servers refuse, and others begin at the next one."""
    return {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": str(number)}


def after(number: int) -> Place:
    """Behind the record of a sequence."""
    return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(number)}


def at_time(moment_us: int) -> Place:
    """At the first record that the stream took at a moment or later; its clock ticks in ms."""
    return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": _EPOCH + timedelta(milliseconds=max(0, -(-moment_us // 1_000)))}


@dataclass(frozen=True)
class Answer:
    """What one request gave: what records hold, the first and the last of them, and how far the shard's tip is away.

    `is_end`: the shard was closed, and nothing comes any more.
    """

    held: Sequence[Held]
    first: FoundRecord | None
    last: FoundRecord | None
    behind_ms: int
    is_end: bool

    @property
    def is_tip(self) -> bool:
        """Is there nothing behind it now?"""
        return self.is_end or self.behind_ms == 0


class Requests:
    """Asks the service, and asks again while it is away or busy, until it was silent for too long.

    Args:
        client: of the SDK, which repeats nothing by itself.
        timeout_s: how long the service may be silent.
    """

    def __init__(self, client: Any, timeout_s: float) -> None:
        self._client, self.timeout_s = client, timeout_s

    def ask(self, operation: str, place: str, silence: Silence | None = None, **said: Any) -> dict[str, Any]:
        """What the service answers. Raises one of `aws.FAILURES` that no waiting mends, or EventBusUnavailable."""
        silence, pause = silence or Silence(self.timeout_s), _FIRST_WAIT_S
        while True:
            try:
                found: dict[str, Any] = by_sdk(getattr(self._client, operation), **said)
            except FAILURES as wrong:
                if not may_pass(wrong):
                    raise
                if silence.is_over:
                    raise _gave_up(wrong, place, self.timeout_s) from wrong
            else:
                return found
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT_S)

    def told(self, operation: str, place: str, silence: Silence | None = None, **said: Any) -> dict[str, Any]:
        """As `ask`, but every failure is an error of ours."""
        try:
            return self.ask(operation, place, silence, **said)
        except FAILURES as wrong:
            raise explain(wrong, place) from wrong


def walk(requests: Requests, shard: Mapping[str, str], name: str, begin: Place, most: int = AT_ONCE, *,
         may_be_unknown: bool = False) -> Iterator[Answer]:
    """The answers of a shard from a place on, until its end; a shard that is open has none.

    Args:
        requests: to the stream.
        shard: how requests name it, and its stream.
        name: of the shard, for errors.
        begin: where.
        most: records of one answer.
        may_be_unknown: a place that the shard does not know has no answers; else it is an error.

    Raises:
        OfsError: as `failures.explain`; EventBusUnavailable also where nothing came for too long.
    """
    silence, behind, place = Silence(requests.timeout_s), -1, begin
    if (token := _token(requests, shard, name, place, silence, may_be_unknown=may_be_unknown)) is None:
        return
    while True:
        try:
            said = requests.ask("get_records", name, silence, StreamARN=shard["StreamARN"], ShardIterator=token, Limit=most)
        except FAILURES as wrong:
            if meaning_of(wrong) != "expired" or silence.is_over:
                raise explain(wrong, name) from wrong
            token = _token(requests, shard, name, place, silence)
            continue
        answer, following = _read(said, name)
        if answer.last is not None:
            place = after(answer.last.number)
        if answer.held or answer.behind_ms < behind or behind < 0:
            silence.ends()
        behind = answer.behind_ms
        yield answer
        if answer.is_end:
            return
        token = following
        if answer.held:
            silence.ends()  # what was done with them took its time
        else:
            if silence.is_over:
                raise EventBusUnavailable(f"the stream gave nothing for {requests.timeout_s:g} s.", path=name)
            time.sleep(_STEP_S)


def instant_us(moment: Any) -> int:
    """An instant of the SDK in µs since the epoch."""
    if not isinstance(moment, datetime):
        raise Unintelligible("no instant")
    return (moment - _EPOCH) // _MICROSECOND


def _token(requests: Requests, shard: Mapping[str, str], name: str, place: Place, silence: Silence, *,
           may_be_unknown: bool = False) -> str | None:
    """A place as the service wants it said; None for one that may be unknown, and is."""
    try:
        said = requests.ask("get_shard_iterator", name, silence, **shard, **place)
    except FAILURES as wrong:
        if may_be_unknown and meaning_of(wrong) in {"position", "missing"}:
            return None
        raise explain(wrong, name) from wrong
    if not (found := said.get("ShardIterator")):
        raise explain(Unintelligible("no iterator"), name)
    return str(found)


def _read(said: Mapping[str, Any], name: str) -> tuple[Answer, str]:
    try:
        held: list[Held] = []
        first = last = None
        for one in said["Records"]:
            number, taken_us, values = int(one["SequenceNumber"]), instant_us(one["ApproximateArrivalTimestamp"]), values_in(one["Data"])
            last = FoundRecord(number, taken_us, number + len(values))
            first = first or last
            held += [Held(number + place, value, taken_us) for place, value in enumerate(values)]
        following = said.get("NextShardIterator")
        return Answer(held, first, last, int(said.get("MillisBehindLatest") or 0), is_end=not following), following or ""
    except (KeyError, TypeError, ValueError, Unintelligible) as wrong:
        raise explain(Unintelligible(type(wrong).__name__), name) from wrong


def _gave_up(wrong: Exception, place: str, timeout_s: float) -> EventBusUnavailable:
    found = explain(wrong, place)
    return EventBusUnavailable(f"the stream did not answer for {timeout_s:g} s ({words_of(wrong)}).", path=place, fix=found.fix,
                               **found.fields)
