"""Streams of Kinesis: pinned by ARN and creation, read shard by shard up to a sequence that was seen (`docs/decisions/0049`).

Only `service`, `walking` and `failures` load the SDK, when a stream is pinned.
"""
