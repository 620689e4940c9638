"""The small plane with its events in an archive of four segments of fifty, which a test may harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from small_plane import LABEL_SCHEMA, SmallPlane, chargebacks, make_plane, transactions

from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.testing.archives import archived, write_archive


def make_archive_plane(folder: Path) -> SmallPlane:
    """A complete plane in a new folder; offsets are 0 to 199, ids are text."""
    plane, told = make_plane(folder), transactions()
    records = [archived(str(told["tx_id"][i]), int(told["tx_time"][i].timestamp()) * 1_000_000,
                        {name: told[name][i] for name in ("customer_id", "terminal_id", "amount")}, offset=i, platform_run_id="cards")
               for i in range(len(told["tx_id"]))]
    write_archive(folder / "archive", records, per_segment=50)
    del plane.plane["events"]
    plane.plane["archives"] = {"transaction": {"path": "archive"}}
    plane.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                 pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))
    plane.documents()
    return plane


def edit_index(plane: SmallPlane, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    """Rewrite the archive's index."""
    place = plane.folder / "archive/index.json"
    index = json.loads(place.read_text())
    change(index["segments"])
    place.write_text(json.dumps(index))


def garble(plane: SmallPlane, segment: int, *lines: int) -> None:
    """Make lines of a segment unreadable, as they were archived: the index knows the bytes."""
    place = plane.folder / f"archive/transaction/0/{segment:05}.jsonl"
    held = place.read_bytes().splitlines(keepends=True)
    place.write_bytes(b"".join(b"garbage\n" if number in lines else line for number, line in enumerate(held)))
    edit_index(plane, lambda segments: segments[segment].update(sha256=sha256_of(place.read_bytes()), size=place.stat().st_size))
