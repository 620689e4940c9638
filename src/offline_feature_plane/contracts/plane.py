"""The plane's settings as a contract: where data is, what its columns mean, which policies hold (`decisions.md` D11, G).

`offline_feature_plane.settings` reads them from file, environment and arguments. Paths in a loaded value are absolute.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from offline_feature_plane.contracts.addresses import Endpoint
from offline_feature_plane.contracts.archive_members import Records
from offline_feature_plane.contracts.intent import Duration, Instant, RunId, Zone
from offline_feature_plane.contracts.kafka import KafkaTopic
from offline_feature_plane.contracts.kinesis import KinesisStream
from offline_feature_plane.contracts.model import Contract, Text, shown
from offline_feature_plane.domain.cutover import VerifyOverlap
from offline_feature_plane.domain.visibility import Visibility

__all__ = ["ArchiveFolder", "EngineChoice", "EventTable", "GateRule", "LabelTimeline", "S3Access", "Settings", "Tokens",
           "config_meaning", "memory_bytes", "stored_columns"]

_NO_MEANING = {"path", "format", "store", "s3"}
LOG_MEANING = ("zone", "history_start", "topic", "event_type", "max_ahead")  # what an archive, or a topic of a bus, says of a log
_IF_SAID = ("entity", "applies_to", "records", "max_ahead")  # left out where they say nothing: an older meaning stays what it was

_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT])(i?)B")
_MOST_MEMORY = 1 << 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

# Truth of a simulated or labelled world: it may be learned from as labels that came to be known, never read as an input.
TRUTH_PRODUCTS = ("s4_event_labels_*", "s4_flow_truth_labels_*", "s4_flow_bank_view_*", "s4_case_timeline_*")


def stored_columns(applies_to: object) -> dict[str, Any]:
    """What the columns of a label store's table mean: the entry that a file with the same columns would have.

    Args:
        applies_to: the field whose entities the assertions are about; None: they are about events.
    """
    return {"event" if applies_to is None else "entity": "event_id", "observed": "observed_time", "effective": "effective_time",
            "value": {"column": "label_value"}, "source": {"column": "source_type"}, "id": "label_assertion_id", "supersedes": "supersedes"}


def _memory(text: str) -> str:
    if not _MEMORY.fullmatch(text) or not 0 < memory_bytes(text) < _MOST_MEMORY:
        raise ValueError(f"{shown(text)} is not an amount of memory; write for example 4GB")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a valid name; use up to 128 letters, digits, `_`, `.`, `-`")
    return text


Name = Annotated[str, AfterValidator(_name)]


class EventTable(Contract):
    """A plain table of events."""

    path: Text = Field(description="A Parquet, CSV or JSON Lines file, or a folder of them, relative to plane.yaml.")
    time: Text = Field(description="The column that says when an event happened.")
    id: Text | None = Field(None, description="The column that identifies an event; without it events are named by row, and labels cannot "
                                              "refer to them.")
    arrival: Text | None = Field(None, description="The column that says when an event arrived; needed by intents with "
                                                   "`visibility: arrival`, and read by no other.")
    zone: Zone | None = Field(None, description="The time zone of the time columns, if their values carry none.")
    history_start: Instant | None = Field(None, description="The instant from which the table is complete; default: its first event.")
    format: Literal["parquet", "csv", "jsonl"] | None = Field(None, description="The file format, if the names do not show it.")


class S3Access(Contract):
    """How a store, or an archive, in a bucket is reached. Credentials are found by the SDK; they never stand here."""

    endpoint: Endpoint | None = Field(None, description="The server's address; default: AWS.")
    region: Text | None = Field(None, description="The bucket's region; default: the SDK's.")
    profile: Text | None = Field(None, description="The SDK's profile with the credentials; default: its usual order.")
    addressing: Literal["path", "virtual"] | None = Field(
        None, description="Whether the bucket stands in the path or in the host name; default: as the SDK finds fitting.")
    timeout_s: Annotated[int, Field(ge=1, le=3600)] = Field(30, description="How many seconds the store may be silent.")


class ArchiveFolder(Contract):
    """An archive of event records of one topic. With `topic`, it is mapped a second time under a name of its own."""

    path: Text = Field(description="The folder with `index.json` and the segments it lists, or `s3://bucket/prefix`.")
    zone: Zone | None = Field(None, description="The zone of times in payloads, and in records of other tools, that carry no offset.")
    history_start: Instant | None = Field(None, description="The instant from which the archive is complete; default: its first event.")
    topic: Text | None = Field(None, description="The topic in the archive, if it is not of this entry's name. Its events of one type "
                                                 "become events of a type of this name; all others are left out.")
    event_type: Text | None = Field(None, description="Which type that is, with `topic` only; default: the one named like that topic.")
    max_ahead: Duration | None = Field(None, description="How far the time of an event may lie ahead of when the log took it, like `5m`. "
                                                         "One further ahead comes from a clock that was wrong: it is left out, and counted "
                                                         "as `future_quarantined`. Default: any.")
    records: Records | None = Field(None, description="Where the members of records are found, if another tool wrote them: `v0`, or a "
                                                      "mapping; default: they have our names.")
    s3: S3Access | None = Field(None, description="How this archive's bucket is reached, if not as the store's: fields as of `s3`.")

    @model_validator(mode="after")
    def _of_a_topic(self) -> ArchiveFolder:
        if self.event_type is not None and self.topic is None:
            raise ValueError("event_type says what is taken from another topic; add `topic:`, or leave it out")
        return self


class LabelTimeline(Contract):
    """A timeline of label assertions of one type: in files, whose columns are mapped, or in a label store, which has its own."""

    path: Text | None = Field(None, description="A Parquet, CSV or JSON Lines file, or a folder of them; else say `store`.")
    store: Text | None = Field(None, description="A label store: a PostgreSQL database as `postgresql://user@host:5432/database`, never "
                                                 "with a password. Its columns are known, so only `applies_to` and `min_lag` may be added.")
    event: Text | None = Field(None, description="The column with the id of the labelled event; with `path`, it or `entity` is required.")
    entity: Text | None = Field(None, description="The column with the labelled entity, such as an account: its label holds for its events "
                                                  "from `effective` on.")
    applies_to: Text | None = Field(None, description="The field of the profile that holds an event's entity; default: the one named like "
                                                      "the column `entity`. With `store`, it says that labels are about entities.")
    observed: str | dict[Text, str] | None = Field(
        None, description="The column that says when a label became known, or `{after_event: 30d}` if that must be assumed; required with "
                          "`path`.")
    value: str | dict[Text, str] | None = Field(
        None, description="One label value for all rows, or `{column: c}`, or `{column: c, raw: VALUE, …}`; required with `path`.")
    effective: Text | None = Field(None, description="The column with the instant from which a label holds; default: when it was observed. "
                                                     "Required with `entity`.")
    source: str | dict[Text, str] | None = Field(None, description="HUMAN, EXTERNAL, AUTO or SYSTEM for all rows, or `{column: c}`.")
    id: Text | None = Field(None, description="The column that identifies an assertion.")
    supersedes: Text | None = Field(None, description="The column with the id of the assertion that a row replaces.")
    zone: Zone | None = Field(None, description="The time zone of the time columns, if their values carry none.")
    min_lag: Text | None = Field(None, description="The shortest plausible time from event to observation; default: over 60 s.")
    time: Text | None = Field(None, description="The event's time column, needed in this file only if `observed` is assumed.")
    format: Literal["parquet", "csv", "jsonl"] | None = Field(None, description="The file format, if the names do not show it.")

    @model_validator(mode="before")
    @classmethod
    def _know_the_store(cls, written: Any) -> Any:
        """A store's columns mean what they mean, so that the same assertions in files are the same labels."""
        if not isinstance(written, Mapping) or written.get("store") is None:
            return written
        return {**stored_columns(written.get("applies_to")), **written}

    def document(self) -> dict[str, Any]:
        """The entry as it was written."""
        return self.model_dump(exclude_none=True)


class Tokens(Contract):
    """The secret behind identifier tokens."""

    key_file: Text = Field("tokens.key", description="The file with the token key (1 to 32 bytes). Share it to share datasets.")


class EngineChoice(Contract):
    """Which engine computes, and what it may use. Never part of a dataset's meaning."""

    name: Literal["local", "spark", "oracle"] = Field(
        "local", description="`local` (DuckDB, compiled kernels), `spark` (the same kernels in a Spark session) or `oracle` (slow, obvious "
                             "Python).")
    memory_limit: Annotated[str, AfterValidator(_memory)] | None = Field(
        None, description="Memory that a build may take, such as 4GB: what needs more goes over files in the work folder. "
                          "Default: three quarters of the machine's. Of Spark: the heap of each process that a new session starts.")
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(None, description="How many threads the engine may use on this machine.")
    master: Text | None = Field(None, description="Where a new Spark session runs, such as `spark://host:7077`; default: on this machine.")
    conf: dict[Text, str] = Field({}, description="Settings of a new Spark session, by their Spark names.")


class GateRule(Contract):
    """Which outputs a gate covers, and which gates must have passed before it."""

    outputs: list[Text] = Field([], description="The outputs that this gate authorises.")
    upstream: list[Text] = Field([], description="The gates that must have passed before.")


class Settings(Contract):
    """Everything that `plane.yaml` may say."""

    plane: RunId = Field(description="The plane's name.")
    events: dict[Name, EventTable] = Field({}, description="Plain tables of events, by event type.")
    archives: dict[Name, ArchiveFolder] = Field({}, description="Archives of event records, by topic.")
    kafka: dict[Name, KafkaTopic] = Field({}, description="Topics of Kafka clusters, by topic.")
    kinesis: dict[Name, KinesisStream] = Field({}, description="Streams of Kinesis, by topic.")
    labels: dict[Name, LabelTimeline] = Field({}, description="Label timelines, by label type.")
    verify_overlap: VerifyOverlap = Field(
        "sample", description="What is compared where an archive and a bus both have a stretch of a topic: `sample` (which offsets each "
                              "has, and records at the ends of segments and at a thousandth of the offsets, always the same ones), "
                              "`full` or `off`.")
    store: Text = Field(".ofs/store", description="Where datasets, manifests and receipts are kept: a folder, or `s3://bucket/prefix`.")
    s3: S3Access = Field(S3Access(), description="How a store in a bucket is reached, and archives in buckets that say nothing else.")
    ledger: Text = Field(".ofs/ledger.sqlite", description="The run ledger: an SQLite file, or a PostgreSQL database as "
                                                           "`postgresql://user@host:5432/database`, never with a password.")
    work: Text = Field(".ofs/work", description="Scratch files of running builds.")
    tokens: Tokens = Field(Tokens(key_file="tokens.key"), description="The secret behind identifier tokens.")
    strict: bool = Field(default=False, description="Refuse intents in which anything had to be filled in.")
    roots: Annotated[list[Text], Field(min_length=1)] = Field(["."], description="The folders that refs (profiles, run facts) may lie in.")
    engine: EngineChoice = Field(EngineChoice(name="local", memory_limit=None, threads=None), description="Which engine computes.")
    platform_run_id: RunId | None = Field(None, description="The run that datasets belong to; default: the plane's name.")
    policy_revision: Text = Field("unversioned", description="The revision of the policies behind this plane.")
    config_revision: Text = Field("unversioned", description="The revision of this configuration.")
    outputs: list[Text] = Field(["dataset_manifest"], description="What OFS may publish here.")
    required_outputs: list[Text] = Field([], description="The world inputs that every dataset of this plane needs a PASS for.")
    run_facts: Text | None = Field(None, description="The run facts view with the evidence for world inputs.")
    gate_map: dict[Name, GateRule] = Field({}, description="Which gate covers which outputs.")
    deny_outputs: list[Text] = Field(list(TRUTH_PRODUCTS), description="Truth products, by name or pattern: never world inputs.")

    @property
    def run_scope(self) -> str:
        """The run that datasets belong to."""
        return self.platform_run_id or self.plane


def memory_bytes(text: str) -> int:
    """An amount of memory as settings write it, in bytes.

    >>> memory_bytes("4GB"), memory_bytes("0.5 GiB")
    (4000000000, 536870912)
    """
    number, scale, binary = _MEMORY.fullmatch(text).groups()  # type: ignore[union-attr]  # settings hold nothing else
    return int(Decimal(number) * (1024 if binary else 1000) ** (1 + "KMGT".index(scale)))


def config_meaning(settings: Settings, *, topics: Collection[str] | None = None, label_types: Collection[str] | None = None,
            outputs: Collection[str] | None = None, visibility: Visibility = "event_time") -> dict[str, Any]:
    """The settings that change rows or verdicts, and nothing else: what `config_digest` is taken of (`decisions.md` D11).

    Never paths, formats, engine, memory, threads, store, ledger: the input bytes are pinned separately. What a dataset does not use
    does not change it: other tables, other label types, and, if it reads no world input, the gates.

    Args:
        settings: the plane's.
        topics: the tables and archives in use; None means all.
        label_types: the label types in use; None means all.
        outputs: the world inputs in use; None means that there may be some.
        visibility: only under `arrival` does it matter which column says when an event arrived.
    """
    silent = _NO_MEANING if visibility == "arrival" else _NO_MEANING | {"arrival"}

    def mappings(kept: Mapping[str, BaseModel], wanted: Collection[str] | None) -> dict[str, Any]:
        return {name: one.model_dump(mode="json", exclude={*silent, *(key for key in _IF_SAID if getattr(one, key, None) is None)})
                for name, one in sorted(kept.items())
                if wanted is None or name in wanted}
    judged = outputs is None or len(outputs) > 0
    gates = {name: {"outputs": sorted(set(rule.outputs)), "upstream": sorted(set(rule.upstream))}
             for name, rule in sorted(settings.gate_map.items()) if judged}
    # Which holder a log is read from means nothing, so that what was read from a bus can be built again from its archive.
    buses = mappings(settings.kafka, topics) | mappings(settings.kinesis, topics)
    logs = {name: {key: said[key] for key in LOG_MEANING if key in said} for name, said in sorted(buses.items())}
    return {"events": mappings(settings.events, topics), "archives": logs | mappings(settings.archives, topics),
            "labels": mappings(settings.labels, label_types), "gate_map": gates,
            "deny_outputs": sorted(set(settings.deny_outputs)) if judged else []}
