"""How mistakes are made in a complete small plane: in its documents, its files and its places."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from small_plane import SmallPlane, chargebacks, replace_in, transactions

from offline_feature_plane.plane import open_plane

Change = Callable[[SmallPlane], Any]


def setting(document: str, path: str, value: Any) -> Change:
    """Put a value at a dotted path of `plane`, `profile` or `intent`."""
    def change(plane: SmallPlane) -> None:
        here = getattr(plane, document)
        *steps, last = path.split(".")
        for step in steps:
            here = here[step]
        here[last] = value
    return change


def without(document: str, path: str) -> Change:
    """Remove a dotted path."""
    def change(plane: SmallPlane) -> None:
        here = getattr(plane, document)
        *steps, last = path.split(".")
        for step in steps:
            here = here[step]
        del here[last]
    return change


def raw(name: str, content: str | bytes) -> Change:
    """Replace a whole file."""
    def change(plane: SmallPlane) -> bool:
        plane.documents()
        (plane.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return True
    return change


def appended(name: str, content: str) -> Change:
    """Add lines to a document."""
    def change(plane: SmallPlane) -> bool:
        plane.documents()
        path = plane.folder / name
        path.write_text(path.read_text() + content)
        return True
    return change


def replaced(name: str, old: str, new: str) -> Change:
    """Replace text in a document."""
    def change(plane: SmallPlane) -> bool:
        plane.documents()
        replace_in(plane.folder / name, old, new)
        return True
    return change


def csv_events(text: str | bytes) -> Change:
    """The events as a CSV file with this text."""
    def change(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"]["path"] = "transactions.csv"
        (plane.folder / "transactions.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return change


def jsonl_events(text: str) -> Change:
    """The events as a JSON Lines file with this text."""
    def change(plane: SmallPlane) -> None:
        plane.plane["events"]["transaction"]["path"] = "transactions.jsonl"
        (plane.folder / "transactions.jsonl").write_text(text)
    return change


def event_columns(schema: pa.Schema | None = None, **columns: Any) -> Change:
    """The events with some columns replaced."""
    def change(plane: SmallPlane) -> None:
        plane.events({**transactions(), **columns}, schema=schema)
    return change


def label_columns(schema: pa.Schema | None = None, **columns: Any) -> Change:
    """The labels with some columns replaced."""
    def change(plane: SmallPlane) -> None:
        plane.labels({**chargebacks(), **columns}, schema=schema)
    return change


def several(*changes: Change) -> Change:
    """Several mistakes at once."""
    def change(plane: SmallPlane) -> bool:
        answers = [one(plane) for one in changes]
        return any(answers)
    return change


def pinned(path: str, value: Any) -> Change:
    """The long form with one value changed."""
    def change(plane: SmallPlane) -> None:
        plane.documents()
        plane.intent = open_plane(plane.folder / "plane.yaml").pin(plane.intent_path).document
        setting("intent", path, value)(plane)
    return change


def pinned_then(change_after: Change) -> Change:
    """The long form, and then something else changes."""
    def change(plane: SmallPlane) -> Any:
        plane.documents()
        plane.intent = open_plane(plane.folder / "plane.yaml").pin(plane.intent_path).document
        return change_after(plane)
    return change


def truncated(name: str) -> Change:
    """A file that ends too early."""
    def change(plane: SmallPlane) -> None:
        path = plane.folder / name
        path.write_bytes(path.read_bytes()[:-100])
    return change


def removed(name: str) -> Change:
    """A file that is not there."""
    return lambda plane: (plane.folder / name).unlink()


def linked_out(plane: SmallPlane) -> bool:
    """The profile is a link that points outside of the roots."""
    plane.documents()
    outside = plane.folder.parent / "outside.yaml"
    (plane.folder / "features.yaml").rename(outside)
    (plane.folder / "features.yaml").symlink_to(outside)
    return True


def profile_outside(plane: SmallPlane) -> None:
    """An absolute ref out of the roots."""
    plane.intent["features"] = "/etc/hostname"


def sqlite_of_others(plane: SmallPlane) -> None:
    """The ledger's place is taken by a database of somebody else."""
    with sqlite3.connect(plane.folder / "ledger.sqlite") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()


def blocked(name: str) -> Change:
    """A file stands where a folder is needed."""
    def change(plane: SmallPlane) -> None:
        (plane.folder / "blocked").write_text("in the way")
        plane.plane[name] = f"blocked/{name}"
    return change


def rows(count: int, **extra: Any) -> dict[str, list[Any]]:
    """The first events, as columns."""
    return {name: values[:count] for name, values in {**transactions(), **extra}.items()}


def facts(*, instead: str | None = None, **changes: Any) -> Change:
    """The plane needs the output `stream`, and its run facts view has a PASS for it, but for these changes, or is another text."""
    scope = {"manifest_fingerprint": "f", "parameter_hash": "p", "seed": 1, "scenario_id": "s", "run_id": "r"}
    view = {"run_id": "r", "platform_run_id": "cards", "scenario_run_id": "sr",
            "pins": {**scope, "platform_run_id": "cards", "scenario_run_id": "sr"},
            "locators": [{"output_id": "stream", "path": "x", **scope}],
            "gate_receipts": [{"gate_id": "g", "status": "PASS", "scope": scope}],
            "policy_rev": {"policy_id": "p", "revision": "1", "content_digest": "0" * 64}, "bundle_hash": "0" * 64,
            "plan_ref": "p", "record_ref": "r", "status_ref": "s", **changes}

    def change(plane: SmallPlane) -> None:
        plane.plane |= {"required_outputs": ["stream"], "gate_map": {"g": {"outputs": ["stream"]}}, "run_facts": "facts.json"}
        (plane.folder / "facts.json").write_text(json.dumps(view) if instead is None else instead)
    return change
