"""Aggregation calls as the profile spells them, and the type of what they give (`features.md`, `decisions.md` D23, D31)."""

from __future__ import annotations

import re

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.closure import Aggregation
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.errors import AggregationUnsupported

__all__ = ["output_type", "parse_aggregation"]

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*", re.DOTALL)
_PIECE = re.compile(r"\s*(?:(of)\s*:\s*([A-Za-z_]+)|'([^']*)'|\"([^\"]*)\"|([A-Za-z_][A-Za-z0-9_.-]*))\s*(,|$)")


def parse_aggregation(text: str) -> Aggregation:
    """Read a call as the profile spells it; fields and label types are checked by the compiler.

    Raises:
        AggregationUnsupported: not of the form `name(arguments)`, no such aggregation, or the wrong arguments for it.

    >>> parse_aggregation("label_rate(chargeback, CHARGEBACK, of: resolved)")
    Aggregation(function='label_rate', argument=None, label_type='chargeback', values=('CHARGEBACK',), of_resolved=True)
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise AggregationUnsupported(f"{text!r} is not a call.", fix="Write it as mean(amount) or count().")
    kind = aggregation_kind(match[1])
    arguments, option = _arguments(match[2], text)
    if option is not None and (kind.name != "label_rate" or option != "resolved"):
        raise AggregationUnsupported(f"{text!r} has `of: {option}`.", fix="Only label_rate takes an option: of: resolved.")
    if kind.argument == "label":
        if len(arguments) < 2 or len(set(arguments)) != len(arguments):
            raise AggregationUnsupported(f"{text!r} needs a label type and one or more different values.",
                                         fix=f"Write {kind.name}(chargeback, CHARGEBACK).")
        return Aggregation(kind.name, label_type=arguments[0], values=tuple(sorted(arguments[1:])), of_resolved=option is not None)
    wanted = {"none": (0, 0), "optional": (0, 1), "field": (1, 1)}[kind.argument]
    if not wanted[0] <= len(arguments) <= wanted[1]:
        form = {"none": f"{kind.name}()", "optional": f"{kind.name}() or {kind.name}(field)", "field": f"{kind.name}(field)"}[kind.argument]
        raise AggregationUnsupported(f"{text!r} has {len(arguments)} arguments.", fix=f"Write {form}.")
    return Aggregation(kind.name, arguments[0] if arguments else None)


def _arguments(text: str, whole: str) -> tuple[list[str], str | None]:
    found: list[str] = []
    option, at = None, 0
    if not text.strip():
        return found, option
    while True:
        match = _PIECE.match(text, at)
        if match is None or option is not None:
            raise AggregationUnsupported(f"{whole!r} does not read as a call from {text[at:].strip()!r} on.",
                                         fix="Separate arguments by commas; quote label values with odd characters; options stand last.")
        if match[1]:
            option = match[2]
        else:
            found.append(next(piece for piece in match.group(3, 4, 5) if piece is not None))
        at = match.end()
        if match[6] != ",":
            return found, option


def output_type(call: Aggregation, argument: ColumnType | None) -> ColumnType:
    """The output type of a call over an argument type.

    Raises:
        AggregationUnsupported: the aggregation refuses this type.
    """
    kind = aggregation_kind(call.function)
    found = kind.output(argument)
    if isinstance(found, str):
        what, _, fix = found.partition("|")
        raise AggregationUnsupported(what, fix=fix)
    return found
