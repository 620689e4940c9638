"""The entry point of `ofs`: runs a command, turns errors into exit statuses, and never shows a traceback for a user's mistake."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence

import click

from offline_feature_plane.cli.commands import ofs
from offline_feature_plane.cli.output import emit_json, show_error
from offline_feature_plane.errors import OfsError

USAGE, INTERRUPTED, TERMINATED, OURS = 2, 130, 143, 70


class Terminated(BaseException):
    """Somebody asked this process to end."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `ofs` with these arguments (default: the process's own) and exit with the family's status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(given))


def run(arguments: Sequence[str]) -> int:
    """Run `ofs` and return its exit status."""
    as_json = "--json" in arguments
    try:
        answer = ofs.main(args=list(arguments), prog_name="ofs", standalone_mode=False)
    except OfsError as error:
        show_error(error, as_json=as_json)
        return error.exit_status
    except click.ClickException as error:
        if as_json:
            emit_json({"error": {"code": "USAGE", "family": "request", "exit_status": USAGE, "what": error.format_message()}})
        else:
            error.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt, Terminated) as stop:
        return _say_stopped("terminated" if isinstance(stop, Terminated) else "interrupted", as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect of ours is said so, not thrown at the user
        return _confess(error, as_json=as_json)
    return answer if isinstance(answer, int) else 0


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


def _say_stopped(how: str, *, as_json: bool) -> int:
    status = {"interrupted": INTERRUPTED, "terminated": TERMINATED}[how]
    what = f"{how.capitalize()}. The same command goes on where this one stopped."
    if as_json:
        emit_json({"error": {"code": how.upper(), "family": "outside", "exit_status": status, "what": what}})
    else:
        click.echo(what, err=True)
    return status


def _confess(error: Exception, *, as_json: bool) -> int:
    what = f"{type(error).__name__}: {error}"
    if as_json:
        emit_json({"error": {"code": "INTERNAL_ERROR", "family": "internal", "exit_status": OURS, "what": what}})
    else:
        click.echo(f"error INTERNAL_ERROR\n  {what}\n  → This is a defect of OFS. Nothing was published. "
                   "Set OFS_DEBUG=1 to see where, and report it.", err=True)
    if os.environ.get("OFS_DEBUG"):
        traceback.print_exc()
    return OURS


if __name__ == "__main__":
    main()
