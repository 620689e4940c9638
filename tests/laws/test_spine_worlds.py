"""Spines in worlds with ties, repeats and archives: who stands first at an instant, and who was asked for twice (`docs/decisions/0036`)."""

import pytest
from two_engines import hold_together

from offline_feature_plane.testing.drawing import draw_spine_world


@pytest.mark.parametrize("seed", range(5))
def test_engines_agree_on_spines(seed):
    """A spine's events come before all others of their instant in every engine, and the same repeats are refused."""
    hold_together(draw_spine_world(seed), seed)


def test_repeats_are_drawn_and_so_are_sound_spines():
    """The worlds of these laws hold spines that are refused, and spines that are not."""
    assert {"SPINE_INVALID", None} <= {hold_together(draw_spine_world(seed), seed).get("error") for seed in range(20, 24)}


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10_000, 10_300))
def test_engines_agree_on_many_spines(seed):
    """As above, three hundred worlds."""
    hold_together(draw_spine_world(seed), seed)
