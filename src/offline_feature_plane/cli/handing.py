"""The command that hands datasets over to a training: admit."""

from __future__ import annotations

from pathlib import Path

import click

from offline_feature_plane.cli.group import as_json_option, example, named, ofs, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import emit_json, say


def _each_named(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(named(context, parameter, one) for one in given)


@ofs.command(short_help="May a training take these datasets?")
@click.argument("datasets", nargs=-1, callback=_each_named)
@click.option("--profile", type=click.Path(path_type=Path), help="The training profile that they must fit.")
@click.option("--run", "run_id", help="The run that the training is for. Default: the plane's.")
@click.option("--start", help="When the training starts, as a UTC instant. Default: now.")
@this_plane_option
@as_json_option
@example("ofs admit dm_0123456789abcdef0123456789abcdef --profile training.yaml")
def admit(datasets: tuple[str, ...], profile: Path | None, run_id: str | None, start: str | None, plane_path: Path | None,
          as_json: bool) -> int:
    """Say whether a training may take DATASETS: run scope, schema version, feature set, eligibility, standing, leakage guard.

    Their manifests are authenticated and judged; no data is read. Without a profile, several datasets need only agree. The exit
    status is that of the first failed check.
    """
    from offline_feature_plane.cli import showing_checks

    with open_plane(plane_path) as plane:
        answer = plane.admit(*datasets, profile=profile, platform_run_id=run_id, execution_start=start)
    emit_json(answer.document()) if as_json else say(showing_checks.admission(answer))
    return answer.exit_status
