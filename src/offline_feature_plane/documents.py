"""Documents that people write: YAML and JSON files read strictly, with the line of every value.

YAML is read as its plain core: text, integers, fractions, `true`, `false`, `null`, lists, mappings. Dates stay text, `yes` and `no`
are text, a key that looks like a number is its text. What makes YAML surprising is refused: anchors and aliases, tags, repeated keys,
several documents in one file, NaN and infinity, numbers that a reader could take for two different ones.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml

from offline_feature_plane.contracts.model import json_path
from offline_feature_plane.domain.canonical import load_json
from offline_feature_plane.errors import (
    OfsError,
    Problem,
    RefNotFound,
    ResourceExceeded,
    SchemaInvalid,
    list_problems,
)
from offline_feature_plane.plain_files import as_found, read_small

__all__ = ["Document", "load_document", "load_yaml", "parse_document", "write_yaml"]

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NUMBER_CHARACTERS = 40

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_DOUBTFUL = re.compile(r"[-+]?0[0-9]+|0[xob][0-9a-fA-F]+|[-+]?[0-9]+(?:_[0-9]+)+")
_NOT_A_NUMBER = re.compile(r"\.nan|\.NaN|\.NAN|[-+]?\.(?:inf|Inf|INF)")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None,
                          "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

Error = TypeVar("Error", bound=OfsError)


@dataclass(frozen=True)
class Document:
    """What a file said, and on which line (from 1) each JSON path begins."""

    value: Any
    name: str = "document"
    positions: Mapping[str, int] = field(default_factory=dict)

    def place(self, path: str) -> str:
        """Where a reader finds a JSON path: `intent.yaml:7`, the line of the nearest value around it.

        >>> Document({}, "intent.yaml", {"$": 1, "$.label": 4}).place("$.label.as_of")
        'intent.yaml:4'
        """
        here = path
        while here not in self.positions and (shorter := re.sub(r"(?:\.[^.\[\]]+|\[[^\[\]]*\])$", "", here)) != here:
            here = shorter
        return f"{self.name}:{self.positions[here]}" if here in self.positions else self.name

    def locate(self, error: Error) -> Error:
        """The same error with file and line before every place that names a JSON path."""
        def whole(path: str) -> str:
            return f"{self.place(path)} {path}" if path.startswith("$") else path
        problems = tuple(Problem(whole(one.path), one.code, one.sentence) for one in error.problems)
        located = type(error)(list_problems(problems) if problems else error.what, fix=error.fix,
                              path=whole(error.path) if error.path else None, **error.fields)
        located.problems = problems
        return located


def load_document(path: Path, kind: type[OfsError] = SchemaInvalid) -> Document:
    """Read a document from disk: JSON if its name ends in `.json`, else YAML.

    Args:
        path: the file, at most 1 MB.
        kind: the error of a malformed document.

    Raises:
        OfsError: `kind`, with file, line and column, also if the file may not be read. RefNotFound: there is none.
        ResourceExceeded: beyond the budgets.
    """
    name = as_found(path)
    try:
        data = read_small(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as wrong:
        raise RefNotFound(f"{name} cannot be read: {wrong.strerror}.", path=name, fix="Check the path.") from wrong
    except OSError as wrong:
        raise kind(f"{name} cannot be read: {wrong.strerror or wrong}.", path=name,
                   fix="Name a file that this user may read.") from wrong
    return parse_document(data, path, kind)


def parse_document(data: bytes, path: Path, kind: type[OfsError] = SchemaInvalid) -> Document:
    """The document in the bytes of a file that was read already; arguments and errors as `load_document`."""
    name, data = as_found(path), data.removeprefix(codecs.BOM_UTF8)
    if path.suffix.lower() != ".json":
        return load_yaml(data, name=name, kind=kind)
    try:
        value = load_json(data, name=name, numbers="decimal", max_bytes=MAX_BYTES)
        value = _as_floats(value, kind, name, "$")
    except SchemaInvalid as wrong:
        raise kind(wrong.what, path=wrong.path, fix=wrong.fix or "Correct the JSON, or name the file .yaml if it is YAML.") from wrong
    return Document(value, name, _json_lines(data))


def load_yaml(data: bytes | str, *, name: str = "document", kind: type[OfsError] = SchemaInvalid) -> Document:
    r"""Read one YAML document from text or UTF-8 bytes.

    Raises:
        OfsError: `kind`, with name, line and column. ResourceExceeded: more than 1 MB, or nested deeper than 64 levels.

    >>> load_yaml("as_of: 2026-01-01\nwords: [yes, NO]\n1: 0.50").value
    {'as_of': '2026-01-01', 'words': ['yes', 'NO'], '1': 0.5}
    """
    if len(data) > MAX_BYTES:
        raise ResourceExceeded(f"the document is larger than {MAX_BYTES:,} bytes.", path=name,
                               fix="Check that this is the right file: documents are short.")
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
    except UnicodeDecodeError as wrong:
        raise kind(f"the document is not UTF-8 (byte {wrong.start}).", path=name, fix="Save it as UTF-8.") from None
    text = text.removeprefix("\ufeff")
    reader = _Reader(name, kind)
    try:
        value = reader.read(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        at = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise kind(f"this is not valid YAML: {wrong.problem or wrong.context}.", path=at,
                   fix="Check the indentation, and put quotes around text with `:` or `#`.") from None
    except yaml.YAMLError as wrong:
        raise kind(f"this is not valid YAML: {' '.join(str(wrong).split())[:200]}.", path=name,
                   fix="Remove the control characters.") from None
    return Document(value, name, reader.positions)


def write_yaml(value: Any) -> str:
    """A document as YAML text in its own order, which `load_yaml` reads back as the same value.

    >>> print(write_yaml({"as_of": "2026-01-01", "rate": "0.1", "on": [True, None]}), end="")
    as_of: '2026-01-01'
    rate: '0.1'
    'on':
    - true
    - null
    """
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False))


class _Dumper(yaml.SafeDumper):
    """Never an alias; text that could be read as something else is quoted."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def represent_text(self, data: str) -> yaml.ScalarNode:
        doubtful = data in _WORDS or any(form.fullmatch(data) for form in (_INTEGER, _FRACTION, _DOUBTFUL, _NOT_A_NUMBER))
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="'" if doubtful else '"' if "\n" in data else None)


_Dumper.add_representer(str, _Dumper.represent_text)


class _Reader:
    """Builds a value from parser events, refusing what is not plain."""

    def __init__(self, name: str, kind: type[OfsError]) -> None:
        self.name, self.kind = name, kind
        self.positions: dict[str, int] = {}

    def read(self, events: Iterator[yaml.Event]) -> Any:
        documents, value = 0, None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.wrong(event, "a second document begins here", "Keep one document in a file.")
            elif isinstance(event, yaml.NodeEvent):
                value = self.node(event, events, [])
        return value

    def wrong(self, event: yaml.Event, what: str, fix: str) -> OfsError:
        return self.kind(f"{what}.", path=f"{self.name}:{_line(event)}:{event.start_mark.column + 1 if event.start_mark else 1}", fix=fix)

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], steps: list[str | int]) -> Any:
        self.positions[json_path(steps)] = _line(event)
        self.refuse_extras(event)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        if len(steps) >= MAX_DEPTH:
            raise ResourceExceeded(f"the document is nested deeper than {MAX_DEPTH} levels.", path=f"{self.name}:{_line(event)}",
                                   fix="Check that this is the right file: no OFS document is nested that deep.")
        return self.sequence(events, steps) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(events, steps)

    def refuse_extras(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self.wrong(event, f"*{event.anchor} is an alias", "Write the value itself.")
        if getattr(event, "anchor", None) is not None:
            raise self.wrong(event, f"&{event.anchor} is an anchor", "Write the value out where it is needed.")  # type: ignore[attr-defined]
        if getattr(event, "tag", None) is not None:
            raise self.wrong(event, f"{event.tag} is a tag", "Leave it out: the field determines the type.")  # type: ignore[attr-defined]

    def sequence(self, events: Iterator[yaml.Event], steps: list[str | int]) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            found.append(self.node(event, events, [*steps, len(found)]))
        return found

    def mapping(self, events: Iterator[yaml.Event], steps: list[str | int]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self.key(event)
            if key in found:
                raise self.wrong(event, f"the key {key!r} appears twice", "Keep one of them.")
            line = _line(event)
            found[key] = self.node(next(events), events, [*steps, key])
            self.positions[json_path([*steps, key])] = line
            self.positions.setdefault(f"{json_path(steps)}.{key}", line)  # as a place is named before anybody looks whether it is a name
        return found

    def key(self, event: yaml.Event) -> str:
        """A key as text: `1:` and `"1":` are the same key, as they are in JSON."""
        self.refuse_extras(event)
        if not isinstance(event, yaml.ScalarEvent):
            raise self.wrong(event, "a list or mapping cannot be a key", "Keys are text.")
        value = self.scalar(event)
        if value is None:
            raise self.wrong(event, "this key is empty", "Keys are text; quote the word null if it is meant.")
        if not event.style and event.value == "<<":
            raise self.wrong(event, "<< is a merge key", "Write the values out.")
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(event.value)

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        text = event.value
        if event.style or not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _NOT_A_NUMBER.fullmatch(text):
            raise self.wrong(event, f"{text} is not a value that can be used here", "Leave the value out, or quote it if it is text.")
        if _DOUBTFUL.fullmatch(text):
            raise self.wrong(event, f"{text} could be text or a number", "Quote it if it is text, else write the plain decimal number.")
        if _INTEGER.fullmatch(text):
            if len(text) > MAX_NUMBER_CHARACTERS:
                raise self.wrong(event, f"a number has {len(text)} digits", "Quote it if it is text.")
            return int(text)
        return self.fraction(event, text) if _FRACTION.fullmatch(text) else text

    def fraction(self, event: yaml.ScalarEvent, text: str) -> float:
        if len(text) > MAX_NUMBER_CHARACTERS or (found := _exact_float(text)) is None:
            raise self.wrong(event, f"{text} has more digits or a larger exponent than a number can carry here", "Write it as quoted text.")
        return found


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _exact_float(text: str) -> float | None:
    """The float whose shortest text is this number, or None if digits would be lost."""
    try:
        number = float(text)
        return number if Decimal(repr(number)) == Decimal(text) else None
    except (ValueError, ArithmeticError):
        return None


def _as_floats(value: Any, kind: type[OfsError], name: str, place: str) -> Any:
    """JSON numbers as YAML gives them: fractions as floats that carry all their digits."""
    if isinstance(value, dict):
        return {key: _as_floats(item, kind, name, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_as_floats(item, kind, name, f"{place}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, Decimal):
        number = _exact_float(str(value))
        if number is None:
            raise kind(f"{value} has more digits or a larger exponent than a number can carry here.", path=f"{name} {place}",
                       fix="Write it as text.")
        return number
    return value


def _json_lines(data: bytes) -> Mapping[str, int]:
    """The lines of a JSON document that was read already; none where YAML's reader would disagree about it."""
    reader = _Reader("", SchemaInvalid)
    try:
        reader.read(yaml.parse(data.decode(), Loader=_LOADER))
    except (yaml.YAMLError, OfsError):
        return {}
    return reader.positions
