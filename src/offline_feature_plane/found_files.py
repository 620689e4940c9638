"""Which files a path names, and of which form they are; none of them is opened."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from offline_feature_plane.errors import RefScopeInvalid, SourceUnreadable
from offline_feature_plane.plain_files import as_found, resolved
from offline_feature_plane.ports.inputs import Form
from offline_feature_plane.text_files import unreadable

__all__ = ["find_files", "form_of", "told"]

Answer = TypeVar("Answer")

_SUFFIXES: tuple[tuple[str, Form], ...] = (
    (".parquet", "parquet"), (".pq", "parquet"), *((f".csv{packed}", "csv") for packed in ("", ".gz", ".zst")),
    *((f".{name}{packed}", "jsonl") for name in ("jsonl", "ndjson") for packed in ("", ".gz", ".zst")))


def find_files(path: Path) -> list[tuple[str, Path]]:
    """The files at `path`, each with its listed name and, links followed, its place.

    A folder is read recursively, without hidden files.

    Raises:
        SourceUnreadable: nothing there, or something that is no file.
        RefScopeInvalid: a link that leads out of the folder, or any linked folder.
    """
    if told(path.is_file, path):
        return [(_listed(Path(path.name)), told(lambda: resolved(path), path))]
    if not told(path.is_dir, path):
        if not told(path.exists, path):
            raise SourceUnreadable(f"there is no file at {as_found(path)}.", path=as_found(path), fix="Check the path.")
        raise SourceUnreadable(f"{as_found(path)} is a pipe, a socket or a device.", path=as_found(path), fix="Write the data into a file.")
    root = told(lambda: resolved(path), path)
    found: list[tuple[str, Path]] = []
    for folder, folders, names in os.walk(root, onerror=lambda wrong: unreadable(path, wrong)):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise RefScopeInvalid(f"{Path(folder) / name} is a symbolic link to a folder.", path=as_found(path),
                                      fix="Copy the files into the folder, or map the linked folder directly.")
        for name in names:
            if not _is_hidden(name):
                file = Path(folder) / name
                found.append((_listed(file.relative_to(root)), _member(file, root, path)))
    if not found:
        raise SourceUnreadable(f"{as_found(path)} holds no files.",
                               path=as_found(path), fix="Name a file, or a folder with data files.")
    return sorted(found, key=lambda item: item[0].encode())


def form_of(path: Path, form: str | None) -> Form:
    """The form that is stated, else the one that a file's name shows. Raises SourceUnreadable: no known one."""
    if form is None:
        found = next((kind for suffix, kind in _SUFFIXES if path.name.lower().endswith(suffix)), None)
        if found is None:
            raise SourceUnreadable(
                f"the name of {as_found(path)} does not show its format.", path=as_found(path),
                fix="Name it .parquet, .csv or .jsonl (the last two also .gz or .zst); a mapping in plane.yaml may say `format:`.")
        return found
    stated = next((kind for _, kind in _SUFFIXES if kind == form), None)
    if stated is None:
        raise SourceUnreadable(f"{form!r} is not a known file format.", path=as_found(path), fix="Known formats: parquet, csv, jsonl.")
    return stated


def told(question: Callable[[], Answer], path: Path) -> Answer:
    """The answer of the file system, which may refuse a name as such."""
    try:
        return question()
    except OSError as wrong:
        unreadable(path, wrong)


def _member(file: Path, root: Path, path: Path) -> Path:
    """One file of a folder, its links followed."""
    place = told(lambda: resolved(file), file)
    if not place.is_relative_to(root):
        raise RefScopeInvalid(f"{as_found(file)} is a link that points outside of {as_found(path)}.",
                              path=as_found(path), fix="Copy the file into the folder, or map it directly.")
    if told(place.exists, file) and not told(place.is_file, file):
        raise SourceUnreadable(f"{as_found(file)} is a pipe, a socket or a device.", path=as_found(file), fix="Remove it from the data.")
    return place


def _listed(path: Path) -> str:
    """The name under which a file is listed: composed (NFC), so that copying it between systems does not rename it."""
    name = unicodedata.normalize("NFC", path.as_posix())
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceUnreadable(f"the file name {name!a} is not UTF-8.", path=ascii(name), fix="Rename the file.") from None
    return name


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))
