"""Being told to stop: SIGTERM or Ctrl-C, whatever this process is doing.

    signal ─▶ remembered ─▶ raised where the main thread stands ─▶ … everything is given back … ─▶ end
                  │                └─▶ swallowed on the way, or made another error, by code that is not ours
                  ├─▶ raised again by whoever heeds it: at each step of the work, and before an error is believed
                  └─▶ raised again every few seconds, as long as the process lives

Libraries do turn what a signal raises into errors of their own; such an error must not end a run for good.
"""

from __future__ import annotations

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

AGAIN_S: Final = 10.0  # enough to unwind; a process that hangs in it is called again


class Terminated(BaseException):
    """This process received a request to terminate."""


_told: list[type[BaseException]] = []


def listen() -> None:
    """From now on SIGTERM raises Terminated, and Ctrl-C, unless it is ignored, KeyboardInterrupt; both are remembered."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _unraisable


def told() -> type[BaseException] | None:
    """What this process was told to stop by, Terminated or KeyboardInterrupt; None if it may go on."""
    return _told[0] if _told else None


def heed() -> None:
    """Return if this process may go on. Raises Terminated, KeyboardInterrupt if it was told to stop."""
    if _told:
        raise _told[0]


def _stop(number: int, _frame: object) -> None:
    if number != signal.SIGALRM:
        _told.append(KeyboardInterrupt if number == signal.SIGINT else Terminated)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
    heed()


def _unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """What Python drops while a process that was told to stop unwinds is no news."""
    if not _told:
        sys.__unraisablehook__(dropped)
