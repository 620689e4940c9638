"""A server of Kinesis streams by another maker than moto, for tests: it splits, merges and numbers as Kinesis does.

It comes from npm (`make .services/kinesis/ready`); `make test-services` runs what needs it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from s3_servers import ENVIRONMENT, free_ports

LIBRARIES = Path(__file__).parents[1] / ".services" / "kinesis"
REGION = "eu-west-1"

_WHILE_WE_LIVE = ("sh", "-c", '"$@" & read -r _; kill -9 $!; wait', "sh")  # our end of its input is closed by whatever ends us
_NUMBERS = count(1)


class Kinesis:
    """The server, and what producers and keepers do."""

    def __init__(self) -> None:
        assert (LIBRARIES / "ready").exists(), "the server is not here: `make .services/kinesis/ready` fetches it"
        port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        said = {"KINESIS_MOCK_PLAIN_PORT": str(port), "KINESIS_MOCK_TLS_PORT": str(port + 1), "SHARD_LIMIT": "500", "LOG_LEVEL": "ERROR",
                **{f"{name}_DURATION": "10ms" for name in ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")}}
        self._process = subprocess.Popen([*_WHILE_WE_LIVE, "node", "main.js"], cwd=LIBRARIES / "node_modules/kinesis-local",
                                         env=os.environ | said, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = boto3.client("kinesis", endpoint_url=self.url, region_name=REGION,
                                   aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
                                   aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"])
        for _ in range(300):
            try:
                self.client.list_streams()
            except (BotoCoreError, ClientError):
                assert self._process.poll() is None, "the server did not start"
                time.sleep(0.1)
            else:
                return
        raise AssertionError("the server does not answer")

    def close(self) -> None:
        """Stop."""
        self._process.communicate()

    def new_name(self) -> str:
        """A name that no stream had."""
        return f"s{next(_NUMBERS)}"

    def create(self, stream: str, shards: int = 1) -> None:
        """A new stream."""
        self.client.create_stream(StreamName=stream, ShardCount=shards)
        self._settled(stream)

    def delete(self, stream: str) -> None:
        """Delete a stream, and wait until it is gone."""
        self.client.delete_stream(StreamName=stream)
        for _ in range(100):
            if stream not in self.client.list_streams()["StreamNames"]:
                return
            time.sleep(0.05)
        raise AssertionError("the stream stays")

    def put(self, stream: str, values: Sequence[bytes], shard: int = 0) -> list[int]:
        """Put values into a shard that is open, in their order, and say where they stand."""
        key = self._shard(stream, shard)["HashKeyRange"]["StartingHashKey"]
        return [int(self.client.put_record(StreamName=stream, Data=one, PartitionKey="key", ExplicitHashKey=key)["SequenceNumber"])
                for one in values]

    def split(self, stream: str, shard: int) -> None:
        """Split a shard in the middle."""
        said = self._shard(stream, shard)["HashKeyRange"]
        middle = (int(said["StartingHashKey"]) + int(said["EndingHashKey"])) // 2
        self.client.split_shard(StreamName=stream, ShardToSplit=f"shardId-{shard:012}", NewStartingHashKey=str(middle))
        self._settled(stream)

    def merge(self, stream: str, shard: int, other: int) -> None:
        """Merge two neighbours."""
        self.client.merge_shards(StreamName=stream, ShardToMerge=f"shardId-{shard:012}", AdjacentShardToMerge=f"shardId-{other:012}")
        self._settled(stream)

    def _shard(self, stream: str, number: int) -> Any:
        return next(one for one in self.client.list_shards(StreamName=stream)["Shards"] if one["ShardId"] == f"shardId-{number:012}")

    def _settled(self, stream: str) -> None:
        for _ in range(200):
            if self.client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            time.sleep(0.05)
        raise AssertionError("the stream does not settle")
