"""Label timelines in files: pinned by their bytes, described for an engine, never interpreted here (`domain.md` §1.8)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.domain.extraction import to_instant
from offline_feature_plane.domain.identity import files_log_id
from offline_feature_plane.domain.resolution import SOURCES
from offline_feature_plane.errors import (
    LabelStoreUnavailable,
    RefScopeInvalid,
    ReplayEventInvalid,
    SourceColumnUnknown,
    SourceTypeMismatch,
    SourceUnreadable,
    TimeZoneUndeclared,
)
from offline_feature_plane.filesets import FileSet, first_value, openable_files, pin_files
from offline_feature_plane.found_files import find_files
from offline_feature_plane.labelstores.mapping import LabelMapping, mapping_from
from offline_feature_plane.ports.inputs import LabelColumns, LabelTable

_TEXT = ("string", "large_string", "string_view", "json", "null")


class FileLabelStore:
    """Pins label files as plane.yaml maps them, and knows which columns carry truth."""

    name = "files"
    version = "1"

    def __init__(self, mappings: Mapping[str, LabelMapping]) -> None:
        self._mappings = mappings

    @classmethod
    def of(cls, settings: Settings) -> FileLabelStore:
        """The store of a plane's `labels:`."""
        return cls({label_type: mapping_from(one.document(), label_type) for label_type, one in settings.labels.items()
                    if one.store is None})

    @property
    def label_types(self) -> Collection[str]:
        """The label types that are mapped."""
        return self._mappings.keys()

    def pin(self, label_types: Sequence[str], asof_us: int) -> list[LabelTable]:  # noqa: ARG002 - files are pinned whole
        """Pin the timelines of some label types. Raises as `pin_labels`."""
        return [pin_labels(self._mappings[label_type]) for label_type in label_types]

    def file_names(self, label_type: str) -> Collection[str]:
        """As `ports.inputs.LabelsInFiles`."""
        return openable_files(Path(self._mappings[label_type].path))

    def truth_columns(self, files: Collection[Path]) -> frozenset[str]:
        """The columns of these files that any mapped timeline takes labels from; files are compared by their place, links followed."""
        places = {file.resolve() for file in files}
        return frozenset(name for mapping in self._mappings.values() if places & _places(Path(mapping.path)) for name in mapping.truth)


def _places(path: Path) -> set[Path]:
    """Where the files of a timeline are; none if it cannot be read: a build with its labels reports that."""
    try:
        return {file for _, file in find_files(path)}
    except (SourceUnreadable, RefScopeInvalid):
        return set()


def pin_labels(mapping: LabelMapping, folder: Path = Path("/")) -> LabelTable:
    """Find, hash, count and check the files of one label type.

    Args:
        mapping: where they are and what their columns mean.
        folder: what a relative path is relative to.

    Raises:
        LabelStoreUnavailable: nothing there, empty, broken, or no row.
        SourceColumnUnknown: a mapped column is not in the file.
        SourceTypeMismatch: a column can never hold what it is mapped as.
        TimeZoneUndeclared: a time column without zone, and no `zone:`.
        RefScopeInvalid: a link that leads out of the folder.
    """
    try:
        files = pin_files(folder / mapping.path, mapping.form)
    except SourceUnreadable as wrong:
        raise LabelStoreUnavailable(f"the {mapping.label_type} labels: {wrong.what}", fix=wrong.fix, path=wrong.path) from wrong
    _check_columns(mapping, files)
    log_id = files_log_id((file.relative, file.rows, file.sha256) for file in files.files)
    meaning = {column.name: getattr(mapping, column.name) for column in fields(LabelColumns)}
    return LabelTable(log_id=log_id, form=files.form, files=files.files, columns=files.named, **meaning)


def _check_columns(mapping: LabelMapping, files: FileSet) -> None:
    kinds = dict(files.named)
    for name in mapping.needed:
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, 1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Columns: {', '.join(kinds)}."
            what = f"the {mapping.label_type} labels have no column {name!r}"
            if name == mapping.source_column:
                what += f", and it is not one of the sources {', '.join(SOURCES)}"
            raise SourceColumnUnknown(f"{what}.", fix=hint, path=f"{mapping.path}:{name}")
    for role, time_name in (("observed", mapping.observed_column), ("effective", mapping.effective_column),
                            ("time", mapping.event_time_column)):
        if time_name is not None:
            _check_time(mapping, files, time_name, f"labels.{mapping.label_type}.{role}")
    for id_name in (mapping.event_column, mapping.id_column, mapping.supersedes_column):
        if id_name is not None and not (_is_text(kinds[id_name]) or _is_integer(kinds[id_name])):
            raise _mismatch(mapping, id_name, kinds[id_name], "ids are text or integers", "Write the ids as text or integers.")
    if mapping.source_column is not None and not _is_text(kinds[mapping.source_column]):
        raise _mismatch(mapping, mapping.source_column, kinds[mapping.source_column], "a source is text", "Map a text column as `source:`.")
    value = mapping.value_column
    if value is not None and not (_is_text(kinds[value]) or _is_integer(kinds[value]) or kinds[value] == "bool"
                                  or (mapping.value_map is not None and kinds[value] in {"float", "double", "halffloat"})):
        raise _mismatch(mapping, value, kinds[value], "a label value is text, an integer or a truth value; whole floats need a map",
                        "Map each raw value, for example `value: {column: is_fraud, 1: FRAUD, 0: LEGIT}`.")


def _check_time(mapping: LabelMapping, files: FileSet, name: str, place: str) -> None:
    """Is it a time, and is its zone known? For text only the first value is checked here; all are read with the labels."""
    kind = dict(files.named)[name]
    undeclared = TimeZoneUndeclared(
        f"the column {name!r} of the {mapping.label_type} labels carries no zone.", path=place,
        fix=f"Add `zone: UTC` (or the zone in which it was written) to labels.{mapping.label_type} in plane.yaml.")
    if kind.startswith("timestamp["):
        if "tz=" not in kind and mapping.zone is None:
            raise undeclared
    elif kind.startswith("date"):
        raise _mismatch(mapping, name, kind, "a day is not an instant",
                        "Write the moment that is meant as a timestamp; if only the day is known, use the end of that day.")
    elif not _is_text(kind):
        raise _mismatch(mapping, name, kind, "a time is a timestamp or RFC 3339 text", "Write times as timestamps or RFC 3339 text.")
    elif (value := first_value(files, name)) is not None:
        try:
            to_instant(value, mapping.zone, name)
        except TimeZoneUndeclared:
            raise undeclared from None
        except ReplayEventInvalid as wrong:
            raise LabelStoreUnavailable(f"in the {mapping.label_type} labels {wrong.what}", path=place, fix=wrong.fix) from wrong


def _is_text(kind: str) -> bool:
    return kind in _TEXT or (kind.startswith("dictionary<values=") and kind.split("=", 1)[1].partition(",")[0] in _TEXT)


def _is_integer(kind: str) -> bool:
    return kind in {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}


def _mismatch(mapping: LabelMapping, name: str, kind: str, why: str, fix: str) -> SourceTypeMismatch:
    what = f"the column {name!r} of the {mapping.label_type} labels is {kind}: {why}."
    return SourceTypeMismatch(what, fix=fix, path=f"{mapping.path}:{name}")
