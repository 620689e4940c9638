"""`ofs init`: three commented files for data that has no description yet, and why each guess was made (`decisions.md` G).

Pure: the caller looks into the files (`engines.local.file_probe`) and passes the findings as plain values.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.corridor.guessing import EventGuess, LabelGuess, guess_events, guess_labels, guess_own_labels, snake, why_no_id
from offline_feature_plane.corridor.naming import singular
from offline_feature_plane.documents import write_yaml
from offline_feature_plane.domain.definitions.diagnostics import MARKS, RESERVED
from offline_feature_plane.domain.instants import US_PER_DAY, format_instant
from offline_feature_plane.domain.summaries import ColumnSummary, LabelProbe, TableSummary
from offline_feature_plane.errors import LabelTypeScopeUnresolved, SourceColumnUnknown

__all__ = ["Starter", "propose"]

ASSUMED_DAYS = 30
_PLACES = frozenset({"terminal", "merchant", "device", "shop", "store", "seller", "payee", "counterparty", "haendler", "handler"})
PROMPT_US = 60_000_000


@dataclass(frozen=True)
class Starter:
    """The three files as texts, by file name, and one line for each guess."""

    files: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Times:
    """When labels count as known: the cut, the maturity, the usual delay, the first event, and where splits must end (µs)."""

    asof_us: int
    maturity_days: int
    delay_days: int
    first_us: int
    cut_us: int


def propose(plane: str, events: TableSummary, labels: TableSummary | None, probe: LabelProbe | None = None) -> Starter:
    """Guess a plane, a feature profile and an intent.

    Args:
        plane: the plane's name, for example the folder's.
        events: summary of the events file.
        labels: summary of the label file; None looks for a label column in the events.
        probe: answers questions about both files; needed with a label file.

    Raises:
        SourceColumnUnknown: no time, no id, or no link between the files. LabelTypeScopeUnresolved: nothing looks like a label.
    """
    own = guess_own_labels(events)
    if labels is None and own is None:
        raise LabelTypeScopeUnresolved(f"no column of {events.said} looks like a label.", path=events.said,
                                       fix="Provide the labels in a separate file: --labels FILE.")
    truth = [own.column] if own is not None and own.column is not None else []
    guess = guess_events(events, truth)
    if guess.id is None:
        raise why_no_id(events)
    meets = None if probe is None else lambda event_id, subject: probe.meets(event_id=event_id, subject=subject)
    label = guess_labels(labels, events, meets) if labels is not None else own
    if label is None:  # settled above; said again for the reader and the type checker
        raise LabelTypeScopeUnresolved(f"no column of {events.said} looks like a label.", path=events.said)
    notes = [*guess.notes, *label.notes]
    if labels is not None and truth:
        notes.append(f"{truth[0]} of the events looks like a label; it is kept out of the features")
    source = _source_name(events)
    times, policy = _timing(guess, label, probe if labels is not None else None, notes)
    table = labels if labels is not None else events
    label_entry = _label_entry(guess, label, table, assumed=policy["assumed"])
    event_entry: dict[str, Any] = {"path": events.path, "id": guess.id.name, "time": guess.time.name}
    if guess.time.kind == "timestamp":
        event_entry["zone"] = "UTC"
    plane_file = {"plane": _plane_name(plane), "events": {source: event_entry}, "labels": {label.type: label_entry}}
    splits = _splits(times, notes)
    intent_label = {"type": label.type, "positive": list(label.positive), "as_of": format_instant(times.asof_us)[:19] + "Z",
                    "unlabeled": policy["unlabeled"], "maturity_days": times.maturity_days}
    if policy["coverage"] is not None:
        intent_label["coverage"] = policy["coverage"]
    intent = {"rows": source, "features": "features.yaml", "label": intent_label, **({"splits": splits} if splits else {})}
    files = {"plane.yaml": _PLANE_NOTE + write_yaml(plane_file),
             "features.yaml": _FEATURES_NOTE + write_yaml(_profile(guess, label, times)),
             "intent.yaml": _INTENT_NOTE + write_yaml(intent)}
    return Starter(files, tuple(notes))


_PLANE_NOTE = ("# Where the data is and what its columns mean. Guessed by `ofs init`: check id, time, zone and when labels became known.\n"
               "# Further settings: store, ledger, tokens, engine, strict, …: see the settings reference.\n")
_FEATURES_NOTE = ("# The features: typed fields of an event, then groups of aggregations over the past of a key.\n"
                  "# A row sees events strictly before its own, and labels only as they were known at that moment. A group with a delay\n"
                  "# ends that long before the row, so that most labels of its events are known.\n")
_INTENT_NOTE = ("# The question: which events become rows, which label, as known when, which splits.\n"
                "# Change as_of, maturity_days, positive and unlabeled only knowingly: they decide what the model learns.\n"
                "# Look with `ofs preview intent.yaml`, then `ofs build intent.yaml`.\n")


def _plane_name(name: str) -> str:
    found = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64]
    return found or "plane"


def _source_name(events: TableSummary) -> str:
    name = snake(events.stem)
    name = singular(name)
    return f"{name}_event" if name in RESERVED else name


def _label_entry(guess: EventGuess, label: LabelGuess, table: TableSummary, *, assumed: bool) -> dict[str, Any]:
    subject = label.event or (guess.id.name if guess.id is not None else "")
    value: Any = label.values[0] if label.column is None else {"column": label.column, **dict(label.spelled or ())}
    observed: Any = {"after_event": f"{ASSUMED_DAYS}d"} if assumed or label.observed is None else label.observed.name
    entry: dict[str, Any] = {"path": table.path, "event": subject, "observed": observed, "value": value}
    for name, spelled in label.others:
        entry[name] = {"column": spelled.removeprefix("{column: ").removesuffix("}")} if spelled.startswith("{") else spelled
    if not assumed and label.observed is not None and label.observed.kind == "timestamp":
        entry["zone"] = "UTC"
    return entry


def _timing(guess: EventGuess, label: LabelGuess, probe: LabelProbe | None, notes: list[str]) -> tuple[_Times, dict[str, Any]]:
    """Cut and maturity from the lags of the labels; what silence means from how many events have one."""
    first, last = guess.time.min_us or 0, guess.time.max_us or 0
    observed = label.observed
    if probe is None or observed is None or guess.id is None or observed.max_us is None:
        return _assumed_timing(label, first, last, notes)
    names = {"event_id": guess.id.name, "event_time": guess.time.name, "subject": label.event, "observed": observed.name}
    lags = probe.lags(**names)
    if lags.p50_us is None or lags.p99_us is None:
        raise SourceColumnUnknown(f"no value of {label.event} in the labels is an id of an event ({guess.id.name}).",
                                  fix="Check that both files spell event ids the same way.")
    if lags.p50_us <= PROMPT_US:
        place = "is about the event's own time" if lags.p50_us >= -PROMPT_US else \
            f"is mostly before the event (in the middle by {_span(-lags.p50_us)})"
        notes.append(f"{observed.name} {place}, so it cannot say when a label became known")
        return _assumed_timing(label, first, last, notes)
    asof = observed.max_us // US_PER_DAY * US_PER_DAY
    span_days = max(1, (asof - first) // US_PER_DAY)
    late_days = -(-lags.p99_us // US_PER_DAY)
    maturity = max(1, min(late_days, span_days // 2))
    cut = asof - maturity * US_PER_DAY
    notes.append(f"as_of: {format_instant(asof)[:10]}, the last observed label rounded down to midnight")
    notes.append(f"maturity: {maturity} days; 99 % of labels are known {late_days} days after their event")
    mature, answered = probe.answered(**names, asof_us=asof, cut_us=cut)
    unlabeled, coverage = _silence(label, mature, answered, notes)
    delay = max(1, min(maturity, -(-lags.p50_us // US_PER_DAY)))
    end = -(-(last + 1) // US_PER_DAY) * US_PER_DAY  # no split reaches beyond the last event
    return _Times(asof, maturity, delay, first, min(cut, end)), {"unlabeled": unlabeled, "coverage": coverage, "assumed": False}


def _span(us: int) -> str:
    """About how long, for a sentence."""
    hours = us * 24 // US_PER_DAY
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours >= 2 else "minutes"


def _assumed_timing(label: LabelGuess, first: int, last: int, notes: list[str]) -> tuple[_Times, dict[str, Any]]:
    """Labels that count as known 30 days after their event: every event is mature at the cut that far after the last one."""
    cut = -(-last // US_PER_DAY) * US_PER_DAY
    asof = cut + ASSUMED_DAYS * US_PER_DAY
    notes.append(f"as_of: {format_instant(asof)[:10]}, when under this assumption every label is known")
    several = len(label.values) > 1
    if several:
        notes.append("unlabeled: exclude; at least nine of ten events must have a label")
    return (_Times(asof, ASSUMED_DAYS, ASSUMED_DAYS, first, cut),
            {"unlabeled": "exclude" if several else "negative_when_mature", "coverage": 0.9 if several else None, "assumed": True})


def _silence(label: LabelGuess, mature: int, answered: int, notes: list[str]) -> tuple[str, float | None]:
    """What an event without a label means: a negative where only the bad ones are ever reported, nothing where good ones are named too."""
    if len(label.values) > 1 and (2 * answered >= mature or (label.judges_both and 4 * answered >= mature)):
        share = answered * 90 // max(1, mature)
        notes.append(f"unlabeled: exclude; {answered} of {mature} mature events have a label")
        return "exclude", share / 100
    notes.append(f"unlabeled: negative_when_mature; {answered} of {mature} mature events have a label, so silence is read as a negative")
    return "negative_when_mature", None


def _splits(times: _Times, notes: list[str]) -> dict[str, list[str]]:
    """Train, a week's gap, test, all before the maturity cut; the first days only fill windows where there is room."""
    begin = -(-times.first_us // US_PER_DAY)
    end = times.cut_us // US_PER_DAY
    days = end - begin
    if days < 8:
        notes.append("splits: none, the data is too short for two")
        return {}
    warm = next((room for room in (30 + times.delay_days, 30) if days >= 4 * room), 0)
    gap = 7 if days - warm >= 42 else 0
    test = max(1, (days - warm) * 3 // 10)
    borders = [begin + warm, end - test - gap, end - test, end]
    first, second, third, fourth = (format_instant(day * US_PER_DAY)[:10] for day in borders)
    notes.append(f"splits: train {first} to {second}, test {third} to {fourth}")
    return {"train": [first, second], "test": [third, fourth]}


def _profile(guess: EventGuess, label: LabelGuess, times: _Times) -> dict[str, Any]:
    """Counts, means, maxima and times per key; how often the label was positive, when it was usually known, for one key."""
    names = _field_names((*guess.keys, *guess.amounts))
    fields = {names[column.name]: _field(column, names[column.name]) for column in (*guess.keys, *guess.amounts)}
    long = times.cut_us - times.first_us >= 60 * US_PER_DAY
    windows = ["1d", "7d", "30d"] if long else ["1d", "7d"]
    groups: dict[str, Any] = {}
    for key in guess.keys:
        features: dict[str, Any] = {"n": "count()"}
        for amount in guess.amounts:
            features[f"avg_{names[amount.name]}"] = f"mean({names[amount.name]})"
            features[f"max_{names[amount.name]}"] = f"max({names[amount.name]})"
        features["since_last"] = "seconds_since_last()"
        groups[_group_name(names[key.name], groups)] = {"key": names[key.name], "windows": list(windows), "features": features}
    if guess.keys:
        key = next((one for one in guess.keys if set(snake(one.name).split("_")) & _PLACES), guess.keys[-1])
        values = ", ".join(value if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", value) else f"'{value}'" for value in label.positive)
        groups[_group_name(f"{names[key.name].removesuffix('_id')}_risk", groups)] = {
            "key": names[key.name], "delay": f"{times.delay_days}d", "windows": windows[1:],
            "features": {"n": "count()", "rate": {"agg": f"label_rate({label.type}, {values})", "empty": 0}}}
    rows = {"during_weekend": "weekday(ts) >= 5", "during_night": "hour(ts) <= 6"}
    rows |= {f"this_{names[amount.name]}": names[amount.name] for amount in guess.amounts}
    return {"fields": fields, "groups": groups, "row_features": rows}


def _group_name(field: str, taken: Collection[str]) -> str:
    """A group is named after its key, shortly where that is free."""
    name = field.removesuffix("_id") or field
    while name in taken:
        name = field if field not in taken else f"{field}_b"
        field = name
    return name


def _field_names(columns: tuple[ColumnSummary, ...]) -> dict[str, str]:
    """A name of the feature language for each column, all different and none reserved."""
    found: dict[str, str] = {}
    for column in columns:
        name = snake(column.name)
        name = f"f_{name}" if name in RESERVED | MARKS else name
        while name in found.values():
            name += "_b"
        found[column.name] = name
    return found


def _field(column: ColumnSummary, name: str) -> Any:
    spec: dict[str, Any] = {"type": _type(column)}
    if name != column.name:
        spec["path"] = [column.name]
    if column.kind == "float":
        spec["round"] = "half_even"
    if column.nulls:
        spec["missing"] = None
    return spec["type"] if len(spec) == 1 else spec


def _type(column: ColumnSummary) -> str:
    """int64, string, or a decimal with room for a thousand times the largest value seen."""
    if column.kind in ("integer", "string"):
        return "int64" if column.kind == "integer" else "string"
    scale = 6 if column.scale is None else column.scale
    return f"decimal({min(18, max(12, column.digits + 3 + scale))},{scale})"
