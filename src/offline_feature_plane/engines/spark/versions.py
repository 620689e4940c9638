"""Which versions of Spark will do."""

from __future__ import annotations

from offline_feature_plane.errors import RequestCommandUnsupported

OLDEST = (4, 1)  # the first one whose frames can say in which part a row is


def check_version(version: str) -> None:
    """Refuse a Spark that lacks what is needed. Raises RequestCommandUnsupported.

    >>> check_version("4.1.0")
    """
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        least = ".".join(map(str, OLDEST))
        raise RequestCommandUnsupported(f"the engine is Spark, and this one is {version}; {least} is the oldest that will do.",
                                        path="engine.name", fix="Run `pip install 'offline-feature-plane[spark]'`, and use a cluster "
                                        "of the same version.")
