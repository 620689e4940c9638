"""The point-in-time join alone, by Feast with its DuckDB store: finished features are joined to every event.

    python benchmarks/peers/feast_join.py cut TRANSACTIONS.parquet FINISHED.arrow FOLDER
    python benchmarks/peers/feast_join.py join TRANSACTIONS.parquet FOLDER OUT.parquet

`cut` makes what a feature store would hold: for each key a file with its features as they were at each of its events. `join` asks for
the newest ones not after each event. No window is computed, no label resolved.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, FileSource, RepoConfig
from feast.infra.offline_stores.duckdb import DuckDBOfflineStoreConfig
from feast.value_type import ValueType

KEYS = ("customer", "terminal")
REACH = timedelta(days=181)


def cut(transactions: str, finished: str, folder: str) -> None:
    """Write the features of each key, at each of its events, to a file of its own; Feast wants floats for decimals."""
    with pa.ipc.open_file(finished) as file:
        made = file.read_all()
    keys = pq.read_table(transactions, columns=["tx_id", *(f"{key}_id" for key in KEYS)])
    made = made.join(keys, "event_id", "tx_id").sort_by([("ts", "ascending"), ("event_id", "ascending")])
    for key in KEYS:
        names = [name for name in made.column_names if name.startswith(f"{key}__")]
        columns = [made[name].cast(pa.float64()) if pa.types.is_decimal(made[name].type) else made[name] for name in names]
        pq.write_table(pa.table([made["ts"], made[f"{key}_id"], *columns], ["ts", f"{key}_id", *names]), Path(folder) / f"{key}.parquet")


def join(transactions: str, folder: str, out: str) -> None:
    """Ask Feast for the features of every event, and write them."""
    home = Path(folder).resolve()
    store = FeatureStore(config=RepoConfig(project="bench", provider="local", registry=str(home / "registry.db"),
                                           offline_store=DuckDBOfflineStoreConfig(), entity_key_serialization_version=3))
    views = [view(key, home) for key in KEYS]
    store.apply([part for one, entity in views for part in (entity, one)])
    events = pq.read_table(transactions, columns=["tx_id", "tx_time", *(f"{key}_id" for key in KEYS)])
    asked = events.rename_columns(["tx_id", "event_timestamp", *(f"{key}_id" for key in KEYS)]).to_pandas()
    job = store.get_historical_features(asked, [f"{one.name}:{field.name}" for one, _ in views for field in one.features])
    pq.write_table(job.to_arrow(), out, compression="zstd")


def view(key: str, home: Path) -> tuple[FeatureView, Entity]:
    """The feature view over the file of a key."""
    entity = Entity(name=key, join_keys=[f"{key}_id"], value_type=ValueType.STRING)
    source = FileSource(name=key, path=str(home / f"{key}.parquet"), timestamp_field="ts")
    return FeatureView(name=key, entities=[entity], ttl=REACH, source=source, online=False), entity


if __name__ == "__main__":
    {"cut": cut, "join": join}[sys.argv[1]](*sys.argv[2:5])
