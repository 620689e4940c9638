"""One profile revision, one meaning: the set that a dataset was published with does not change under its name (`decisions.md` D11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offline_feature_plane.contracts.manifest import DatasetManifest
from offline_feature_plane.contracts.plan import Pins, ProfileRef
from offline_feature_plane.domain.calendars import rows_source
from offline_feature_plane.errors import FeatureProfileDrift
from offline_feature_plane.ports import Ledger


def check_drift(pins: Pins, ledger: Ledger) -> None:
    """Hold pins against what its revision meant before; nothing is written. Raises FeatureProfileDrift."""
    profile = pins.profile
    if profile.versioned:
        _compare(profile, ledger.closure(_name(pins)))


def remember_set(pins: Pins, ledger: Ledger) -> None:
    """Remember what this revision means, once a dataset of it is about to be published. Raises FeatureProfileDrift."""
    profile = pins.profile
    if profile.versioned:
        _compare(profile, ledger.remember_closure(profile=_name(pins), digest=profile.set_digest))


def remember_published(manifest: DatasetManifest, ledger: Ledger) -> None:
    """Let a new ledger learn what a revision means from a dataset of it. Raises FeatureProfileDrift."""
    profile = ProfileRef.model_validate(manifest.evidence.profile)
    if profile.versioned:
        identity: Mapping[str, Any] = manifest.core.identity
        name = f"{profile.set_name}/{rows_source(identity['subject'])}"
        _compare(profile, ledger.remember_closure(profile=name, digest=profile.set_digest))


def _name(pins: Pins) -> str:
    return f"{pins.profile.set_name}/{rows_source(pins.intent['subject'])}"


def _compare(profile: ProfileRef, known: str | None) -> None:
    if known not in {None, profile.set_digest}:
        raise FeatureProfileDrift(f"{profile.set_name} was published with closure {known}; it now means {profile.set_digest}.",
                                  path=profile.ref)
