"""The `ofs` group, and the words that its commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from offline_feature_plane.errors import DatasetNotFound, RunNotFound

Command = TypeVar("Command", bound=Callable[..., Any])

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines instead of text.")
plane_option = click.option("--plane", "plane_path", type=click.Path(path_type=Path), envvar="OFS_PLANE",
                            help="The plane.yaml to use. Default: beside the intent, else in the current folder.")
this_plane_option = click.option("--plane", "plane_path", type=click.Path(path_type=Path), envvar="OFS_PLANE",
                                 help="The plane.yaml to use. Default: the one in the current folder.")
intent_argument = click.argument("intent", type=click.Path(path_type=Path))


def named(_: click.Context, parameter: click.Parameter, given: str) -> str:
    """A name that is not blank: a blank one begins every other."""
    if given.strip():
        return given
    if parameter.name == "run_key":
        raise RunNotFound("no run was given.", fix="Give the beginning of a run key, or a request id; `ofs runs` lists them.")
    raise DatasetNotFound("no dataset was given.", fix="Give the beginning of a dm_… id; `ofs datasets` lists them.")


class InOrder(click.Group):
    """Lists its commands in the order of work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, as they joined."""
        return list(self.commands)


@click.group(cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
             epilog="Start with `ofs demo`, or with your own files: `ofs init DIR --events FILE --labels FILE`.")
@click.version_option(package_name="offline-feature-plane", prog_name="ofs")
def ofs() -> None:
    """Point-in-time training datasets from an event log and a label timeline: pinned, proved, published once."""


def example(text: str) -> Callable[[Command], Command]:
    """Show an example at the end of a command's help."""
    def decorate(command: Command) -> Command:
        command.__doc__ = f"{command.__doc__}\n\n\b\nExample:\n  {text}\n"
        return command
    return decorate
