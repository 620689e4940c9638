"""Messages of the driver as what a bus holds."""

from __future__ import annotations

from typing import Final

from offline_feature_plane.sources.buses.envelopes import Held
from offline_feature_plane.sources.kafka.bus import Message

__all__ = ["NO_TIME", "held_in"]

NO_TIME: Final = 0  # the kind of a timestamp that is none


def held_in(message: Message) -> Held:
    """What a message holds, where, and when the log took it."""
    clock, time_ms = message.timestamp()
    return Held(message.offset(), message.value(), None if clock == NO_TIME else time_ms * 1_000)
