"""Streams of Kinesis as `plane.yaml` maps them: where they are, and what their records mean."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from offline_feature_plane.contracts.addresses import Endpoint
from offline_feature_plane.contracts.intent import Duration, Instant, Zone
from offline_feature_plane.contracts.model import Contract, Text, shown

__all__ = ["KinesisStream", "region_of"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_ARN = re.compile(r"arn:[a-z0-9-]{1,30}:kinesis:([a-z0-9-]{1,40}):[0-9]{12}:stream/[A-Za-z0-9_.-]{1,128}")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z0-9]{1,20}){1,4}")


def region_of(stream: str) -> str | None:
    """The region that an ARN says.

    >>> region_of("arn:aws:kinesis:eu-west-1:123456789012:stream/payments"), region_of("payments")
    ('eu-west-1', None)
    """
    found = _ARN.fullmatch(stream)
    return None if found is None else found[1]


def _stream(text: str) -> str:
    if not _NAME.fullmatch(text) and not _ARN.fullmatch(text):
        raise ValueError(f"{shown(text)} is neither a stream's name nor its ARN; write for example payments, or "
                         "arn:aws:kinesis:eu-west-1:123456789012:stream/payments")
    return text


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a region; write for example eu-west-1")
    return text


class KinesisStream(Contract):
    """A stream of Kinesis. Of the same name as an archive, both are one log: the archive first, the stream for the rest."""

    stream: Annotated[str, AfterValidator(_stream)] | None = Field(
        None, description="The stream, by name or ARN; default: `topic`, or the entry's name.")
    region: Annotated[str, AfterValidator(_region)] | None = Field(
        None, description="The region; default: that of the ARN, else the SDK's.")
    endpoint: Endpoint | None = Field(None, description="The server's address; default: AWS.")
    profile: Text | None = Field(None, description="The SDK's profile with the credentials; default: its usual order.")
    zone: Zone | None = Field(None, description="The zone of times in payloads that carry no offset.")
    history_start: Instant | None = Field(None, description="The instant from which the stream is complete; default: its first event.")
    topic: Text | None = Field(None, description="The log's name in archives, if it is not this entry's. Its events of one type become "
                                                 "events of a type of this name; all others are left out.")
    event_type: Text | None = Field(None, description="Which type that is, with `topic` only; default: the one named like that topic.")
    max_ahead: Duration | None = Field(
        None, description="How far the time of an event may lie ahead of when the stream took it, like `5m`. One further ahead comes "
                          "from a clock that was wrong: it is left out, and counted as `future_quarantined`. Default: any.")
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = Field(60, description="How many seconds the stream may be silent.")

    @model_validator(mode="after")
    def _agrees(self) -> KinesisStream:
        if self.event_type is not None and self.topic is None:
            raise ValueError("event_type says what is taken from another topic; add `topic:`, or leave it out")
        if self.stream is None and self.topic is not None and not _NAME.fullmatch(self.topic):
            raise ValueError("no stream is called like this topic; name the stream with `stream:`")
        said = region_of(self.stream or "")
        if said is not None and self.region not in {None, said}:
            raise ValueError(f"the stream's ARN is of the region {said}; leave `region` out")
        return self
