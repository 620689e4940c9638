"""What a disk may hold after the power went (POSIX): of everything that was not synced, each piece may be there, missing or half there.

    write · link · mkdir · unlink …   happened, not yet sure
    fsync of a file                   its bytes are sure
    fsync of a folder                 its entries are sure, and nothing else

An entry says nothing of the bytes behind it, and a synced file without a synced entry is lost. `states` gives the disks that
may be found: all of them where they are few, else all near the two ends, and some drawn from a seed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = 0
Tree = Mapping[str, bytes | None]  # contents by path; None is a folder


class Effect(NamedTuple):
    """One thing that happened to the disk. Files and folders have numbers, which are never used again.

    create, mkdir, link: an entry `name` of `folder` for `number`. unlink: the entry is gone. write, cut: bytes of `number`. sync: of
    `number`. told: somebody was told `name`, and relies on it.
    """

    kind: str
    number: int = ROOT
    folder: int = ROOT
    name: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class _File:
    synced: bytes = b""
    pending: list[Effect] = field(default_factory=list)

    def options(self) -> list[bytes]:
        """What it may hold, from what is surely there to all that was written."""
        count, whole = len(self.pending), self.written()
        if count <= 3:
            kept = [set(chosen) for size in range(count) for chosen in itertools.combinations(range(count), size)]
        else:
            everything = set(range(count))
            kept = [set(), *({one} for one in everything), *(everything - {one} for one in everything)]
        found = [self._with(chosen) for chosen in kept]
        found += [self._with(set(range(count)), half=one) for one in range(count)]
        found += [self._with(set(range(count)), zeros=one) for one in range(count)]
        return [one for one in dict.fromkeys([self.synced, *found]) if one != whole] + [whole]

    def written(self) -> bytes:
        """All that was written."""
        return self._with(set(range(len(self.pending))))

    def _with(self, kept: set[int], half: int | None = None, zeros: int | None = None) -> bytes:
        data = bytearray(self.synced)
        for number, effect in enumerate(self.pending):
            if number not in kept:
                continue
            if effect.kind == "cut":
                data = data[:effect.offset].ljust(effect.offset, b"\0")
                continue
            written = effect.data
            if number == half:
                written = written[:len(written) // 2]
            elif number == zeros:  # the length grew, the bytes never came; what was there before is not wiped out
                written = (data[effect.offset:effect.offset + len(written)]).ljust(len(written), b"\0")
            data = data.ljust(effect.offset, b"\0")
            data[effect.offset:effect.offset + len(written)] = written
        return bytes(data)


@dataclass
class _Folder:
    synced: dict[str, int] = field(default_factory=dict)
    pending: list[tuple[str, int | None]] = field(default_factory=list)

    def options(self) -> dict[str, list[int | None]]:
        """What each name may lead to, from what is surely there to what happened last."""
        found: dict[str, list[int | None]] = {name: [number] for name, number in self.synced.items()}
        for name, number in self.pending:
            found.setdefault(name, [None]).append(number)
        return {name: [one for at, one in enumerate(numbers) if one not in numbers[at + 1:]] for name, numbers in found.items()}


@dataclass
class Disk:
    """A disk on which effects happen."""

    files: dict[int, _File] = field(default_factory=dict)
    folders: dict[int, _Folder] = field(default_factory=lambda: {ROOT: _Folder()})

    def happen(self, effect: Effect) -> None:
        """Let it happen."""
        if effect.kind == "sync":
            self._sync(effect.number)
        elif effect.kind in {"write", "cut"}:
            self.files[effect.number].pending.append(effect)
        elif effect.kind == "unlink":
            self.folders[effect.folder].pending.append((effect.name, None))
        elif effect.kind != "told":
            if effect.kind == "mkdir":
                self.folders[effect.number] = _Folder()
            elif effect.kind == "create":
                self.files[effect.number] = _File()
            self.folders[effect.folder].pending.append((effect.name, effect.number))

    def _sync(self, number: int) -> None:
        if number in self.folders:
            folder = self.folders[number]
            for name, at in folder.pending:
                folder.synced.pop(name, None)
                if at is not None:
                    folder.synced[name] = at
            folder.pending.clear()
        else:
            file = self.files[number]
            file.synced = file.written()
            file.pending.clear()

    def states(self, bound: int, seed: int) -> Iterator[Tree]:
        """The disks that may be found after a power loss now: at most `bound`, each once. The first lost all it could, the next nothing."""
        entries = {number: folder.options() for number, folder in self.folders.items()}
        named = {number for names in entries.values() for numbers in names.values() for number in numbers}
        contents = {number: file.options() for number, file in self.files.items() if number in named}
        open_ends = [(number, name, len(numbers)) for number, names in entries.items() for name, numbers in names.items()]
        open_ends += [(number, "", len(found)) for number, found in contents.items()]
        counts = [count for *_, count in open_ends]
        seen = set()
        for chosen in itertools.islice(_choices(counts, bound, seed), 20 * bound):
            at = {(number, name): index for (number, name, _), index in zip(open_ends, chosen, strict=True)}
            tree = dict(_walk(ROOT, "", entries, contents, lambda *end, at=at: at[end]))
            mark = tuple(sorted(tree.items(), key=lambda item: item[0]))
            if mark not in seen:
                seen.add(mark)
                yield tree
            if len(seen) == bound:
                return


def write_tree(tree: Tree, folder: Path) -> None:
    """Make a disk's state a real folder."""
    folder.mkdir(parents=True)
    for path, data in tree.items():
        if data is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(data)


def _choices(counts: Sequence[int], bound: int, seed: int) -> Iterator[tuple[int, ...]]:
    """For each open end the index of an option: both extremes, all if they are few, else one step from either, then drawn ones."""
    lost, kept = tuple(0 for _ in counts), tuple(count - 1 for count in counts)
    yield lost
    yield kept
    if math.prod(counts) <= bound:
        yield from itertools.product(*(range(count) for count in counts))
        return
    draw = random.Random(seed)
    steps = [(near, at, index) for near in (lost, kept) for at, count in enumerate(counts) for index in range(count) if index != near[at]]
    draw.shuffle(steps)
    yield from ((*near[:at], index, *near[at + 1:]) for near, at, index in steps)
    while True:
        yield tuple(draw.randrange(count) for count in counts)


def _walk(folder: int, prefix: str, entries: Mapping[int, Mapping[str, Sequence[int | None]]], contents: Mapping[int, Sequence[bytes]],
          index: Callable[[int, str], int]) -> Iterator[tuple[str, bytes | None]]:
    for name, numbers in entries[folder].items():
        number = numbers[index(folder, name)]
        if number is None:
            continue
        if number in contents:
            yield prefix + name, contents[number][index(number, "")]
        else:
            yield prefix + name, None
            yield from _walk(number, f"{prefix}{name}/", entries, contents, index)
