"""Libraries that a user may have: loaded when they are asked for, refused with what to install where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from offline_feature_plane.errors import RequestCommandUnsupported


def need(library: str) -> Any:
    """A library by its name. Raises RequestCommandUnsupported."""
    try:
        return import_module(library)
    except ImportError as missing:
        raise RequestCommandUnsupported(f"{library} is not installed.",
                                        fix=f"pip install 'offline-feature-plane[{library}]'") from missing
