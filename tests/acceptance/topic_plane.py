"""The small plane with its events in a topic of a bus, in three partitions, as an ordinary producer wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from small_plane import LABEL_SCHEMA, SmallPlane, chargebacks, make_plane, transactions

from offline_feature_plane.testing.archives import archived

PARTITIONS = 3


def payments(topic: str = "transaction") -> list[dict[str, Any]]:
    """The events as stored records: every third of them in one partition, with the offsets from 0 on; ids are text."""
    told = transactions()
    return [archived(str(told["tx_id"][i]), int(told["tx_time"][i].timestamp()) * 1_000_000,
                     {name: told[name][i] for name in ("customer_id", "terminal_id", "amount")}, topic=topic, partition=i % PARTITIONS,
                     offset=i // PARTITIONS, platform_run_id="cards", event_type="transaction") for i in range(len(told["tx_id"]))]


def of_partition(records: Sequence[dict[str, Any]], partition: int) -> list[dict[str, Any]]:
    """Those of one partition, in their order."""
    return [one for one in records if one["partition"] == partition]


def make_topic_plane(folder: Path, servers: str, **entry: Any) -> SmallPlane:
    """A complete plane in a new folder, whose transactions are on a bus."""
    plane = make_plane(folder)
    del plane.plane["events"]
    plane.plane["kafka"] = {"transaction": {"servers": servers, "timeout_s": 20, **entry}}
    plane.labels(chargebacks() | {"tx_id": [str(one) for one in chargebacks()["tx_id"]]},
                 pa.schema([("tx_id", pa.string()), *list(LABEL_SCHEMA)[1:]]))
    plane.documents()
    return plane
