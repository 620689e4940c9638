"""Clients of the SDK for a place in a bucket."""

from __future__ import annotations

from typing import Any, Final

import boto3.session
from botocore.config import Config

from offline_feature_plane.aws import FAILURES, by_sdk
from offline_feature_plane.errors import StorageIoFailure
from offline_feature_plane.s3.failures import verdict_on
from offline_feature_plane.s3.place import S3Place

DEFAULT_REGION: Final = "us-east-1"

_CONNECT_S: Final = 5


def connect(place: S3Place) -> Any:
    """A client for this place, with the credentials that the SDK finds. Raises StorageIoFailure if it finds no such profile."""
    access = place.access
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=_CONNECT_S, read_timeout=access.timeout_s, max_pool_connections=16,
                    s3={"addressing_style": access.addressing or "auto"}, request_checksum_calculation="when_required",
                    response_checksum_validation="when_required", user_agent_extra="offline-feature-plane")
    try:
        session = by_sdk(boto3.session.Session, profile_name=access.profile, region_name=access.region)
        return by_sdk(session.client, "s3", endpoint_url=access.endpoint, region_name=session.region_name or DEFAULT_REGION, config=config)
    except FAILURES as wrong:
        verdict = verdict_on(wrong)
        raise StorageIoFailure(f"cannot open {place.uri('')}: {verdict.what}.", path=place.uri(""), fix=verdict.fix,
                               cause=type(wrong).__name__) from wrong
