"""The one base of all contracts, and how a document that breaks one is reported: every problem, each with a place, a code and a sentence.

Pydantic finds the problems; the texts are ours. A reason code comes from the place of a problem and which rule failed, never from
the text of a message (`domain.md` §2).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from offline_feature_plane.errors import OfsError, Problem, SchemaInvalid, refuse

__all__ = ["LEFT_OUT", "NONE_LEFT_OUT", "Codes", "Contract", "Text", "TextSet", "broken", "find_problems", "in_order", "json_path",
           "nearest", "shown", "sound", "stands_below", "validate", "with_advice"]

# Where a problem is (a regular expression over the whole JSON path) and the code it gets there; the first that fits wins.
Codes = Sequence[tuple[str, type[OfsError]]]

Model = TypeVar("Model", bound="Contract")

_MOST_ERRORS = 1_000  # nobody reads more, and each takes time to explain
_PLAIN_NAME = re.compile(r"[^\W\d][\w-]*")
_OWN_CODE = re.compile(r"[A-Z][A-Z_]+")
_EXPECTED = {"string_type": "text", "int_type": "an integer", "bool_type": "true or false", "list_type": "a list", "dict_type": "a mapping",
             "model_type": "a mapping", "model_attributes_type": "a mapping", "float_type": "a number", "int_from_float": "an integer"}


class Contract(BaseModel):
    """Frozen, closed and strict: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def broken(code: type[OfsError], sentence: str) -> PydanticCustomError:
    """What a validator of a contract raises: a problem with a code of its own."""
    return PydanticCustomError(code.code, "{sentence}", {"sentence": sentence})


def _filled(text: str) -> str:
    if not text.strip():
        raise ValueError("this must not be blank")
    if text != text.strip():
        raise ValueError(f"{shown(text)} begins or ends with spaces")
    return text


# Text that says something: not blank, no blanks around it.
Text = Annotated[str, AfterValidator(_filled), WithJsonSchema({"type": "string", "minLength": 1})]


# Of a field that came later: where it says nothing it is not written, so that documents without it keep their bytes.
LEFT_OUT: Any = Field(exclude_if=lambda value: value is None)
NONE_LEFT_OUT: Any = Field(exclude_if=lambda values: not values)


def in_order(texts: list[str]) -> list[str]:
    """Texts as a set is written: each once, by UTF-8 bytes."""
    return sorted(set(texts), key=str.encode)


_NO_SUCH_FIELD = "there is no such field here"

TextSet = Annotated[list[Text], AfterValidator(in_order)]


def validate(model: type[Model], document: Any, codes: Codes = (), default: type[OfsError] = SchemaInvalid) -> Model:
    """The document as a contract.

    Raises:
        OfsError: of the first problem's code, carrying all problems.
    """
    problems = find_problems(model, document, codes, default)
    if problems:
        raise refuse(problems)
    return model.model_validate(document)


def find_problems(model: type[Contract], document: Any, codes: Codes = (), default: type[OfsError] = SchemaInvalid) -> list[Problem]:
    """Every problem of a document's shape, in document order; none if it is sound."""
    if not isinstance(document, Mapping):
        return [Problem("$", default.code, f"a mapping of names to values is expected, not {shown(document)}")]
    try:
        model.model_validate(document)
    except ValidationError as wrong:
        found: dict[str, Problem] = {}
        for error in wrong.errors(include_url=False)[:_MOST_ERRORS]:
            kind = error["type"]
            steps = _steps(document, error["loc"], absent=kind == "missing")
            path = json_path(steps)
            own = _OWN_CODE.fullmatch(kind) is not None
            code = kind if own else default.code if kind == "extra_forbidden" else _code_at(path, codes, default)
            found.setdefault(path, Problem(path, code, _sentence(model, kind, error, steps)))
        return list(found.values())
    return []


def with_advice(problems: Iterable[Problem], advice: Mapping[str, str]) -> list[Problem]:
    """The problems; where a field does not exist, but by its path it is known what was wanted, that is told."""
    return [Problem(one.path, one.code, advice[one.path]) if one.path in advice and one.sentence.startswith(_NO_SUCH_FIELD) else one
            for one in problems]


def sound(model: type[Model], document: Any) -> Model | None:
    """A part of a document as its own contract, or None if it is absent or unsound: what rules across parts may look at."""
    try:
        return model.model_validate(document)
    except ValidationError:
        return None


def stands_below(path: str, *places: str) -> bool:
    """Is a path at or below one of these places?

    >>> stands_below("$.splits[0].name", "$.splits"), stands_below("$.splitsies", "$.splits")
    (True, False)
    """
    return any(path == place or path.startswith((f"{place}.", f"{place}[")) for place in places)


def json_path(steps: Sequence[str | int]) -> str:
    """The JSON path of some steps into a document.

    >>> json_path(["replay_basis", 0, "start offset"])
    "$.replay_basis[0]['start offset']"
    """
    def one(step: str | int) -> str:
        if isinstance(step, int):
            return f"[{step}]"
        return f".{step}" if _PLAIN_NAME.fullmatch(step) else f"[{step!r}]"
    return "$" + "".join(map(one, steps))


def nearest(name: str, known: Sequence[str]) -> str:
    """What to say about an unknown name: the nearest known one, or all of them if there are few.

    >>> nearest("polcy_revision", ["policy_revision", "actor"])
    'Did you mean policy_revision?'
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Known: {', '.join(known)}." if 0 < len(known) <= 30 else ""


def shown(value: Any) -> str:
    """A value as a sentence shows it: JSON words for JSON values, cut where it is long; of an address, which may hold secrets, its scheme.

    >>> shown(True), shown("postgresql://ofs:secret@db/plane")
    ('true', "'postgresql://…'")
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if isinstance(value, str) and "://" in value:
        value = f"{value.partition('://')[0][-20:]}://…"
    text = "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _code_at(path: str, codes: Codes, default: type[OfsError]) -> str:
    return next((code.code for pattern, code in codes if re.fullmatch(pattern, path)), default.code)


def _steps(document: Any, loc: Sequence[str | int], *, absent: bool) -> list[str | int]:
    """The steps of a pydantic location that really lead into the document: tags of unions are not steps."""
    steps: list[str | int] = []
    here = document
    for number, step in enumerate(loc):
        last = absent and number == len(loc) - 1
        is_there = (isinstance(here, Mapping) and step in here) or (isinstance(here, list) and isinstance(step, int) and step < len(here))
        if last or is_there:
            steps.append(step)
            here = here[step] if is_there else None
    return steps


def _sentence(model: type[Contract], kind: str, error: Mapping[str, Any], steps: Sequence[str | int]) -> str:  # noqa: PLR0911, C901 - one rule, one sentence
    given, context = error.get("input"), error.get("ctx", {})
    if _OWN_CODE.fullmatch(kind):
        return str(context["sentence"])
    if kind == "missing":
        return "this is required"
    if kind == "extra_forbidden":
        return _stranger(str(steps[-1]), _names_at(model, error["loc"][:-1]))
    if kind in _EXPECTED:
        return f"{_EXPECTED[kind]} is expected, not {shown(given)}"
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(context.get("expected") or context.get("expected_tags"))
        return f"one of {expected.replace(' or ', ', ')} is expected, not {shown(context.get('tag', given))}"
    if kind == "union_tag_not_found":
        return f"the field {context.get('discriminator', 'that tells the kinds apart')} is missing".replace("'", "")
    if kind in ("too_short", "string_too_short") and context["min_length"] == 1:
        return "this must not be empty"
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return f"{bound} items are expected, not {context['actual_length']}"
    if kind == "greater_than_equal":
        return f"at least {context['ge']} is expected, not {shown(given)}"
    if kind == "less_than_equal":
        return f"at most {context['le']} is expected, not {shown(given)}"
    if kind == "string_pattern_mismatch":
        return f"{shown(given)} does not have the form {context['pattern']}"
    if kind == "value_error":
        return str(context["error"])
    return f"{error['msg']}, not {shown(given)}"


def _stranger(name: str, known: Sequence[str]) -> str:
    """What to say about a field that does not belong; one of several kinds may know it, but not the kind that the others make."""
    return "there is no such field beside the others" if name in known else f"{_NO_SUCH_FIELD}. {nearest(name, known)}".strip()


def _names_at(model: type[Contract], loc: Sequence[str | int]) -> list[str]:
    """The field names that a contract knows at a location."""
    here: list[Any] = [model]
    for step in loc:
        here = [after for one in here for after in _after(one, step)]
    return sorted({name for one in here if isinstance(one, type) and issubclass(one, BaseModel) for name in one.model_fields})


def _after(annotation: Any, step: str | int) -> Iterator[Any]:
    """What may be one step into a type; a tag of a union leads to the union's models."""
    for one in _members(annotation):
        origin = get_origin(one)
        if isinstance(one, type) and issubclass(one, BaseModel):
            if step in one.model_fields:
                yield from _members(one.model_fields[str(step)].annotation)
            else:
                yield one
        elif origin in (list, tuple):
            yield from _members(get_args(one)[0])
        elif origin in (dict, Mapping):
            yield from _members(get_args(one)[1])


def _members(annotation: Any) -> Iterator[Any]:
    """A type without its annotations, a union as its members."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_args(annotation) and get_origin(annotation) not in (list, tuple, dict, Mapping):
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
