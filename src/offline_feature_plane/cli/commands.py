"""Every `ofs` command, in the order of work; a module of commands joins the group when it is imported."""

from __future__ import annotations

from collections.abc import Iterator

import click

from offline_feature_plane.cli import asking, handing, keeping, labelling, operating, recording, tending
from offline_feature_plane.cli.group import ofs

__all__ = ["asking", "every_command", "handing", "keeping", "labelling", "ofs", "operating", "recording", "tending"]


def every_command(group: click.Group = ofs, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, such as `build` or `ledger schema`, in the order of work."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        else:
            yield before + name, command
