"""The small plane whose topic an archive and a bus hold together: offsets 0 to 199, of which a test says who has which."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from small_plane import LABEL_SCHEMA, SmallPlane, chargebacks, make_plane, transactions

from offline_feature_plane import planning_inputs
from offline_feature_plane.testing.archives import archived, write_archive
from offline_feature_plane.testing.buses import BusFolder, FolderBus


def payments(offsets: Iterable[int], **changes: Any) -> list[dict[str, Any]]:
    """Some of the payments as records; `changes` replace what their payloads say."""
    told = transactions()
    return [archived(str(told["tx_id"][i]), int(told["tx_time"][i].timestamp()) * 1_000_000,
                     {name: told[name][i] if name != "amount" else str(told[name][i]) for name in ("customer_id", "terminal_id", "amount")}
                     | changes, offset=i, platform_run_id="cards") for i in offsets]


def make_bus_plane(folder: Path, *, archive: Iterable[int] = range(120), bus: Iterable[int] = range(80, 200)) -> SmallPlane:
    """A complete plane in a new folder: which offsets the archive has, in segments of twenty, and which the bus."""
    plane = make_plane(folder)
    write_archive(folder / "archive", payments(archive), per_segment=20)
    kept = list(bus)
    of(plane).produce(payments(kept))
    of(plane).retain(0, kept[0])
    del plane.plane["events"]
    plane.plane["archives"] = {"transaction": {"path": "archive"}}
    plane.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                 pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))
    plane.documents()
    return plane


def of(plane: SmallPlane) -> BusFolder:
    """The plane's bus."""
    return BusFolder(plane.folder / "bus")


def with_buses(monkeypatch: Any) -> None:
    """Every plane that is opened reads the bus in its folder where it would read Kafka. No setting names it: only tests have such a one."""
    def opened(settings: Any, _: Any) -> FolderBus:
        roots = [Path(one.path).parent / "bus" for one in settings.archives.values()]
        return FolderBus(roots[0], ("transaction",)) if roots and roots[0].is_dir() else FolderBus(Path(), ())
    monkeypatch.setattr(planning_inputs.KafkaSource, "of", opened)
