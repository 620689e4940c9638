"""Actors that take turns: each operation of each actor on store or ledger happens when a schedule says so, and at no other time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from offline_feature_plane.errors import OfsError


class Actor(threading.Thread):
    """Code that waits before each of its operations until it is let on. What it raised, if it did, is in `ended_by`.

    `patience` is for code that likes to wait before it begins.
    """

    def __init__(self, act: Callable[[Actor], object], *, patience: int = 0) -> None:
        super().__init__(daemon=True)
        self.ended_by: OfsError | None = None
        self.defect: BaseException | None = None
        self.patience = patience
        self._act = act
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.start()
        self._stopped.acquire()

    def step(self) -> None:
        """Let it do one operation, and whatever it does until the next one."""
        self._go.release()
        self._stopped.acquire()
        if self.defect is not None:
            raise self.defect

    def run(self) -> None:
        """Wait for the first turn, act, and never be waited for again."""
        try:
            self.wait()
            self._act(self)
        except OfsError as error:
            self.ended_by = error
        except BaseException as defect:  # noqa: BLE001 - whoever lets it on raises it
            self.defect = defect
        self.is_over = True
        self._stopped.release()

    is_over = False

    def wait(self) -> None:
        """Stop until let on."""
        self._stopped.release()
        self._go.acquire()

    def through(self, target: Any) -> Any:
        """The target with each call of it waiting for a turn."""
        return _Waiting(target, self)


class _Waiting:
    def __init__(self, target: Any, actor: Actor) -> None:
        self._target, self._actor = target, actor

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        if not callable(member):
            return member

        def called(*args: Any, **kwargs: Any) -> Any:
            self._actor.wait()
            return member(*args, **kwargs)

        return called
