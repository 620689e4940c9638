"""A first look at files that have no description yet: types, ranges, distinct values, how late labels are (`ofs init`).

The files' columns are c0, c1, … in every statement, whatever they are called; file and column names reach DuckDB as values (R13).
"""

from __future__ import annotations

import codecs
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self, cast

import duckdb

from offline_feature_plane.domain.instants import US_PER_DAY
from offline_feature_plane.domain.summaries import ColumnSummary, Kind, LagSummary, TableSummary
from offline_feature_plane.engines.local.connection import open_connection
from offline_feature_plane.engines.local.statements import Sql, ask, listed, sql
from offline_feature_plane.errors import SourceUnreadable
from offline_feature_plane.filesets import pin_files
from offline_feature_plane.text_files import opened

__all__ = ["FileProbe"]

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
    """Looks into an events file and, if there is one, a label file. Reads them; writes nothing but scratch files.

    Args:
        work: an existing folder for scratch files.
        events: the file or folder with the events.
        labels: the one with the labels.

    Raises:
        SourceUnreadable, RefScopeInvalid: as `pin_files`.
    """

    def __init__(self, work: Path, events: Path, labels: Path | None = None) -> None:
        paths = {"events": events} if labels is None else {"events": events, "labels": labels}
        self._stems = {table: (path, pin_files(path)) for table, path in paths.items()}
        self._places = {table: [str(_unmarked(file.path, work) if files.form == "jsonl" else file.path) for file in files.files]
                        for table, (_, files) in self._stems.items()}
        places = [place for held in self._places.values() for place in held]
        self._connection = open_connection(work, readable=[*places, *map(_as_pattern, places)])
        self._kinds: dict[str, Mapping[str, Kind]] = {}
        self._bounds: dict[tuple[str, str], tuple[int | None, int | None]] = {}
        for table in paths:
            self._open(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def summarize(self, table: str, shown_path: str) -> TableSummary:
        """The summary of `events` or `labels`; `shown_path` is how plane.yaml will spell its path."""
        path, files = self._stems[table]
        types = dict(self._rows(sql("SELECT column_name, column_type FROM (DESCRIBE {table})", table=_TABLES[table])))
        columns = tuple(self._column(table, name, types[_alias(place).text], files.rows)
                        for place, (name, _) in enumerate(files.columns) if name)
        self._kinds[table] = {column.name: column.kind for column in columns}
        self._bounds |= {(table, column.name): (column.min_us, column.max_us) for column in columns if column.is_time}
        return TableSummary(shown_path, path.resolve().name.split(".")[0], files.rows, columns, str(path))

    def lags(self, *, event_id: str, event_time: str, subject: str, observed: str) -> LagSummary:
        """See `LabelProbe`."""
        events, labels = self._subjects(event_id, event_time, subject, observed)
        (count,), = self._ask(sql("count(*)"), events)
        labelled, p50, p99 = self._ask(sql("count(DISTINCT k), quantile_disc(o - t, 0.5), quantile_disc(o - t, 0.99)"),
                                       sql("{events} JOIN {labels} USING (k)", events=events, labels=labels))[0]
        return LagSummary(count, labelled, p50, p99)

    def meets(self, *, event_id: str, subject: str) -> int:
        """See `LabelProbe`."""
        held = self._at("labels", subject)
        held = sql("TRY_CAST({held} AS BIGINT)", held=held) if self._kinds["labels"][subject] == "float" else held
        (count,), = self._ask(sql("count(*)"), sql("labels WHERE CAST({held} AS VARCHAR) IN (SELECT CAST({id} AS VARCHAR) FROM events)",
                                                   held=held, id=self._at("events", event_id)))
        return int(count)

    def answered(self, *, event_id: str, event_time: str, subject: str, observed: str, asof_us: int, cut_us: int) -> tuple[int, int]:
        """See `LabelProbe`."""
        events, labels = self._subjects(event_id, event_time, subject, observed)
        (count,), = self._ask(sql("count(*)"), sql("{events} WHERE t <= {cut}", events=events, cut=cut_us))
        (answered,), = self._ask(sql("count(DISTINCT k)"), sql("{events} JOIN {labels} USING (k) WHERE t <= {cut} AND o <= {asof}",
                                                               events=events, labels=labels, cut=cut_us, asof=asof_us))
        return count, answered

    def _subjects(self, event_id: str, event_time: str, subject: str, observed: str) -> tuple[Sql, Sql]:
        """Both files as (k, t) and (k, o): ids as text, instants in µs; rows whose time is far away are left out."""
        return (sql("(SELECT CAST({id} AS VARCHAR) AS k, {time} AS t FROM events WHERE {near})", id=self._at("events", event_id),
                    time=self._instant("events", event_time), near=self._near("events", event_time)),
                sql("(SELECT CAST({id} AS VARCHAR) AS k, {time} AS o FROM labels WHERE {near})", id=self._at("labels", subject),
                    time=self._instant("labels", observed), near=self._near("labels", observed)))

    def _near(self, table: str, column: str) -> Sql:
        first, last = self._bounds[table, column]
        if first is None or last is None:
            return sql("false")
        return sql("{instant} BETWEEN {first} AND {last}", instant=self._instant(table, column), first=first, last=last)

    def _instant(self, table: str, column: str) -> Sql:
        return _instant_of(self._at(table, column), self._kinds[table][column])

    def _at(self, table: str, column: str) -> Sql:
        """A column's place in the view."""
        return _alias([name for name, _ in self._stems[table][1].columns].index(column))

    def _open(self, table: str) -> None:
        _, files = self._stems[table]
        listed_files: Any = list(map(_as_pattern, self._places[table]))
        with _mapped():
            if files.form == "parquet":
                found = self._connection.read_parquet(listed_files)
            elif files.form == "csv":
                texts = {f"c{place}": "VARCHAR" for place in range(len(files.columns))}
                found = self._connection.read_csv(listed_files, auto_detect=False, columns=texts, header=True, delimiter=",", quotechar='"',
                                                  escapechar='"', na_values="")
            else:
                wanted = {name: "JSON" for name, _ in files.columns}
                found = self._connection.read_json(listed_files, format="newline_delimited", columns=wanted)
            found.create_view(f"{table}_as_stored")
        values = sql("COLUMNS(*) ->> '$'") if files.form == "jsonl" else sql("*")
        self._rows(sql("CREATE VIEW {table}({names}) AS SELECT {values} FROM {table}_as_stored", table=_TABLES[table], values=values,
                       names=listed(_alias(place) for place in range(len(files.columns)))))

    def _column(self, table: str, name: str, kind: str, rows: int) -> ColumnSummary:
        column = self._at(table, name)
        count, distinct = self._ask(sql("count({column}), approx_count_distinct({column})", column=column), _TABLES[table])[0]
        known = "other" if self._is_nested(table, column) else self._kind(table, column, kind, count)
        unique = bool(rows and count == rows and distinct > 0.8 * rows
                      and self._ask(sql("count(DISTINCT {column})", column=column), _TABLES[table])[0][0] == rows)
        digits, scale = self._size(table, column, known, kind) if count else (0, 0)
        if known == "decimal" and scale is not None and scale > MOST_DIGITS:  # floats that were written as text
            known = "float"
            digits, scale = self._size(table, column, known, kind)
        first, last, far = None, None, 0
        if known in ("timestamp", "zoned_timestamp") and count:
            first, last, far = self._near_bounds(table, _instant_of(column, known))
        repeats: tuple[int, tuple[str, ...], bool] = (0, (), False)
        if not unique and count == rows and known in ("integer", "string", "binary") and distinct > 0.8 * rows:
            repeats = self._repeats(table, column, rows)
        values: tuple[tuple[str, int], ...] = ()
        if distinct <= 2 * MOST_VALUES:
            found = self._ask(sql("CAST({column} AS VARCHAR), count(*) AS n", column=column),
                              sql("{table} WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT {most}", table=_TABLES[table],
                                  column=column, most=MOST_VALUES + 1))
            values = tuple((_whole(str(text)) if known == "float" else str(text), int(times)) for text, times in found)
            values = values if len(values) <= MOST_VALUES else ()
        return ColumnSummary(name, known, rows - count, distinct, unique, digits, scale, first, last, values, *repeats, far)

    def _near_bounds(self, table: str, instant: Sql) -> tuple[int | None, int | None, int]:
        """The first and the last of the times that are not far away, and how many are."""
        early, late = ((date(year, 1, 1).toordinal() - _EPOCH) * US_PER_DAY for year in (_FIRST_YEAR, _LAST_YEAR))
        times = sql("(SELECT {instant} AS i FROM {table})", instant=instant, table=_TABLES[table])
        within = sql("i >= {early} AND i < {late}", early=early, late=late)
        low, high = self._ask(sql("quantile_disc(i, 0.25), quantile_disc(i, 0.75)"),
                              sql("{times} WHERE {within}", times=times, within=within))[0]
        if low is None:
            return None, None, int(self._ask(sql("count(i)"), times)[0][0])
        margin = max(_FAR_US, _FAR_WIDTHS * (high - low))
        fenced = sql("{within} AND i BETWEEN {low} AND {high}", within=within, low=low - margin, high=high + margin)
        known, kept, near = self._ask(sql("count(i), count(*) FILTER ({within}), count(*) FILTER ({fenced})",
                                          within=within, fenced=fenced), times)[0]
        if (kept - near) * _FEW > kept:  # not the odd row: really so
            fenced, near = within, kept
        first, last = self._ask(sql("min(i), max(i)"), sql("{times} WHERE {fenced}", times=times, fenced=fenced))[0]
        return first, last, int(known - near)

    def _repeats(self, table: str, column: Sql, rows: int) -> tuple[int, tuple[str, ...], bool]:
        """Of a column that nearly tells rows apart: how many repeat a value, some of these, and whether equal values mean equal rows."""
        (different,), = self._ask(sql("count(DISTINCT {column})", column=column), _TABLES[table])
        repeats = rows - int(different)
        if not 0 < repeats <= max(1, rows // _FEW):
            return 0, (), False
        some = self._ask(sql("CAST({column} AS VARCHAR)", column=column),
                         sql("{table} GROUP BY {column} HAVING count(*) > 1 ORDER BY {column} LIMIT 3", table=_TABLES[table],
                             column=column))
        (whole,), = self._ask(sql("count(*)"), sql("(SELECT DISTINCT * FROM {table})", table=_TABLES[table]))
        return repeats, tuple(str(text) for (text,) in some), whole == different

    def _is_nested(self, table: str, column: Sql) -> bool:
        """Does any line hold an object or a list here?"""
        opens = sql("bool_or(starts_with({column}, '{{') OR starts_with({column}, '['))", column=column)
        return self._stems[table][1].form == "jsonl" and bool(self._ask(opens, _TABLES[table])[0][0])

    def _kind(self, table: str, column: Sql, kind: str, count: int) -> Kind:
        if kind in _STORED:
            return _STORED[kind]
        if kind.startswith("DECIMAL"):
            return "decimal"
        if kind.startswith("TIMESTAMP"):
            return "zoned_timestamp" if "ZONE" in kind else "timestamp"
        if kind != "VARCHAR" and not kind.startswith("ENUM"):
            return "other"
        forms = {f"form{place}": form for place, form in enumerate(_SPELLED.values())}
        tests = listed(sql("count(*) FILTER (regexp_full_match({column}::VARCHAR, $form{place}))", column=column, place=place)
                       for place in range(len(forms)))
        fits = self._ask(tests, _TABLES[table], **forms)[0]
        return next((cast("Kind", name) for name, fit in zip(_SPELLED, fits, strict=True) if count and fit == count), "string")

    def _size(self, table: str, column: Sql, kind: Kind, stored: str) -> tuple[int, int | None]:
        """Digits before the point, and how many after it hold every value (floats: up to the noise of their last binary digits)."""
        if kind not in ("integer", "decimal", "float"):
            return 0, 0
        number = sql("CAST({column} AS DOUBLE)", column=column)
        finite = sql("{table} WHERE isfinite({number})", table=_TABLES[table], number=number)
        largest = self._ask(sql("max(abs({number}))", number=number), finite)[0][0] or 0
        digits = len(str(int(largest)))
        if kind == "integer":
            return digits, 0
        if kind == "decimal":
            after = sql("max(CASE WHEN contains({text}, '.') THEN length(split_part({text}, '.', 2)) ELSE 0 END)",
                        text=sql("CAST({column} AS VARCHAR)", column=column))
            return digits, int(self._ask(after, _TABLES[table])[0][0] or 0)
        noise = sql("1e-7") if stored == "FLOAT" else sql("1e-12")
        tests = listed(sql("bool_and(abs({number} - round({number}, {scale})) <= {noise} * greatest(1, abs({number})))", number=number,
                           scale=scale, noise=noise) for scale in SCALES)
        fits = self._ask(tests, finite)[0]
        return digits, next((scale for scale, fit in zip(SCALES, fits, strict=True) if fit), None)

    def _ask(self, what: Sql, source: Sql, **values: Any) -> list[tuple[Any, ...]]:
        return self._rows(sql("SELECT {what} FROM {source}", what=what, source=source), **values)

    def _rows(self, statement: Sql, **values: Any) -> list[tuple[Any, ...]]:
        with _mapped():
            return ask(self._connection, statement, **values)


_TABLES = {"events": sql("events"), "labels": sql("labels")}


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as wrong:
        raise SourceUnreadable(f"the file cannot be read: {str(wrong).splitlines()[0]}.",
                               fix="Check that it is a whole Parquet, CSV or JSON Lines file.") from wrong


def _instant_of(column: Sql, kind: Kind) -> Sql:
    target = sql("TIMESTAMP") if kind == "timestamp" else sql("TIMESTAMPTZ")
    return sql("epoch_us(TRY_CAST({column} AS {target}))", column=column, target=target)


def _alias(place: int) -> Sql:
    return sql("c{place}", place=place)


def _unmarked(path: Path, work: Path) -> Path:
    """A JSON Lines file as DuckDB takes it, which knows no byte order mark: itself, or a copy without one."""
    with opened(path) as stream:
        if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            return path
        with NamedTemporaryFile(dir=work, suffix=".jsonl", delete=False) as copy:
            shutil.copyfileobj(stream, copy)
    return Path(copy.name)


def _as_pattern(path: str) -> str:
    """A path as DuckDB takes it, which reads `*`, `?` and `[` as patterns."""
    return re.sub(r"[*?[]", r"[\g<0>]", path)


def _whole(text: str) -> str:
    """A whole float as an integer is written."""
    return text.removesuffix(".0")
