"""Spines in worlds with ties, repeats and archives: who stands first at an instant, and who was asked for twice (`docs/decisions/0036`)."""

import tempfile
from pathlib import Path

import pytest
from two_engines import tell

from offline_feature_plane.engines.local import LocalEngine
from offline_feature_plane.engines.local.sizes import Sizes
from offline_feature_plane.engines.oracle import OracleEngine
from offline_feature_plane.testing.drawing import draw_spine_world

SMALL = Sizes(block=3, run_rows=5, ids=10, merge_total=8, index=2, data=500)


def hold_together(seed):
    """Oracle, local engine and local engine in small files say the same of the spine of a seed, its errors included."""
    world = draw_spine_world(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        events, labels = world.write(folder)
        expected, *others = (tell(engine, world.task, events, labels, folder / str(number)) for number, engine in enumerate((
            OracleEngine(), LocalEngine(), LocalEngine(SMALL))))
    for found in others:
        for part in expected | found:
            assert found.get(part) == expected.get(part), f"seed {seed}: {part}"
    return expected


@pytest.mark.parametrize("seed", range(8))
def test_engines_agree_on_spines(seed):
    """A spine's events come before all others of their instant in every engine, and the same repeats are refused."""
    hold_together(seed)


def test_repeats_are_drawn_and_so_are_sound_spines():
    """The worlds of these laws hold spines that are refused, and spines that are not."""
    assert {"SPINE_INVALID", None} <= {hold_together(seed).get("error") for seed in range(20, 24)}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_300))
def test_engines_agree_on_many_spines(seed):
    """As above, three hundred worlds."""
    hold_together(seed)
