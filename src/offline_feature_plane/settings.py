"""`plane.yaml` and what overrides it: file < environment < arguments; unknown settings are refused.

Only the top floor reads the environment; here it comes in as a mapping. A variable is named after its setting: `OFS_STORE`,
`OFS_ENGINE__MEMORY_LIMIT`. Tables, archives, topics, labels and gates are mapped in the file only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from offline_feature_plane.contracts.model import find_problems, json_path, nearest, shown, stands_below
from offline_feature_plane.contracts.plane import LOG_MEANING, S3Access, Settings
from offline_feature_plane.documents import load_document
from offline_feature_plane.errors import OfsError, Problem, SettingsInvalid, refuse
from offline_feature_plane.labelstores.mapping import mapping_from
from offline_feature_plane.objects.s3.place import place_from
from offline_feature_plane.plain_files import resolved
from offline_feature_plane.postgres.address import address_from, is_address
from offline_feature_plane.s3.place import BY_REFERENCE, is_bucket, split_address

__all__ = ["Settings", "describe_settings", "load_settings", "settings_from"]

PREFIX = "OFS_"
NOT_SETTINGS = frozenset({"OFS_PLANE", "OFS_DEBUG"})  # which plane.yaml to read; show tracebacks of defects

_SECRET = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)
_WRITTEN_OUT = frozenset({"password", "sasl_password", "sasl.password", "key_password", "ssl.key.password", "secret", "token"})
_SPARK_SECRET = re.compile(r"secret|password|token|credential|access\.key|account\.key", re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]{1,9}")
_KAFKA_FILES = ("ca_file", "certificate_file", "key_file", "key_password_file", "password_file")
_PATHS = (("store",), ("ledger",), ("work",), ("tokens", "key_file"), ("run_facts",))


def load_settings(path: Path, env: Mapping[str, str] | None = None, arguments: Mapping[str, Any] | None = None) -> Settings:
    """The settings of one plane, every path in them absolute.

    Args:
        path: plane.yaml (or .json).
        env: environment variables; only those named `OFS_…` are looked at.
        arguments: overrides by dotted name, such as `{"engine.threads": 2}`; None values override nothing.

    Raises:
        SettingsInvalid: with every problem, and file and line. RefNotFound: no such file.
    """
    document = load_document(path, SettingsInvalid)
    if not isinstance(document.value, Mapping):
        raise SettingsInvalid(f"settings are a mapping of names to values, not {shown(document.value)}.", path=document.name,
                              fix="Begin with `plane: NAME`; `ofs init` writes a whole one.")
    try:
        return settings_from(document.value, path.resolve().parent, env, arguments)
    except OfsError as wrong:
        raise document.locate(wrong) from None


def settings_from(document: Mapping[str, Any], folder: Path, env: Mapping[str, str] | None = None,
                  arguments: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a parsed document; see `load_settings`.

    Args:
        document: what plane.yaml held.
        folder: what relative paths are relative to.
        env: as above.
        arguments: as above.

    Raises:
        SettingsInvalid: with every problem.
    """
    merged, problems, spoken = _with_environment(document, env or {})
    for name, value in (arguments or {}).items():
        if value is not None:
            merged = _with(merged, name.split("."), value)
            spoken[f"$.{name}"] = name
    problems += find_problems(Settings, merged, default=SettingsInvalid)
    problems = [*problems, *_label_problems(merged, problems), *_cross_problems(merged), *_path_problems(merged),
                *_secret_problems(merged)]
    if problems:
        raise refuse(_one_each([_blame(problem, spoken) for problem in problems]))
    return Settings.model_validate(_absolute(merged, folder))


def describe_settings() -> list[tuple[str, str, str, str]]:
    """Every setting as (dotted name, type, default, meaning), in the order of the contract; for the reference."""
    return [(name, _type_text(info.annotation), _default_text(info), info.description or "") for name, info in _fields(Settings, "")]


def _fields(model: type[BaseModel], before: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        inner = _model_in(info.annotation)
        if inner is None:
            yield before + name, info
        else:
            yield from _fields(inner, f"{before}{name}.<name>." if get_origin(info.annotation) is dict else f"{before}{name}.")


def _model_in(annotation: Any) -> type[BaseModel] | None:
    found = get_args(annotation)[1] if get_origin(annotation) is dict else annotation
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _type_text(annotation: Any) -> str:
    if annotation is type(None):
        return "nothing"
    if get_origin(annotation) is Annotated:
        return _type_text(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return "list"
    if get_origin(annotation) is dict:
        return "mapping"
    if get_args(annotation):
        parts = [repr(part).strip("'") if isinstance(part, str) else _type_text(part) for part in get_args(annotation)]
        return " or ".join(part for part in parts if part != "nothing")
    is_mapping = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return "mapping" if is_mapping else {str: "text", int: "integer", bool: "true or false"}.get(annotation, str(annotation))


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default()
    return "" if value is None or value in ([], {}) else ", ".join(value) if isinstance(value, list) else shown(value).strip("'")


def _with_environment(document: Mapping[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem], dict[str, str]]:
    """The document with what the environment says, and which variable set which place; a variable that names no setting is a problem."""
    known = {PREFIX + name.upper().replace(".", "__"): (name, info) for name, info in _fields(Settings, "") if "<" not in name}
    merged, problems, spoken = dict(document), [], {}
    for variable in sorted(env):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS:
            continue
        if variable not in known:
            problems.append(Problem(variable, SettingsInvalid.code,
                                    f"there is no such setting. {nearest(variable, list(known))}".strip()))
            continue
        name, info = known[variable]
        merged = _with(merged, name.split("."), _typed(env[variable], _type_text(info.annotation)))
        spoken[f"$.{name}"] = variable
    return merged, problems, spoken


def _blame(problem: Problem, spoken: Mapping[str, str]) -> Problem:
    """The problem at the variable or argument that it came from, if it is not the file's."""
    place = next((name for path, name in spoken.items() if stands_below(problem.path, path)), problem.path)
    return Problem(place, problem.code, problem.sentence)


def _typed(text: str, kind: str) -> Any:
    """A variable's text as its setting wants it; what does not fit stays text and is refused with the rest."""
    if kind == "true or false":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "integer":
        return int(text) if _INTEGER.fullmatch(text) else text
    return [part.strip() for part in text.split(",") if part.strip()] if kind == "list" else text


def _with(document: Mapping[str, Any], steps: list[str], value: Any) -> dict[str, Any]:
    if len(steps) == 1:
        return {**document, steps[0]: value}
    inner = document.get(steps[0])
    return {**document, steps[0]: _with(inner if isinstance(inner, Mapping) else {}, steps[1:], value)}


def _label_problems(document: Mapping[str, Any], shape: list[Problem]) -> Iterator[Problem]:
    """What the label store finds wrong with the meaning of an entry whose field names are right."""
    labels = document.get("labels")
    known = {problem.path for problem in shape if "required" in problem.sentence}
    for name, entry in labels.items() if isinstance(labels, Mapping) else ():
        if not isinstance(entry, Mapping):
            continue
        try:
            mapping_from(entry, str(name))
        except SettingsInvalid as wrong:
            yield from (Problem(f"$.{one.path}", one.code, one.sentence) for one in wrong.problems if f"$.{one.path}" not in known)


def _cross_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """One name is one log: a table shares it with nothing, it is on one bus, and an archive and a bus mean the same by it."""
    tables, archives, topics, streams = (
        {str(name): one for name, one in found.items()} if isinstance(found := document.get(kind), Mapping) else {}
        for kind in ("events", "archives", "kafka", "kinesis"))
    for kind, entries in (("archives", archives), ("kafka", topics), ("kinesis", streams)):
        for name in sorted(tables.keys() & entries.keys()):
            yield Problem(json_path((kind, name)), SettingsInvalid.code, "there is already a table of this name under events")
    for name in sorted(topics.keys() & streams.keys()):
        yield Problem(json_path(("kinesis", name)), SettingsInvalid.code, "there is already a topic of this name under kafka")
    for kind, entries in (("kafka", topics), ("kinesis", streams)):
        for name, said in product(sorted(archives.keys() & entries.keys()), LOG_MEANING):
            if (one := _at(archives, (name, said))) != (other := _at(entries, (name, said))):
                yield Problem(json_path((kind, name, said)), SettingsInvalid.code,
                              f"one log has one {said}: this is {shown(other)}, and archives.{name} says {shown(one)}")


def _path_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What is written for a place of another system would otherwise be taken for a folder of this one; the ledger may be in a database.

    What is written there may hold a password, so no more of it is shown than the scheme.
    """
    roots = document.get("roots")
    written: list[tuple[Sequence[str | int], Any]] = [(steps, _at(document, steps)) for steps in _PATHS]
    written += [(("roots", number), root) for number, root in enumerate(roots if isinstance(roots, list) else [])]
    for kind in ("events", "archives", "labels"):
        entries = document.get(kind)
        names = list(entries) if isinstance(entries, Mapping) else []
        written += [((kind, str(name), "path"), _at(document, (kind, name, "path"))) for name in names]
        written += [((kind, str(name), "store"), _at(document, (kind, name, "store"))) for name in names if kind == "labels"]
    topics = document.get("kafka")
    written += [(("kafka", str(name), "security", key), _at(document, ("kafka", name, "security", key)))
                for name in (topics if isinstance(topics, Mapping) else ()) for key in _KAFKA_FILES]
    for steps, path in written:
        if isinstance(path, str) and steps == ("ledger",) and "://" in path:
            yield from _ledger_problems(path.strip())
        elif isinstance(path, str) and steps[0] == "labels" and steps[-1] == "store":
            yield from _label_store_problems(json_path(steps), path)
        elif isinstance(path, str) and steps == ("store",) and "://" in path:
            yield from _bucket_problems("$.store", partial(place_from, path, S3Access()))
        elif isinstance(path, str) and steps[0] == "archives" and is_bucket(path):
            yield from _bucket_problems(json_path(steps), partial(split_address, path, "the archive"))
        elif isinstance(path, str) and "://" in path:
            yield Problem(json_path(steps), SettingsInvalid.code,
                          f"{shown(path.partition('://')[0] + '://…')} is not a local path; this release reads and writes only local paths")
        elif isinstance(path, str) and "\0" in path:
            yield Problem(json_path(steps), SettingsInvalid.code, f"{shown(path)} holds a character that is not allowed in a path")


def _ledger_problems(address: str) -> Iterator[Problem]:
    """What is wrong with the address of a database."""
    try:
        address_from(address)
    except SettingsInvalid as wrong:
        yield Problem("$.ledger", wrong.code, f"{wrong.what} {wrong.fix}")


def _label_store_problems(place: str, address: str) -> Iterator[Problem]:
    """What is wrong with the address of a label store."""
    if not is_address(address):
        yield Problem(place, SettingsInvalid.code, "a label store is a PostgreSQL database; write postgresql://user@host:5432/database. "
                                                   "Files are named by `path`")
        return
    try:
        address_from(address)
    except SettingsInvalid as wrong:
        yield Problem(place, wrong.code, f"{wrong.what} {wrong.fix}")


def _bucket_problems(place: str, read: Callable[[], object]) -> Iterator[Problem]:
    """What is wrong with an address in a bucket."""
    try:
        read()
    except SettingsInvalid as wrong:
        yield Problem(place, wrong.code, f"{wrong.what} {wrong.fix}")


def _secret_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Credentials are found by the SDK; whoever tries to write them down is told how."""
    archives = document.get("archives")
    streams = document.get("kinesis")
    for steps in [("s3",), *(("archives", str(name), "s3") for name in (archives if isinstance(archives, Mapping) else ())),
                  *(("kinesis", str(name)) for name in (streams if isinstance(streams, Mapping) else ()))]:
        access = _at(document, steps)
        for name in access if isinstance(access, Mapping) else ():
            if _SECRET.search(str(name)):
                how = BY_REFERENCE if steps[0] != "kinesis" else BY_REFERENCE.replace("s3.profile", "profile")
                yield Problem(json_path((*steps, str(name))), SettingsInvalid.code, f"credentials never stand in settings. {how}")
    topics = document.get("kafka")
    for name in topics if isinstance(topics, Mapping) else ():
        for steps in (("kafka", str(name)), ("kafka", str(name), "security")):
            entry = _at(document, steps)
            for word in sorted(_WRITTEN_OUT & set(map(str, entry if isinstance(entry, Mapping) else ()))):
                yield Problem(json_path((*steps, word)), SettingsInvalid.code,
                              "secrets never stand in settings; name the environment variable or the file that holds it: `password_env` or "
                              "`password_file` under `security`")
    engine = document.get("engine")
    conf = engine.get("conf") if isinstance(engine, Mapping) else None
    for name in conf if isinstance(conf, Mapping) else ():
        if _SPARK_SECRET.search(str(name)):
            yield Problem(json_path(("engine", "conf", str(name))), SettingsInvalid.code,
                          "credentials never stand in settings; give them to Spark in its own spark-defaults.conf, or pass your session")


def _at(document: Any, steps: Sequence[str]) -> Any:
    """The value some steps into a document of unknown shape, or None."""
    for step in steps:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _one_each(problems: list[Problem]) -> list[Problem]:
    """One problem per place; the last one is the most specific."""
    last = {problem.path: problem for problem in problems}
    return [last[path] for path in dict.fromkeys(problem.path for problem in problems)]


def _absolute(document: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The document with its paths made absolute, defaults included."""
    defaults = Settings.model_validate(document).model_dump(mode="json")
    found: dict[str, Any] = defaults
    for steps in _PATHS:
        here = found if len(steps) == 1 else found[steps[0]]
        if here[steps[-1]] is not None and not is_address(here[steps[-1]]) and not is_bucket(here[steps[-1]]):
            here[steps[-1]] = _placed(here[steps[-1]], folder)
    found["roots"] = [_placed(root, folder) for root in found["roots"]]
    for entry in found["kafka"].values():
        entry["security"] |= {key: _placed(entry["security"][key], folder) for key in _KAFKA_FILES if entry["security"][key] is not None}
    for kind in ("events", "archives", "labels"):
        for entry in found[kind].values():
            if entry["path"] is not None and not (kind == "archives" and is_bucket(entry["path"])):
                entry["path"] = _placed(entry["path"], folder)
    return found


def _placed(path: str, folder: Path) -> str:
    return str(resolved(folder / path))
