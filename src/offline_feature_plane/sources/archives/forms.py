"""Which form a segment has: its name says so, in letters of either case."""

from __future__ import annotations

from typing import Final

__all__ = ["SUFFIXES", "is_segment", "is_table"]

_TABLES: Final = (".parquet", ".pq")
SUFFIXES: Final = (*_TABLES, *(f".{form}{packed}" for form in ("jsonl", "ndjson", "json") for packed in ("", ".gz", ".zst")))


def is_segment(name: str) -> bool:
    """Can a file of this name be a segment?

    >>> is_segment("a/part-0.JSON.gz"), is_segment("part-0-0"), is_segment("a.csv")
    (True, False, False)
    """
    return name.lower().endswith(SUFFIXES)


def is_table(name: str) -> bool:
    """Is a segment of this name Parquet, and not lines of text?

    >>> is_table("part-0.snappy.parquet"), is_table("EXPORT.PARQUET"), is_table("a.pq"), is_table("a.jsonl")
    (True, True, True, False)
    """
    return name.lower().endswith(_TABLES)
