"""`ofs init`, `ofs key` and `ofs demo`: the first things that anybody runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from offline_feature_plane.cli.opening import look_past_pandas, open_plane
from offline_feature_plane.cli.output import emit_json, pairs, say, style
from offline_feature_plane.errors import SettingsInvalid, SourceUnreadable, StorageIoFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_FILE = "tokens.key"


def init(directory: Path, *, events: Path | None, labels: Path | None, demo: bool, as_json: bool) -> None:
    """Write the files that a plane needs into a folder.

    Raises:
        SettingsInvalid: files of these names are there already; nothing was written.
        SourceUnreadable, SourceColumnUnknown, LabelTypeScopeUnresolved: the data cannot be described; nothing was written.
        StorageIoFailure: the folder cannot be written; what was written is removed again.
    """
    look_past_pandas()
    if demo:
        if events is not None or labels is not None:
            raise click.UsageError("--demo simulates its own data; omit --events and --labels.")
        _init_demo(directory, as_json=as_json)
        return
    if events is None:
        raise click.UsageError("Name the events with --events FILE, or use --demo for a simulated world.")
    from offline_feature_plane.corridor.starter import propose
    from offline_feature_plane.engines.local.file_probe import FileProbe

    labels = None if labels is not None and labels.resolve() == events.resolve() else labels
    _refuse_inside(directory, events, labels)
    with TemporaryDirectory(prefix="ofs-init-") as work, FileProbe(Path(work), events, labels) as probe:
        found = propose(directory.resolve().name, probe.summarize("events", _seen_from(directory, events)),
                        probe.summarize("labels", _seen_from(directory, labels)) if labels is not None else None, probe)
    fresh_key = not (directory / KEY_FILE).exists()
    with _new_files(directory, found.files):
        if fresh_key:
            _make_key(directory / KEY_FILE)
    files = {name: str(directory / name) for name in (*found.files, KEY_FILE)}
    commands = [f"ofs plan {files['intent.yaml']}", f"ofs preview {files['intent.yaml']}", f"ofs build {files['intent.yaml']}"]
    if as_json:
        emit_json({"directory": str(directory), "files": list(files.values()), "notes": list(found.notes), "next": commands})
        return
    told = {"plane.yaml": "where the data is and what its columns mean", "features.yaml": "the features",
            "intent.yaml": "which rows, which label, as known when, which splits",
            KEY_FILE: "the secret behind identifier tokens; keep it out of version control" if fresh_key else "was there already; kept"}
    say("\n".join([style("guessed from your data:", "bold"), *(f"  {note}" for note in found.notes), "",
                          style("wrote:", "bold"), pairs({files[name]: what for name, what in told.items()}), "",
                          "Read the three files: what is wrong there is wrong in the dataset. Then:", *(f"  {one}" for one in commands)]))


def make_key(plane_path: Path | None, *, as_json: bool) -> None:
    """Make the token key of a plane where its settings say it lies. Raises SettingsInvalid if there is one, or if it lay in the store."""
    from offline_feature_plane.key_file import make_key as make

    with open_plane(plane_path) as plane:
        path = Path(plane.settings.tokens.key_file)
        plane.inputs.token_key()  # refuses a place inside of the store
        key_id = make(path)
    if as_json:
        emit_json({"key_file": str(path), "key_id": key_id})
    else:
        say("\n".join([f"wrote {path}, readable by you only; its id is {key_id}.",
                              "Keep it safe and out of version control: another key gives other tokens. Share it to share datasets."]))


def demo(directory: Path, *, events: int, seed: int, as_json: bool) -> None:
    """Run the whole main job on a simulated world; a second time, on the world that is there.

    Raises:
        SettingsInvalid: the folder holds something else, or another world.
    """
    look_past_pandas()
    from offline_feature_plane.cli.touring import tour

    tour(directory, events=events, seed=seed, as_json=as_json)


def _init_demo(directory: Path, *, as_json: bool) -> None:
    from offline_feature_plane.demo.world import EVENTS, FILES, SEED, write_demo

    made = write_demo(directory, events=EVENTS, seed=SEED)
    intent = directory / "intent.yaml"
    commands = [f"ofs {command} {intent}" for command in ("plan", "preview", "build")]
    if as_json:
        emit_json({"directory": str(directory), "files": [str(directory / name) for name in FILES], "world": made.document(),
                   "next": commands})
        return
    say("\n".join([f"A simulated world of {made.events:,} payments is in {directory}:",
                          pairs({str(directory / name): what for name, what in FILES.items()}), "",
                          "Read the three YAML files, they are commented. Then:", *(f"  {one}" for one in commands)]))


def _seen_from(directory: Path, path: Path) -> str:
    """A path as plane.yaml in `directory` spells it."""
    return Path(os.path.relpath(path.parent.resolve() / path.name, directory.resolve())).as_posix()


def _refuse_inside(directory: Path, *data: Path | None) -> None:
    """Files of a plane inside of a folder of data would be read as data."""
    for folder in data:
        if folder is not None and folder.is_dir() and directory.resolve().is_relative_to(folder.resolve()):
            raise SourceUnreadable(f"{directory} is inside {folder}, which holds data.", path=str(directory),
                                   fix="Choose a folder beside the data: every file in a data folder is read as data.")


def _make_key(path: Path) -> None:
    from offline_feature_plane.key_file import make_key as make

    make(path)


@contextmanager
def _new_files(directory: Path, texts: Mapping[str, str]) -> Iterator[None]:
    """Files that did not exist; if anything fails, before or in the block, none of them and no new folder is left."""
    if there := [str(directory / name) for name in texts if os.path.lexists(directory / name)]:
        raise SettingsInvalid(f"{', '.join(there)} already {'exists' if len(there) == 1 else 'exist'}; nothing was written.",
                              path=str(directory), fix="Choose another folder, or move them away.")
    made: list[Path] = []
    try:
        for folder in reversed([one for one in (directory, *directory.parents) if not one.exists()]):
            folder.mkdir()
            made.append(folder)
        for name, text in texts.items():
            with (directory / name).open("x", encoding="utf-8", newline="\n") as file:
                made.append(directory / name)
                file.write(text)
        yield
    except BaseException as wrong:  # an interrupted start leaves nothing either
        for path in reversed(made):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if isinstance(wrong, OSError):
            raise StorageIoFailure(f"{directory} cannot be written: {wrong.strerror or wrong}.", path=str(directory),
                                   fix="Choose a folder that you may write to.") from wrong
        raise
