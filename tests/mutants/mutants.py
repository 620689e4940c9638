"""The list of mutants, as it is written in `mutants.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Mutant:
    """A guard that is taken away.

    Args:
        guard: what the code does no more.
        file: below `src/offline_feature_plane`.
        old: text that occurs once in it.
        new: what stands there instead.
        tests: each of them must fail.
    """

    guard: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def read_mutants() -> tuple[Mutant, ...]:
    """All of them."""
    said = yaml.safe_load(Path(__file__).with_name("mutants.yaml").read_text(encoding="utf-8"))
    return tuple(Mutant(**{**one, "tests": tuple(said["tests"].get(test, test) for test in one["tests"])}) for one in said["mutants"])
