"""Streams of moto's server in this process, with what it leaves out: sequences as Kinesis gives them, shards that close, faults."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Self
from unittest.mock import patch

import boto3
from moto.core.exceptions import JsonRESTError
from moto.kinesis.models import KinesisBackend, Record, Shard, kinesis_backends
from moto.server import ThreadedMotoServer
from s3_servers import ENVIRONMENT, free_ports

ACCOUNT, REGION = "123456789012", "eu-west-1"
FIRST, STEP, LANE = 49_680_580_932_873_197_825_466_851_348_862_660_490_753_239_241_426_206_722, 1 << 80, 1 << 140
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sequence(place: int, shard: int = 0) -> int:
    """Where the n-th record of a shard stands, counted from 0: 56 digits, far from its neighbours."""
    return FIRST + shard * LANE + place * STEP


class Streams:
    """The server, and what producers and keepers do. Use it in a `with`; credentials are those of `s3_servers.ENVIRONMENT`."""

    def __init__(self) -> None:
        self._stack, self._written = ExitStack(), Counter[tuple[str, int]]()
        self._faults: list[tuple[str, str, int]] = []
        self.asked: list[str] = []
        self.is_strict = True

    def __enter__(self) -> Self:
        """Start."""
        for name in ("get_records", "get_shard_iterator", "describe_stream_summary", "list_shards"):
            self._stack.enter_context(patch.object(KinesisBackend, name, self._between(name, getattr(KinesisBackend, name))))
        server = ThreadedMotoServer("127.0.0.1", free_ports(1), verbose=False)
        server.start()
        self._stack.callback(server.stop)
        self.url = f"http://127.0.0.1:{server._port}"
        said = {"aws_access_key_id": ENVIRONMENT["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]}
        self.client = boto3.client("kinesis", endpoint_url=self.url, region_name=REGION, **said)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stack.close()

    def forget(self) -> None:
        """Forget every stream and every fault."""
        kinesis_backends[ACCOUNT].reset()  # to reset all of them would forget what servers of other services hold, too
        self._written.clear()
        self._faults.clear()
        self.asked.clear()
        self.is_strict = True

    def create(self, stream: str, shards: int = 1) -> None:
        """A new stream, which is empty."""
        self.client.create_stream(StreamName=stream, ShardCount=shards)
        for key in [key for key in self._written if key[0] == stream]:
            del self._written[key]

    def put(self, stream: str, values: Sequence[bytes], shard: int = 0, times_us: Sequence[int] | None = None) -> list[int]:
        """Put values into a shard, at some times by the stream's clock, and say where they stand."""
        held, found = self.shard(stream, shard), []
        for at, value in enumerate(values):
            number = sequence(self._written[stream, shard], shard)
            self._written[stream, shard] += 1
            record = Record("key", base64.b64encode(value).decode(), number, "")
            if times_us is not None:
                record.created_at = times_us[at] / 1e6
                record.created_at_datetime = _EPOCH + timedelta(microseconds=times_us[at])
            held.records[number] = record
            found.append(number)
        return found

    def shard(self, stream: str, number: int) -> Shard:
        """A shard as the server has it."""
        return self.stream(stream).shards[f"shardId-{number:012}"]

    def stream(self, name: str) -> Any:
        """A stream as the server has it."""
        return kinesis_backends[ACCOUNT][REGION].streams[name]

    def split(self, stream: str, number: int) -> tuple[int, int]:
        """Split a shard: it closes, and two new ones begin. What it holds stays where it is."""
        shards, parent = self.stream(stream).shards, self.shard(stream, number)
        middle, one = (parent.starting_hash + parent.ending_hash) // 2, len(shards)
        for child in (Shard(one, parent.starting_hash, middle, parent.shard_id),
                      Shard(one + 1, middle + 1, parent.ending_hash, parent.shard_id)):
            shards[child.shard_id] = child
        parent.is_open = False
        return one, one + 1

    def trim(self, stream: str, count: int, shard: int = 0) -> None:
        """Let the oldest records of a shard go, as retention does."""
        records = self.shard(stream, shard).records
        for number in list(records)[:count]:
            del records[number]

    def age(self, stream: str, **span: float) -> None:
        """Let a stream have been made earlier."""
        self.stream(stream).creation_datetime -= timedelta(**span)

    def fail(self, operation: str, code: str, status: int = 400, times: int = 1) -> None:
        """The next requests of a kind are refused."""
        self._faults += [(operation, code, status)] * times

    def _between(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def ask(backend: KinesisBackend, *arguments: Any, **named: Any) -> Any:
            self.asked.append(name)
            if (fault := next((one for one in self._faults if one[0] == name), None)) is not None:
                self._faults.remove(fault)
                raise _refusal(fault[1], fault[2])
            plain = partial(work, backend, *arguments, **named)
            if name == "get_records":
                return _records(backend, plain)
            return _iterator(backend, plain) if name == "get_shard_iterator" and self.is_strict else plain()
        return ask


def _refusal(code: str, status: int) -> JsonRESTError:
    error = JsonRESTError(error_type=code, message="told by a test")
    error.code = status
    return error


def _records(backend: KinesisBackend, plain: partial[Any]) -> Any:
    """A closed shard ends; an open one has always more to come."""
    following, records, behind = plain()
    stream_arn, token = plain.args[1:3] if len(plain.args) > 2 else (plain.keywords["stream_arn"], plain.keywords["shard_iterator"])
    shard = backend.describe_stream(stream_arn, None).shards[base64.decodebytes(token.encode()).decode().split(":")[1]]
    at = int(base64.decodebytes(following.encode()).decode().split(":")[2])
    rest = sum(1 for number in shard.records if number > at)
    return (None if not rest and not shard.is_open else following), records, (max(1, behind) if rest else 0)


def _iterator(backend: KinesisBackend, plain: partial[Any]) -> Any:
    """A sequence that was never given is no place: `is_strict`. Otherwise it is the next one's."""
    _, stream_arn, _, shard_id, kind, number, *_ = plain.args
    if kind.endswith("SEQUENCE_NUMBER") and int(number) not in backend.describe_stream(stream_arn, None).shards[shard_id].records:
        raise _refusal("InvalidArgumentException", 400)
    return plain()
