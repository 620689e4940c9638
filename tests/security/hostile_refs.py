"""Refs that nobody should write: ways out of a folder, spelled in every way that some reader somewhere has taken for a path."""

from __future__ import annotations

import itertools
import os
import random
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

OUTSIDE = "CANARY-OUTSIDE"  # stands in every file that lies outside

ENCODINGS: tuple[Callable[[str], str], ...] = (
    lambda ref: ref,
    lambda ref: f"./{ref}",
    lambda ref: f"sub/../{ref}",
    lambda ref: f"nowhere/../{ref}",
    lambda ref: f".//.//{ref}",
    lambda ref: f"{ref}/",
    lambda ref: f"{ref}/.",
    lambda ref: f" {ref} ",
    lambda ref: f"{ref}\0.yaml",
    lambda ref: f"features.yaml\0{ref}",
    lambda ref: f"{ref}\n",
    lambda ref: f"features.yaml\n{ref}",
    lambda ref: f"\ufeff{ref}",
    lambda ref: f"\u202e{ref}",
    lambda ref: f"\u200b{ref}",
    lambda ref: f"{ref}\udcff",
    lambda ref: quote(ref, safe=""),
    lambda ref: quote(quote(ref, safe=""), safe=""),
    lambda ref: ref.replace(".", "%2e").replace("/", "%2F"),
    lambda ref: ref.replace(".", "%c0%ae").replace("/", "%c0%af"),
    lambda ref: ref.replace(".", "\u2024"),
    lambda ref: ref.replace(".", "\uff0e"),
    lambda ref: ref.replace("..", "\u2025"),
    lambda ref: ref.replace("/", "\u2215"),
    lambda ref: ref.replace("/", "\uff0f"),
    lambda ref: ref.replace("/", "\\"),
    lambda ref: f"\\\\host\\share\\{ref}",
    lambda ref: f"C:{ref}",
    lambda ref: f"file:{ref}",
    lambda ref: f"file://{ref}",
    lambda ref: f"FILE://localhost/{ref}",
    lambda ref: f"s3://bucket/{ref}",
    lambda ref: f"http://127.0.0.1:1/{ref}",
    lambda ref: f"jar:file:{ref}!/x",
    lambda ref: f"data:text/plain,{ref}",
    lambda ref: f"//host/{ref}",
    lambda ref: f"~/{ref}",
    lambda ref: f"$HOME/{ref}",
    lambda ref: f"${{HOME}}/{ref}",
    lambda ref: f"$(cat {ref})",
    lambda ref: f"`cat {ref}`",
    lambda ref: f"|cat {ref}",
    lambda ref: f"{ref}*",
    lambda ref: f"{{{ref},features.yaml}}",
    lambda ref: ref.upper(),
    lambda ref: unicodedata.normalize("NFD", f"é{ref}"),
    lambda ref: f"{'x' * 300}/../{ref}",
    lambda ref: f"{'sub/../' * 200}{ref}",
)


def lay_out(folder: Path) -> tuple[Path, Path]:
    """A root with links of every kind in it, and what lies outside and must not be opened."""
    root, outside = folder / "root", folder / "outside"
    for place in (root / "sub", outside / "deep", folder / "root-evil", folder / "rootless"):
        place.mkdir(parents=True)
    for path in (outside / "features.yaml", outside / "deep/features.yaml", folder / "root-evil/features.yaml",
                 folder / "rootless/features.yaml"):
        path.write_text(f"fields: {{{OUTSIDE}: string}}\n")
    (root / "features.yaml").write_text("fields: {inside: string}\n")
    (root / "sub/features.yaml").write_text("fields: {inside: string}\n")
    (root / "\u00e9.yaml").write_text("fields: {inside: string}\n")
    for name, target in {"file-out": "../outside/features.yaml", "file-abs": outside / "features.yaml", "file-in": "sub/features.yaml",
                         "folder-out": "../outside", "folder-abs": outside, "folder-in": "sub", "loop": "loop", "ring": "sub/ring",
                         "sub/ring": "../ring", "dangling": "../outside/not-yet", "chain": "file-out", "chain2": "sub/../chain",
                         "up": "..", "proc": "/proc/self", "null": "/dev/null", "stdin": "/dev/stdin"}.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    os.link(root / "features.yaml", root / "hard")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(os.path.relpath(root / "socket"))
    return root, outside


def hostile_refs(folder: Path) -> list[str]:
    """More than a thousand refs for the root of `lay_out`; a few of them are harmless, and it must show."""
    root, outside = folder / "root", folder / "outside"
    targets = ["../outside/features.yaml", "../outside/deep/features.yaml", str(outside / "features.yaml"),
               "../root-evil/features.yaml", f"{root}-evil/features.yaml", f"{root}less/features.yaml",
               "../../../../../../../../etc/hostname", "/etc/hostname", f"{'../' * 60}etc/hostname",
               "/proc/self/environ", f"/proc/self/root{outside}/features.yaml", "/proc/self/cwd/outside/features.yaml", "/proc/self/fd/0",
               "/dev/stdin", "/dev/fd/0", "/dev/zero", "/dev/null", "/dev/tty", "null", "stdin", "pipe", "socket",
               "file-out", "file-abs", "file-in", "folder-out/features.yaml", "folder-abs/features.yaml", "chain", "chain2",
               "folder-in/../../outside/features.yaml", "folder-out/../root/features.yaml", "up/outside/features.yaml",
               "loop", "loop/features.yaml", "ring", "dangling", "proc/environ", f"proc/root{outside}/features.yaml",
               ".", "..", "sub", "", "hard", "features.yaml", "sub/features.yaml/..", "features.yaml/../../outside/features.yaml"]
    spelled = [encoding(target) for target, encoding in itertools.product(targets, ENCODINGS)]
    draw = random.Random(15)
    pieces = ["..", ".", "/", "//", "sub", "folder-out", "up", "outside", "features.yaml", "root", "root-evil", "\\", "%2e", " ", "~",
              "proc", "\0", "loop", "file:", "\uff0f"]
    mixed = ["".join(draw.choices(pieces, k=draw.randint(2, 9))) for _ in range(600)]
    return list(dict.fromkeys([*spelled, *mixed, "a" * 100_000, "/" * 5_000, "../" * 5_000]))
