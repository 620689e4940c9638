"""What computes a plane's datasets: its engine with its limits, and kernels that are compiled before anything waits for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from offline_feature_plane.adapters import cache_folder, library_versions, make_engine, spent
from offline_feature_plane.corridor.steps import Machine
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.kernels.compiling import prepare_cache, warm
from offline_feature_plane.ports import Progress
from offline_feature_plane.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from offline_feature_plane.domain.rows import Task

__all__ = ["ledger_name", "make_machine", "warm_kernels"]


def make_machine(settings: Settings, spark: SparkSession | None, progress: Progress, *, is_needed: bool,
                 task: Task | None = None, records: bool = True) -> Machine:
    """The machine of a plane; with compiled kernels only if something will be computed: those of a task, or all; with `records` of logs.

    They are compiled before a lease begins, because the compiler holds the interpreter.
    """
    chosen = settings.engine
    prepare_cache(cache_folder())
    if is_needed and chosen.name == "local":
        progress("compile", 0, 0)
        warm(None if task is None or task.visibility == "arrival" else task.closure.functions(), records=records)
    return Machine(make_engine(chosen, spark), Path(settings.work), chosen.memory_limit, chosen.threads, library_versions(chosen.name),
                   ledger_name(settings), spent)


def ledger_name(settings: Settings) -> str:
    """What tells the runs of a plane's ledger from those of others in a work folder that they share."""
    return sha256_of(str(settings.ledger).encode())[7:19]


def warm_kernels() -> float:
    """Compile the window kernels, or load them; seconds."""
    prepare_cache(cache_folder())
    return warm().seconds
