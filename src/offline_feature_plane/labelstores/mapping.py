"""How a user's file becomes a label timeline: the `labels:` entry of plane.yaml as a checked value (`decisions.md` D24–D26, G)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from offline_feature_plane.contracts.plane import LabelTimeline, stored_columns
from offline_feature_plane.domain.instants import parse_duration
from offline_feature_plane.domain.resolution import SOURCES
from offline_feature_plane.domain.zones import named_zone
from offline_feature_plane.errors import Problem, SettingsInvalid, refuse
from offline_feature_plane.ports.inputs import LabelColumns

_NO_TIME = re.compile(r"0[smhdw]")


@dataclass(frozen=True, kw_only=True)
class LabelMapping(LabelColumns):
    """Where one label type's assertions are and which columns say what.

    `truth` names the columns that carry labels: none of them may ever be a feature of events in the same file.
    """

    path: str
    form: str | None

    @property
    def truth(self) -> tuple[str, ...]:
        """Columns that reveal what became known about an event later."""
        return tuple(sorted({name for name in (self.value_column, self.observed_column, self.effective_column, self.source_column,
                                               self.id_column, self.supersedes_column) if name is not None}))

    @property
    def needed(self) -> tuple[str, ...]:
        """Every column that the file must have."""
        return tuple(dict.fromkeys(name for name in (self.event_column, self.event_time_column, self.value_column, self.observed_column,
                                                     self.effective_column, self.source_column, self.id_column, self.supersedes_column)
                                   if name is not None))


def mapping_from(raw: Mapping[str, Any], name: str) -> LabelMapping:
    """Check the meaning of one entry under `labels:`.

    Args:
        raw: `path, event, observed, value`, and optionally `format, effective, source, id, supersedes, zone, min_lag, time`; for `event`
            also `entity` and `effective`, and optionally `applies_to`; or `store`, and optionally `applies_to, min_lag`.
        name: the label type, the entry's key.

    Raises:
        SettingsInvalid: with every problem and its path.

    >>> mapping_from({"path": "cb.parquet", "event": "tx_id", "observed": "reported_at", "value": "CHARGEBACK"}, "chargeback").truth
    ('reported_at',)
    """
    problems: list[Problem] = []
    at = f"labels.{name}"

    def blame(key: str, sentence: str) -> None:
        problems.append(Problem(f"{at}.{key}", SettingsInvalid.code, sentence))

    def column(key: str) -> str | None:
        value = raw.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            blame(key, f"a column name is expected, not {value!r}")
            return None
        return value

    raw = _placed(raw, blame)
    constant, value_column, value_map = _read_value(raw.get("value"), blame)
    observed, after_us = _read_observed(raw.get("observed"), blame)
    source_column, source_constant = _read_source(raw.get("source"), blame)
    zone = column("zone")
    if zone is not None:
        try:
            named_zone(zone)
        except SettingsInvalid as wrong:
            blame("zone", f"{wrong.what} {wrong.fix}")
    if after_us is not None and raw.get("effective") is not None and raw.get("entity") is None:
        blame("effective", "an assumed delay has no effective column: its labels hold from their events on")
    _check_links(raw, blame)
    _check_entity(raw, blame)
    entity = column("entity")
    found = LabelMapping(
        label_type=name, path=column("path") or "", form=column("format"), event_column=entity or column("event") or "",
        value_constant=constant, value_column=value_column, value_map=value_map, observed_column=observed, observed_after_us=after_us,
        event_time_column=column("time"), effective_column=column("effective"), source_column=source_column,
        source_constant=source_constant, id_column=column("id"), supersedes_column=column("supersedes"), zone=zone,
        min_lag_us=_read_duration(raw.get("min_lag"), "min_lag", blame, zero=True), entity_field=column("applies_to") or entity)
    if problems:
        raise refuse(problems)
    return found


Blame = Callable[[str, str], None]


def _placed(raw: Mapping[str, Any], blame: Blame) -> Mapping[str, Any]:
    """The entry with everything that it must say; that of a label store with the meaning of its columns, which nobody else can map."""
    if raw.get("store") is None:
        if raw.get("path") is None:
            blame("path", "is missing; name the files with the labels, or else a label store as `store:`")
        for key in ("event", "observed", "value"):
            if raw.get(key) is None and not (key == "event" and raw.get("entity") is not None):
                blame(key, "is missing")
        return raw
    columns = stored_columns(raw.get("applies_to"))
    own = LabelTimeline.model_fields.keys() - {"path", "store", "applies_to", "min_lag"}
    for key, value in raw.items():
        if key == "path" and value is not None:
            blame("path", "labels are in files or in a store; leave one of them out")
        elif key in own and value not in (None, columns.get(key)):
            blame(key, "a label store knows its own columns; leave this out")
    return {**columns, **raw}


def _check_links(raw: Mapping[str, Any], blame: Blame) -> None:
    """Without ids, nothing could say what an assertion supersedes."""
    if raw.get("supersedes") is not None and raw.get("id") is None:
        blame("supersedes", "it names assertions by their id, so `id:` must be mapped too")


def _check_entity(raw: Mapping[str, Any], blame: Blame) -> None:
    """An assertion is about an event or about an entity. About an entity it must be said from when on it holds and when it became known."""
    if raw.get("entity") is None:
        if raw.get("applies_to") is not None:
            blame("applies_to", "it says which events an entity has; name the column with the entity as `entity:`")
        return
    if raw.get("event") is not None:
        blame("entity", "labels are about events or about entities; leave `event:` or `entity:` out")
    if isinstance(raw.get("observed"), Mapping):
        blame("observed", "a delay after an event says nothing of an entity; name the column that says when a label became known")
    elif raw.get("effective") is None:
        blame("effective", "is missing; name the column that says from when on a label of an entity holds")


def _read_value(value: Any, blame: Blame) -> tuple[str | None, str | None, tuple[tuple[str, str], ...] | None]:
    """A constant, or a column with an optional map from its texts to label values."""
    if value is None:
        return None, None, None
    if isinstance(value, str) and value:
        return value, None, None
    if not isinstance(value, Mapping):
        blame("value", f"a label value or `{{column: …}}` is expected, not {value!r}; put quotes around words such as NO")
        return None, None, None
    name = value.get("column")
    if not isinstance(name, str) or not name:
        blame("value", "`column:` must name the column that holds the value; for one value for all rows write the bare value")
    mapped: dict[str, str] = {}
    for key, meaning in value.items():
        if key == "column":
            continue
        text = _text_of(key)
        if text is None:
            blame("value", f"{key!r} is not text, an integer or a truth value that a column could hold")
        elif not isinstance(meaning, str) or not meaning:
            blame("value", f"{text} must become a label value, not {meaning!r}; put quotes around words such as NO")
        elif text in mapped:
            blame("value", f"{text} appears twice")
        else:
            mapped[text] = meaning
    return None, name if isinstance(name, str) else None, tuple(sorted(mapped.items())) or None


def _text_of(key: Any) -> str | None:
    """A raw value as the map spells it: integers as decimal text (1.0 is 1), truth values as `true` and `false`."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, float) and key.is_integer():
        return str(int(key))
    return str(key) if isinstance(key, str | int) else None


def _read_observed(observed: Any, blame: Blame) -> tuple[str | None, int | None]:
    if observed is None:
        return None, None
    if isinstance(observed, str) and observed:
        return observed, None
    if isinstance(observed, Mapping) and set(observed) == {"after_event"}:
        return None, _read_duration(observed["after_event"], "observed", blame)
    blame("observed", f"a column name or `{{after_event: 30d}}` is expected, not {observed!r}")
    return None, None


def _read_source(source: Any, blame: Blame) -> tuple[str | None, str]:
    """One of the four sources for all rows, or a column that holds them."""
    if source is None:
        return None, "SYSTEM"
    if isinstance(source, str) and source in SOURCES:
        return None, source
    name = source.get("column") if isinstance(source, Mapping) and len(source) == 1 else source
    if isinstance(name, str) and name:
        return name, "SYSTEM"
    blame("source", f"one of {', '.join(SOURCES)}, or a column that holds them, is expected, not {source!r}")
    return None, "SYSTEM"


def _read_duration(text: Any, key: str, blame: Blame, *, zero: bool = False) -> int | None:
    if text is None:
        return None
    if zero and isinstance(text, str) and _NO_TIME.fullmatch(text):
        return 0
    try:
        return parse_duration(text)
    except (ValueError, TypeError) as wrong:
        blame(key, f"{text!r} is not a duration; write one such as 30d or 12h" if not isinstance(text, str) else str(wrong))
        return None
