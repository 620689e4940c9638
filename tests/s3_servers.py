"""Real S3 servers for tests, from the package index, each on free ports of the loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from offline_feature_plane.contracts.plane import S3Access
from offline_feature_plane.objects.s3.place import place_from
from offline_feature_plane.objects.s3.store import S3Store
from offline_feature_plane.ports import Clock
from offline_feature_plane.s3.clients import connect
from offline_feature_plane.s3.place import S3Place

BUCKET = "datasets"
KEY_ID, SECRET = "OFSTESTKEYID", "ofs-test-secret-0123456789"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true",
               "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}

_PROGRAMS = Path(sys.executable).parent
_WHILE_WE_LIVE = ("sh", "-c", '"$@" & read -r _; kill -9 $!; wait', "sh")  # our end of its input is closed by whatever ends us
_WEED_PORTS, _GRPC = 6, 10_000  # it listens on each of its ports, and on many of them again this much higher
_NUMBERS = count(1)


class WallClock:
    """This machine's clock: processes that race open stores, and shall not load a whole plane for it."""

    def now_us(self) -> int:
        """µs since the epoch, UTC."""
        return time.time_ns() // 1_000

    def sleep_us(self, span_us: int) -> None:
        """Wait."""
        time.sleep(span_us / 1e6)


def place_at(endpoint: str, prefix: str | None = None, **access: Any) -> S3Place:
    """A place in the bucket of a server; by default one that no test has used."""
    return place_from(f"s3://{BUCKET}/{prefix or f'p{os.getpid()}-{next(_NUMBERS)}'}", S3Access(endpoint=endpoint, **access))


def open_store(place: S3Place, clock: Clock | None = None) -> S3Store:
    """A store with the credentials of these servers; clients are shared, since making one costs more than most tests."""
    return S3Store(place, clock or WallClock(), _client(place.access))


@cache
def _client(access: S3Access) -> Any:
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        return connect(S3Place(BUCKET, "", access))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Weed:
    """SeaweedFS: one process with master, volume server, filer and S3. Its data outlives it until `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ofs-weed-"))
        self.port = free_ports(_WEED_PORTS, also=_GRPC)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on the same folder and ports, and wait until it takes objects."""
        names = ("s3.port", "master.port", "volume.port", "filer.port", "admin.port")
        ports = [f"-{name}={self.port + number}" for number, name in enumerate(names)]
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_WHILE_WE_LIVE, _PROGRAMS / "weed", "-logtostderr", "mini", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                 "-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
                 f"-bucket={BUCKET}", *ports], env=os.environ | ENVIRONMENT, stdin=subprocess.PIPE, stdout=log, stderr=log)
        client = _client(S3Access(endpoint=self.url))

        def use() -> None:
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            client.get_object(Bucket=BUCKET, Key="ready")["Body"].read()

        _wait(use, self._process)

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.communicate()

    def close(self) -> None:
        """Stop, and remove the data."""
        self.kill()
        shutil.rmtree(self.folder)


@contextmanager
def moto() -> Iterator[str]:
    """The moto server in this process; its endpoint. It takes any credentials."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", free_ports(1), verbose=False)
    server.start()
    try:
        url = f"http://127.0.0.1:{server._port}"
        _client(S3Access(endpoint=url)).create_bucket(Bucket=BUCKET)
        yield url
    finally:
        server.stop()


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """rclone, which serves a folder and ignores conditions; its endpoint."""
    (folder / BUCKET).mkdir(parents=True)
    port = free_ports(1)
    with (folder / "rclone.log").open("ab") as log:
        process = subprocess.Popen([_PROGRAMS / "rclone", "serve", "s3", folder, "--addr", f"127.0.0.1:{port}", "--auth-key",
                                    f"{KEY_ID},{SECRET}", "--config", os.devnull], stdout=log, stderr=log)
    try:
        _wait(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def free_ports(number: int, *, also: int = 0) -> int:
    """The first of some ports in a row that nobody listens on, below those that the kernel hands out to clients."""
    for first in range(11_000 + os.getpid() % 900 * 10, 22_000, number):
        with suppress(OSError):
            for port in range(first, first + number):
                for one in {port, port + also}:
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", one))
            return first
    raise AssertionError("no free ports")


def _wait(attempt: Any, process: subprocess.Popen[bytes]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    for _ in range(300):
        try:
            attempt()
        except (OSError, BotoCoreError, ClientError):
            assert process.poll() is None, "the server did not start"
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not answer")
