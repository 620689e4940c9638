"""The index of an archive that has none, made from its files (`domain.md` §1.4): each is read once, and nothing is half done.

    files ──▶ hash ──┬─ known, with this digest and mapping ──▶ its entries stay
                     └─ else ─▶ read to its end ──▶ runs ─────▶ its entries
                                                    every entry ──▶ chain ──▶ index.json, replaced as one piece

What has been read is kept beside the index until that is written, so a job that was killed reads no file twice. What a job that copies has
noted of its segments before it was stopped (`archives.notes`) counts as what an index says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from offline_feature_plane.contracts.archive_index import ARCHIVE_INDEX_SCHEMA, ArchiveIndex, IndexedSegment
from offline_feature_plane.domain.archive_chain import Covered, Run, linked
from offline_feature_plane.domain.basis import Lane
from offline_feature_plane.domain.canonical import digest
from offline_feature_plane.domain.completeness import UNDECLARED
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.domain.instants import format_instant
from offline_feature_plane.domain.path_texts import path_fault
from offline_feature_plane.errors import ArchiveIndexConflict, OfsError, Problem, RefInvalid, SourceUnreadable, refuse
from offline_feature_plane.sources.archives.file_runs import Scan, runs_in
from offline_feature_plane.sources.archives.foreign_segments import first_trouble
from offline_feature_plane.sources.archives.forms import SUFFIXES, is_segment
from offline_feature_plane.sources.archives.index import parse_index
from offline_feature_plane.sources.archives.notes import Notes, noted_segments
from offline_feature_plane.sources.archives.places import INDEX, UNFINISHED, ArchivePlace, HeldFile, Version
from offline_feature_plane.sources.archives.report import MOST_TROUBLES, IndexReport, report_on

__all__ = ["IndexWish", "index_bytes", "make_index"]

KEEP_EVERY: Final = 256 << 20  # bytes read between two times that what is known is kept
_MUCH: Final = 8 << 20  # bytes of new files from which on it is worth to load what decodes in batches: seconds, if they are packed
_FILE_BYTES: Final = 512 << 10  # what a file counts, however short it is
_BROKEN: Final = "Restore it, or run with --replace to make it from the files alone; what an archiver said of them is lost then."
_WISH_RECIPE: Final = "ofs.archive_index_wish.v1"

Entries = list[dict[str, Any]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class IndexWish:
    """What an index is made of, beside the files.

    Attributes:
        log_id: which log new segments count in; None: the one that the index has, else the topic's name.
        lifting: how the records of another tool are read.
        holes_are_lawful: offsets that no file holds had no record. Declared by whoever knows the log.
        undecodable_are_known: so are records that cannot be decoded.
        replace: the index may lose entries of files that have changed, or are gone.
    """

    log_id: str | None = None
    lifting: Lifting | None = None
    holes_are_lawful: bool = False
    undecodable_are_known: bool = False
    replace: bool = False

    @property
    def mapping(self) -> str | None:
        """What stands in an entry for how its records were read."""
        return None if self.lifting is None else self.lifting.mark

    def reads_as(self, entry: Mapping[str, Any]) -> bool:
        """Was an entry made by reading records in this way? What an archiver says of a log does not depend on that."""
        return bool(entry["evidence"] == "archiver" or entry["mapping"] == self.mapping)

    def mark(self) -> str:
        """The digest of all that entries depend on beside their file."""
        return digest(_WISH_RECIPE, {"mapping": self.mapping, "holes_are_lawful": self.holes_are_lawful, "log_id": self.log_id})


@dataclass
class _Work:
    """What one job knows so far: entries by path, and what is wrong. Those that stand for files in `stale` were read in another way."""

    place: ArchivePlace
    wish: IndexWish
    standing: dict[str, Entries]
    logs: dict[tuple[str, int, str], str]
    notes: Notes
    stale: frozenset[str] = frozenset()
    unfinished: dict[str, Entries] = field(default_factory=dict)
    noted: Mapping[str, Entries] = field(default_factory=dict)
    quick: Scan | None = None
    entries: dict[str, Entries] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    read: int = 0
    kept: int = 0
    reread: int = 0
    fresh: dict[str, tuple[IndexedSegment, ...]] = field(default_factory=dict)
    unkept: int = 0
    troubles: list[str] = field(default_factory=list)


def make_index(place: ArchivePlace, wish: IndexWish, progress: Progress, scanner: Callable[[], Scan | None] = lambda: None) -> IndexReport:
    """Make the index of an archive from its files, or bring it up to date.

    Args:
        place: the archive.
        wish: what is made of it.
        progress: is told how many bytes are done.
        scanner: asked where there is much to read for what finds the runs of a file more quickly, by compiled code.

    Raises:
        SourceUnreadable: a file cannot be read, its records are in no order, or none can be decoded; with every such file.
        ArchiveIndexConflict: a segment has changed, or is gone, and `replace` is not wished; or somebody else makes the index.
        ReplayBasisMismatch: a record is not what its hash says, or a file changes while it is read.
        RefScopeInvalid: a link leads out of the archive. ResourceExceeded. StorageIoFailure. TimeZoneUndeclared.
    """
    with place.alone():
        before = place.document(INDEX)
        standing = _by_path(before, f"{place.name}/{INDEX}", wish)
        stale = frozenset(path for path, entries in standing.items() if not all(map(wish.reads_as, entries)))
        logs = {_lane(one): one["log_id"] for entries in standing.values() for one in entries}
        work = _Work(place, wish, standing, logs, Notes(place, UNFINISHED), stale)
        _recall(work)
        work.noted = {path: [one.model_dump()] for path, one in noted_segments(place).items() if _may_be_noted(standing.get(path))}
        files = place.listed()
        if sum(one.size for one in files if one.relative not in work.standing or one.relative in work.stale) > _MUCH:
            work.quick = scanner()
        _settle_all(files, work, progress)
        _look_for_lost(work, {one.relative for one in files})
        _name_log(work)
        if work.problems:
            _keep(work)
            raise refuse(work.problems)
        if not work.entries and not standing:
            _refuse_strange(work)
        index = ArchiveIndex(segments=tuple(_chained(work)))
        text = index_bytes(index.segments)
        is_new = before is None or before.data != text
        if is_new:
            place.replace(INDEX, text, None if before is None else before.mark)
        work.notes.remove()
        return report_on(index, place.name, read=work.read, kept=work.kept, reread=work.reread, ignored=work.ignored,
                         was_written=is_new, troubles=work.troubles)


def index_bytes(segments: Sequence[IndexedSegment]) -> bytes:
    """The document of an index, one segment a line."""
    lines = ",\n  ".join(one.model_dump_json(exclude_defaults=True) for one in segments)
    return f'{{"schema_version": "{ARCHIVE_INDEX_SCHEMA}", "segments": [\n  {lines}\n]}}\n'.encode()


def _lane(one: Mapping[str, Any]) -> tuple[str, int, str]:
    return one["topic"], one["partition"], one["offset_kind"]


def _by_path(written: Version | None, where: str, wish: IndexWish) -> dict[str, Entries]:
    found: dict[str, Entries] = defaultdict(list)
    try:
        for one in () if written is None else parse_index(written, where).segments:
            found[one.path].append(one.model_dump())
    except SourceUnreadable as wrong:
        if not wish.replace:
            raise SourceUnreadable(wrong.what, path=wrong.path, fix=_BROKEN) from wrong
    return dict(found)


def _recall(work: _Work) -> None:
    """What a job that did not end had read, if it read with the same eyes."""
    if work.notes.wish == work.wish.mark():
        work.unfinished = {path: [one.model_dump() for one in entries] for path, entries in work.notes.files.items()}


def _keep(work: _Work) -> None:
    """Note what was read since this was done last."""
    if not work.fresh:
        return
    if work.notes.wish == work.wish.mark():
        work.notes.add(work.fresh)
    else:
        work.notes.begin(work.wish.mark(), "", work.fresh)
    work.fresh, work.unkept = {}, 0


def _settle_all(files: Sequence[HeldFile], work: _Work, progress: Progress) -> None:
    total, done = sum(one.size for one in files), 0
    try:
        for file in files:
            _settle(file, work)
            done += file.size
            progress("index", done, total)
            if work.unkept > KEEP_EVERY:
                _keep(work)
    except BaseException:  # whatever ends it, and be it a person
        with suppress(OfsError):
            _keep(work)
        raise


def _settle(file: HeldFile, work: _Work) -> None:
    """The entries of one file: those that are known, if it is still the same, else what it holds."""
    if not is_segment(file.relative):
        work.ignored.append(file.relative)
        return
    said = work.standing.get(file.relative)
    told = [one for one in (work.noted.get(file.relative), None if file.relative in work.stale else said,
                            work.unfinished.get(file.relative)) if one]
    try:
        if (fault := path_fault(file.relative)) is not None:
            raise RefInvalid(f"no index can name this file: {fault}.", path=file.relative, fix="Rename it.")
        if file.etag is not None and (known := _known(told, "etag", file)) is not None:
            work.entries[file.relative] = known
            work.kept += 1
            return
        with work.place.hashed(file) as hashed:
            if (known := _known(told, "sha256", hashed)) is not None:
                work.entries[file.relative] = [{**one, "etag": file.etag} for one in known]
                work.kept += 1
                return
            if said is not None and _known([said], "sha256", hashed) is None and not work.wish.replace:
                raise ArchiveIndexConflict(f"{file.relative} is not what the index says: it has {hashed.size} bytes with the digest "
                                           f"{hashed.sha256[:19]}…, not {said[0]['size']} with {said[0]['sha256'][:19]}….",
                                           path=file.relative, fix="Restore the segment, or run with --replace if the new bytes are meant.")
            runs = runs_in(hashed, work.wish.lifting, work.quick, holes_are_lawful=work.wish.holes_are_lawful)
            _note_trouble(hashed, runs, work)
            work.unkept += hashed.size + _FILE_BYTES
            work.read += 1
            work.reread += file.relative in work.stale
            if runs:
                found = [_entry(run, hashed, work) for run in runs]
                work.entries[file.relative], work.fresh[file.relative] = [one.model_dump() for one in found], tuple(found)
            else:
                work.ignored.append(file.relative)
    except OfsError as wrong:
        if wrong.transient:  # not the file's fault
            raise
        work.problems.append(Problem(file.relative, wrong.code, f"{wrong.what} {wrong.fix}".strip()))


def _refuse_strange(work: _Work) -> None:
    """An archive has no index yet, and all that is there has names of no form: it is not what it was taken for. Raises."""
    if strange := [one for one in work.ignored if not is_segment(one)]:
        more = f" and {len(strange) - 1:,} more" if len(strange) > 1 else ""
        raise SourceUnreadable(f"{work.place.name} has files, and none is a segment: {strange[0]}{more}.", path=strange[0],
                               fix=f"Names say what a file is: let those of segments end in {', '.join(SUFFIXES)}.")


def _note_trouble(file: HeldFile, runs: Sequence[Run], work: _Work) -> None:
    """What is wrong with the first record of a file that cannot be decoded, if it can be told, and of few files: it is read again."""
    lifting = work.wish.lifting
    if lifting is None or len(work.troubles) >= MOST_TROUBLES or not any(run.undecodable for run in runs):
        return
    if (first := first_trouble(file, lifting)) is not None:
        work.troubles.append(f"{first.place or 'a record'} in {file.relative} has {first.why}")


def _name_log(work: _Work) -> None:
    """A log that is named, and in which nothing would count, is another name for what is known: never passed over in silence."""
    wish, known = work.wish, sorted({one["log_id"] for entries in work.entries.values() for one in entries})
    if wish.log_id is None or not known or wish.log_id in known:
        return
    if not wish.replace:
        work.problems.append(Problem(INDEX, ArchiveIndexConflict.code, f"all segments count in log {' and '.join(known)}, none in "
                                     f"{wish.log_id}, and no file is new. If it is one log, run with --replace, which names it anew: "
                                     "datasets that were built by the old name are not built again."))
    work.entries = {path: [{**one, "log_id": wish.log_id} for one in entries] for path, entries in work.entries.items()}


def _known(told: Sequence[Entries], name: str, file: HeldFile) -> Entries | None:
    """The first entries that are of a file with these bytes, as its digest says, or its etag."""
    return next((one for one in told if (one[0]["size"], one[0][name]) == (file.size, getattr(file, name))), None)


def _may_be_noted(standing: Entries | None) -> bool:
    """What the job that wrote a file noted of it is more than its bytes can say."""
    return standing is None or any(one["evidence"] != "archiver" for one in standing)


def _entry(run: Run, file: HeldFile, work: _Work) -> IndexedSegment:
    topic, partition, kind = run.lane
    log_id = work.wish.log_id or work.logs.get(run.lane) or _log_of_topic(topic, kind, work)
    entry = {"topic": topic, "partition": partition, "offset_kind": kind, "path": file.relative, "sha256": file.sha256, "size": file.size,
             "log_id": log_id, "first_offset": str(run.begin),
             "last_offset": str(run.last), "next_offset": str(run.end), "record_count": run.count, "etag": file.etag,
             "dispositions": {UNDECLARED: run.undecodable} if run.undecodable else {},
             "first_log_time_utc": _time(run.first_log_us), "last_log_time_utc": _time(run.last_log_us),
             "evidence": "declared" if work.wish.holes_are_lawful else "files", "mapping": work.wish.mapping}
    try:
        return IndexedSegment.model_validate(entry)
    except ValidationError as wrong:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong.errors())
        raise SourceUnreadable(f"no index can say what this file holds: {said}.", path=file.relative,
                               fix="Shorten what is too long, or write the file again.") from wrong


def _time(us: int | None) -> str | None:
    return None if us is None else format_instant(us)


def _log_of_topic(topic: str, kind: str, work: _Work) -> str:
    """Which log a partition counts in that the index has not yet: its topic's, if that has one."""
    others = {log for (known, _, its_kind), log in work.logs.items() if (known, its_kind) == (topic, kind)}
    return others.pop() if len(others) == 1 else topic


def _look_for_lost(work: _Work, present: set[str]) -> None:
    for path in sorted(set(work.standing) - present):
        if not work.wish.replace:
            work.problems.append(Problem(path, ArchiveIndexConflict.code, "the index has this segment, and there is no such file. Restore "
                                                                          "it, or run with --replace if it is meant to be gone."))


def _chained(work: _Work) -> Iterator[IndexedSegment]:
    """Every entry with its end, by lane, log and offset."""
    lanes: dict[Lane, Entries] = defaultdict(list)
    for entries in work.entries.values():
        for one in entries:
            lanes[(*_lane(one), one["log_id"])].append(_declared(one, work.wish))
    for lane in sorted(lanes):
        mine = sorted(lanes[lane], key=lambda one: (int(one["first_offset"]), int(one["next_offset"]), one["path"]))
        ends = linked([Covered(int(one["first_offset"]), int(one["next_offset"]), one["evidence"] == "declared") for one in mine])
        for one, end in zip(mine, ends, strict=True):
            yield IndexedSegment.model_validate({**one, "next_offset": str(end)})


def _declared(one: Mapping[str, Any], wish: IndexWish) -> dict[str, Any]:
    """What an archiver said stays as it is; what files said may be declared later."""
    if one["evidence"] == "archiver":
        return dict(one)
    odd = dict(one["dispositions"])
    if wish.undecodable_are_known and (count := odd.pop(UNDECLARED, 0)):
        odd["undecodable"] = count
    return {**one, "dispositions": odd, "evidence": "declared" if wish.holes_are_lawful else one["evidence"]}
