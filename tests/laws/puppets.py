"""Workers on threads of their own that stop before chosen operations, and go on, fail or die there as they are told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.testing.faulty_store import Crashed

Stops = Callable[[str, tuple[Any, ...]], str | None]


class Puppet:
    """A worker. While it runs, whoever moves it waits; so only one of all is ever running.

        start ─▶ … ─▶ stopped: `at` ─▶ go ─▶ … ─▶ stopped ─▶ go ─▶ ended: `at` is None

    Args:
        stops: the name of the stop before an operation, from the operation's name and arguments; None to let it pass.
    """

    def __init__(self, stops: Stops) -> None:
        self.at: str | None = None
        self.raised: BaseException | None = None
        self.returned: Any = None
        self._stops = stops
        self._dead = self._failing = False
        self._orders, self._news = SimpleQueue[str](), SimpleQueue[str | None]()

    def start(self, work: Callable[[], Any]) -> None:
        """Begin, up to the first stop."""
        threading.Thread(target=self._run, args=(work,), daemon=True).start()
        self.at = self._news.get(timeout=60)

    def go(self, order: str = "go") -> None:
        """Go on to the next stop. `fails`: the store fails until then. `crash`: it dies. Other orders are the answer of the stop."""
        self._orders.put(order)
        self.at = self._news.get(timeout=60)

    def behind(self, target: Any, name: str) -> _Strings:
        """A store or ledger as this worker sees it."""
        return _Strings(self, target, name)

    def through(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Do an operation, with a stop before it if it has one."""
        if self._dead:
            raise Crashed
        if (stop := self._stops(name, args)) is not None:
            self._failing = self.ask(stop) == "fails"
        if self._failing and name.startswith("store."):
            raise StorageIoFailure("the store failed on purpose.", fix="")
        return call(*args, **named)

    def ask(self, stop: str) -> str:
        """Stop here; the order that comes. Raises Crashed if it is to die."""
        self._news.put(stop)
        order = self._orders.get()
        if order == "crash":
            self._dead = True
            raise Crashed
        return order

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self.returned = work()
        except BaseException as ended:  # noqa: BLE001 - whoever moves it looks at it
            self.raised = ended
        self._news.put(None)


class _Strings:
    """Anything with methods, every call of which its puppet may stop before."""

    def __init__(self, puppet: Puppet, target: Any, name: str) -> None:
        self._puppet, self._target, self._name = puppet, target, name

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._target, name)
        if not callable(member):
            return member
        return lambda *args, **named: self._puppet.through(f"{self._name}.{name}", member, *args, **named)
