"""The short form of an intent written out as the full contract, with a list of everything that was filled in (`decisions.md` G).

A value is filled only from a constant of the schema version, the bytes at hand, `plane.yaml`, the profile or the installed code; never
from a clock, the environment or "the newest". What only the user can know is never filled: `as_of`, `maturity_days`, `unlabeled`,
`positive`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from offline_feature_plane.contracts.intent import INTENT_SCHEMA, NO_RUN_FACTS, IntentKind
from offline_feature_plane.contracts.intent_rules import find_intent_problems, parse_intent
from offline_feature_plane.contracts.model import find_problems, json_path, nearest, shown, stands_below, with_advice
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.contracts.short_intent import SHORT_CODES, ShortIntent, names_a_calendar, number_text
from offline_feature_plane.corridor.short_label import find_label_problems, places_of_types, shares_of, target_of
from offline_feature_plane.corridor.written_places import as_written
from offline_feature_plane.documents import write_yaml
from offline_feature_plane.domain.elsewhere import INTENTS
from offline_feature_plane.errors import (
    FeatureProfileUnresolved,
    LabelTypeScopeUnresolved,
    Problem,
    SchemaInvalid,
    SettingsInvalid,
    Unpinned,
    refuse,
)

__all__ = ["ActorSource", "FillIns", "expand", "is_long_form", "read_short", "write_pin"]

Filled = list[dict[str, Any]]
Origin = Literal["schema constant", "bytes at hand", "plane.yaml", "profile", "installed code"]

ActorSource = Literal["declared", "os_user", "oidc"]

DEFAULT_RULE = "source_precedence.v1"


@dataclass(frozen=True)
class FillIns:
    """Values from the plane and its data, to fill in where a short form states none.

    Attributes:
        code_release_id: of the installed code.
        actor: who makes the request, and how that is known (`declared`, `os_user`, `oidc`).
        basis: everything that the tables and logs in use hold, as entries of `replay_basis`.
        gaps: what is missing of the basis, as entries of `gaps`.
        label_logs: log ids of the label timelines in use, by label type.
        profile_digest: of the profile file's bytes.
        feature_set: `id@version` if the profile has exactly one set.
        feature_label_types: the label types that features look at.
        key_id: of the plane's token key.
    """

    code_release_id: str
    actor: tuple[str, ActorSource]
    basis: tuple[Mapping[str, Any], ...] = ()
    gaps: tuple[Mapping[str, Any], ...] = ()
    label_logs: Mapping[str, str] = field(default_factory=dict)
    profile_digest: str | None = None
    feature_set: str | None = None
    feature_label_types: tuple[str, ...] = ()
    key_id: str | None = None


def is_long_form(document: Any) -> bool:
    """Is it (meant as) the full contract? It says which schema it follows; the short form does not."""
    return isinstance(document, Mapping) and "schema_version" in document


def read_short(document: Any, settings: Settings | None = None) -> ShortIntent:
    """A short form whose shape is sound: enough to know which rows, profile, set and label types it names.

    Args:
        document: as it was parsed.
        settings: the plane's, which must map its label types; None leaves them unchecked.

    Raises:
        OfsError: of the first problem's code, carrying every problem of its shape.
    """
    problems = _short_problems(document)
    if settings is not None and not problems:
        problems = _unmapped(document, settings)
    if problems:
        raise refuse(problems)
    return ShortIntent.model_validate(document)


def expand(document: Any, *, settings: Settings, fill_ins: FillIns,
           kind: IntentKind | None = "dataset_build") -> tuple[dict[str, Any], Filled]:
    """The full, validated contract of a document, and what was filled in.

    Args:
        document: short or long form, as it was parsed.
        settings: the plane's.
        fill_ins: values from the plane and its data; unused by the long form.
        kind: the one kind that the caller serves; None: any of them.

    Returns:
        The full document, every default written out, and `[{path, value, from}]`, empty for the long form.

    Raises:
        Unpinned: the plane is strict and something was filled in.
        OfsError: of the first problem's code, carrying every problem, each at the place where its author wrote it.
    """
    if is_long_form(document):
        return parse_intent(document, kind).document(), []
    if not isinstance(document, Mapping):
        raise SchemaInvalid(f"an intent is a mapping of names to values, not {shown(document)}.", path="$")
    writer = _Writer(document, settings, fill_ins)
    full = writer.write()
    problems = _short_problems(document)
    told = {problem.path for problem in problems}
    unpinned = bool(problems or _unmapped(document, settings))  # what was not looked for is not missing
    for problem in (*writer.problems, *find_intent_problems(full)):
        if unpinned and stands_below(problem.path, "$.label_basis.store"):
            continue
        place = as_written(problem.path, full)
        if not stands_below(place, *told):
            problems.append(Problem(place, problem.code, problem.sentence))
    if problems:
        raise refuse(problems)
    if settings.strict and writer.filled:
        error = refuse([Problem(one["path"], Unpinned.code, f"this was filled with {shown(one['value'])} (from: {one['from']})")
                        for one in writer.filled])
        error.fix = Unpinned.fix
        raise error
    intent = parse_intent(full)
    for label_type in sorted(intent.coverage_policy.answered_min.keys() - full["coverage_policy"]["answered_min"].keys()):
        writer.filled.append({"path": json_path(["coverage_policy", "answered_min", label_type]),
                              "value": intent.coverage_policy.answered_min[label_type], "from": "schema constant"})
    return intent.document(), writer.filled


def write_pin(document: Mapping[str, Any]) -> str:
    """The full contract as YAML text in the contract's own order: what `ofs pin` prints."""
    return write_yaml(dict(document))


def _short_problems(document: Any) -> list[Problem]:
    """Problems of the short form's shape, and of a label that neither has a target nor says that it has none."""
    problems = with_advice(find_problems(ShortIntent, document, SHORT_CODES), INTENTS)
    label = document.get("label") if isinstance(document, Mapping) else None
    if not isinstance(label, Mapping):
        return problems
    return problems + [one for one in find_label_problems(label) if one.path not in {told.path for told in problems}]


def _unmapped(short: Mapping[str, Any], settings: Settings) -> list[Problem]:
    """Label types of a short form that have no timeline, each at its own place."""
    label, extra = short.get("label"), short.get("labels")
    named = list(places_of_types(label).items()) if isinstance(label, Mapping) else []
    named += [(f"$.labels[{number}]", one) for number, one in enumerate(extra if isinstance(extra, list) else [])]
    known = list(settings.labels)
    return [Problem(place, LabelTypeScopeUnresolved.code, f"plane.yaml maps no label timeline {name!r}. "
                    f"{nearest(name, known) or 'It maps none.'} Add it under `labels:` there, or correct the name.")
            for place, name in named if isinstance(name, str) and name not in known]


class _Writer:
    """Writes one full form, noting what it fills. Works on unsound documents too, so that all problems show at once."""

    def __init__(self, short: Mapping[str, Any], settings: Settings, fill_ins: FillIns) -> None:
        label = short.get("label")
        self.short, self.label = short, label if isinstance(label, Mapping) else {}
        self.settings, self.fill_ins = settings, fill_ins
        self.filled: Filled = []
        self.problems: list[Problem] = []

    def fill(self, given: Any, path: str, value: Any, origin: Origin) -> Any:
        """What was written, else the value, noted."""
        if given is not None:
            return given
        self.filled.append({"path": path, "value": value, "from": origin})
        return value

    def write(self) -> dict[str, Any]:
        short, settings = self.short, self.settings
        wanted = self.fill(short.get("required_outputs"), "$.join_scope.required_output_ids", list(settings.required_outputs), "plane.yaml")
        facts = settings.run_facts if wanted else None
        return {
            "schema_version": self.fill(None, "$.schema_version", INTENT_SCHEMA, "schema constant"),
            "request_id": short.get("request_id"),
            "intent_kind": self.fill(None, "$.intent_kind", "dataset_build", "schema constant"),
            "platform_run_id": self.fill(short.get("platform_run_id"), "$.platform_run_id", settings.run_scope, "plane.yaml"),
            "scenario_run_ids": self.fill(short.get("scenario_run_ids"), "$.scenario_run_ids", [], "schema constant"),
            "replay_basis": self.fill(short.get("replay_basis"), "$.replay_basis", self.basis(), "bytes at hand"),
            **self.gaps(),
            "label_basis": self.label_basis(),
            "feature_definition_set": self.feature_set(),
            "subject": self.subject(),
            "target": target_of(self.label),
            "splits": self.splits(),
            "gap": short.get("gap"),
            "disjoint_by": short.get("disjoint_by"),
            "sampling": self.sampling(),
            "identifiers": self.identifiers(),
            "cold_rows": self.fill(short.get("cold_rows"), "$.cold_rows", "mark", "schema constant"),
            "visibility": self.fill(short.get("visibility"), "$.visibility", "event_time", "schema constant"),
            "coverage_policy": self.coverage(),
            "correction": short.get("correction"),
            "run_facts_ref": self.fill(short.get("run_facts"), "$.run_facts_ref", facts or NO_RUN_FACTS,
                                       "plane.yaml" if facts else "schema constant"),
            "join_scope": {"required_output_ids": wanted},
            "parity_anchor_ref": None,
            "supersedes": short.get("supersedes"),
            "backfill_reason": short.get("backfill_reason"),
            "policy_revision": self.fill(short.get("policy_revision"), "$.policy_revision", settings.policy_revision, "plane.yaml"),
            "config_revision": self.fill(short.get("config_revision"), "$.config_revision", settings.config_revision, "plane.yaml"),
            "ofs_code_release_id": self.fill(None, "$.ofs_code_release_id", self.fill_ins.code_release_id, "installed code"),
            "non_training_allowed": self.fill(short.get("non_training_allowed"), "$.non_training_allowed", False, "schema constant"),  # noqa: FBT003 - the value
            "actor": {"name": self.fill_ins.actor[0], "source": self.fill_ins.actor[1]},
        }

    def basis(self) -> list[dict[str, Any]]:
        """Sets of files first, then ranges."""
        return sorted(map(dict, self.fill_ins.basis), key=lambda entry: "files" not in entry)

    def gaps(self) -> dict[str, Any]:
        """What is declared to be missing, if anything is."""
        given = self.short.get("gaps")
        if given is None:
            return {}
        return {"gaps": self.fill(None if given == "as_found" else given, "$.gaps", list(map(dict, self.fill_ins.gaps)), "bytes at hand")}

    def label_basis(self) -> dict[str, Any]:
        label, extra = self.label, self.short.get("labels")
        types = [*places_of_types(label).values(), *(extra if isinstance(extra, list) else [])]
        used = {name for name in (*types, *self.fill_ins.feature_label_types) if isinstance(name, str)}
        for name in sorted(set(self.fill_ins.feature_label_types) - set(self.fill_ins.label_logs)):
            self.problems.append(Problem("$.features", LabelTypeScopeUnresolved.code,
                                         f"features use the label type {name}, which has no timeline"))
        self.problems += _unmapped(self.short, self.settings)
        store = {name: log for name, log in sorted(self.fill_ins.label_logs.items()) if name in used}
        found = {"label_asof_utc": label.get("as_of"), "maturity_days": label.get("maturity_days"),
                 "resolution_rule": self.fill(label.get("rule"), "$.label_basis.resolution_rule", DEFAULT_RULE, "schema constant"),
                 "immature": self.fill(label.get("immature"), "$.label_basis.immature", "exclude", "schema constant"),
                 "label_types": types, "store": self.fill(None, "$.label_basis.store", store, "bytes at hand")}
        return {key: value for key, value in found.items() if value is not None or (key == "maturity_days" and key in label)}

    def feature_set(self) -> dict[str, Any]:
        ref = self.short.get("set")
        if ref is None and self.fill_ins.feature_set is None:
            self.problems.append(Problem("$.set", FeatureProfileUnresolved.code,
                                         "the profile does not have exactly one feature set; name one as id@version"))
        chosen = self.fill(ref, "$.feature_definition_set", self.fill_ins.feature_set or "?@?", "profile")
        name, _, version = str(chosen).partition("@")
        if not name or not version:
            self.problems.append(Problem("$.set", FeatureProfileUnresolved.code, f"{shown(ref)} is not a feature set; write id@version"))
        digest = self.fill(None, "$.feature_definition_set.profile_digest", self.fill_ins.profile_digest, "bytes at hand")
        return {"feature_set_id": name or "?", "feature_set_version": version or "?", "profile_ref": self.short.get("features"),
                "profile_digest": digest}

    def subject(self) -> dict[str, Any]:
        given = self.short.get("rows")
        if not isinstance(given, Mapping):
            return {"source": given, "where": self.short.get("where")}
        if names_a_calendar(given):
            days = given["between"] if isinstance(given.get("between"), list) and len(given["between"]) == 2 else (None, None)
            return {"source": given.get("of") or "?", "where": self.short.get("where"), "entity": given.get("entity") or "?", "calendar": {
                "every": given.get("every"), "zone": self.fill(given.get("zone"), "$.subject.calendar.zone", "UTC", "schema constant"),
                "first_day": days[0], "end_day": days[1]}}
        return {"source": given.get("spine") or "?", "entity": given.get("entity"), "where": self.short.get("where")}

    def splits(self) -> list[dict[str, Any]]:
        given = self.short.get("splits")
        found = []
        for name, split in given.items() if isinstance(given, Mapping) else ():
            span, own = (split.get("range"), {"label_asof_utc": split.get("as_of")}) if isinstance(split, Mapping) else (split, {})
            if isinstance(span, list) and len(span) == 2:
                found.append({"name": name, "from_utc": span[0], "to_utc": span[1], **own})
        return found

    def sampling(self) -> dict[str, Any] | None:
        given = self.short.get("sampling")
        if not isinstance(given, Mapping):
            return None
        rates = given.get("rates")
        return {"rule": self.fill(None, "$.sampling.rule", "keyed_hash.v1", "schema constant"),
                "seed": number_text(given.get("seed")), "by": given.get("by"),
                "rates": {key: number_text(rate) for key, rate in rates.items()} if isinstance(rates, Mapping) else rates}

    def identifiers(self) -> Any:
        given = self.short.get("identifiers")
        if isinstance(given, Mapping):
            return given
        path = "$.identifiers"
        if self.fill_ins.key_id is None:
            self.problems.append(Problem(path, SettingsInvalid.code,
                                         "the plane has no token key; make one with `ofs key`, or set {mode: raw, reason: …}"))
        mode = self.fill(given, f"{path}.mode", "tokenized", "schema constant")
        return {"mode": mode, "key_id": self.fill(None, f"{path}.key_id", self.fill_ins.key_id or "0" * 16, "plane.yaml")}

    def coverage(self) -> dict[str, Any]:
        conflicts = self.fill(number_text(self.label.get("conflicts")), "$.coverage_policy.conflicts_max", "0", "schema constant")
        return {"answered_min": shares_of(self.label), "conflicts_max": conflicts}
