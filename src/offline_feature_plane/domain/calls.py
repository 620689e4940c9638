"""Aggregation calls as the profile spells them (`features.md`, `decisions.md` D23, D31)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from offline_feature_plane.domain.aggregations import AggregationKind, aggregation_kind, registered
from offline_feature_plane.domain.closure import Aggregation
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.errors import AggregationUnsupported, ExpressionInvalid

__all__ = ["parse_aggregation"]

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*", re.DOTALL)
_SHARE = re.compile(r"0?\.[0-9]{1,4}|0|1|1\.0{1,4}")
_FIRST = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*,(.*)", re.DOTALL)
_PIECE = re.compile(r"\s*(?:(of)\s*:\s*([A-Za-z_]+)|'([^']*)'|\"([^\"]*)\"|([A-Za-z_][A-Za-z0-9_.-]*))\s*(,|$)")


def parse_aggregation(text: str, scope: Mapping[str, ColumnType] | None = None) -> Aggregation:
    """Read a call as the profile spells it; fields and label types are checked by the compiler.

    Args:
        text: the call.
        scope: the names that its condition may read, with their types.

    Raises:
        AggregationUnsupported: not of the form `name(arguments)`, no such aggregation, or the wrong arguments for it.
        ExpressionInvalid: its condition does not parse or type-check; the message shows the place.

    >>> parse_aggregation("label_rate(chargeback, CHARGEBACK, of: resolved)").text
    'label_rate(chargeback, CHARGEBACK, of: resolved)'
    >>> parse_aggregation("sum_if(amount, amount>0)", {"amount": ColumnType("decimal", 12, 2)}).text
    'sum_if(amount, amount > 0)'
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise AggregationUnsupported(f"{text!r} is not a call.", fix="Write it as mean(amount) or count().")
    kind, inside = aggregation_kind(match[1]), match[2]
    condition, share = None, None
    if kind.takes_condition:
        inside, condition = _condition(kind, inside, text, scope or {})
    if kind.takes_share:
        inside, share = _share(kind, inside, text)
    arguments, option = _arguments(inside, text)
    if option is not None and (not kind.takes_of_resolved or option != "resolved"):
        takers = ", ".join(name for name, one in registered().items() if one.takes_of_resolved)
        raise AggregationUnsupported(f"{text!r} has `of: {option}`.", fix=f"Only {takers} takes an option: of: resolved.")
    if kind.argument == "label":
        if len(arguments) < 2 or len(set(arguments)) != len(arguments):
            raise AggregationUnsupported(f"{text!r} needs a label type and one or more different values.",
                                         fix=f"Write {kind.name}(chargeback, CHARGEBACK).")
        return Aggregation(kind.name, label_type=arguments[0], values=tuple(sorted(arguments[1:])), of_resolved=option is not None,
                           version=kind.version)
    least, most = {"none": (0, 0), "optional": (0, 1), "field": (1, 1)}[kind.argument]
    if not least <= len(arguments) <= most:
        raise AggregationUnsupported(f"{text!r} has {len(arguments)} arguments.", fix=f"Write {_form(kind)}.")
    return Aggregation(kind.name, arguments[0] if arguments else None, version=kind.version, condition=condition, share=share)


def _form(kind: AggregationKind) -> str:
    """How a call is written."""
    last = ["condition"] if kind.takes_condition else ["0.9"] if kind.takes_share else []
    bare, field = (f"{kind.name}({', '.join([*first, *last])})" for first in ((), ("field",)))
    return {"none": bare, "field": field}.get(kind.argument, f"{bare} or {field}")


def _condition(kind: AggregationKind, inside: str, whole: str, scope: Mapping[str, ColumnType]) -> tuple[str, Expression]:
    """What stands before the condition, and the condition."""
    first, text = "", inside
    if kind.argument == "field":
        match = _FIRST.fullmatch(inside)
        if match is None:
            raise AggregationUnsupported(f"{whole!r} needs a field and a condition.", fix=f"Write {_form(kind)}.")
        first, text = match[1], match[2]
    if not text.strip():
        raise AggregationUnsupported(f"{whole!r} has no condition.", fix=f"Write {_form(kind)}.")
    found = parse(text.strip(), scope)
    if found.type.kind != "bool":
        raise ExpressionInvalid(f"a condition must be true or false, not {found.type}.")
    return first, found


def _share(kind: AggregationKind, inside: str, whole: str) -> tuple[str, str]:
    """What stands before the share, and the share in its shortest spelling."""
    first, _, text = inside.rpartition(",")
    if not _SHARE.fullmatch(text.strip()):
        raise AggregationUnsupported(f"{whole!r} needs a share from 0 to 1, with at most four digits after the point.",
                                     fix=f"Write {_form(kind)}.")
    return first, str(Decimal(text.strip()).normalize())


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
