"""The commands before a dataset is handed over to a training: admit, audit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offline_feature_plane.cli.group import as_json_option, example, named, ofs, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import emit_json, say, show_error
from offline_feature_plane.cli.progress import shown
from offline_feature_plane.errors import LeakageSuspected


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


@ofs.command(short_help="What may a dataset's columns know, and does one know too much?")
@click.argument("dataset", callback=named)
@click.option("--strict", is_flag=True, help="End with status 4 if a feature is suspicious (LEAKAGE_SUSPECTED) or a proof is broken.")
@click.option("--suspicious", type=float, default=0.95, show_default=True,
              help="The area under the curve of one feature alone, or 1 minus it, from which on it is suspicious.")
@click.option("--drifted", type=float, default=0.2, show_default=True, help="The distance between two splits from which on it is drift.")
@click.option("--permutations", type=int, default=20, show_default=True,
              help="How often to deal the target anew, to see what chance gives.")
@click.option("--most-rows", type=int, default=1_000_000, show_default=True, help="About how many rows of a split to examine.")
@click.option("--seed", default="1", show_default=True, help="Decides the sample and how targets are dealt.")
@this_plane_option
@as_json_option
@example("ofs audit dm_0123456789abcdef0123456789abcdef --strict")
def audit(dataset: str, plane_path: Path | None, *, strict: bool, as_json: bool, **limits: Any) -> int:
    """What bounds each column of DATASET, and whether a feature predicts the target too well on its own or moved between splits.

    A report, not a gate: builds never ask for it, and nothing is written. The files are checked against the manifest first.
    """
    from offline_feature_plane.cli import showing_audits
    from offline_feature_plane.domain.suspicion import Probe

    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        report = plane.audit(dataset, Probe(**limits), progress=progress)
    emit_json(report.model_dump(mode="json")) if as_json else say(showing_audits.audit(report))
    if not (strict and report.reason_codes):
        return 0
    if not as_json:
        show_error(showing_audits.refusal(report), as_json=False)
    return LeakageSuspected.exit_status
