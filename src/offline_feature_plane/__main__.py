"""The entry point of `ofs`: runs a command, turns errors into exit statuses, and never shows a traceback for a user's mistake.

Everything heavy is loaded when a command runs, so that a stop in the first moments is answered as quietly as a later one.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import threading

from offline_feature_plane.stopping import Terminated, listen, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from offline_feature_plane.errors import OfsError

USAGE, OUTSIDE, INTERRUPTED, TERMINATED, OURS = 2, 7, 130, 143, 70


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `ofs` with these arguments (default: the process's own) and exit with the family's status."""
    # Left alone, numpy asks for pages of 2 MiB: where memory is in pieces, the system takes four times as long to clear room for them.
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    # Arrow's own allocator keeps what it has had, which no limit of memory allows for; where one is set, the system's gives it back.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    gc.set_threshold(100_000, 20)  # modules make many objects that stay: to look through them again and again is a fifth of a start
    try:
        listen()
        _hold_standard_streams()
        os.umask(os.umask(0o022) | 0o002)  # what is made here cannot be written by every user, whatever the caller left open
        status = run(sys.argv[1:] if arguments is None else arguments)
    except (KeyboardInterrupt, Terminated) as stop:  # before the command began, or while its answer was written
        status = TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    for number, code in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED), (signal.SIGALRM, status)):
        signal.signal(number, lambda *_, code=code: os._exit(code))  # the work is over: nothing is left to be said or corrected
    _leave(status)


def _leave(status: int) -> NoReturn:
    """End the process. All is written and closed by now: to take the interpreter apart, object by object, would take 0.3 s more."""
    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        os._exit(status)
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run `ofs` and return its exit status."""
    from offline_feature_plane.cli.output import complain, unsaid

    status = _answer(arguments)
    lost = unsaid()
    if lost is None or isinstance(lost, BrokenPipeError):  # whoever read has seen enough
        return status
    reason = getattr(lost, "strerror", None) or str(lost)
    complain(f"error: the output could not be written: {reason}. The command itself has finished; `ofs runs` shows the outcome of a run.")
    return status or OUTSIDE


def _answer(arguments: Sequence[str]) -> int:
    """Run a command; its status, or that of what stood in its way."""
    import click

    from offline_feature_plane.cli.output import answered

    as_json = "--json" in arguments
    try:
        from offline_feature_plane.cli.commands import ofs

        if "_OFS_COMPLETE" in os.environ:  # a shell asks how a word may go on
            ofs.main(args=list(arguments), prog_name="ofs")
        answer = None
        with answered(), ofs.make_context("ofs", list(arguments)) as context:
            answer = ofs.invoke(context)
        return answer if isinstance(answer, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt, Terminated) as stop:
        return _say_stopped(type(stop), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect of ours is said so, not thrown at the user
        asked = told()  # then the error is only what was made of that
        return _say_wrong(error, as_json=as_json) if asked is None else _say_stopped(asked, as_json=as_json)


def _hold_standard_streams() -> None:
    """A closed standard stream stays closed to us, but no file of ours gets its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _say_stopped(stop: type[BaseException], *, as_json: bool) -> int:
    from offline_feature_plane.cli.output import complain, emit_json

    how, status = ("terminated", TERMINATED) if stop is Terminated else ("interrupted", INTERRUPTED)
    what = f"{how.capitalize()}. Run the same command again to continue."
    if as_json:
        emit_json({"error": {"code": how.upper(), "family": "outside", "exit_status": status, "what": what}})
    else:
        complain(what)
    return status


def _say_wrong(error: Exception, *, as_json: bool) -> int:
    """Say what stood in the way of a command; its family's status."""
    import click

    from offline_feature_plane.cli.output import complain, emit_json, show_error
    from offline_feature_plane.errors import OfsError

    if isinstance(error, click.ClickException):
        if as_json:
            emit_json({"error": {"code": "USAGE", "family": "request", "exit_status": USAGE, "what": error.format_message()}})
        else:
            shown = io.StringIO()
            error.show(shown)
            complain(shown.getvalue().rstrip())
        return USAGE
    known = error if isinstance(error, OfsError) else _not_ours(error)
    if known is None:
        return _confess(error, as_json=as_json)
    show_error(known, as_json=as_json)
    return known.exit_status


def _not_ours(error: Exception) -> OfsError | None:
    """What the machine refused, as the error it is; None for a defect of ours."""
    from offline_feature_plane.errors import RefNotFound, ResourceExceeded

    if isinstance(error, MemoryError):
        return ResourceExceeded("the machine does not have enough memory for this.",
                                fix="Free memory, use a larger machine, or ask for fewer "
                                "events, windows or columns; `ofs plan` estimates what a build needs.")
    if isinstance(error, FileNotFoundError):
        try:
            os.getcwd()  # noqa: PTH109 - nothing heavier
        except OSError:
            return RefNotFound("the current folder no longer exists.", fix="Change to a folder that exists, then run this again.")
    return None


def _confess(error: Exception, *, as_json: bool) -> int:
    from offline_feature_plane.cli.output import complain, emit_json

    what = f"{type(error).__name__}: {error}"
    if as_json:
        emit_json({"error": {"code": "INTERNAL_ERROR", "family": "internal", "exit_status": OURS, "what": what}})
    else:
        complain(f"error INTERNAL_ERROR\n  {what}\n  → This is a defect in OFS. `ofs runs` shows the outcome of the run. "
                 "Set OFS_DEBUG=1 to see where, and report it.")
    if os.environ.get("OFS_DEBUG"):
        import traceback

        complain("".join(traceback.format_exception(error)).rstrip())
    return OURS


if __name__ == "__main__":
    main()
