"""What a plane has at hand for planning: its sources, label timelines, profiles, evidence and token key, pinned when first asked for."""

from __future__ import annotations

import copy
import getpass
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from offline_feature_plane.contracts.intent import NO_RUN_FACTS, BuildIntent
from offline_feature_plane.contracts.plane import Settings
from offline_feature_plane.contracts.run_facts import parse_run_facts, run_facts_digest
from offline_feature_plane.corridor.at_hand import PinnedTopic
from offline_feature_plane.corridor.publish import manifest_key, supersession_prefix
from offline_feature_plane.documents import MAX_BYTES, Document, load_document
from offline_feature_plane.domain.basis import Range, Selector
from offline_feature_plane.domain.canonical import sha256_of
from offline_feature_plane.domain.completeness import Completeness
from offline_feature_plane.domain.gates import GateResult, judge_inputs, judge_outputs
from offline_feature_plane.domain.identity import code_release_id
from offline_feature_plane.domain.instants import parse_instant
from offline_feature_plane.domain.rows import Task, TokenKey
from offline_feature_plane.domain.tokens import key_id
from offline_feature_plane.errors import (
    FeatureProfileInvalid,
    FeatureProfileUnresolved,
    OfsError,
    OwnershipBoundaryViolation,
    RefInvalid,
    RefNotFound,
    RefScopeInvalid,
    RunFactsUnavailable,
    SettingsInvalid,
    StorageIoFailure,
)
from offline_feature_plane.labelstores.files import FileLabelStore
from offline_feature_plane.labelstores.mapping import LabelMapping, mapping_from
from offline_feature_plane.plain_files import read_small
from offline_feature_plane.ports import LabelTable, ObjectStore, PlainTable, RecordSlice
from offline_feature_plane.sources.archive import ArchiveMapping, ArchiveSource, PinnedArchive
from offline_feature_plane.sources.files import PlainTableSource, TableMapping

PACKAGE = Path(__file__).parent
KEY_BYTES = 32


class PlaneHome:
    """`corridor.at_hand.Home` over the adapters of this installation. Refs must lie under one of the plane's roots.

    Args:
        settings: the plane's.
        store: opens the artifact store; called only if an intent refers to other datasets.
    """

    def __init__(self, settings: Settings, store: Callable[[], ObjectStore]) -> None:
        self.settings = settings
        self._store = store
        self.actor: tuple[str, Any] = (_user(), "os_user")
        self.tzdata = version("tzdata")
        self.code_release_id = installed_release()
        self._archives = ArchiveSource()
        self._tables = PlainTableSource()
        self._timelines = FileLabelStore(Path("/"))
        self.asked = Document({})

    def hearing(self, document: Document) -> PlaneHome:
        """The same home for one intent as it was written: what it lacks is told at the line that asks for it."""
        found = copy.copy(self)
        found.asked = document
        return found

    def profile(self, ref: str, folder: Path) -> tuple[Document, str]:
        """A profile document and the digest of its bytes. Raises FeatureProfileUnresolved, FeatureProfileInvalid, RefScopeInvalid."""
        path = self._resolved(ref, folder, "$.features")
        try:
            data = read_small(path, MAX_BYTES)
        except OSError as wrong:
            raise FeatureProfileUnresolved(f"the feature profile {path} cannot be read: {wrong.strerror}.", path="$.features",
                                           fix="Write the path relative to the intent.") from wrong
        return load_document(path, FeatureProfileInvalid), sha256_of(data)

    def table(self, topic: str) -> PlainTable:
        """Pin a plain table."""
        mapped = self.settings.events[topic]
        return self._tables.pin(topic, TableMapping(path=Path(mapped.path), time=mapped.time, id=mapped.id, zone=mapped.zone,
                                                    history_start_us=_us(mapped.history_start), form=mapped.format))

    def archive(self, topic: str) -> PinnedTopic:
        """Pin an archive's topic."""
        mapped = self.settings.archives[topic]
        return self._archives.pin(topic, ArchiveMapping(Path(mapped.path), mapped.zone, _us(mapped.history_start)))

    def resolve(self, archive: PinnedTopic, selector: Selector) -> tuple[Range, ...]:
        """Ranges of a time selector."""
        return self._archives.resolve(cast("PinnedArchive", archive), selector)

    def completeness(self, archives: Sequence[PinnedTopic], ranges: Sequence[Range]) -> Completeness:
        """Hold ranges against what the indexes claim."""
        return self._archives.completeness([cast("PinnedArchive", one) for one in archives], ranges)

    def slices(self, archives: Sequence[PinnedTopic], ranges: Sequence[Range], task: Task) -> tuple[RecordSlice, ...]:
        """The events of ranges, ready for an engine."""
        return self._archives.slices([cast("PinnedArchive", one) for one in archives], ranges, task.closure.sources,
                                     task.platform_run_id, task.scenario_run_ids)

    def labels(self, label_type: str) -> LabelTable:
        """Pin a label timeline."""
        return self._timelines.pin(self._mapping(label_type))

    def truth_columns(self, topic: str) -> frozenset[str]:
        """Columns of a topic's own files that are mapped as labels."""
        path = self.settings.events[topic].path
        return frozenset(name for label_type, timeline in self.settings.labels.items() if timeline.path == path
                         for name in self._mapping(label_type).truth)

    def token_key(self) -> TokenKey | None:
        """The plane's token key; None if there is no key file.

        Raises:
            SettingsInvalid: the file is unreadable, of no lawful length, or inside of the store.
        """
        path = Path(self.settings.tokens.key_file)
        if path.is_relative_to(self.settings.store):
            raise SettingsInvalid(f"the token key {path} lies in the store.", path="tokens.key_file",
                                  fix="Keep it elsewhere: whoever reads datasets could otherwise undo their tokens.")
        try:
            secret = read_small(path, MAX_BYTES).strip()
        except FileNotFoundError:
            return None
        except OSError as wrong:
            raise SettingsInvalid(f"the token key {path} cannot be read: {wrong.strerror}.", path="tokens.key_file",
                                  fix="Point `tokens.key_file` at a file that this user may read.") from wrong
        if not 1 <= len(secret) <= KEY_BYTES:
            raise SettingsInvalid(f"the token key {path} has {len(secret)} bytes; 1 to {KEY_BYTES} are possible.", path="tokens.key_file",
                                  fix="Make a new one with `ofs key`.")
        return TokenKey(key_id(secret), secret)

    def judge_inputs(self, intent: BuildIntent, folder: Path) -> tuple[str | None, tuple[Mapping[str, Any], ...], tuple[GateResult, ...]]:
        """No PASS, no read (`domain.md` §7). Raises OwnershipBoundaryViolation, RunFactsUnavailable, RunScopeInvalid, NoPassNoRead."""
        granted = judge_outputs(self.settings.outputs)
        if not granted.passed:
            raise OwnershipBoundaryViolation("; ".join(granted.sentences) + ".", fix="Add it under `outputs:` in plane.yaml, if you may.")
        if intent.run_facts_ref == NO_RUN_FACTS:
            return None, (), (granted,)
        path = self._resolved(intent.run_facts_ref, folder, "$.run_facts_ref")
        try:
            document = load_document(path, RunFactsUnavailable)
        except RefNotFound as wrong:
            raise RunFactsUnavailable(wrong.what, path="$.run_facts_ref", fix=wrong.fix) from wrong
        try:
            facts = parse_run_facts(document.value)
        except OfsError as wrong:
            raise document.locate(wrong) from None
        gate_map = {name: rule.model_dump() for name, rule in self.settings.gate_map.items()}
        try:
            inputs = judge_inputs(facts.document(), intent.required_output_ids, gate_map, self.settings.deny_outputs,
                                  platform_run_id=intent.platform_run_id, scenario_run_ids=intent.scenario_run_ids,
                                  place=self._place_of_wish())
        except OfsError as wrong:
            raise document.locate(wrong) from None  # what is not told at the wish is wrong in the view
        said = tuple(one.describe() for one in inputs)
        return run_facts_digest(facts), said, (granted, GateResult("world_inputs", "PASS", None, {"inputs": list(said)}))

    def is_published(self, dm_id: str) -> bool:
        """Does a manifest of this id stand?"""
        return self._store().exists(manifest_key(self.settings.run_scope, dm_id))

    def superseded(self, dm_id: str) -> Sequence[str]:
        """The datasets that this one replaces."""
        return [Path(key).stem for key in self._store().list(supersession_prefix(self.settings.run_scope, dm_id))]

    def _place_of_wish(self) -> str:
        """Where the required outputs were asked for: in the intent if it speaks of them, else for the whole plane."""
        asked = self.asked.value
        written = next((name for name in ("required_output_ids", "required_outputs") if asked.get(name) is not None), None)
        return "plane.yaml $.required_outputs" if written is None else f"{self.asked.place(f'$.{written}')} $.{written}"

    def _mapping(self, label_type: str) -> LabelMapping:
        return mapping_from(self.settings.labels[label_type].document(), label_type)

    def _resolved(self, ref: str, folder: Path, place: str) -> Path:
        """The file behind a ref, beneath one of the roots, links followed."""
        if "://" in ref or "\0" in ref or not ref.strip():
            raise RefInvalid(f"{ref!r} is no path.", path=place, fix="Refs are file paths, relative to the intent.")
        path = (folder / ref).resolve()
        if not any(path.is_relative_to(Path(root).resolve()) for root in self.settings.roots):
            raise RefScopeInvalid(f"{ref} leads to {path}, outside of the plane's roots.", path=place,
                                  fix=f"Move it below {' or '.join(self.settings.roots)}, or add its folder to `roots:` in plane.yaml.")
        return path


@cache
def installed_release() -> str:
    """Version and digest of the installed package's files, taken once per process (`decisions.md` D11)."""
    files = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".sql", ".json"})
    return code_release_id(version("offline-feature-plane"),
                           [(path.relative_to(PACKAGE).as_posix(), sha256_of(path.read_bytes())) for path in files])


def make_key(path: Path) -> str:
    """Write a new token key, readable by its owner only, and return its id.

    Raises:
        SettingsInvalid: there is a file already. StorageIoFailure: it cannot be written.
    """
    secret = os.urandom(KEY_BYTES // 2).hex().encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsInvalid(f"there is a token key already: {path}.", fix="Keep it: another key gives other tokens.") from None
    except OSError as wrong:
        raise StorageIoFailure(f"the token key {path} cannot be written: {wrong.strerror}.", path=str(path)) from wrong
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret + b"\n")
    return key_id(secret)


def this_worker() -> str:
    """This process, named so that others on this machine can tell whether it lives: host, process id, boot, and when it began."""
    pid = os.getpid()
    return f"{socket.gethostname()}:{pid}:{_space()}.{_began(pid)}"


def has_died(worker: str) -> bool:
    """Is this worker surely gone? Only one of this boot and process space can be looked for; of any other nothing is known."""
    named = _WORKER.fullmatch(worker)
    if named is None or named["space"] != _space():
        return False
    began = _began(int(named["pid"]))
    return began is not None and began != named["began"]


_WORKER = re.compile(r".+:(?P<pid>[0-9]+):(?P<space>[0-9a-f-]+/[0-9]+)\.(?P<began>[0-9]+)")


def _space() -> str | None:
    """What process ids count in: the boot and the process namespace. None where the system does not tell."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _began(pid: int) -> str | None:
    """When a process began, in ticks since boot; `over` for one that is no more; None where the system does not tell."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "over"
    except OSError:  # another user's
        pass
    try:
        state, *told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "over" if state in "ZX" else told[18]


def _us(instant: str | None) -> int | None:
    return None if instant is None else parse_instant(instant)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return f"uid {os.getuid()}"
