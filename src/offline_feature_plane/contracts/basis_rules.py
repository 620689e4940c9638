"""What the basis of a BuildIntent must say beyond its shape, and what may be declared to be missing in it (`domain.md` §1.1, §1.10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from offline_feature_plane.contracts.intent import FileSetBasis, GapBasis, RangeBasis, SelectorBasis
from offline_feature_plane.contracts.model import sound
from offline_feature_plane.domain.basis import Range, canonical_basis
from offline_feature_plane.domain.gaps import DeclaredGap, canonical_gaps
from offline_feature_plane.errors import BasisUnresolved, Problem

__all__ = ["basis_rules", "gap_rules"]


def basis_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Each entry holds something, and each topic is given in one way."""
    entries = document.get("replay_basis")
    kinds: dict[str, type] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        path = f"$.replay_basis[{number}]"
        part = sound(RangeBasis, entry) or sound(SelectorBasis, entry) or sound(FileSetBasis, entry)
        if part is None:
            continue
        yield from (Problem(path, BasisUnresolved.code, fault) for fault in part.faults())
        if part.topic in kinds and (isinstance(part, FileSetBasis) or kinds[part.topic] is not type(part)):
            yield Problem(path, BasisUnresolved.code,
                          f"the topic {part.topic} appears twice; give it one file set, or ranges, or selectors")
        kinds.setdefault(part.topic, type(part))


def gap_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Declared gaps are well-formed, inside of the ranges that the intent names, and of a build that may lack something."""
    given = document.get("gaps")
    parts = [(number, gap) for number, entry in enumerate(given if isinstance(given, list) else []) if (gap := sound(GapBasis, entry))]
    faults = [Problem(f"$.gaps[{number}]", BasisUnresolved.code, fault) for number, gap in parts for fault in gap.faults()]
    yield from faults
    if given and document.get("intent_kind") == "parity_rebuild":
        yield Problem("$.gaps", BasisUnresolved.code, "nothing can be compared over a gap: a parity_rebuild declares none")
    elif given and document.get("intent_kind") == "dataset_build" and document.get("non_training_allowed") is not True:
        yield Problem("$.gaps", BasisUnresolved.code, "a training is never built from a basis with gaps; set non_training_allowed: true if "
                                                      "the dataset is for another purpose")
    elif parts and not faults:
        yield from _gaps_beside_the_basis(document.get("replay_basis"), [(number, gap.to_gap()) for number, gap in parts])


def _gaps_beside_the_basis(given: Any, gaps: Sequence[tuple[int, DeclaredGap]]) -> Iterator[Problem]:
    """Gaps of topics whose ranges are named; those of a span of log time are held against what it became."""
    entries = given if isinstance(given, list) else []
    stated = [one.to_range() for entry in entries if (one := sound(RangeBasis, entry)) and not one.faults()]
    spans = {span.topic for entry in entries if (span := sound(SelectorBasis, entry))}
    if not stated and not spans:
        return
    basis = canonical_basis(stated) if stated else ()
    beside = [(number, gap) for number, gap in gaps if gap.stretch.topic not in spans]
    if _problem(beside, basis) is not None:
        yield from (Problem(f"$.gaps[{number}]", BasisUnresolved.code, wrong) for number, gap in beside
                    if (wrong := _problem([(number, gap)], basis)) is not None)
    if (wrong := _problem(gaps, None)) is not None:
        yield Problem("$.gaps", BasisUnresolved.code, wrong)


def _problem(gaps: Sequence[tuple[int, DeclaredGap]], basis: Sequence[Range] | None) -> str | None:
    """What is wrong with some gaps, in a sentence."""
    try:
        canonical_gaps([gap for _, gap in gaps], basis)
    except BasisUnresolved as wrong:
        return wrong.what.removesuffix(".")
    return None
