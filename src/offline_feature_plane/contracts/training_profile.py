"""The training profile: what a training wants of the datasets that it is handed (`domain.md` §6)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from offline_feature_plane.contracts.intent import Digest
from offline_feature_plane.contracts.model import Contract, Text, shown

__all__ = ["TrainingProfile"]


def _set_name(text: str) -> str:
    name, _, version = text.partition("@")
    if not name or not version or "@" in version or text.split() != [text]:
        raise ValueError(f"{shown(text)} is not a feature set; write id@version, as `ofs show` shows it")
    return text


class TrainingProfile(Contract):
    """What a training wants of its datasets; `ofs admit` holds their manifests against it."""

    schema_version: Literal["learning.ofs_training_profile.v1"] = "learning.ofs_training_profile.v1"
    policy_id: Text = Field(description="The name of the training.")
    revision: Text = Field(description="The revision of this profile.")
    feature_set: Annotated[Text, AfterValidator(_set_name)] = Field(description="The feature set that the model takes, as id@version.")
    closure_digest: Digest | None = Field(None, description="The digest of its definition, to be sure to the letter; null: not asked.")
    resolution_rule: Text = Field(description="The label rule, or `observed_time<=label_asof_utc`, which every rule of OFS keeps. "
                                              "Case and blanks do not count.")
    manifest_schema: Text = Field("learning.dataset_manifest.v1", description="The contract that manifests must follow.")
