"""Draws worlds whose rows are joined with contexts: of every source, of any age or of a few seconds, demanded or not."""

from __future__ import annotations

from dataclasses import replace
from random import Random  # noqa: TID251 - worlds are drawn, each from its seed

from offline_feature_plane.domain.aggregations import aggregation_kind
from offline_feature_plane.domain.closure import Aggregation, Computed, Feature, Group, Source, Window
from offline_feature_plane.domain.columns import ColumnType
from offline_feature_plane.domain.grammar import parse
from offline_feature_plane.testing.drawing import (
    draw_apart_world,
    draw_calendar_world,
    draw_judged_world,
    draw_late_world,
    draw_spine_world,
    draw_world,
)
from offline_feature_plane.testing.worlds import SECOND, World

__all__ = ["draw_context_world"]

_WORLDS = (draw_world, draw_world, draw_late_world, draw_late_world, draw_apart_world, draw_spine_world, draw_calendar_world,
           draw_judged_world)
_AGES = (None, None, *(length * SECOND for length in (1, 2, 4, 7)))
_WHERES = {"tx": ("amount > 0", "not is_null(city)", "online or score >= 0.5"), "login": ("tries > 1", "city == 'b'")}
_SELDOM = 0.25


def draw_context_world(seed: int, *, events: int = 28) -> World:
    """The world of a seed whose rows have one to three contexts; a derived column says whether one of them is known."""
    rng = Random(f"context {seed}")  # noqa: S311 - nothing secret is drawn
    world = rng.choice(_WORLDS)(seed, events=events)
    closure, calendar = world.task.closure, world.task.calendar
    sources = [source for source in closure.sources if source.event_types]
    entity = None if calendar is None else world.task.entity
    contexts = tuple(_context(rng, f"ctx{number}", rng.choice(sources), entity) for number in range(rng.choice([1, 1, 2, 3])))
    first = contexts[0].features[0]
    asked = parse(f"is_null({first.column})", {first.column: first.type})
    known = Computed("unknown", asked, ColumnType("bool"))
    return replace(world, task=replace(world.task, closure=replace(
        closure, groups=(*closure.groups, *contexts), derived=(*closure.derived, known))))


def _context(rng: Random, name: str, source: Source, entity: str | None) -> Group:
    key = (entity,) if entity is not None else rng.choice([("customer",), ("customer",), ("device",), ("customer", "device")])
    age = rng.choice(_AGES)
    window = Window("lifetime", "lifetime") if age is None else Window("sliding", f"{age // SECOND}s", age)
    scope = {**{field.name: field.type for field in source.fields}, "ts": ColumnType("timestamp")}
    where = parse(rng.choice(_WHERES[source.name]), scope) if rng.random() < _SELDOM else None
    taken = rng.sample(source.fields, rng.randint(1, 3))
    features = tuple(Feature(f"{name}__{field.name}", Aggregation("last", field.name), window, aggregation_kind("last").output(field.type),
                             None, field.identifier) for field in taken)
    return Group(name, "v1", source.name, key, where, False, rng.choice([0, 0, 0, SECOND, 3 * SECOND]), "skip", features,  # noqa: FBT003 - as contexts are
                 rng.choice(["drop", "null"]))
