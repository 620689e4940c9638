"""`ofs demo`: the whole main job on a simulated world, shown step by step with real numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline_feature_plane.cli import showing
from offline_feature_plane.cli.output import emit_json, pairs, say, seconds, style, table
from offline_feature_plane.cli.progress import shown

if TYPE_CHECKING:
    from offline_feature_plane.corridor.answer import Built
    from offline_feature_plane.corridor.plan import Planned
    from offline_feature_plane.corridor.preview import Preview
    from offline_feature_plane.corridor.verify import Verification
    from offline_feature_plane.demo.world import WorldSummary

SHOWN = ("ts", "customer__n_7d", "customer__usual_30d", "times_usual", "terminal__n_1d", "terminal_risk__rate_30d", "is_abroad", "target",
         "split")

_BECAME = {"row": "became rows", "outside_splits": "lie in no split",
           "earlier_split": "are of entities that belong to an earlier split",
           "immature": "too young at as_of: their labels may still come",
           "duplicate": "were delivered twice: counted once", "foreign_run": "belong to a rehearsal, another run",
           "other_scope": "are events of another kind"}


class _Guide:
    """Prints for people, keeps everything for machines, and times each step."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.told: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self.began = self.last = time.perf_counter()

    def step(self, name: str, title: str, text: str, document: Any) -> None:
        """Report one step that has just been done."""
        now = time.perf_counter()
        self.told[name], self.seconds[name], self.last = document, round(now - self.last, 3), now
        if not self.as_json:
            head = style(f"{len(self.told)}. {title}", "bold")
            say(f"{head}  ({seconds(self.seconds[name])})\n{text}\n")


def tour(directory: Path, *, events: int, seed: int, as_json: bool) -> None:
    """Simulate (or find) a world in `directory`, then plan, build, verify, ask again and look.

    Raises:
        SettingsInvalid: the folder holds something else, or another world. OfsError: of any step.
    """
    from offline_feature_plane.demo.world import open_demo, write_demo
    from offline_feature_plane.plane import open_plane

    guide = _Guide(as_json=as_json)
    found = open_demo(directory, events=events, seed=seed)
    made = found or write_demo(directory, events=events, seed=seed)
    guide.step("world", "A world already exists" if found else "A world was simulated", _world(made, directory), made.document())
    intent = directory / "intent.yaml"
    with open_plane(directory / "plane.yaml") as plane, shown(quiet=as_json) as progress:
        planned = plane.plan(intent)
        guide.step("plan", "Planned: everything that decides the dataset is pinned, nothing was written", _plan(planned),
                   planned.document())
        built = plane.build(intent, progress=progress)
        guide.step("build", "Built and published" if built.outcome == "PUBLISHED" else "Already published, nothing computed",
                   _built(built), {**built.document(), "row_accounting": dict(built.manifest.core.row_accounting)})
        report = plane.verify(built.manifest.dataset_manifest_id, progress=progress)
        guide.step("verify", "Verified: every byte was hashed again", _verified(report), report.document())
        again = plane.build(intent, progress=progress)
        guide.step("again", "Asked again", _again(again, built), again.document())
        seen = plane.preview(intent, rows=4, progress=progress)
        guide.step("preview", "A look at some rows, computed afresh", _rows(seen), showing.preview_document(seen))
    following = _next(directory, built)
    if as_json:
        emit_json({"directory": str(directory), **guide.told, "seconds": guide.seconds, "next": list(following)})
        return
    say("\n".join([style(f"All of it took {seconds(time.perf_counter() - guide.began)}. Try next:", "bold"), pairs(following)]))


def _world(made: WorldSummary, directory: Path) -> str:
    return "\n".join([
        f"  {made.events:,} payments of {made.customers:,} customers at {made.terminals:,} terminals over {made.days} days.",
        f"  The log was archived as {made.records:,} records in {made.segments} segments (JSON Lines, plain and gzipped, and Parquet):",
        (f"  {made.delivered_twice:,} payments were delivered twice, {made.of_another_run:,} records belong to a rehearsal, "
         f"{made.of_another_kind:,} are not payments."),
        (f"  {made.chargebacks:,} chargebacks, half of them later than {made.late_days} days after their payment; {made.reversals:,} were "
         "taken back later."),
        pairs({str(directory / "archive"): "the event log", str(directory / "chargebacks.parquet"): "the label timeline",
               str(directory / "*.yaml"): "plane, features, intent: read them, they are commented"}, indent=4)])


def _plan(planned: Planned) -> str:
    document = planned.document()
    pins, estimate = document["pins"], document["estimate"]
    return "\n".join([
        (f"  The offsets of {estimate['events']:,} records are proved gapless by the index; {estimate['labels']:,} label records; "
         f"{estimate['feature_columns']} feature columns."),
        f"  {len(pins['filled'])} values were filled in from the plane and its data and are listed; none comes from a clock.",
        f"  The question has the fingerprint {pins['dataset_fingerprint']},",
        f"  so its answer is called {pins['dataset_manifest_id']}."])


def _built(built: Built) -> str:
    core = built.manifest.core
    accounting = [(count, _BECAME.get(name, name.replace("_", " "))) for name, count in core.row_accounting.items() if count]
    lines = [f"  Every one of the {sum(count for count, _ in accounting):,} records is accounted for:",
             *(f"  {count:>10,}  {what}" for count, what in sorted(accounting, reverse=True)), "",
             *(f"  {line}" for line in showing.splits_table(built.manifest).splitlines()), "",
             pairs({"manifest": built.manifest_ref, "content": core.content_digest})]
    if built.timings and built.outcome == "PUBLISHED":
        lines.append("  time: " + " · ".join(f"{step} {seconds(took)}" for step, took in built.timings.items()))
    return "\n".join([*lines, *(f"  {style('warning', 'yellow')}: {warning}" for warning in core.warnings)])


def _verified(report: Verification) -> str:
    verdict = style("intact", "green") if report.intact else style("NOT INTACT", "red")
    return f"  {len(report.checks)} checks, from the manifest's own digest down to each cell's: {verdict}."


def _again(again: Built, built: Built) -> str:
    same = again.manifest.core.content_digest == built.manifest.core.content_digest
    return (f"  {again.outcome}: the same question has the same answer{'' if same else ' NO LONGER'}, and it was not computed again.\n"
            "  A retry at night finds the finished dataset; it never writes a second, slightly different one.")


def _rows(seen: Preview) -> str:
    rows = seen.table.to_pylist()
    names = [name for name in SHOWN if name in seen.table.column_names] or seen.table.column_names[:8]
    body = [[name, *(_cell(row[name]) for row in rows)] for name in names]
    lines = table(["column", *(f"row {number}" for number in range(1, len(rows) + 1))], body,
                  right=frozenset(range(1, len(rows) + 1))).splitlines()
    more = f"… {len(seen.columns)} columns, {seen.rows_in_dataset:,} rows. `ofs preview` shows them all."
    return "\n".join(f"  {line}" for line in [*lines, more])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if hasattr(value, "strftime"):
        return str(value.strftime("%m-%d %H:%M:%S"))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "–" if value is None else str(value)


def _next(directory: Path, built: Built) -> Mapping[str, str]:
    plane, name = f"--plane {directory / 'plane.yaml'}", built.manifest.dataset_manifest_id
    return {f"ofs show {name[:11]} {plane}": "the manifest: accounting, gates, columns",
            f"ofs preview {directory / 'intent.yaml'} --rows 3": "all columns of some rows",
            f"ofs pin {directory / 'intent.yaml'}": "the full contract of the short intent",
            f"ofs runs {plane}": "what the ledger remembers",
            f"edit {directory / 'features.yaml'}, raise its revision": f"then `ofs build {directory / 'intent.yaml'}`: another dataset "
                                                                       "beside this one",
            "ofs init my --events FILE --labels FILE": "the same with your own data"}
