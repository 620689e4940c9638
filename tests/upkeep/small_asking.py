"""Asking the small plane: building one of its datasets, and reading what commands print."""

import json

from offline_feature_plane.__main__ import run
from offline_feature_plane.plane import open_plane


def opened(plane, **settings):
    """The plane, its documents as they are now."""
    plane.documents()
    return open_plane(plane.folder / "plane.yaml", **settings)


def build(plane, name="a", old=None, reason="it came late", **more):
    """Publish the dataset of one correction, which may replace another; the answer."""
    plane.intent |= {"correction": name} | more
    for key, value in (("supersedes", old), ("backfill_reason", reason if old else None)):
        plane.intent.pop(key, None)
        if value is not None:
            plane.intent[key] = value
    return opened(plane).build(plane.intent_path)


def dataset(plane, name="a", **more):
    """The id of such a dataset."""
    return build(plane, name, **more).manifest.dataset_manifest_id


def say(plane, capsys, *words):
    """What a command answers: its status, its document, and what it prints for people."""
    where = ("--plane", str(plane.folder / "plane.yaml"))
    status = run([*words, *where, "--json"])
    document = json.loads(capsys.readouterr().out)
    return status, document, plane


def tell(plane, capsys, *words):
    """What a command prints for people, and its status."""
    status = run([*words, "--plane", str(plane.folder / "plane.yaml")])
    told = capsys.readouterr()
    return status, told.out + told.err


def files(plane):
    """Every file of the store, by its key."""
    root = plane.folder / "store"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
