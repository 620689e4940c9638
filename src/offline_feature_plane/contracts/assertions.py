"""Label assertions as documents: what a label timeline says, one statement at a time (`domain.md` §1.6, `decisions.md` D22).

```
{"schema_version": "learning.label_assertion.v1", "label_subject_key": {"platform_run_id": "cards", "event_id": "tx-1"},
 "label_type": "chargeback", "label_value": "CHARGEBACK", "observed_time": "2026-05-01T00:00:00.000000Z",
 "effective_time": "2026-04-02T09:30:00.000000Z", "source_type": "EXTERNAL", "label_assertion_id": "cb-17"}
```
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, model_validator

from offline_feature_plane.contracts.model import Contract, Text, broken, validate
from offline_feature_plane.domain.instants import format_instant, parse_offset_instant
from offline_feature_plane.domain.resolution import Assertion
from offline_feature_plane.errors import LabelPolicyInvalid


def _instant(text: str) -> str:
    parse_offset_instant(text)  # raises ValueError with a sentence
    return text


InstantText = Annotated[str, AfterValidator(_instant)]


class LabelSubject(Contract):
    """The event that an assertion is about."""

    platform_run_id: Text
    event_id: Text


class LabelAssertion(Contract):
    """One statement about one event. A HUMAN source names its actor; `supersedes` names the assertion that this one replaces."""

    schema_version: Literal["learning.label_assertion.v1"] = "learning.label_assertion.v1"
    label_assertion_id: Text | None = None
    label_subject_key: LabelSubject
    label_type: Text
    label_value: Text
    observed_time: InstantText
    effective_time: InstantText
    source_type: Literal["HUMAN", "EXTERNAL", "AUTO", "SYSTEM"]
    actor_id: Text | None = None
    supersedes: Text | None = None

    @model_validator(mode="after")
    def _human_has_a_name(self) -> LabelAssertion:
        if self.source_type == "HUMAN" and self.actor_id is None:
            raise broken(LabelPolicyInvalid, "a HUMAN assertion names its actor in actor_id")
        return self


def read_assertion(document: Any) -> Assertion:
    """The statement of a document as the value that resolution works on.

    Raises:
        SchemaInvalid, LabelPolicyInvalid: with every problem and its path.
    """
    found = validate(LabelAssertion, document)
    return Assertion(found.label_subject_key.event_id, found.label_type, found.label_value, parse_offset_instant(found.observed_time),
                     parse_offset_instant(found.effective_time), found.source_type, found.label_assertion_id, found.supersedes)


def write_assertion(one: Assertion, platform_run_id: str, actor_id: str | None = None) -> dict[str, Any]:
    """The document of a statement; absent members are left out. Reading it back gives the statement, its subject as text.

    Raises:
        SchemaInvalid, LabelPolicyInvalid: the statement has no valid document.
    """
    document = {"label_assertion_id": one.assertion_id,
                "label_subject_key": {"platform_run_id": platform_run_id, "event_id": str(one.subject)}, "label_type": one.label_type,
                "label_value": one.value, "observed_time": format_instant(one.observed_us),
                "effective_time": format_instant(one.effective_us), "source_type": one.source, "actor_id": actor_id,
                "supersedes": one.supersedes}
    return validate(LabelAssertion, {key: value for key, value in document.items() if value is not None}).model_dump(exclude_none=True)
