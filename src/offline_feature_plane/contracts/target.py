"""How labels become a target, as an intent says it: one label type, or several that are combined (`decisions.md` D24, record 0033)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, field_validator

from offline_feature_plane.contracts.model import Contract, Text, TextSet
from offline_feature_plane.domain.combining import parse_combination, text_of

__all__ = ["CombinedTarget", "Target", "TargetRule", "TypeRule"]

Values = Annotated[TextSet, Field(min_length=1)]
Unlabeled = Literal["exclude", "refuse", "negative_when_mature"]


class TypeRule(Contract):
    """What the labels of one type say, where several are combined. `negative` null means every other resolved value."""

    positive: Values
    negative: Values | None = None
    unlabeled: Unlabeled


class TargetRule(Contract):
    """How a resolved label becomes a target (`decisions.md` D24). `negative` null means every other resolved value."""

    label_type: Text
    positive: Values
    negative: Values | None = None
    unlabeled: Unlabeled

    def by_type(self) -> dict[str, TypeRule]:
        """What the labels of each of its types say: here of one."""
        return {self.label_type: TypeRule(positive=self.positive, negative=self.negative, unlabeled=self.unlabeled)}


class CombinedTarget(Contract):
    """How resolved labels of several types become one target: and, or, not and brackets over the types, each named once.

    `combine` is read in its canonical spelling, so that one meaning has one (`domain.combining`).
    """

    types: dict[Text, TypeRule]
    combine: Text

    @field_validator("types")
    @classmethod
    def _several(cls, types: dict[str, TypeRule]) -> dict[str, TypeRule]:
        if len(types) < 2:
            raise ValueError("a combination is of two or more label types; say of one what is positive, negative and unlabeled without it")
        return types

    @field_validator("combine")
    @classmethod
    def _canonical(cls, text: str, info: ValidationInfo) -> str:
        types = info.data.get("types")  # absent if unsound, which is told by itself
        return text if types is None else text_of(parse_combination(text, types))

    def by_type(self) -> dict[str, TypeRule]:
        """What the labels of each of its types say."""
        return self.types


def _kind_of_target(given: Any) -> str:
    """Which of the two a target means to be."""
    names = given if isinstance(given, Mapping) else vars(given) if isinstance(given, Contract) else ()
    return "several label types" if "combine" in names or "types" in names else "one label type"


Target = Annotated[Annotated[TargetRule, Tag("one label type")] | Annotated[CombinedTarget, Tag("several label types")],
                   Discriminator(_kind_of_target)]
