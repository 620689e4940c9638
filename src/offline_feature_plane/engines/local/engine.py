"""The local engine as planning meets it: what it is and what it supports. DuckDB and the kernels load when a session opens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from offline_feature_plane.domain.rows import Task
from offline_feature_plane.kernels import catalog

if TYPE_CHECKING:
    from offline_feature_plane.engines.local.session import LocalSession
    from offline_feature_plane.engines.local.sizes import Sizes

__all__ = ["LocalEngine"]


class LocalEngine:
    """Opens sessions on this machine.

    Args:
        sizes: how every build is cut, whatever its limit.
    """

    name = "local"
    version = "1"

    def __init__(self, sizes: Sizes | None = None) -> None:
        self._sizes = sizes

    def supports(self, function: str) -> bool:
        """Is there a reducer of this name?"""
        return catalog.has(function)

    @contextmanager
    def session(self, task: Task, *, work: Path, memory_limit: str | None = None, threads: int | None = None,
                progress: Callable[[str, int, int], None] | None = None, kept: Path | None = None) -> Iterator[LocalSession]:
        """Open a session whose scratch files live in `work`.

        Args:
            task: what to compute.
            work: an existing folder of this build.
            memory_limit: such as `2GB`; what needs more goes over files in `work`. None: three quarters of the machine's memory.
            threads: how many to use; None: as many as there are processors.
            progress: called with `(step, done, total)`.
            kept: as the port says.

        Raises:
            SettingsInvalid, StorageIoFailure: as `open_connection`.
        """
        from offline_feature_plane.engines.local.session import open_session  # noqa: PLC0415 - planning asks, but computes nothing

        with open_session(task, work, memory_limit, threads, progress, self._sizes, kept) as opened:
            yield opened
