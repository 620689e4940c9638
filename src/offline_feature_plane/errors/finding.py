"""Codes looked up by name, and many problems reported as one error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from offline_feature_plane.errors.codes import SchemaInvalid
from offline_feature_plane.errors.tree import OfsError, Problem, shortened

MOST_PROBLEMS = 100


def all_codes() -> dict[str, type[OfsError]]:
    """Every stable reason code and its class, in the order of this file."""
    found: dict[str, type[OfsError]] = {}
    for family in OfsError.__subclasses__():
        for leaf in family.__subclasses__():
            found[leaf.code] = leaf
    return found


def refuse(problems: Sequence[Problem]) -> OfsError:
    """One error that carries the problems of a document, up to the first hundred; its code is the first problem's.

    Raises nothing itself: the caller raises what it returns.
    """
    kept = tuple(replace(one, path=shortened(one.path, 400), sentence=shortened(one.sentence, 1_000)) for one in problems[:MOST_PROBLEMS])
    error = all_codes().get(problems[0].code, SchemaInvalid)(list_problems(kept), fix="", path=None)
    error.problems = kept
    return error


def list_problems(problems: Sequence[Problem]) -> str:
    r"""Problems as text: one a line, excerpts below their sentence.

    >>> print(list_problems([Problem("$.where", "EXPRESSION_INVALID", "Unknown name 'x'.\n    x > 0\n    ^\n Known here: y.")]))
    1 problem:
      $.where: Unknown name 'x'. [EXPRESSION_INVALID]
          x > 0
          ^
        Known here: y.
    """
    told = ["1 problem:" if len(problems) == 1 else f"{len(problems)} problems:" if len(problems) < MOST_PROBLEMS else
            f"the first {MOST_PROBLEMS} problems:"]
    for problem in problems:
        first, *more = problem.sentence.strip().splitlines() or [""]
        told.append(f"  {problem.path}: {first} [{problem.code}]")
        told += [f"      {line[4:]}" if line.startswith("    ") else f"    {line.strip()}" for line in more if line.strip()]
    return "\n".join(told)
