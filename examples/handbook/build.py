"""The 14 features that the fraud-detection handbook publishes, built with OFS and compared value by value.

    python build.py --data FOLDER [--out FOLDER]

The data folder holds `transactions.parquet`, `labels.parquet` and `features_published.parquet`; README.md says what is in them. Exit
status 0: everything that was published is equal, but for pairs of one customer in one second that were published in the other order.
1: something else differs. Otherwise the status of the error that is printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import offline_feature_plane as ofs
from offline_feature_plane.errors import (
    RefNotFound,
    SettingsInvalid,
    SourceColumnUnknown,
    SourceTypeMismatch,
    SourceUnreadable,
    StorageIoFailure,
)

HERE = Path(__file__).resolve().parent
TIES = "customer_ties.csv"
DAY = 86_400
LISTED = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """A published feature, the column that OFS makes of it, and how far the two may lie apart."""

    published: str
    column: str
    tolerance: float = 0.0

    @property
    def of_customer(self) -> bool:
        """Does the order of a customer's transactions within one second matter to it?"""
        return self.column.startswith("customer__")


FEATURES = (
    Feature("TX_DURING_WEEKEND", "during_weekend"),
    Feature("TX_DURING_NIGHT", "during_night"),
    *(made for days in (1, 7, 30) for made in (
        Feature(f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW", f"customer__nb_tx_{days}d"),
        Feature(f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW", f"customer__avg_amount_{days}d", 1e-9))),  # published from running float sums
    *(made for days in (1, 7, 30) for made in (
        Feature(f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW", f"terminal__nb_tx_{days}d"),
        Feature(f"TERMINAL_ID_RISK_{days}DAY_WINDOW", f"terminal__risk_{days}d"))),
)

FORM = {
    "transactions.parquet": ("event_id", "ts_utc", "customer_id", "terminal_id", "amount"),
    "labels.parquet": ("event_id", "label_ts_utc", "is_fraud"),
    "features_published.parquet": ("event_id", *(feature.published for feature in FEATURES)),
}


@dataclass(frozen=True)
class Compared:
    """One feature over all rows where it is published: how many, how many equal, and the largest difference with and without ties."""

    feature: Feature
    rows: int
    equal: int
    largest: float
    largest_elsewhere: float


@dataclass(frozen=True)
class Difference:
    """One value of one row: published, and as OFS has it (NaN: null)."""

    feature: Feature
    published: float
    built: float


@dataclass(frozen=True)
class Comparison:
    """The table, the rows that differ by event id, and those of them that are ties published in the other order."""

    features: tuple[Compared, ...]
    differing: Mapping[int, tuple[Difference, ...]]
    ties: frozenset[int]

    @property
    def unexplained(self) -> list[int]:
        """The rows that differ for no known reason."""
        return sorted(set(self.differing) - self.ties)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, compare, print; the exit status."""
    parser = argparse.ArgumentParser(description="Build the handbook's 14 features with OFS and compare them with the published ones.")
    parser.add_argument("--data", type=Path, required=True, help="folder with " + ", ".join(FORM))
    parser.add_argument("--out", type=Path, default=Path("handbook-plane"), help="folder of the plane that is made (default: %(default)s)")
    asked = parser.parse_args(arguments)
    try:
        dataset = build(asked.data, asked.out)
        comparison = compare(dataset, asked.data)
    except ofs.OfsError as error:
        print(f"error {error}", file=sys.stderr)
        return error.exit_status
    print(f"{dataset.id}: {len(dataset):,} rows, plane in {asked.out}\n")
    print(report(comparison))
    return 1 if comparison.unexplained else 0


def build(data: Path, out: Path) -> ofs.Dataset:
    """Make a plane for a data folder in `out`, build its dataset, and open it.

    Raises:
        RefNotFound, SourceUnreadable, SourceColumnUnknown, SourceTypeMismatch: the folder is not of the form.
        SettingsInvalid, StorageIoFailure: `out` cannot be used. OfsError: whatever the build refuses.
    """
    check_form(data)
    write_plane(data, out, as_of=midnight_after_last_label(data))
    plane = ofs.open(out / "plane.yaml")
    return plane.dataset(plane.build(out / "intent.yaml").manifest.dataset_manifest_id)


def check_form(data: Path) -> None:
    """Refuse a folder without the three files and their columns."""
    if not data.is_dir():
        raise RefNotFound(f"{data} is no folder.", path=str(data), fix=f"--data names the folder with {', '.join(FORM)}.")
    for name, columns in FORM.items():
        path = data / name
        if not path.is_file():
            raise RefNotFound(f"{data} holds no {name}.", path=str(path), fix=f"A folder of this form has {', '.join(FORM)}.")
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as wrong:
            raise SourceUnreadable(f"{name} is no Parquet file that can be read.", path=str(path), fix="Write it again.") from wrong
        if missing := [column for column in columns if column not in schema.names]:
            raise SourceColumnUnknown(f"{name} lacks {', '.join(missing)}.", path=str(path), fix=f"Its columns are {', '.join(columns)}.")


def midnight_after_last_label(data: Path) -> str:
    """The first midnight (UTC) after the last label became known."""
    path = data / "labels.parquet"
    known = _read(path, ["label_ts_utc"])["label_ts_utc"]
    if not pa.types.is_timestamp(known.type) or known.type.tz is None:
        raise SourceTypeMismatch(f"label_ts_utc is {known.type}, not a timestamp with a zone.", path=str(path), fix="Write it in UTC.")
    last = pc.max(known.cast(pa.int64())).as_py()
    if last is None:
        raise SourceUnreadable("labels.parquet holds no label.", path=str(path), fix="Every transaction needs one.")
    seconds = last // {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[known.type.unit]
    try:
        return datetime.fromtimestamp((seconds // DAY + 1) * DAY, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as wrong:
        raise SourceTypeMismatch(f"the last label is known {seconds} s after 1970, which is no year of the calendar.", path=str(path),
                                 fix="Look at label_ts_utc.") from wrong


def write_plane(data: Path, out: Path, *, as_of: str) -> None:
    """The three documents of this folder, made for one data folder, and a token key."""
    if out.resolve() == HERE:
        raise SettingsInvalid(f"{out} holds the documents that are copied.", path="--out", fix="Choose another folder.")
    quoted = json.dumps(str(data.resolve()), ensure_ascii=False)[1:-1]  # it stands in double quotes
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "features.yaml").write_text((HERE / "features.yaml").read_text(encoding="utf-8"), encoding="utf-8")
        (out / "plane.yaml").write_text((HERE / "plane.yaml").read_text(encoding="utf-8").replace("DATA/", f"{quoted}/"), encoding="utf-8")
        intent = re.sub(r"(?m)^( *as_of:).*$", rf"\1 {as_of}", (HERE / "intent.yaml").read_text(encoding="utf-8"))
        (out / "intent.yaml").write_text(intent, encoding="utf-8")
        key = out / "tokens.key"
        if not key.exists():
            key.touch(mode=0o600)
            key.write_text(secrets.token_hex(16) + "\n", encoding="utf-8")
    except OSError as wrong:
        raise StorageIoFailure(f"{out} cannot be written: {wrong.strerror}.", path=str(out), fix="Choose another with --out.") from wrong


def compare(dataset: ofs.Dataset, data: Path) -> Comparison:
    """Hold every published value against the dataset's, by event id; what was not published is not compared.

    Raises:
        SourceUnreadable: nothing is published, an event twice, or one that is no transaction. SourceTypeMismatch: a value is no number.
    """
    path = data / "features_published.parquet"
    published = _read(path, list(FORM[path.name]))
    events = _numbers(published["event_id"], "event_id", path, pa.int64())
    if published["event_id"].null_count or len(np.unique(events)) != len(events):
        raise SourceUnreadable("features_published.parquet names an event twice, or none.", path=str(path), fix="One row an event.")
    built = dataset.to_arrow(columns=["event_id", *(feature.column for feature in FEATURES)])
    ids = built["event_id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    place = order[np.minimum(np.searchsorted(ids, events, sorter=order), len(ids) - 1)]
    if strangers := events[ids[place] != events].tolist():
        raise SourceUnreadable(f"{len(strangers)} published events are no transactions, the first is {strangers[0]}.", path=str(path),
                               fix="transactions.parquet needs all of them.")
    ties = _ties(data.resolve().parent / TIES)
    tied = np.isin(events, sorted(ties))
    table: list[Compared] = []
    differing: dict[int, list[Difference]] = {}
    for feature in FEATURES:
        theirs = published[feature.published]
        told = np.asarray(theirs.is_valid())
        here = _numbers(theirs, feature.published, path, pa.float64())[told]
        ours = _numbers(built[feature.column], feature.column, path, pa.float64())[place][told]
        apart = np.abs(ours - here)
        apart[np.isnan(apart)] = math.inf  # a null of ours, or a published value that is no number
        wrong = apart > feature.tolerance
        table.append(Compared(feature, len(here), int((~wrong).sum()), float(apart.max(initial=0.0)),
                              float(apart[~tied[told]].max(initial=0.0))))
        for event, said, found in zip(events[told][wrong].tolist(), here[wrong].tolist(), ours[wrong].tolist(), strict=True):
            differing.setdefault(event, []).append(Difference(feature, said, found))
    if not any(row.rows for row in table):
        raise SourceUnreadable("features_published.parquet publishes no value.", path=str(path), fix="There is nothing to compare.")
    excused = {event for event in ties & set(differing) if all(one.feature.of_customer for one in differing[event])}
    return Comparison(tuple(table), {event: tuple(found) for event, found in differing.items()}, frozenset(excused))


def report(comparison: Comparison) -> str:
    """The comparison as text."""
    lines = [f"{'published feature':38}{'compared':>10}{'equal':>10}{'largest difference':>21}{'ties aside':>12}"]
    lines += [f"{row.feature.published:38}{row.rows:>10,}{row.equal:>10,}{row.largest:>21.2g}{row.largest_elsewhere:>12.2g}"
              for row in comparison.features]
    listed = [*comparison.unexplained, *sorted(comparison.ties)]
    lines += ["", f"{len(listed)} rows differ, {len(comparison.ties)} of them same-second ties that were published in the other order."]
    for event in listed[:LISTED]:
        kind = "tie" if event in comparison.ties else "NOT EXPLAINED"
        values = ", ".join(f"{one.feature.column} {one.built:.12g} (published {one.published:.12g})" for one in comparison.differing[event])
        lines.append(f"  {event}  {kind}: {values}")
    if len(listed) > LISTED:
        lines.append(f"  … and {len(listed) - LISTED} more.")
    return "\n".join(lines)


def _ties(path: Path) -> set[int]:
    """Both events of every pair whose later id was published first; OFS orders them by id. No file: no ties."""
    if not path.is_file():
        return set()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            pairs = [pair for pair in csv.DictReader(file) if pair["published_order"] == "high id first"]
        return {int(pair[side]) for pair in pairs for side in ("event_id_low", "event_id_high")}
    except (KeyError, TypeError, ValueError, OSError) as wrong:
        raise SourceUnreadable(f"{path.name} is no list of ties.", path=str(path),
                               fix="Its columns are event_id_low, event_id_high, published_order (high or low id first).") from wrong


def _read(path: Path, columns: list[str]) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError) as wrong:
        raise SourceUnreadable(f"{path.name} cannot be read to its end.", path=str(path), fix="Write it again.") from wrong


def _numbers(column: pa.ChunkedArray, name: str, path: Path, kind: pa.DataType) -> npt.NDArray[np.generic]:
    """A column as numbers; nulls of floats are NaN."""
    try:
        values: npt.NDArray[np.generic] = column.cast(kind).to_numpy()
    except pa.ArrowException as wrong:
        raise SourceTypeMismatch(f"{name} is {column.type}, which does not fit {kind}.", path=str(path), fix="Write numbers.") from wrong
    return values


if __name__ == "__main__":
    sys.exit(main())
