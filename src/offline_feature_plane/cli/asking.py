"""The commands of the main way, from starting to verifying: their words, their help, and which call of the library answers each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offline_feature_plane.cli.group import as_json_option, example, intent_argument, named, ofs, plane_option, this_plane_option
from offline_feature_plane.cli.opening import open_plane
from offline_feature_plane.cli.output import complain, emit_json, say, show_error
from offline_feature_plane.cli.progress import shown
from offline_feature_plane.errors import OfsError, ReplayIncomplete

if TYPE_CHECKING:
    from offline_feature_plane.domain.periods import Period


@ofs.command(short_help="Start a plane from your files, or from a demo world.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--events", type=click.Path(path_type=Path), help="Your events: a Parquet, CSV or JSON Lines file, or a folder of them.")
@click.option("--labels", type=click.Path(path_type=Path), help="Your label timeline, if labels have a file of their own.")
@click.option("--demo", is_flag=True, help="Write a simulated fraud world to play with.")
@as_json_option
@example("ofs init fraud --events transactions.parquet --labels chargebacks.parquet")
def init(directory: Path, events: Path | None, labels: Path | None, demo: bool, as_json: bool) -> None:
    """Write a commented plane.yaml, features.yaml and intent.yaml into DIRECTORY, guessed from your files."""
    from offline_feature_plane.cli import starting

    starting.init(directory, events=events, labels=labels, demo=demo, as_json=as_json)


@ofs.command(short_help="Make the plane's token key.")
@this_plane_option
@as_json_option
@example("ofs key")
def key(plane_path: Path | None, as_json: bool) -> None:
    """Make the plane's token key, the secret that turns identifiers into tokens. Refuses if there is one."""
    from offline_feature_plane.cli import starting

    starting.make_key(plane_path, as_json=as_json)


@ofs.command(short_help="Run the whole main job on a simulated fraud world.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
              help="Where to put the world.")
@click.option("--events", "count", type=click.IntRange(5_000, 5_000_000), default=60_000, show_default=True,
              help="How many payments to simulate.")
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another world.")
@as_json_option
@example("ofs demo --events 200000")
def demo(directory: Path, count: int, seed: int, as_json: bool) -> None:
    """Run the whole main job on a simulated fraud world: archive and labels in, verified dataset out."""
    from offline_feature_plane.cli import starting

    starting.demo(directory, events=count, seed=seed, as_json=as_json)


@ofs.command(short_help="Validate, resolve and pin an intent; write nothing.")
@intent_argument
@plane_option
@as_json_option
@example("ofs plan intent.yaml")
def plan(intent: Path, plane_path: Path | None, as_json: bool) -> int:
    """Validate INTENT, resolve and pin everything, and say whether and how it can be built. Writes nothing.

    An intent of a parity rebuild whose basis is not whole is answered with UNCHECKABLE, which is no error; the exit status is 3.
    """
    from offline_feature_plane.cli import showing, showing_routes

    with open_plane(plane_path, intent) as plane:
        try:
            planned = plane.plan(intent)
        except OfsError as refused:
            if not as_json and (receipt := refused.fields.get("completeness")):
                complain(showing_routes.refused(receipt))
            raise
        emit_json(planned.document()) if as_json else say(showing.plan(planned))
    return ReplayIncomplete.exit_status if planned.plan.answer == "UNCHECKABLE" else 0


@ofs.command(short_help="Look at some rows of an intent; publish nothing.")
@intent_argument
@click.option("--rows", type=click.IntRange(1, 1_000), default=5, show_default=True, help="How many rows to show.")
@click.option("--keys", "keys", multiple=True, metavar="FIELD=VALUE", help="Only rows with this value in a column, for example split=test.")
@plane_option
@as_json_option
@example("ofs preview intent.yaml --rows 3")
def preview(intent: Path, rows: int, keys: tuple[str, ...], plane_path: Path | None, as_json: bool) -> None:
    """Compute some rows of INTENT with the real plan, labels and kernels, and show them. Publishes nothing."""
    from offline_feature_plane.cli import showing

    with open_plane(plane_path, intent) as plane, shown(quiet=as_json) as progress:
        seen = plane.preview(intent, rows=rows, keys=showing.parse_keys(keys), progress=progress)
    emit_json(showing.preview_document(seen)) if as_json else say(showing.preview(seen))


@ofs.command(short_help="Show how far the labels of an intent are, and which as-of is safe.")
@intent_argument
@click.option("--by", type=click.Choice(["day", "week", "month"]), default="month", show_default=True,
              help="How event time is cut.")
@click.option("--maturity", "maturities", type=click.IntRange(1, 36_500), multiple=True, metavar="DAYS",
              help="Also weigh this maturity; may be given several times.")
@plane_option
@as_json_option
@example("ofs labels intent.yaml --by week --maturity 60")
def labels(intent: Path, by: Period, maturities: tuple[int, ...], plane_path: Path | None, as_json: bool) -> None:
    """Show the labels of INTENT before it is built: coverage over time, how long labels take, what the gates say. Writes nothing."""
    from offline_feature_plane.cli import showing_labels

    with open_plane(plane_path, intent) as plane, shown(quiet=as_json) as progress:
        report = plane.labels(intent, by=by, maturity_days=maturities, progress=progress)
    emit_json(report.document()) if as_json else say(showing_labels.labels(report))


@ofs.command(short_help="Write out the full contract of a short intent.")
@intent_argument
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Write the contract to a new file, YAML or .json, with refs relative to it, instead of printing it.")
@plane_option
@as_json_option
@example("ofs pin intent.yaml -o intent.pinned.yaml")
def pin(intent: Path, output: Path | None, plane_path: Path | None, as_json: bool) -> None:
    """Write out the full contract that a short INTENT expands to. Both have the same fingerprint."""
    from offline_feature_plane.cli import showing

    with open_plane(plane_path, intent) as plane:
        pinned = plane.pin(intent)
    if output is not None:
        pinned = replace(pinned, document=showing.seen_from(output.parent, intent.parent, pinned.document))
        showing.write_new(output, showing.as_json(pinned.document) if output.suffix == ".json" else pinned.text)
    if as_json:
        emit_json({"intent": pinned.document, "filled": pinned.filled, "dataset_fingerprint": pinned.fingerprint})
    else:
        say(f"wrote {output}" if output is not None else pinned.text, nl=output is not None)


@ofs.command(short_help="List the features of an intent or a dataset, and what each one means.")
@click.argument("asked", metavar="INTENT|DATASET")
@plane_option
@as_json_option
@example("ofs features intent.yaml")
def features(asked: str, plane_path: Path | None, as_json: bool) -> None:
    """List the feature columns of an intent, or of a published dataset (dm_…): type, class, meaning, lineage, availability."""
    from offline_feature_plane.cli import showing
    from offline_feature_plane.corridor.feature_catalog import published_features

    is_dataset = Path(asked).name.startswith("dm_")
    with open_plane(plane_path, None if is_dataset else Path(asked)) as plane:
        found = published_features(plane.manifest(asked)) if is_dataset else plane.features(Path(asked))
    emit_json([feature.document() for feature in found]) if as_json else say(showing.features(found))


@ofs.command(short_help="Build and publish the dataset that an intent asks for.")
@intent_argument
@click.option("--recompute", is_flag=True, help="Compute again even if this dataset is published, and compare.")
@click.option("--profile", is_flag=True, help="Show what each step took: rows, bytes, seconds, CPU, peak memory.")
@plane_option
@as_json_option
@example("ofs build intent.yaml --profile")
def build(intent: Path, recompute: bool, profile: bool, plane_path: Path | None, as_json: bool) -> None:
    """Build and publish the dataset that INTENT asks for. The same command resumes a build that was killed."""
    from offline_feature_plane.cli import showing
    from offline_feature_plane.corridor.receipts import Costs, profile_lines

    costs: Costs = {}
    try:
        with open_plane(plane_path, intent) as plane, shown(quiet=as_json) as progress:
            built = plane.build(intent, recompute=recompute, progress=progress, costs=costs)
    except BaseException as ended:
        if profile and costs and not as_json:
            complain(showing.profile_table(costs))
        elif profile and isinstance(ended, OfsError):
            ended.fields["profile"] = profile_lines(costs)
        raise
    if as_json:
        emit_json(built.document() | ({"profile": built.profile()} if profile else {}))
    else:
        say(showing.built(built, profile=profile))


@ofs.command(short_help="List the runs in the ledger.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many runs, newest first.")
@this_plane_option
@as_json_option
@example("ofs runs --limit 5")
def runs(limit: int, plane_path: Path | None, as_json: bool) -> None:
    """List the runs in the ledger: state, attempts, outcome."""
    from offline_feature_plane.cli import showing_runs

    with open_plane(plane_path) as plane:
        found, kept_away = plane.runs(limit=limit), plane.quarantined()
    if as_json:
        emit_json([*map(showing_runs.run_document, found), *map(showing_runs.quarantined_document, kept_away)])
        return
    say(showing_runs.runs(found))
    if kept_away:
        say(f"\n{showing_runs.quarantined(kept_away)}")


@ofs.command("run", short_help="Show one run and its history.")
@click.argument("run_key", callback=named)
@click.option("--profile", is_flag=True, help="Show what each phase took, in every attempt: rows, bytes, seconds, CPU, peak memory.")
@this_plane_option
@as_json_option
@example("ofs run 5f1c9e0d --profile")
def run_(run_key: str, profile: bool, plane_path: Path | None, as_json: bool) -> None:
    """Show one run: its history, attempts and receipts. RUN_KEY may be any unambiguous beginning, or a request id."""
    from offline_feature_plane.cli import showing_runs

    with open_plane(plane_path) as plane:
        found = plane.run(run_key)
        phases = plane.phases(run_key) if profile else None
    if as_json:
        emit_json(showing_runs.run_document(found.run, found.events, phases))
    else:
        say(showing_runs.run(found.run, found.events, phases))


@ofs.command(short_help="List the published datasets.")
@this_plane_option
@as_json_option
@example("ofs datasets")
def datasets(plane_path: Path | None, as_json: bool) -> int:
    """List the published datasets of this plane, the retired ones too."""
    from offline_feature_plane.cli import showing

    with open_plane(plane_path) as plane:
        found = plane.list_datasets()
    lines = [showing.dataset_line(manifest, found) for manifest in found.datasets]
    lines += [{"error": wrong.describe()} for wrong in found.damaged]
    emit_json(lines) if as_json else say(showing.datasets(found))
    for wrong in found.damaged:
        show_error(wrong, as_json=False)
    return found.damaged[0].exit_status if found.damaged else 0


@ofs.command(short_help="Show a dataset's manifest.")
@click.argument("dataset", callback=named)
@click.option("--croissant", is_flag=True, help="Print its metadata as a Croissant 1.0 document (JSON-LD) instead.")
@click.option("--license", "license_", help="With --croissant: under what it may be used, best as an address.")
@this_plane_option
@as_json_option
@example("ofs show dm_0123456789abcdef0123456789abcdef")
def show(dataset: str, croissant: bool, license_: str | None, plane_path: Path | None, as_json: bool) -> int:
    """Show a dataset's manifest, whether it was retired, what it replaces and what replaces it.

    DATASET is its dm_… id (any unambiguous beginning) or the manifest's path.
    """
    from offline_feature_plane.cli import showing

    if license_ is not None and not croissant:
        raise click.UsageError("--license belongs to --croissant.")
    with open_plane(plane_path) as plane:
        if croissant:
            emit_json(plane.croissant(dataset, license_=license_))
            return 0
        manifest, standing = plane.manifest(dataset), plane.standing(dataset)
    emit_json(manifest.model_dump(mode="json") | standing.document()) if as_json else say(showing.manifest(manifest, standing))
    for wrong in standing.damaged:
        show_error(wrong, as_json=False)
    return standing.damaged[0].exit_status if standing.damaged else 0


@ofs.command(short_help="Hash a dataset again: are these the published bytes?")
@click.argument("dataset", callback=named)
@this_plane_option
@as_json_option
@example("ofs verify dm_0123456789abcdef0123456789abcdef")
def verify(dataset: str, plane_path: Path | None, as_json: bool) -> int:
    """Hash everything again: are these the published bytes, and do they say what the manifest says?"""
    from offline_feature_plane.cli import showing_checks

    with open_plane(plane_path) as plane, shown(quiet=as_json) as progress:
        report = plane.verify(dataset, progress=progress)
    emit_json(report.document()) if as_json else say(showing_checks.verification(report))
    return 0 if report.intact else 6


@ofs.command(short_help="Compile the window kernels ahead of time.")
@as_json_option
@example("ofs warm")
def warm(as_json: bool) -> None:
    """Compile the window kernels ahead of time, for images and first builds."""
    from offline_feature_plane.machines import warm_kernels

    took = warm_kernels()
    emit_json({"seconds": round(took, 3)}) if as_json else say(f"kernels are ready ({took:.1f} s)")
