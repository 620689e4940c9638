"""How logs are read, as text: which stretch comes from the archive and which from the bus, what nobody has, and what the bus said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from offline_feature_plane.cli.output import style, table

_MOST = 24  # lines; a log of a thousand partitions is for --json
_WHY = {"unknown_log": "nobody: they have another log", "unknown_partition": "nobody: no such partition",
        "archive_gap": "nobody: a hole of the archive", "retention_exceeded": "nobody: retention has passed",
        "not_settled": "nobody yet: not settled", "bus_silent": "unknown: the bus is silent", "compacted": "unknown: the bus is compacted",
        "start_unknown": "unknown: where the bus begins"}


def worth_telling(routes: Sequence[Mapping[str, Any]]) -> bool:
    """Is there more to tell than that the archive has everything?"""
    return any(one.get("watermarks") or one.get("gaps") or len(one.get("pieces", ())) > 1 for one in routes)


def told(routes: Sequence[Mapping[str, Any]], gaps: Sequence[Mapping[str, Any]] = ()) -> str:
    """A line for each stretch, in the order of reading; then what is declared to be missing."""
    lines = [line for one in routes for line in _lines(one)]
    lines += [[one["topic"], str(one["partition"]), _declared(one), f"[{one['start_offset']}, {one['end_offset']})", ""] for one in gaps]
    shown = table(["topic", "partition", "from", "offsets", "the bus has"], lines[:_MOST])
    return shown if len(lines) <= _MOST else f"{shown}\n… and {len(lines) - _MOST:,} more stretches: --json has them all."


def declared(gaps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a dataset lacks: a table and an empty line, or nothing."""
    lines = [[one["topic"], str(one["partition"]), f"[{one['start_offset']}, {one['end_offset']})", one["why"]] for one in gaps]
    more = [f"… and {len(lines) - _MOST:,} more: --json has them all."] if len(lines) > _MOST else []
    return [table(["missing", "partition", "offsets", "why"], lines[:_MOST]), *more, ""] if lines else []


def refused(receipt: Mapping[str, Any]) -> str:
    """The answer of a basis that cannot be had, from its completeness receipt."""
    return f"{style(receipt['feasibility'], 'red', err=True)}\n{told(receipt['ranges'])}"


def _declared(gap: Mapping[str, Any]) -> str:
    return "declared: what is left of it is read" if gap["why"] == "compacted" else f"declared as missing: {gap['why']}"


def _lines(one: Mapping[str, Any]) -> list[list[Any]]:
    marks = one.get("watermarks")
    bus = None
    if marks is not None:
        bus = f"[{marks['log_start'] or '?'}, {marks['last_stable']})" + (" compacted" if marks["is_compacted"] else "")
    parts = [(int(part["start_offset"]), part["holder"], part) for part in one.get("pieces", ())]
    parts += [(int(part["start_offset"]), _WHY[part["why"]], part) for part in one.get("gaps", ())]
    return [[one["topic"] if not place else "", str(one["partition"]) if not place else "", holder,
             f"[{part['start_offset']}, {part['end_offset']})", bus if not place else ""]
            for place, (_, holder, part) in enumerate(sorted(parts, key=lambda each: each[0]))]
