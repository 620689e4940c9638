"""Aggregation calls as the profile spells them (`features.md`, `decisions.md` D23, D31)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from offline_feature_plane.domain.aggregations import AggregationKind, aggregation_kind, registered
from offline_feature_plane.domain.aggregations.frequencies import MOST_VALUES
from offline_feature_plane.domain.closure import Aggregation
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.expressions import Expression
from offline_feature_plane.domain.fading import LONGEST_HALF_LIFE_US
from offline_feature_plane.domain.grammar import parse_condition
from offline_feature_plane.domain.instants import format_duration, parse_duration
from offline_feature_plane.errors import AggregationUnsupported
from offline_feature_plane.errors.tree import shortened

__all__ = ["parse_aggregation"]

_CALL = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\((.*)\)\s*", re.DOTALL)
_SHARE = re.compile(r"0?\.[0-9]{1,4}|0|1|1\.0{1,4}")
_MOST = re.compile(r"[1-9][0-9]{0,2}")
_HALF_LIFE = re.compile(r"half_life\s*:\s*(\S+)")
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
        raise AggregationUnsupported(f"{_said(text)} is not a call.", fix="Write it as mean(amount) or count().")
    kind, inside = aggregation_kind(match[1]), match[2]
    condition, share, half_life_us, most = None, None, None, None
    match kind.takes:
        case "condition":
            inside, condition = _condition(kind, text, match.span(2), scope or {})
        case "share":
            inside, share = _share(kind, inside, text)
        case "half_life":
            inside, half_life_us = _half_life(kind, inside, text)
        case "most":
            inside, most = _most(kind, inside, text)
    arguments, option = _arguments(inside, text)
    if option is not None and (not kind.takes_of_resolved or option != "resolved"):
        takers = ", ".join(name for name, one in registered().items() if one.takes_of_resolved)
        raise AggregationUnsupported(f"{_said(text)} has `of: {option}`.", fix=f"Only {takers} takes an option: of: resolved.")
    if kind.argument == "label":
        if len(arguments) < 2 or len(set(arguments)) != len(arguments):
            raise AggregationUnsupported(f"{_said(text)} needs a label type and one or more different values.",
                                         fix=f"Write {kind.name}(chargeback, CHARGEBACK).")
        return Aggregation(kind.name, label_type=arguments[0], values=tuple(sorted(arguments[1:])), of_resolved=option is not None,
                           version=kind.version)
    if len(arguments) not in {"none": (0,), "optional": (0, 1), "field": (1,)}[kind.argument]:
        found = "names no field" if kind.argument == "field" and not arguments else f"has {len(arguments)} arguments"
        raise AggregationUnsupported(f"{_said(text)} {found}.", fix=f"Write {_form(kind)}.")
    return Aggregation(kind.name, arguments[0] if arguments else None, version=kind.version, condition=condition, share=share,
                       half_life_us=half_life_us, most=most)


_LAST = {"condition": "condition", "share": "0.9", "half_life": "half_life: 1h", "most": "3"}


def _said(text: str) -> str:
    """A text in quotes, cut where it is long."""
    return shortened(repr(text), 100)


def _form(kind: AggregationKind) -> str:
    """How a call is written."""
    last = [] if kind.takes is None else [_LAST[kind.takes]]
    bare, field = (f"{kind.name}({', '.join([*first, *last])})" for first in ((), ("field",)))
    return {"none": bare, "field": field}.get(kind.argument, f"{bare} or {field}")


def _condition(kind: AggregationKind, whole: str, inside: tuple[int, int], scope: Mapping[str, ColumnType]) -> tuple[str, Expression]:
    """What stands before the condition, and the condition; `inside` is where the arguments of the call stand."""
    first, (begins, ends) = "", inside
    if kind.argument == "field":
        match = _FIRST.fullmatch(whole, begins, ends)
        if match is None:
            raise AggregationUnsupported(f"{_said(whole)} needs a field and a condition.", fix=f"Write {_form(kind)}.")
        first, begins = match[1], match.start(2)
    text = whole[begins:ends]
    if not text.strip():
        raise AggregationUnsupported(f"{_said(whole)} has no condition.", fix=f"Write {_form(kind)}.")
    begins += len(text) - len(text.lstrip())
    return first, parse_condition(text.strip(), scope, inside=whole, begins=begins)


def _share(kind: AggregationKind, inside: str, whole: str) -> tuple[str, str]:
    """What stands before the share, and the share in its shortest spelling."""
    first, _, text = inside.rpartition(",")
    if not _SHARE.fullmatch(text.strip()):
        raise AggregationUnsupported(f"{_said(whole)} needs a share from 0 to 1, with at most four digits after the point.",
                                     fix=f"Write {_form(kind)}.")
    return first, str(Decimal(text.strip()).normalize())


def _half_life(kind: AggregationKind, inside: str, whole: str) -> tuple[str, int]:
    """What stands before the half-life, and the half-life in µs."""
    first, _, text = inside.rpartition(",")
    match = _HALF_LIFE.fullmatch(text.strip())
    if match is None:
        raise AggregationUnsupported(f"{_said(whole)} needs a half-life.", fix=f"Write {_form(kind)}.")
    try:
        found = parse_duration(match[1])
    except ValueError as wrong:
        raise AggregationUnsupported(f"{_said(whole)}: {wrong}.", fix=f"Write {_form(kind)}.") from None
    if found > LONGEST_HALF_LIFE_US:
        raise AggregationUnsupported(f"{_said(whole)} has a half-life of more than {format_duration(LONGEST_HALF_LIFE_US)}.",
                                     fix="Choose a shorter one, or mean.")
    return first, found


def _most(kind: AggregationKind, inside: str, whole: str) -> tuple[str, int]:
    """What stands before the number of values, and the number."""
    first, _, text = inside.rpartition(",")
    if not _MOST.fullmatch(text.strip()) or int(text) > MOST_VALUES:
        raise AggregationUnsupported(f"{_said(whole)} needs a whole number from 1 to {MOST_VALUES}.", fix=f"Write {_form(kind)}.")
    return first, int(text)


def _arguments(text: str, whole: str) -> tuple[list[str], str | None]:
    found: list[str] = []
    option, at = None, 0
    if not text.strip():
        return found, option
    while True:
        match = _PIECE.match(text, at)
        if match is None or option is not None:
            raise AggregationUnsupported(f"{_said(whole)} is not a valid call from {_said(text[at:].strip())} on.",
                                         fix="Separate arguments by commas; quote label values with odd characters; options come last.")
        if match[1]:
            option = match[2]
        else:
            found.append(next(piece for piece in match.group(3, 4, 5) if piece is not None))
        at = match.end()
        if match[6] != ",":
            return found, option
