"""Which column is what: guesses from names, types and small statistics, each with its reason (`ofs init`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from offline_feature_plane.corridor.linking import find_link
from offline_feature_plane.corridor.naming import rank, rows_of, singular, snake, words_of
from offline_feature_plane.domain.resolution import SOURCES
from offline_feature_plane.domain.summaries import ColumnSummary, TableSummary
from offline_feature_plane.errors import LabelTypeScopeUnresolved, SourceColumnUnknown

__all__ = ["EventGuess", "LabelGuess", "guess_events", "guess_labels", "guess_own_labels", "snake", "why_no_id"]

_TIME_WORDS = ("ts", "time", "timestamp", "datetime", "at", "date", "when", "utc", "dt", "zeit", "datum")
_NOT_MONEY = frozenset({"time", "seconds", "days", "unix", "date", "dt", "lat", "long", "lon", "zip", "num", "nr", "no", "number"})
_OBSERVED_WORDS = ("observed", "reported", "known", "decided", "decision", "confirmed", "received", "created", "gemeldet", "label",
                   *_TIME_WORDS)
_LABEL_WORDS = ("fraud", "fraudulent", "label", "target", "class", "chargeback", "betrug", "outcome", "disposition", "verdict", "churn",
                "default", "y", "result", "status")
_LATER = ("fraud", "chargeback", "betrug", "refund", "dispute")  # beginnings of words that tell what became of an event
_LATER_WORDS = frozenset({"label", "disposition", "verdict", "outcome"})
_AMOUNT_WORDS = ("amount", "amt", "price", "value", "total", "sum", "cost", "balance", "quantity", "betrag", "summe",
                 "money")
_KEY_WORDS = ("id", "customer", "card", "account", "acct", "cc", "iban", "merchant", "terminal", "device", "user", "client", "buyer",
              "seller", "payer", "payee", "counterparty", "kunde", "kunden", "karte", "konto", "haendler", "handler", "ip", "email",
              "phone")
_GOOD = ("legit", "genuine", "good", "ok", "clean", "normal", "false", "no", "none", "negative", "0", "not", "non", "approved", "n", "kein",
         "keine", "nein", "echt")
_BAD = ("fraud", "chargeback", "bad", "true", "yes", "positive", "1", "confirmed", "default", "churn", "stolen", "dispute", "disputed",
        "fraudulent", "y", "betrug", "ja")
MOST_KEYS, MOST_AMOUNTS = 3, 2


@dataclass(frozen=True)
class EventGuess:
    """How an events file is mapped and which of its columns make features."""

    id: ColumnSummary | None
    time: ColumnSummary
    keys: tuple[ColumnSummary, ...]
    amounts: tuple[ColumnSummary, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LabelGuess:
    """How labels are mapped: the type's name, where its value is and which values are positive.

    `observed` None means that it must be assumed. `spelled` maps raw values to label values; None leaves them as they are.
    `others` are plane.yaml entries for further columns. `judges_both`: good events are named at least as often as bad ones.
    """

    type: str
    event: str
    observed: ColumnSummary | None
    column: str | None
    spelled: tuple[tuple[str, str], ...] | None
    values: tuple[str, ...]
    positive: tuple[str, ...]
    others: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())
    judges_both: bool = False


def guess_events(table: TableSummary, truth: Iterable[str] = ()) -> EventGuess:
    """Map an events file.

    Args:
        table: its summary.
        truth: columns that reveal the label; never features.

    Raises:
        SourceColumnUnknown: no column can be the time of an event.
    """
    times = [column for column in table.columns if column.is_time and column.nulls == 0]
    if not times:
        raise SourceColumnUnknown(f"{table.said} has no column with the time of each event{_near_times(table)}.", path=table.said,
                                  fix="Write times as timestamps, or as text in RFC 3339 such as 2026-01-31T12:00:00Z, without nulls."
                                      + _near_advice(table))
    time = max(times, key=lambda column: (rank(column.name, _TIME_WORDS) > 0, column.kind == "zoned_timestamp", column.distinct))
    found = max((column for column in table.columns if column.is_id),
                key=lambda column: (words_of(column.name)[-1] == "id", column.unique, rank(column.name, _KEY_WORDS) > 0), default=None)
    notes = [f"time: {time.name}" + ("" if time.kind == "zoned_timestamp" else ", which carries no zone; UTC is assumed"),
             "id: no column is different in every row; events are named by row" if found is None
             else f"id: {found.name}, different in every row" if found.unique
             else f"id: {found.name}; {rows_of(found.repeats, table)} repeat another one with the same content and count once",
             *_far_note(time, table)]
    hidden = {time.name, *truth, *(column.name for column in times), *([found.name] if found else [])}
    later = [column.name for column in table.columns if column.name not in hidden and _tells_later(column.name)]
    if later:
        notes.append(f"left out of the features, because they seem to record what happened after the event: {', '.join(later)}")
    free = [column for column in table.columns if column.name not in {*hidden, *later}]
    named = [column for column in free if rank(column.name, _KEY_WORDS) and _comes_back(column, table.rows, 2)]
    unnamed = [column for column in free if column.kind == "string" and _comes_back(column, table.rows, 20)]
    keys = sorted(named or unnamed,
                  key=lambda column: (words_of(column.name)[-1] != "id", -rank(column.name, _KEY_WORDS), -column.distinct))[:MOST_KEYS]
    numbers = [column for column in free if column not in keys and _is_amount(column)]
    meant = [column for column in numbers if rank(column.name, _AMOUNT_WORDS)]
    amounts = sorted(meant or numbers, key=lambda column: (-rank(column.name, _AMOUNT_WORDS), column.kind == "integer"))[:MOST_AMOUNTS]
    notes += [f"key: {column.name}, about {column.distinct} values"
              + ("" if named else "; its name does not suggest a key, but its values repeat")
              for column in keys]
    notes += [] if keys else ["key: none found; name one under `groups:` in features.yaml"]
    notes += [] if amounts else ["amount: none found; name numbers under `fields:` in features.yaml"]
    for column in amounts:
        if column.kind == "float":
            notes.append(f"amount: {column.name} holds floats; they are read as decimals with {_scale(column)} digits, rounded half-even")
        else:
            notes.append(f"amount: {column.name}")
    return EventGuess(found, time, tuple(keys), tuple(amounts), tuple(notes))


def why_no_id(table: TableSummary) -> SourceColumnUnknown:
    """What keeps the events of a file from having names, and what to do about the column that comes nearest."""
    near = max((column for column in table.columns if column.repeats), default=None,
               key=lambda column: (words_of(column.name)[-1] == "id", -column.repeats))
    if near is not None and near.kind != "binary":
        return SourceColumnUnknown(
            f"{near.name} of {table.said} is different in all but {near.repeats} of {table.rows} rows, and the rows that share one "
            f"({', '.join(near.repeated)}) differ in other columns; labels cannot refer to them.", path=table.said,
            fix="Correct these rows and run this again.")
    binary = next((column for column in table.columns if column.kind == "binary" and (column.unique or column.repeats)), None)
    if binary is not None:
        return SourceColumnUnknown(f"{binary.name} of {table.said} could identify the events, but holds bytes; ids are text or integers.",
                                   path=table.said, fix="Write the ids as text in both files, for example with str() of each UUID.")
    return SourceColumnUnknown(f"no column of {table.said} is unique, so labels cannot refer to events.",
                               path=table.said, fix="Add an id column to the events.")


def _far_note(column: ColumnSummary, table: TableSummary) -> list[str]:
    """The note about times that are only placeholders, such as 9999-12-31."""
    told = f"{column.name}: in {rows_of(column.far, table)} the time is years away from the others; as_of and splits disregard them"
    return [told] if column.far else []


def _tells_later(name: str) -> bool:
    return any(word in _LATER_WORDS or word.startswith(_LATER) for word in words_of(name))


def _near_times(table: TableSummary) -> str:
    """Columns that are named like a time, and what they hold instead."""
    held = {"string": "other text", "integer": "numbers", "decimal": "numbers", "float": "numbers", "other": "something nested",
            "binary": "bytes", "day": "days, which are not instants", "near_time": "times without seconds or without a whole offset"}
    near = [f"{column.name} holds {'nulls' if column.is_time else held.get(column.kind, column.kind)}" for column in table.columns
            if column.is_time or column.kind in ("day", "near_time") or rank(column.name, _TIME_WORDS)]
    return f" ({', '.join(near)})" if near else ""


def _near_advice(table: TableSummary) -> str:
    """What to do with columns that are nearly times: nothing is guessed of an instant."""
    kinds = {column.kind for column in table.columns}
    day = " Where the first moment of a day is meant, write it, 2026-01-31T00:00:00, and check `zone:` in plane.yaml."
    near = " Write seconds and the whole offset, 2026-01-31T12:00:00+00:00."
    return (day if "day" in kinds else "") + (near if "near_time" in kinds else "")


def _comes_back(column: ColumnSummary, rows: int, least: int) -> bool:
    """Does a column name something that has a few events each? Text or integers."""
    return column.kind in ("integer", "string") and least <= column.distinct <= max(2, rows // 2)


def _is_amount(column: ColumnSummary) -> bool:
    words = words_of(column.name)
    if not column.is_number or column.digits + _scale(column) > 16 or words[-1] == "id" or _NOT_MONEY & set(words):
        return False
    return rank(column.name, _AMOUNT_WORDS) > 0 or column.kind in ("float", "decimal") or column.distinct > 24


def _scale(column: ColumnSummary) -> int:
    return 6 if column.scale is None else column.scale


def guess_own_labels(table: TableSummary) -> LabelGuess | None:
    """A column of the events file that is the label itself, if one looks like it. When it became known must be assumed."""
    found = [column for column in table.columns if _is_verdict(column) and 2 <= len(column.values) <= 6
             and (rank(column.name, _LABEL_WORDS[:-1]) or (rank(column.name, _LABEL_WORDS) and _tells(column)))]
    whole = [column for column in found if column.nulls == 0]
    if found and not whole:
        raise LabelTypeScopeUnresolved(f"{found[0].name} looks like a label, but is null in {found[0].nulls} of {table.rows} rows.",
                                       path=table.said, fix="Provide the known labels in a separate file: --labels FILE.")
    if not whole:
        return None
    found = whole
    column = max(found, key=lambda one: rank(one.name, _LABEL_WORDS))
    return _valued(column, snake(column.name).removeprefix("is_"), "", None,
                   (f"{column.name} is a column of the events, so nothing says when it became known; 30 days after the event is assumed",))


def guess_labels(table: TableSummary, events: TableSummary, meets: Callable[[str, str], int] | None = None) -> LabelGuess:
    """Map a label file.

    Args:
        table: its summary.
        events: the summary of the events.
        meets: how many rows of a label column are values of an events' column; called where names alone do not link the files.

    Raises:
        SourceColumnUnknown: no column links labels to events. LabelTypeScopeUnresolved: the file says nothing.
    """
    link = find_link(table, events, meets)
    times = [column for column in table.columns if column.is_time and column.nulls * 20 <= table.rows]
    observed = max(times, key=lambda column: (rank(column.name, _OBSERVED_WORDS), -column.nulls), default=None)
    others, hidden = _others(table, {link.name, *(column.name for column in table.columns if column.is_time)})
    notes = [f"labels refer to events by {link.name}",
             f"observed: {observed.name}" if observed
             else f"observed: no time column{_near_times(table)}; 30 days after the event are assumed"]
    if observed is not None:
        notes += [f"{observed.name} carries no zone; UTC is assumed"] if observed.kind == "timestamp" else []
        if observed.nulls:
            notes.append(f"{observed.name} is null in {rows_of(observed.nulls, table)}: a build refuses the file until it is filled in "
                         "there, or these rows are left out")
        notes += _far_note(observed, table)
    valued = [column for column in table.columns
              if column.name not in hidden and _is_verdict(column) and words_of(column.name)[-1] != "id"]
    valued = [column for column in valued if rank(column.name, _LABEL_WORDS[:-1]) or _tells(column)]
    named = [column for column in valued if rank(column.name, _LABEL_WORDS)]
    kind = snake(table.stem)
    kind = singular(kind)
    if not (named or valued):
        value = kind.upper()
        return LabelGuess(kind, link.name, observed, None, None, (value,), (value,), others, (*notes, f"every row means {value}"))
    column = max(named or valued, key=lambda one: (rank(one.name, _LABEL_WORDS), -len(one.values)))
    own = snake(column.name).removeprefix("is_")
    vague = own in ("label", "outcome", "class", "target", "value", "disposition", "verdict", "y", "result", "status")
    return _valued(column, kind if vague else own, link.name, observed, tuple(notes), others)


def _tells(column: ColumnSummary) -> bool:
    """Does any value sound like a verdict?"""
    return any(_sounds(text, _BAD) or _sounds(text, _GOOD) for text, _ in column.values if not text.isdigit())


def _is_verdict(column: ColumnSummary) -> bool:
    """Could a column hold label values: few different ones, text, integers or truth values (also written 0.0 and 1.0)?"""
    whole = all("." not in text.removesuffix(".0") for text, _ in column.values)
    return bool(column.values) and (column.kind in ("integer", "bool", "string") or (column.is_number and whole))


def _others(table: TableSummary, hidden: set[str]) -> tuple[tuple[tuple[str, str], ...], set[str]]:
    """Assertion ids, supersession, sources: recognised by what they hold, or by their usual names."""
    found: list[tuple[str, str]] = []
    taken = set(hidden)
    for column in table.columns:
        words = set(words_of(column.name))
        if column.name in taken:
            continue
        if column.values and {text for text, _ in column.values} <= set(SOURCES):
            found.append(("source", f"{{column: {column.name}}}"))
        elif column.unique and column.kind in ("integer", "string") and not any(name == "id" for name, _ in found):
            found.append(("id", column.name))
        elif words & {"supersedes", "replaces", "superseded"} and column.kind in ("integer", "string"):
            found.append(("supersedes", column.name))
        else:
            continue
        taken.add(column.name)
    if not any(name == "id" for name, _ in found):
        found = [one for one in found if one[0] != "supersedes"]
    return tuple(found), taken


def _valued(column: ColumnSummary, kind: str, event: str, observed: ColumnSummary | None, notes: tuple[str, ...],
            others: tuple[tuple[str, str], ...] = ()) -> LabelGuess:
    """A label whose values are in a column: the positive ones by their words, else all but the most frequent."""
    raw = [text for text, _ in column.values]
    if not raw:
        raise LabelTypeScopeUnresolved(f"{column.name} holds nothing that could be a label.", fix="Map the label column by hand.")
    bad = [text for text in raw if _sounds(text, _BAD) and not _sounds(text, _GOOD)]
    positive = bad or (raw[1:] if len(raw) > 1 else raw)
    spelled = None
    if all(text.removesuffix(".0") in ("0", "1", "true", "false") for text in raw):
        yes = kind.upper()
        no = "LEGIT" if "fraud" in kind else f"NO_{yes}"
        spelled = tuple((text, yes if text.removesuffix(".0") in ("1", "true") else no) for text in sorted(raw))
        raw = sorted({value for _, value in spelled})
        positive = [yes] if yes in raw else []
        if not positive:
            raise LabelTypeScopeUnresolved(f"{column.name} is the same in every row.", fix="Map a label column by hand.")
    elif column.is_number:
        spelled = tuple((text, f"{kind.upper()}_{text.removesuffix('.0').replace('-', 'MINUS_')}") for text in raw)
        names = dict(spelled)
        raw, positive = [names[text] for text in raw], [names[text] for text in positive]
    elif any("'" in text for text in raw):  # a profile could not quote it
        spelled = tuple((text, f"{snake(text).upper()}_{place}") for place, text in enumerate(raw))
        names = dict(spelled)
        raw, positive = [names[text] for text in raw], [names[text] for text in positive]
    counts = dict(spelled or ())
    named = sum(count if counts.get(text, text) in positive else -count for text, count in column.values)
    told = f"label {kind}: column {column.name}, positive: {', '.join(positive)}"
    return LabelGuess(kind, event, observed, column.name, spelled, tuple(raw), tuple(positive), others, (*notes, told), named <= 0)


def _sounds(text: str, words: Sequence[str]) -> bool:
    return any(word in words for word in words_of(text)) or text.lower() in words
