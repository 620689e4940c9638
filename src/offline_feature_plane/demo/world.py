"""Writes the demonstration's world: an archive of payments, the chargebacks about them, and three commented files.

    2026-01-01            02-10               04-15  04-22      05-17                06-30  07-01
    ├──── windows fill ────┼────── train ───────┤ gap ├── test ───┤ ··· not yet mature ··· ─┤ as_of

The log is as logs are: three partitions, some payments delivered twice, some of a rehearsal's, some events of another kind.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offline_feature_plane.errors import SettingsInvalid, StorageIoFailure
from offline_feature_plane.key_file import make_key
from offline_feature_plane.simulation import DAY_US, Disputes, Int, Payments, World, disputes, disputes_table, pieces
from offline_feature_plane.testing.archives import ArchiveWriter, archived

__all__ = ["DAYS", "EVENTS", "SEED", "WorldSummary", "demo_world", "open_demo", "write_demo"]

EVENTS, SEED, DAYS = 60_000, 7, 180
PLANE, REHEARSAL = "demo", "rehearsal"
PARTITIONS, PIECE = 3, 50_000
MARK = "world.json"
TEMPLATES = ("plane.yaml", "features.yaml", "intent.yaml")
COUNTRIES = ("DE", "DE", "DE", "AT", "FR", "NL", None)


@dataclass(frozen=True)
class WorldSummary:
    """What a demonstration's world holds, counted while it was written.

    `late_days`: half of the chargebacks were reported later than this after their payment.
    """

    events: int
    seed: int
    customers: int
    terminals: int
    days: int
    records: int
    delivered_twice: int
    of_another_run: int
    of_another_kind: int
    segments: int
    chargebacks: int
    reversals: int
    late_days: float

    def document(self) -> dict[str, Any]:
        """For `--json`, and for the world's own mark."""
        return asdict(self)


FILES: Mapping[str, str] = {
    "plane.yaml": "where the data is and what its columns mean", "features.yaml": "what every feature is",
    "intent.yaml": "which rows, which label, as known when, which splits", "archive": "the event log: segments and their index",
    "chargebacks.parquet": "the label timeline", "tokens.key": "the secret behind identifier tokens", MARK: "what was simulated"}


def demo_world(events: int, seed: int) -> World:
    """The world of this size and seed: thirty payments a customer, whatever the size, and crime enough for small ones."""
    return World(events=events, customers=max(40, events // 30), terminals=max(20, events // 120), days=DAYS, seed=seed, crime=2.5)


def open_demo(folder: Path, *, events: int, seed: int) -> WorldSummary | None:
    """The world in a folder; None if there is none, and nothing else that a world would overwrite.

    Raises:
        SettingsInvalid: the folder holds another world, or other files of these names.
    """
    try:
        found = WorldSummary(**json.loads((folder / MARK).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        there = [name for name in FILES if os.path.lexists(folder / name)]
        if there or (os.path.lexists(folder) and not folder.is_dir()):
            raise SettingsInvalid(f"{folder} holds {', '.join(there) or 'a file'} already; nothing was written.", path=str(folder),
                                  fix="Choose another folder, or move them away.") from None
        return None
    if (found.events, found.seed) != (events, seed):
        raise SettingsInvalid(f"{folder} holds a world of {found.events:,} payments with seed {found.seed}, "
                              f"not of {events:,} with seed {seed}.",
                              path=str(folder), fix="Choose another folder with --dir, or ask for the existing world.")
    return found


def write_demo(folder: Path, *, events: int, seed: int) -> WorldSummary:
    """Write a world into a folder that has none. It is made aside and moved in at the end: half a world is never seen.

    Raises:
        SettingsInvalid: there is a world, or something of these names. StorageIoFailure: the folder cannot be written.
    """
    if open_demo(folder, events=events, seed=seed) is not None:
        raise SettingsInvalid(f"{folder} holds this world already; nothing was written.", path=str(folder),
                              fix="Use it: `ofs build` its intent.yaml. Or choose another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as name:
            aside = Path(name)
            made = _write(aside, demo_world(events, seed))
            for one in FILES:  # the mark is the last
                shutil.move(aside / one, folder / one)
    except OSError as wrong:
        raise StorageIoFailure(f"{folder} cannot be written: {wrong.strerror or wrong}.", path=str(folder),
                               fix="Choose a folder that you may write to.") from wrong
    return made


def _write(folder: Path, world: World) -> WorldSummary:
    counts = dict.fromkeys(("records", "delivered_twice", "of_another_run", "of_another_kind"), 0)
    told: list[Disputes] = []
    lags: list[Int] = []
    with ArchiveWriter(folder / "archive", log_id="payments-2026", per_segment=5_000, form=("jsonl.gz", "parquet", "jsonl")) as out:
        offsets = [0] * PARTITIONS
        for paid in pieces(world, PIECE):
            for record in _records(world, paid, offsets, counts):
                out.add(record)
            told.append(disputes(world, paid))
            first = told[-1].supersedes == 0
            lags.append((told[-1].reported_us - paid.ts_us[told[-1].tx_id - paid.tx_id[0]])[first])
    _write_labels(folder / "chargebacks.parquet", told)
    for name in TEMPLATES:
        (folder / name).write_bytes(files(__package__).joinpath(name).read_bytes())
    make_key(folder / "tokens.key")
    late = np.concatenate(lags)
    made = WorldSummary(
        events=world.events, seed=world.seed, customers=world.customers, terminals=world.terminals, days=world.days, **counts,
        segments=len(out.segments), chargebacks=len(late), reversals=sum(len(one.tx_id) for one in told) - len(late),
        late_days=round(float(np.median(late)) / DAY_US, 1) if len(late) else 0.0)
    (folder / MARK).write_text(json.dumps(made.document(), indent=1) + "\n", encoding="utf-8")
    return made


def _records(world: World, paid: Payments, offsets: list[int], counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    """A piece of the log as it was archived. Partitions go by customer; now and then there is something that is not one of our payments."""
    index = paid.tx_id.astype(np.uint64)
    again, foreign, other = world.drawn(50, index) < 0.004, world.drawn(51, index) < 0.003, world.drawn(52, index) < 0.02
    rows = zip(paid.tx_id.tolist(), paid.ts_us.tolist(), paid.customer.tolist(), paid.terminal.tolist(), paid.cents.tolist(),
               paid.online.tolist(), again.tolist(), foreign.tolist(), other.tolist(), strict=True)
    for number, ts_us, customer, terminal, cents, is_online, is_again, is_foreign, is_other in rows:
        partition, country = customer % PARTITIONS, COUNTRIES[customer % len(COUNTRIES)]
        payload = {"customer": {"id": f"C{customer:06}"} | ({"country": country} if country else {}), "terminal_id": f"T{terminal:06}",
                   "amount": Decimal(cents).scaleb(-2), "channel": "online" if is_online else "in_person"}
        happened = [(f"P{number:08}", "payment", PLANE, payload)] * (2 if is_again else 1)
        if is_foreign:
            happened.append((f"R{number:08}", "payment", REHEARSAL, payload))
        if is_other:
            happened.append((f"B{number:08}", "balance_check", PLANE, {"customer": payload["customer"]}))
        counts["records"] += len(happened)
        counts["delivered_twice"] += is_again
        counts["of_another_run"] += is_foreign
        counts["of_another_kind"] += is_other
        for event_id, kind, run, said in happened:
            yield archived(event_id, ts_us, said, topic="payment", partition=partition, offset=offsets[partition], platform_run_id=run,
                           event_type=kind)
            offsets[partition] += 1


def _write_labels(path: Path, told: list[Disputes]) -> None:
    table = pa.concat_tables([disputes_table(one) for one in told]).sort_by([("reported_at", "ascending"), ("case_id", "ascending")])
    digits = pc.utf8_lpad(table["tx_id"].cast(pa.string()), width=8, padding="0")
    named = pc.binary_join_element_wise(pa.scalar("P"), digits, "")
    pq.write_table(table.set_column(table.column_names.index("tx_id"), "payment_id", named), path)
