"""A route as people see it: who has each stretch, and why nobody has it."""

import pytest

from offline_feature_plane.cli.showing_routes import told
from offline_feature_plane.domain.basis import Range
from offline_feature_plane.domain.cutover import Watermarks, route


@pytest.mark.parametrize(("log_id", "why"), [("log1", "nobody: retention has passed"), ("log2", "nobody: they have another log")])
def test_a_log_that_nobody_has_is_not_blamed_on_retention(log_id, why):
    """A bus whose topic was made anew never had the wanted offsets of the log before.

    wanted  log1  [0 ──────── 9)
    bus     log1       [5 ─── 9)     or a log2, that has nothing of it
    """
    wanted = Range("tx", 0, "kafka_offset", "log1", "0", "9")
    shown = told([route(wanted, (), Watermarks("tx", 0, "kafka_offset", log_id, "5", "9", "9")).describe()])
    assert why in shown
    assert shown.count("nobody") == 1
