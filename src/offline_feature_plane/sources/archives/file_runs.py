"""What one file of an archive proves, and why it is no part of a log (`domain.archive_chain`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from offline_feature_plane.domain.archive_chain import Disorder, FileRuns, NothingDecoded, Run, TooManyHoles
from offline_feature_plane.domain.canonical import MAX_DOCUMENT_BYTES
from offline_feature_plane.domain.foreign_records import Lifting
from offline_feature_plane.errors import SourceUnreadable
from offline_feature_plane.filesets import parquet_rows
from offline_feature_plane.sources.archives.foreign_segments import first_trouble
from offline_feature_plane.sources.archives.forms import is_table
from offline_feature_plane.sources.archives.places import HeldFile
from offline_feature_plane.sources.archives.segments import records_of
from offline_feature_plane.text_files import packing_of, read_lines

__all__ = ["Scan", "runs_in"]

Scan = Callable[[HeldFile, FileRuns, Lifting | None], None]


def runs_in(file: HeldFile, lifting: Lifting | None, quick: Scan | None, *, holes_are_lawful: bool) -> tuple[Run, ...]:
    """The runs of records in a file; `quick` finds them by compiled code.

    Raises:
        SourceUnreadable: it cannot be read, its records are in no order, or none can be decoded. ReplayBasisMismatch. ResourceExceeded.
    """
    found = FileRuns(holes_are_lawful=holes_are_lawful)
    if is_table(file.relative):
        file = replace(file, rows=parquet_rows(file.path))
    try:
        if quick is not None:
            quick(file, found, lifting)
        else:
            for record in records_of(file, lifting):
                found.take(record)
        runs = found.runs()
        if any(run.undecodable for run in runs):
            _refuse_arrays(file)
    except NothingDecoded as wrong:
        _refuse_arrays(file)
        raise _nothing_of(file, lifting, str(wrong)) from wrong
    except Disorder as wrong:
        _refuse_arrays(file)
        raise SourceUnreadable(f"{file.relative} is no part of a log: {wrong}.", path=file.relative, fix=_advice(wrong)) from wrong
    if not holes_are_lawful and any(not run.counts for run in runs):
        raise SourceUnreadable(f"{file.relative} has offsets that are never counted, so files alone cannot prove that none is missing.",
                               path=file.relative, fix="Run with --declare-holes if you know that the files hold everything.")
    return runs


def _nothing_of(file: HeldFile, lifting: Lifting | None, sentence: str) -> SourceUnreadable:
    fix = "If another tool wrote the file, say under `records` of the archive in plane.yaml where its members are; else repair it."
    if not is_table(file.relative) and _begins_too_long(file):
        sentence = f"its first line has more than {MAX_DOCUMENT_BYTES:,} bytes"
        fix = "Write one record per line, with a line end after each, and check that this is the right file."
    elif lifting is not None and (first := first_trouble(file, lifting)) is not None:
        sentence, fix = f"{sentence}; the first has {first.why}", "Correct `records` of the archive in plane.yaml, or write the file again."
    return SourceUnreadable(f"{file.relative} is no part of a log: {sentence}.", path=file.relative, fix=fix)


def _refuse_arrays(file: HeldFile) -> None:
    """A text that begins as one array of objects, as some tools write them by default, has no line that is a record. Raises."""
    if is_table(file.relative):
        return
    lines = (line.strip() for _, line in read_lines(file.path, packing=packing_of(file.relative), cuts=True))
    begin = next((line for line in lines if line), b"")
    if begin.startswith(b"[") and begin[1:].lstrip()[:1] in {b"", b"{"}:
        raise SourceUnreadable(f"{file.relative} is one JSON array, not one record a line.", path=file.relative,
                               fix="Write JSON Lines: objects alone, each on a line of its own, without brackets and commas around them.")


def _begins_too_long(file: HeldFile) -> bool:
    return any(len(line) > MAX_DOCUMENT_BYTES for _, line in islice(read_lines(file.path, packing=packing_of(file.relative), cuts=True), 1))


def _advice(wrong: Disorder) -> str:
    if isinstance(wrong, TooManyHoles):
        return "If they are lawful (compaction, transaction marks), run with --declare-holes."
    return "A segment holds the records of a partition in the order of their offsets, each once: write it again in that order."
