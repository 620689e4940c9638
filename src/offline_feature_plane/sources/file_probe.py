"""A first look at files that have no description yet: types, ranges, distinct values, how late labels are (`ofs init`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Self, cast

import duckdb

from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.summaries import ColumnSummary, Kind, LagSummary, TableSummary
from offline_feature_plane.errors import SourceUnreadable
from offline_feature_plane.filesets import FileSet, pin_files

__all__ = ["FileProbe", "summarize"]

MOST_VALUES = 24
MOST_DIGITS = 6
SCALES = (0, 1, 2, 3, 4, 6)

# Times outside of these years stand for "never" or "unknown"; so do the few that lie further from the middle half of all times than
# three times its width and five years.
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
_FAR_US, _FAR_WIDTHS, _FEW = 5 * 366 * US_PER_DAY, 3, 100

_INTEGER_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_STORED: dict[str, Kind] = {**dict.fromkeys(_INTEGER_TYPES, "integer"), "FLOAT": "float", "DOUBLE": "float", "BOOLEAN": "bool",
                            "DATE": "day", "BLOB": "binary", "UUID": "binary"}
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = r"\d{4}-\d{2}-\d{2}"
_TIME = rf"{_DAY}[T ]\d{{2}}:\d{{2}}:\d{{2}}(\.\d+)?"
_SPELLED = {"integer": r"[-+]?(0|[1-9]\d{0,17})", "decimal": r"[-+]?(0|[1-9]\d{0,14})(\.\d{1,18})?", "bool": r"true|false",
            "zoned_timestamp": rf"{_TIME}(Z|[+-]\d{{2}}:\d{{2}})", "timestamp": _TIME, "day": _DAY,
            "near_time": rf"{_DAY}[T ]\d{{2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?(Z|[+-]\d{{2}}(:?\d{{2}})?)?"}


class FileProbe:
    """Looks into an events file and, if there is one, a label file. Reads; writes nothing."""

    def __init__(self, events: Path, labels: Path | None = None) -> None:
        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._stems: dict[str, tuple[Path, FileSet]] = {}
        self._kinds: dict[str, Mapping[str, Kind]] = {}
        self._bounds: dict[tuple[str, str], tuple[int | None, int | None]] = {}
        for table, path in (("events", events), ("labels", labels)):
            if path is not None:
                self._open(table, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def summarize(self, table: str, shown_path: str) -> TableSummary:
        """The summary of `events` or `labels`; `shown_path` is how plane.yaml will spell its path."""
        path, files = self._stems[table]
        types = dict(self._ask("column_name, column_type", f"(DESCRIBE {table})"))
        columns = tuple(self._column(table, name, types[_alias(place)], files.rows)
                        for place, (name, _) in enumerate(files.columns) if name)
        self._kinds[table] = {column.name: column.kind for column in columns}
        self._bounds |= {(table, column.name): (column.min_us, column.max_us) for column in columns if column.is_time}
        return TableSummary(shown_path, path.resolve().name.split(".")[0], files.rows, columns, str(path))

    def lags(self, *, event_id: str, event_time: str, subject: str, observed: str) -> LagSummary:
        """See `LabelProbe`."""
        events, labels = self._subjects(event_id, event_time, subject, observed)
        (count,), = self._ask("count(*)", events)
        labelled, p50, p99 = self._ask("count(DISTINCT k), quantile_disc(o - t, 0.5), quantile_disc(o - t, 0.99)",
                                       f"{events} JOIN {labels} USING (k)")[0]
        return LagSummary(count, labelled, p50, p99)

    def meets(self, *, event_id: str, subject: str) -> int:
        """See `LabelProbe`."""
        held = self._at("labels", subject)
        held = f"TRY_CAST({held} AS BIGINT)" if self._kinds["labels"][subject] == "float" else held
        known = _derived(f"CAST({self._at('events', event_id)} AS VARCHAR)", "events")
        (count,), = self._ask("count(*)", f"labels WHERE CAST({held} AS VARCHAR) IN {known}")
        return int(count)

    def answered(self, *, event_id: str, event_time: str, subject: str, observed: str, asof_us: int, cut_us: int) -> tuple[int, int]:
        """See `LabelProbe`."""
        events, labels = self._subjects(event_id, event_time, subject, observed)
        (count,), = self._ask("count(*)", f"{events} WHERE t <= {int(cut_us)}")
        (answered,), = self._ask("count(DISTINCT k)", f"{events} JOIN {labels} USING (k) WHERE t <= {int(cut_us)} AND o <= {int(asof_us)}")
        return count, answered

    def _subjects(self, event_id: str, event_time: str, subject: str, observed: str) -> tuple[str, str]:
        """Both files as (k, t) and (k, o): ids as text, instants in µs; rows whose time is far away are left out."""
        return (_derived(f"CAST({self._at('events', event_id)} AS VARCHAR) AS k, {self._instant('events', event_time)} AS t",
                         f"events WHERE {self._near('events', event_time)}"),
                _derived(f"CAST({self._at('labels', subject)} AS VARCHAR) AS k, {self._instant('labels', observed)} AS o",
                         f"labels WHERE {self._near('labels', observed)}"))

    def _near(self, table: str, column: str) -> str:
        first, last = self._bounds[table, column]
        return "false" if first is None or last is None else f"{self._instant(table, column)} BETWEEN {int(first)} AND {int(last)}"

    def _instant(self, table: str, column: str) -> str:
        target = "TIMESTAMP" if self._kinds[table][column] == "timestamp" else "TIMESTAMPTZ"
        return f"epoch_us(TRY_CAST({self._at(table, column)} AS {target}))"

    def _at(self, table: str, column: str) -> str:
        """A column's place in the view: so that no column name reaches the SQL text."""
        return _alias([name for name, _ in self._stems[table][1].columns].index(column))

    def _open(self, table: str, path: Path) -> None:
        files = pin_files(path)
        listed = ", ".join(_text(str(file.path)) for file in files.files)
        if files.form == "parquet":
            source = f"FROM read_parquet([{listed}])"
        elif files.form == "csv":
            texts = ", ".join(f"{_alias(place)}: 'VARCHAR'" for place in range(len(files.columns)))
            source = (f"FROM read_csv([{listed}], auto_detect = false, columns = {{{texts}}}, header = true, delim = ',', quote = '\"', "
                      "escape = '\"', nullstr = '')")
        else:
            wanted = ", ".join(f"{_text(name)}: 'JSON'" for name, _ in files.columns)
            values = ", ".join(f"{_quoted(name)} ->> '$'" for name, _ in files.columns)
            source = _derived(values, f"read_json([{listed}], format = 'newline_delimited', columns = {{{wanted}}})")
        self._stems[table] = (path, files)
        names = ", ".join(_alias(place) for place in range(len(files.columns)))
        self._rows(f"CREATE VIEW {table}({names}) AS {source}")

    def _column(self, table: str, name: str, kind: str, rows: int) -> ColumnSummary:
        column = self._at(table, name)
        count, distinct = self._ask(f"count({column}), approx_count_distinct({column})", table)[0]
        known = "other" if self._is_nested(table, column) else self._kind(table, column, kind, count)
        unique = bool(rows and count == rows and distinct > 0.8 * rows
                      and self._ask(f"count(DISTINCT {column}) = {rows}", table)[0][0])
        digits, scale = self._size(table, column, known, kind) if count else (0, 0)
        if known == "decimal" and scale is not None and scale > MOST_DIGITS:  # floats that were written as text
            known = "float"
            digits, scale = self._size(table, column, known, kind)
        first, last, far = None, None, 0
        if known in ("timestamp", "zoned_timestamp") and count:
            first, last, far = self._near_bounds(table, f"epoch_us(TRY_CAST({column} AS "
                                                        f"{'TIMESTAMP' if known == 'timestamp' else 'TIMESTAMPTZ'}))")
        repeats: tuple[int, tuple[str, ...], bool] = (0, (), False)
        if not unique and count == rows and known in ("integer", "string", "binary") and distinct > 0.8 * rows:
            repeats = self._repeats(table, column, rows)
        values: tuple[tuple[str, int], ...] = ()
        if distinct <= 2 * MOST_VALUES:
            found = self._ask(f"CAST({column} AS VARCHAR), count(*) AS n",
                              f"{table} WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT {MOST_VALUES + 1}")
            values = tuple((_whole(str(text)) if known == "float" else str(text), int(times)) for text, times in found)
            values = values if len(values) <= MOST_VALUES else ()
        return ColumnSummary(name, known, rows - count, distinct, unique, digits, scale, first, last, values, *repeats, far)

    def _near_bounds(self, table: str, instant: str) -> tuple[int | None, int | None, int]:
        """The first and the last of the times that are not far away, and how many are."""
        early, late = ((date(year, 1, 1).toordinal() - _EPOCH) * US_PER_DAY for year in (_FIRST_YEAR, _LAST_YEAR))
        times = _derived(f"{instant} AS i", table)
        within = f"i >= {early} AND i < {late}"
        low, high = self._ask("quantile_disc(i, 0.25), quantile_disc(i, 0.75)", f"{times} WHERE {within}")[0]
        if low is None:
            return None, None, int(self._ask("count(i)", times)[0][0])
        margin = max(_FAR_US, _FAR_WIDTHS * (high - low))
        fenced = f"{within} AND i BETWEEN {low - margin} AND {high + margin}"
        known, kept, near = self._ask(f"count(i), count(*) FILTER ({within}), count(*) FILTER ({fenced})", times)[0]
        if (kept - near) * _FEW > kept:  # not the odd row: really so
            fenced, near = within, kept
        first, last = self._ask("min(i), max(i)", f"{times} WHERE {fenced}")[0]
        return first, last, int(known - near)

    def _repeats(self, table: str, column: str, rows: int) -> tuple[int, tuple[str, ...], bool]:
        """Of a column that nearly tells rows apart: how many repeat a value, some of these, and whether equal values mean equal rows."""
        (different,), = self._ask(f"count(DISTINCT {column})", table)
        repeats = rows - int(different)
        if not 0 < repeats <= max(1, rows // _FEW):
            return 0, (), False
        some = self._ask(f"CAST({column} AS VARCHAR)", f"{table} GROUP BY {column} HAVING count(*) > 1 ORDER BY {column} LIMIT 3")
        (whole,), = self._ask("count(*)", _derived("DISTINCT *", table))
        return repeats, tuple(str(text) for (text,) in some), whole == different

    def _is_nested(self, table: str, column: str) -> bool:
        """Does any line hold an object or a list here?"""
        opens = f"starts_with({column}, '{{') OR starts_with({column}, '[')"
        return self._stems[table][1].form == "jsonl" and bool(self._ask(f"bool_or({opens})", table)[0][0])

    def _kind(self, table: str, column: str, kind: str, count: int) -> Kind:
        if kind in _STORED:
            return _STORED[kind]
        if kind.startswith("DECIMAL"):
            return "decimal"
        if kind.startswith("TIMESTAMP"):
            return "zoned_timestamp" if "ZONE" in kind else "timestamp"
        if kind != "VARCHAR" and not kind.startswith("ENUM"):
            return "other"
        tests = ", ".join(f"count(*) FILTER (regexp_full_match({column}::VARCHAR, {_text(form)}))" for form in _SPELLED.values())
        fits = self._ask(tests, table)[0]
        return next((cast("Kind", name) for name, fit in zip(_SPELLED, fits, strict=True) if count and fit == count), "string")

    def _size(self, table: str, column: str, kind: Kind, stored: str) -> tuple[int, int | None]:
        """Digits before the point, and how many after it hold every value (floats: up to the noise of their last binary digits)."""
        if kind not in ("integer", "decimal", "float"):
            return 0, 0
        number = f"CAST({column} AS DOUBLE)"
        largest = self._ask(f"max(abs({number}))", f"{table} WHERE isfinite({number})")[0][0] or 0
        digits = len(str(int(largest)))
        if kind == "integer":
            return digits, 0
        if kind == "decimal":
            text = f"CAST({column} AS VARCHAR)"
            after = f"CASE WHEN contains({text}, '.') THEN length(split_part({text}, '.', 2)) ELSE 0 END"
            return digits, int(self._ask(f"max({after})", table)[0][0] or 0)
        noise = f"{'1e-7' if stored == 'FLOAT' else '1e-12'} * greatest(1, abs({number}))"
        tests = ", ".join(f"bool_and(abs({number} - round({number}, {scale})) <= {noise})" for scale in SCALES)
        fits = self._ask(tests, f"{table} WHERE isfinite({number})")[0]
        return digits, next((scale for scale, fit in zip(SCALES, fits, strict=True) if fit), None)

    def _ask(self, what: str, source: str) -> list[tuple[Any, ...]]:
        return self._rows(f"SELECT {what} " + f"FROM {source}")

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement).fetchall()
        except duckdb.Error as wrong:
            raise SourceUnreadable(f"the file cannot be read: {str(wrong).splitlines()[0]}.",
                                   fix="Check that it is a whole Parquet, CSV or JSON Lines file.") from wrong


def summarize(events: Path, labels: Path | None = None) -> tuple[TableSummary, TableSummary | None]:
    """Summaries of an events file and a label file, their paths as given."""
    with FileProbe(events, labels) as probe:
        return probe.summarize("events", str(events)), probe.summarize("labels", str(labels)) if labels is not None else None


def _derived(what: str, source: str) -> str:
    return f"(SELECT {what} " + f"FROM {source})"


def _alias(place: int) -> str:
    return f"c{place}"


def _whole(text: str) -> str:
    """A whole float as an integer is written."""
    return text.removesuffix(".0")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
