"""The commands that run a queue: enqueue, worker, retry, cancel."""

from __future__ import annotations
