"""Which column of a label file names the events, or why none does (`ofs init`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from offline_feature_plane.corridor.naming import rows_of, snake, words_of
from offline_feature_plane.domain.summaries import ColumnSummary, TableSummary
from offline_feature_plane.errors import SourceColumnUnknown

__all__ = ["find_link"]

_REFERENCES = frozenset({"ref", "reference", "event", "transaction", "trans", "tx", "txn", "payment", "order"})


def find_link(table: TableSummary, events: TableSummary, meets: Callable[[str, str], int] | None) -> ColumnSummary:
    """The column of the labels that holds ids of events: by its name, unless another one is named better and holds them."""
    ids = [column for column in events.columns if column.is_id]
    linkable = [column for column in table.columns if column.kind in ("integer", "string")]
    same = next((column for column in linkable if column.name in {one.name for one in ids}), None)
    if same is not None and meets is not None and snake(same.name) == "id" and same.unique:  # it may be the label's own
        other = _met(table, [column for column in linkable if column != same], events, meets)
        return other if other is not None else same
    link = same or _met(table, linkable, events, meets)
    if link is None:
        raise _why_no_link(table, ids, events, meets)
    return link


def _why_no_link(table: TableSummary, ids: Sequence[ColumnSummary], events: TableSummary,
                 meets: Callable[[str, str], int] | None) -> SourceColumnUnknown:
    """What keeps the labels of a file from referring to events, and which columns come nearest."""
    names = {one.name for one in ids}
    for column in table.columns:
        one = next((one for one in ids if column.name == one.name), ids[0] if ids and column.kind in ("float", "binary") else None)
        if one is None or column.kind not in ("float", "binary") or (column.kind == "float" and column.scale != 0):
            continue
        shared = meets(one.name, column.name) if meets is not None and column.kind == "float" else 0
        if column.name in names or 10 * shared >= 9 * (table.rows - column.nulls):
            held, fix = ("floats such as 17.0", "Write the ids as integers, in pandas with astype('Int64').") if column.kind == "float" \
                else ("bytes", "Write the ids as text in both files.")
            known = f"; as integers, {rows_of(shared, table)} would name an event" if shared else ""
            return SourceColumnUnknown(f"{column.name} of {table.said} holds {held}, while {one.name} of {events.said} holds "
                                       f"{'integers' if one.kind == 'integer' else 'text'}{known}.", path=table.said, fix=fix)
    found = [(meets(one.name, column.name), column.name, one.name) for one in ids for column in table.columns
             if meets is not None and column.kind in ("integer", "string")]
    count, name, of = max(found, default=(0, "", ""))
    nearest = f" The closest is {name}: {rows_of(count, table)} hold a value of {of}." if count else ""
    known = ", ".join(sorted(names)) or "none"
    return SourceColumnUnknown(f"{table.said} has no column of the same name as an id of {events.said} ({known}), "
                               f"nor one that holds such ids.{nearest}", path=table.said,
                               fix="Add the event's id to each label, spelled the same in both files; labels about an entity, such as an "
                                   "account, are mapped by hand, with `entity:`.")


def _met(table: TableSummary, columns: Sequence[ColumnSummary], events: TableSummary,
         meets: Callable[[str, str], int] | None) -> ColumnSummary | None:
    """The column that holds ids of the events in nine of ten rows; if it holds mere integers, it must also be named like them."""
    ids = [column for column in events.columns if column.is_id]
    found = [(meets(one.name, column.name), column) for one in ids for column in columns] if meets is not None else []
    alike = {word.removesuffix("s") for name in (events.stem, *(one.name for one in ids)) for word in words_of(name)} | _REFERENCES
    ranked = [(len(alike & set(words_of(column.name)) - {"id"}), snake(column.name) != "id", count, column) for count, column in found
              if 10 * count >= 9 * table.rows]
    best = max((one for one in ranked if one[0] or one[3].kind == "string"), key=lambda one: one[:3], default=None)
    return best[3] if best is not None else None
