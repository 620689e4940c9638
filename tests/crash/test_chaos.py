"""Many small builds by several workers in disorder: every run ends, once, and what is published is whole (R2, R3, R4)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from chaos import Disorder, check_order
from postgres_server import Server
from processes import Processes
from s3_servers import BUCKET, ENVIRONMENT, Weed
from small_plane import make_plane


@pytest.mark.parametrize(("seed", "requests"), [(1, 4), *(pytest.param(seed, 400, marks=pytest.mark.long) for seed in (2, 3, 4, 5, 6))])
def test_every_run_ends_once_whatever_happens_to_its_workers(session_folder: Path, processes: Processes, seed: int, requests: int) -> None:
    """Workers are killed, terminated, stopped for longer than a lease and let go on: all runs end, and ledger and store agree."""
    small = make_plane(session_folder / f"chaos-{seed}")
    meanings = max(3, requests // 5)
    disorder = Disorder(small, processes, seed)
    ended = disorder.run(requests, meanings, seconds=60 + 2 * requests)
    found = check_order(small.folder)
    assert ended.total() == requests
    assert found["DONE"] + found["FAILED"] == requests
    assert found["manifests"] <= meanings
    assert found["DONE"] > requests // 2


@pytest.mark.parametrize(("seed", "requests"), [(11, 4), *(pytest.param(seed, 300, marks=pytest.mark.long) for seed in (12, 13, 14))])
def test_every_run_ends_once_although_the_database_stops_now_and_then(
        session_folder: Path, processes: Processes, postgres: Server, seed: int, requests: int) -> None:
    """The same on PostgreSQL, whose server is stopped hard and started again in the middle of everything."""
    small = make_plane(session_folder / f"chaos-{seed}")
    small.plane["ledger"] = postgres.url(postgres.new_schema())
    small.documents()

    def restart(draw: random.Random) -> None:
        postgres.stop()
        time.sleep(draw.choice([0.0, 0.5, 2.0]))
        postgres.start()

    disorder = Disorder(small, processes, seed, troubles=[restart])
    ended = disorder.run(requests, max(3, requests // 5), seconds=90 + 3 * requests)
    found = check_order(small.folder)
    assert ended.total() == found["DONE"] + found["FAILED"] == requests
    assert found["DONE"] > requests // 2


@pytest.mark.parametrize(("seed", "requests"), [(21, 4), *(pytest.param(seed, 150, marks=pytest.mark.long) for seed in (22, 23))])
def test_every_run_ends_once_although_database_and_store_stop_now_and_then(
        session_folder: Path, processes: Processes, postgres: Server, weed: Weed, monkeypatch: pytest.MonkeyPatch, seed: int,
        requests: int) -> None:
    """The same with the ledger in PostgreSQL and the store in a bucket: either server is killed and started again in between."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    small = make_plane(session_folder / f"chaos-{seed}")
    small.plane |= {"ledger": postgres.url(postgres.new_schema()), "store": f"s3://{BUCKET}/chaos-{seed}",
                    "s3": {"endpoint": weed.url, "timeout_s": 5}}
    small.documents()

    def restart_database(draw: random.Random) -> None:
        postgres.stop()
        time.sleep(draw.choice([0.0, 0.5, 2.0]))
        postgres.start()

    def restart_store(draw: random.Random) -> None:
        weed.kill()
        time.sleep(draw.choice([0.0, 0.5, 2.0]))
        weed.start()

    disorder = Disorder(small, processes, seed, troubles=[restart_database, restart_store], environment=dict(ENVIRONMENT))
    ended = disorder.run(requests, max(3, requests // 5), seconds=120 + 4 * requests)
    found = check_order(small.folder)
    assert ended.total() == found["DONE"] + found["FAILED"] == requests
    assert found["DONE"] > requests // 2
