"""The commands that run a queue: enqueue, worker, retry, cancel."""

from __future__ import annotations

from pathlib import Path

import click

from offline_feature_plane.cli.group import as_json_option, example, intent_argument, named, ofs, plane_option, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import complain, emit_json, emit_json_line, say, show_error
from offline_feature_plane.cli.progress import shown
from offline_feature_plane.stopping import Terminated


@ofs.command(short_help="Leave the dataset that an intent asks for to the workers.")
@intent_argument
@plane_option
@as_json_option
@example("ofs enqueue intent.yaml")
def enqueue(intent: Path, plane_path: Path | None, as_json: bool) -> None:
    """Plan INTENT, and leave its run in the ledger for a worker. The same intent again is the same run.

    Whatever is wrong with the intent is said now; then no run is opened.
    """
    from offline_feature_plane.cli import showing_runs

    with open_plane(plane_path, intent) as plane:
        submitted = plane.enqueue(intent)
    if as_json:
        emit_json({"outcome": submitted.outcome, **showing_runs.run_document(submitted.run)})
    else:
        say(showing_runs.enqueued(submitted))


@ofs.command(short_help="Work on the runs that wait in the ledger.")
@click.option("--once", is_flag=True, help="Work until nothing is due, then end; else until told to stop.")
@this_plane_option
@as_json_option
@example("ofs worker --once")
def worker(once: bool, plane_path: Path | None, as_json: bool) -> int:
    """Take the due runs of this plane one after the other and bring each to its end; any number of workers share a ledger.

    A line says what became of each run (with --json a document on a line of its own). On SIGTERM or Ctrl-C the run at hand is given
    back at once, and another worker goes on with it.
    """
    from offline_feature_plane.cli import showing_runs

    bad = 0
    try:
        with open_plane(plane_path) as plane, shown(quiet=True) as progress:
            for ended in plane.work(once=once, progress=progress, trouble=lambda error: show_error(error, as_json=False)):
                bad = bad or (ended.error.exit_status if ended.error is not None and ended.outcome != "CANCELLED" else 0)
                emit_json_line(ended.document()) if as_json else say(showing_runs.ended(ended))
    except (KeyboardInterrupt, Terminated):
        complain("Stopped. The run at hand, if there was one, was given back.")
        return 0
    return bad


@ofs.command("retry-publish", short_help="Publish what a run has staged; compute nothing.")
@click.argument("run_key", callback=named)
@this_plane_option
@as_json_option
@example("ofs retry-publish 5f1c9e0d")
def retry_publish(run_key: str, plane_path: Path | None, as_json: bool) -> None:
    """Publish what a PUBLISH_PENDING run has staged, after hashing it again. Nothing is computed. RUN_KEY as in `ofs run`."""
    from offline_feature_plane.cli import showing_runs

    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        ended = plane.retry_publish(run_key, progress=progress)
    emit_json(ended.document()) if as_json else say(showing_runs.ended(ended))


@ofs.command(short_help="Cancel a run that has not committed.")
@click.argument("run_key", callback=named)
@click.option("--reason", required=True, help="Why; the run's history keeps it.")
@this_plane_option
@as_json_option
@example("ofs cancel 5f1c9e0d --reason 'wrong as-of'")
def cancel(run_key: str, reason: str, plane_path: Path | None, as_json: bool) -> None:
    """Cancel a run for good, unless it has committed to publish. One that a worker holds ends at its next step. RUN_KEY as in `ofs run`."""
    from offline_feature_plane.cli import showing_runs

    with open_plane(plane_path) as plane:
        run = plane.cancel(run_key, reason=reason)
    emit_json(showing_runs.run_document(run)) if as_json else say(showing_runs.cancelled(run))
