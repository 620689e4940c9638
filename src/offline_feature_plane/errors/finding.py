"""Codes looked up by name, and many problems told as one error."""

from __future__ import annotations

from collections.abc import Sequence

from offline_feature_plane.errors.codes import SchemaInvalid
from offline_feature_plane.errors.tree import OfsError, Problem


def all_codes() -> dict[str, type[OfsError]]:
    """Every stable reason code and its class, in the order of this file."""
    found: dict[str, type[OfsError]] = {}
    for family in OfsError.__subclasses__():
        for leaf in family.__subclasses__():
            found[leaf.code] = leaf
    return found


def refuse(problems: Sequence[Problem]) -> OfsError:
    """One error that carries every problem of a document; its code is the first problem's.

    Raises nothing itself: the caller raises what it returns.
    """
    first = problems[0]
    lines = "".join(f"\n  {problem.path}: {problem.sentence} [{problem.code}]" for problem in problems)
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    error = all_codes().get(first.code, SchemaInvalid)(f"{count}:{lines}", fix="", path=None)
    error.problems = tuple(problems)
    return error
