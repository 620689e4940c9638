"""How a stream is reached: what settings say. Credentials are found by the SDK, and stand in no message."""

from __future__ import annotations

from dataclasses import dataclass

from offline_feature_plane.contracts.kinesis import KinesisStream, region_of


@dataclass(frozen=True)
class KinesisAccess:
    """Where a stream is, by name or ARN, and how it is reached. No secret is in it, so that it can travel.

    `place` is where plane.yaml says so, for errors.
    """

    stream: str
    region: str | None = None
    endpoint: str | None = None
    profile: str | None = None
    timeout_s: int = 60
    place: str = "kinesis"

    @classmethod
    def of(cls, name: str, said: KinesisStream) -> KinesisAccess:
        """That of an entry of plane.yaml, by its name there."""
        stream = said.stream or said.topic or name
        return cls(stream, said.region or region_of(stream), said.endpoint, said.profile, said.timeout_s, f"kinesis.{name}")

    @property
    def named(self) -> dict[str, str]:
        """The stream as requests name it."""
        return {"StreamARN" if self.stream.startswith("arn:") else "StreamName": self.stream}
