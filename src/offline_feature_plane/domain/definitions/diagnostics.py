"""What is wrong with a profile: problems with their places, and what may be called what."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from offline_feature_plane.domain.tokenizing import KEYWORDS
from offline_feature_plane.errors import AggregationUnsupported, ExpressionInvalid, FeatureProfileInvalid, OfsError, Problem

__all__ = ["MARKS", "RESERVED", "Diagnostics"]

MAX_PROBLEMS = 1_000
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,31}")
RESERVED = KEYWORDS | {"ts", "event_id"}
MARKS = frozenset({"event_id", "ts", "target", "split", "mature", "cold", "weight"})

_T = TypeVar("_T")


@dataclass(frozen=True)
class Diagnostics:
    """Collects the problems of one walk through a profile, so that all of them can be said at once."""

    problems: list[Problem] = field(default_factory=list)

    def note(self, path: str, kind: type[OfsError], sentence: str) -> None:
        """Remember a problem."""
        self.problems.append(Problem(path, kind.code, sentence))

    def attempt(self, path: str, act: Callable[[], _T], kind: type[OfsError] = FeatureProfileInvalid) -> _T | None:
        """The value of `act`, or None with its refusal noted; None at once when there are more problems than anybody reads."""
        if len(self.problems) > MAX_PROBLEMS:
            return None
        try:
            return act()
        except OfsError as wrong:
            known = isinstance(wrong, ExpressionInvalid | AggregationUnsupported)
            self.note(path, type(wrong) if known else kind, f"{wrong.what} {wrong.fix}".strip())
        except ValueError as wrong:
            self.note(path, kind, str(wrong))
        return None

    def name(self, path: str, name: str, reserved: Collection[str] = RESERVED) -> None:
        """Note a name that is none."""
        if not NAME.fullmatch(name) or len(name) > 64:
            self.note(path, FeatureProfileInvalid,
                      f"{name!r} is not a valid name; use lower-case letters, digits and single underscores, at most 64")
        elif name in reserved:
            self.note(path, FeatureProfileInvalid, f"{name!r} is a reserved word")

    def version(self, path: str, version: str) -> None:
        """Note a version that is none."""
        if not VERSION.fullmatch(version):
            self.note(path, FeatureProfileInvalid, f"{version!r} is not a version; write for example v1")
