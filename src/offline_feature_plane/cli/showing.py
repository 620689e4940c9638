"""What the library's answers look like as text: plans, previews, builds, manifests, verifications."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offline_feature_plane.cli import showing_routes
from offline_feature_plane.cli.output import pairs, percent, seconds, size, style, table
from offline_feature_plane.cli.showing_labels import kept_labels
from offline_feature_plane.contracts.intent import NO_RUN_FACTS
from offline_feature_plane.contracts.manifest import Core, DatasetManifest, SplitFacts
from offline_feature_plane.corridor.retirement import NOT_RETIRED
from offline_feature_plane.domain.calendars import rows_source
from offline_feature_plane.domain.gaps import describe_gaps, tell_gaps

if TYPE_CHECKING:
    from offline_feature_plane.corridor.answer import Built
    from offline_feature_plane.corridor.catalog import Listing
    from offline_feature_plane.corridor.feature_catalog import CataloguedFeature
    from offline_feature_plane.corridor.plan import Planned
    from offline_feature_plane.corridor.preview import Preview
    from offline_feature_plane.corridor.receipts import StepCost
    from offline_feature_plane.corridor.standing import Standing


def plan(planned: Planned) -> str:
    """What a build would do, where everything comes from, and what it would cost here."""
    document = planned.document()
    pins, estimate = document["pins"], document["estimate"]
    lines = [_headline(document),
             pairs({"fingerprint": pins["dataset_fingerprint"],
                    "feature set": f"{pins['profile']['feature_set']} of {pins['profile']['policy_id']}@{pins['profile']['revision']}"
                                   + ("" if pins["profile"]["versioned"] else "  (unversioned profile)"),
                    "columns": estimate["feature_columns"],
                    "events": estimate["events"],
                    "label records": estimate["labels"],
                    "input": size(estimate["input_bytes"]),
                    "about": f"{seconds(estimate['seconds'])}, {size(estimate['memory_bytes'])} of memory"}), "",
             table(["source", "kind", "files", "records", "log"],
                   [[source["name"], source["kind"].replace("_", " "), len(source["files"]), _records(source),
                     short(source["log_id"])] for source in document["sources"]], right=frozenset({2, 3}))]
    routes = [one for source in document["sources"] for one in source["routes"]]
    if document["gaps"] or showing_routes.worth_telling(routes):
        lines += ["", showing_routes.told(routes, document["gaps"])]
    if pins["filled"]:
        lines += ["", "filled in (`ofs pin` writes them out):",
                  table(["path", "value", "from"], [[item["path"], _brief(item["value"]), item["from"]] for item in pins["filled"]])]
    lines += [f"{style('warning', 'yellow')}: {warning}" for warning in document["warnings"]]
    return "\n".join(lines)


def _headline(document: Mapping[str, Any]) -> str:
    """What would be built, and what its basis makes of it."""
    intent, answer = document["pins"]["intent"], document["answer"]
    what = document["pins"]["dataset_manifest_id"] if intent["intent_kind"] == "dataset_build" else f"of a {intent['intent_kind']}"
    feasibility = style(document["feasibility"], "green" if document["feasibility"].startswith("FEASIBLE") else "yellow")
    told = "" if answer == "COMPLETE" else style(answer, "yellow") + "  "
    return f"{style('plan', 'bold')} {what}  {told}{feasibility}"


def _records(source: Mapping[str, Any]) -> str:
    """How many records a source of a plan has; on a bus, where nobody has counted them, not more than that."""
    count = sum(file["rows"] for file in source["files"])
    on_bus = sum(int(one["end_offset"]) - int(one["start_offset"]) if one["most_records"] is None else one["most_records"]
                 for one in source["bus"] or ())
    return f"≤ {count + on_bus:,}" if on_bus else f"{count:,}"


def features(found: Sequence[CataloguedFeature]) -> str:
    """The feature catalog: what each column is and needs; below it what it means, in the author's words if there are any, and from what."""
    if not found:
        return "There are no feature columns."
    columns = [one.column for one in found]
    heads, *lines = table(["feature", "type", "class", "available"],
                          [[one.name, one.type, one.numeric_class, one.availability] for one in columns]).split("\n")
    told = [heads]
    for line, one, column in zip(lines, found, columns, strict=True):
        made_from = column.lineage[1:-1] if column.lineage.startswith("(") else column.lineage
        told += [line, f"    {one.said or column.meaning}", *([f"    from {made_from}"] if made_from else [])]
    return "\n".join(told)


def preview_document(seen: Preview) -> dict[str, Any]:
    """Rows as JSON-ready values."""
    return {"published": False,
            "columns": [{"name": column.name, "type": str(column.type), "role": column.role} for column in seen.columns],
            "rows": [{name: _plain(value) for name, value in row.items()} for row in seen.table.to_pylist()],
            "rows_in_dataset": seen.rows_in_dataset, "gaps": describe_gaps(seen.lacks), "warnings": list(seen.warnings)}


def preview(seen: Preview) -> str:
    """A table to look at: one line per column, one column per row."""
    rows = seen.table.to_pylist()
    body = [[column.name, str(column.type), *(_brief(_plain(row[column.name])) for row in rows)] for column in seen.columns]
    head = ["column", "type", *(f"row {number}" for number in range(1, len(rows) + 1))]
    return "\n".join([table(head, body, right=frozenset(range(2, len(head)))), "",
                      f"{len(rows)} of {seen.rows_in_dataset:,} rows. A preview: nothing was published.",
                      *([f"{style('incomplete', 'yellow')}: it lacks {tell_gaps(seen.lacks)}"] if seen.lacks else []),
                      *(f"{style('warning', 'yellow')}: {warning}" for warning in seen.warnings)])


def built(answer: Built, *, profile: bool = False) -> str:
    """The manifest ref, counts, digests, and where the time went; with `profile` in a table."""
    manifest, core = answer.manifest, answer.manifest.core
    words = {"PUBLISHED": "published", "ALREADY_PUBLISHED": "already published, nothing computed", "REPRODUCED": "computed again, equal"}
    lines = [f"{style('✓', 'green')} {style(manifest.dataset_manifest_id, 'bold')}  {words[answer.outcome]}",
             pairs({"manifest": answer.manifest_ref, "rows": core.row_count, **_spine(core), "features": _count(manifest, "feature"),
                    "content": core.content_digest, "fingerprint": manifest.dataset_fingerprint, **_apart(core),
                    "eligible": _eligible(core),
                    "run": f"{answer.run.run_key} ({answer.run.request_id})" if answer.run else "none: nothing was written"}),
             "", splits_table(manifest)]
    lines += [f"{style('warning', 'yellow')}: {warning}" for warning in (*core.warnings, *answer.notices)]
    if profile:
        lines += ["", profile_table(answer.costs)]
    elif answer.timings:
        lines += ["", "time: " + " · ".join(f"{step} {seconds(took)}" for step, took in answer.timings.items())]
    return "\n".join(lines)


def profile_table(costs: Mapping[str, StepCost]) -> str:
    """What each step took; memory is the most that the process had had by its end."""
    lines = []
    for step, cost in costs.items():
        used = cost.used
        named = step if cost.status == "COMPLETE" else f"{step} (failed)"
        lines.append([named, *(["", "", ""] if used is None else ["" if used.rows is None else used.rows, size(used.bytes_read),
                                                                size(used.bytes_written)]),
                      seconds(cost.seconds), *(["", ""] if used is None else [seconds(used.cpu_ms / 1000), size(used.peak_memory_bytes)])])
    return table(["step", "rows", "read", "written", "wall", "CPU", "peak memory"], lines, right=frozenset(range(1, 7)))


def splits_table(manifest: DatasetManifest) -> str:
    """Rows and classes per split, and as of when its labels are, where splits differ; the share is of the rows that have a target.

    Rows without a target have a column where there are any.
    """
    splits, asof = manifest.core.splits, str(manifest.label_basis["label_asof_utc"])
    several, some = bool(manifest.core.evaluation_asofs), any(split.unknown for split in splits)
    kinds = ["split", "from", "to", *(["labels as of"] if several else []), "rows", "positive", "negative",
             *(["unlabeled"] if some else []), "positive %", "cold"]
    lines = [[split.name, _day(split.start), _day(split.end), *([_day(split.label_asof_utc or asof)] if several else []), split.rows,
              split.positive, split.negative, *([split.unknown] if some else []), _positive(split), split.cold] for split in splits]
    return table(kinds, lines, right=frozenset(range(kinds.index("rows"), len(kinds))))


def _positive(split: SplitFacts) -> str | None:
    known = split.positive + split.negative
    return percent(Fraction(split.positive, known)) if known else None


def manifest(document: DatasetManifest, standing: Standing) -> str:
    """A manifest for people, and how the dataset stands."""
    core = document.core
    lines = [style(document.dataset_manifest_id, "bold"), *_stands(standing),
             pairs({"plane run": document.platform_run_id, "purpose": core.purpose, "fingerprint": document.dataset_fingerprint,
                    "content": core.content_digest, "rows": core.row_count, **_spine(core), "events read": core.replay["events_read"],
                    **_scenarios(core),
                    "label as-of": _asofs(document, str), "rule": document.label_basis["resolution_rule"],
                    "feature set": f"{document.feature_definition_set['feature_set_id']}"
                                   f"@{document.feature_definition_set['feature_set_version']}",
                    "visibility": _visibility(core), **_apart(core),
                    "code": document.provenance.ofs_code_release_id,
                    "eligible": _eligible(core),
                    "complete": f"{core.eligibility.complete} ({core.eligibility.evidence_kind.replace('_', ' ')})"}), "",
             *showing_routes.declared(core.gaps), splits_table(document), *kept_labels(core), "",
             table(["event became", "events"], [[name, count] for name, count in core.row_accounting.items() if count],
                   right=frozenset({1})), "",
             table(["gate", "verdict"], [[gate.gate, gate.verdict] for gate in core.gates]), "",
             table(["column", "type", "role", "from"], [[item.name, item.type, item.role, item.lineage] for item in core.columns])]
    lines += [f"{style('warning', 'yellow')}: {warning}" for warning in core.warnings]
    return "\n".join(lines)


def _scenarios(core: Core) -> dict[str, str]:
    """The scenario runs that the dataset is about, each with its records, if it is about some."""
    counts: dict[str, int] = core.replay.get("scenarios", {})
    return {"scenario runs": ", ".join(f"{name} ({count:,} records)" for name, count in counts.items())} if counts else {}


def _spine(core: Core) -> dict[str, str]:
    """Whom rows are about, if they are at instants that somebody asked for."""
    identity: dict[str, Any] = core.identity
    subject = identity["subject"]
    if "entity" not in subject:
        return {}
    calendar = subject.get("calendar")
    said = f"{subject['entity']}, at the instants of {subject['source']}" if calendar is None else (
        f"{rows_source(subject)}, {calendar['first_day']} to {calendar['end_day']} ({calendar['zone']})")
    return {"rows about": said}


def _apart(core: Core) -> dict[str, str]:
    """By which field no two splits share an entity, if that was asked."""
    by, gone = core.identity.get("disjoint_by"), core.row_accounting["earlier_split"]
    return {} if by is None else {"disjoint by": f"{by} ({gone:,} events left out: an earlier split has their entity)"}


def _asofs(document: DatasetManifest, spell: Callable[[str], str | None]) -> str:
    """When the dataset stops learning, and as of when its evaluation splits are judged."""
    own = (f"{split} {spell(asof)}" for split, asof in document.core.evaluation_asofs.items())
    return ", ".join([str(spell(str(document.label_basis["label_asof_utc"]))), *own])


def _visibility(core: Core) -> str:
    visibility, hidden = core.replay["visibility"], core.replay["rows_with_hidden_events"]
    return f"arrival (rows with hidden events: {hidden:,})" if visibility == "arrival" else str(visibility)


def _stands(standing: Standing) -> list[str]:
    retired = [] if standing.retirement is None else [style(str(standing.retirement), "yellow")]
    return [*retired, *(f"replaces {fact.supersedes}: {fact.backfill_reason}" for fact in standing.supersedes),
            *(f"{style('replaced', 'yellow')} by {fact.dataset_manifest_id}: {fact.backfill_reason}" for fact in standing.superseded_by)]


def dataset_line(document: DatasetManifest, listing: Listing) -> dict[str, Any]:
    """One dataset in the list."""
    retired = listing.retired.get(document.dataset_manifest_id)
    return {"dataset_manifest_id": document.dataset_manifest_id, "platform_run_id": document.platform_run_id,
            "rows": document.core.row_count, "splits": {split.name: split.rows for split in document.core.splits},
            "label_asof_utc": document.label_basis["label_asof_utc"], "evaluation_asofs": document.core.evaluation_asofs,
            "content_digest": document.core.content_digest,
            "training_ready": document.core.eligibility.training_ready, "complete": document.core.eligibility.complete,
            **(NOT_RETIRED if retired is None else retired.document())}


def datasets(listing: Listing) -> str:
    """The list of datasets; below it, which of them were retired, when and why."""
    found = listing.datasets
    if not found:
        return "No dataset is published here yet. Build one: ofs build intent.yaml"
    lines = [table(["dataset", "rows", "features", "label as-of", "eligible"],
                   [[item.dataset_manifest_id, item.core.row_count, _count(item, "feature"), _asofs(item, _day),
                     _eligible_word(item, listing)] for item in found], right=frozenset({1, 2}))]
    lines += [f"{dm_id} was {style(str(retired), 'yellow')}" for dm_id, retired in listing.retired.items()]
    return "\n".join(lines)


def parse_keys(given: Sequence[str]) -> dict[str, str]:
    """`FIELD=VALUE` options as a mapping.

    >>> parse_keys(["customer_id=C1"])
    {'customer_id': 'C1'}
    """
    found = {}
    for item in given:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise click.BadParameter(f"{item!r} is not FIELD=VALUE", param_hint="--keys")
        found[name] = value
    return found


def seen_from(folder: Path, old: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    """A full contract whose relative refs, written in the folder `old`, are read in another folder."""
    def moved(ref: str) -> str:
        if Path(ref).is_absolute() or ref == NO_RUN_FACTS:
            return ref
        return Path(os.path.relpath((old / ref).resolve(), folder.resolve())).as_posix()
    chosen = document["feature_definition_set"]
    return {**document, "feature_definition_set": {**chosen, "profile_ref": moved(chosen["profile_ref"])},
            "run_facts_ref": moved(document["run_facts_ref"])}


def as_json(document: Mapping[str, Any]) -> str:
    """A document as the text of a JSON file."""
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n"


def write_new(path: Path, text: str) -> None:
    """Write a file that does not exist yet."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise click.BadParameter(f"{path} already exists; choose another name", param_hint="--output") from None
    except OSError as error:
        raise click.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="--output") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def short(digest: str) -> str:
    """The beginning of a digest, for tables; of a log that is called by what it is, what it is.

    >>> short("sha256:0123456789abcdef"), short("arn:aws:kinesis:eu-west-1:123456789012:stream/payments@2026-02-25T06:13:20.125000Z")
    ('0123456789ab', 'payments@2026-02-25T06:13:20.125000Z')
    """
    if digest.startswith("arn:"):
        return digest.rpartition("/")[2]
    return digest.removeprefix("sha256:")[:12]


def _count(document: DatasetManifest, role: str) -> int:
    return sum(column.role == role for column in document.core.columns)


def _eligible_word(item: DatasetManifest, listing: Listing) -> str:
    if item.dataset_manifest_id in listing.retired:
        return "retired"
    return "training" if item.core.eligibility.training_ready else "no" if item.core.eligibility.complete else "no: incomplete"


def _eligible(core: Core) -> str:
    return "training" if core.eligibility.training_ready else f"not for training: {'; '.join(core.eligibility.reasons)}"


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 44 else f"{text[:41]}…"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def _day(instant: str | None) -> str | None:
    if instant is None:
        return None
    return instant[:10] if instant.endswith("T00:00:00.000000Z") else instant
