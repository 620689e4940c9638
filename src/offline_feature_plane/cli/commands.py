"""Every `ofs` command, in the order of work; a module of commands joins the group when it is imported."""

from __future__ import annotations

from offline_feature_plane.cli import asking, keeping, operating
from offline_feature_plane.cli.group import ofs

__all__ = ["asking", "keeping", "ofs", "operating"]
