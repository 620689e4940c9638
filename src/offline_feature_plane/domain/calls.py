"""Aggregation calls as the profile spells them (`features.md`, `decisions.md` D23, D31)."""

from __future__ import annotations

import re

from offline_feature_plane.domain.aggregations import aggregation_kind, registered
from offline_feature_plane.domain.closure import Aggregation
from offline_feature_plane.errors import AggregationUnsupported

__all__ = ["parse_aggregation"]

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*", re.DOTALL)
_PIECE = re.compile(r"\s*(?:(of)\s*:\s*([A-Za-z_]+)|'([^']*)'|\"([^\"]*)\"|([A-Za-z_][A-Za-z0-9_.-]*))\s*(,|$)")


def parse_aggregation(text: str) -> Aggregation:
    """Read a call as the profile spells it; fields and label types are checked by the compiler.

    Raises:
        AggregationUnsupported: not of the form `name(arguments)`, no such aggregation, or the wrong arguments for it.

    >>> parse_aggregation("label_rate(chargeback, CHARGEBACK, of: resolved)")
    Aggregation(function='label_rate', argument=None, label_type='chargeback', values=('CHARGEBACK',), of_resolved=True, version='v1')
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise AggregationUnsupported(f"{text!r} is not a call.", fix="Write it as mean(amount) or count().")
    kind = aggregation_kind(match[1])
    arguments, option = _arguments(match[2], text)
    if option is not None and (not kind.takes_of_resolved or option != "resolved"):
        takers = ", ".join(name for name, one in registered().items() if one.takes_of_resolved)
        raise AggregationUnsupported(f"{text!r} has `of: {option}`.", fix=f"Only {takers} takes an option: of: resolved.")
    if kind.argument == "label":
        if len(arguments) < 2 or len(set(arguments)) != len(arguments):
            raise AggregationUnsupported(f"{text!r} needs a label type and one or more different values.",
                                         fix=f"Write {kind.name}(chargeback, CHARGEBACK).")
        return Aggregation(kind.name, label_type=arguments[0], values=tuple(sorted(arguments[1:])), of_resolved=option is not None,
                           version=kind.version)
    wanted = {"none": (0, 0), "optional": (0, 1), "field": (1, 1)}[kind.argument]
    if not wanted[0] <= len(arguments) <= wanted[1]:
        form = {"none": f"{kind.name}()", "optional": f"{kind.name}() or {kind.name}(field)", "field": f"{kind.name}(field)"}[kind.argument]
        raise AggregationUnsupported(f"{text!r} has {len(arguments)} arguments.", fix=f"Write {form}.")
    return Aggregation(kind.name, arguments[0] if arguments else None, version=kind.version)


def _arguments(text: str, whole: str) -> tuple[list[str], str | None]:
    found: list[str] = []
    option, at = None, 0
    if not text.strip():
        return found, option
    while True:
        match = _PIECE.match(text, at)
        if match is None or option is not None:
            raise AggregationUnsupported(f"{whole!r} is not a valid call from {text[at:].strip()!r} on.",
                                         fix="Separate arguments by commas; quote label values with odd characters; options come last.")
        if match[1]:
            option = match[2]
        else:
            found.append(next(piece for piece in match.group(3, 4, 5) if piece is not None))
        at = match.end()
        if match[6] != ",":
            return found, option
