"""What every source of logs says of the topics that plane.yaml maps, before any of them is pinned."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Generic, Protocol, TypeVar

__all__ = ["MappedTopics", "TopicMapped"]


class TopicMapped(Protocol):
    """What plane.yaml says of a topic, wherever it is."""

    @property
    def topic(self) -> str | None:
        """As what it stands there, if it is mapped under another name."""

    @property
    def history_start_us(self) -> int | None:
        """From when on it is declared complete."""


One = TypeVar("One", bound=TopicMapped)


class MappedTopics(Generic[One]):
    """The part of `ports.inputs.EventSource` that mappings answer; `pin` is each source's own."""

    def __init__(self, mappings: Mapping[str, One]) -> None:
        self._mappings = mappings

    @property
    def topics(self) -> Collection[str]:
        """The topics that are mapped."""
        return self._mappings.keys()

    def mixes_types(self, topic: str) -> bool:
        """A log holds events of any type, but one that is mapped under another name only those that are taken from it."""
        return self._mappings[topic].topic is None

    def history_start_us(self, topic: str) -> int | None:
        """From when on the log is declared complete."""
        return self._mappings[topic].history_start_us
