"""The entry point of `ofs`: runs a command, turns errors into exit statuses, and never shows a traceback for a user's mistake."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import click

from offline_feature_plane.cli.commands import ofs
from offline_feature_plane.cli.output import emit_json, show_error
from offline_feature_plane.errors import OfsError

USAGE, INTERRUPTED, OURS = 2, 130, 70


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `ofs` with these arguments (default: the process's own) and exit with the family's status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
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
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. The same command goes on where this one stopped.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last line of defence: a defect of ours is said so, not thrown at the user
        return _confess(error, as_json=as_json)
    return answer if isinstance(answer, int) else 0


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
