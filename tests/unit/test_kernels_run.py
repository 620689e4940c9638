"""What a group run refuses, keeps and shares, and how kernels are compiled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offline_feature_plane import kernels as kernels_package
from offline_feature_plane.kernels.compiling import warm
from offline_feature_plane.kernels.grouprun import FeatureRequest, GroupRun, LabelChanges, SumOverflow
from offline_feature_plane.kernels.windows import Latest, Session, Since, Sliding, Tumbling

WARM = """
import json, sys
from pathlib import Path
from offline_feature_plane.kernels.compiling import prepare_cache, warm
assert "numba" not in sys.modules
chosen = prepare_cache(Path(sys.argv[1]))
warmth = warm()
from offline_feature_plane.kernels.exact import Sums
import numpy as np
print(json.dumps([str(chosen), warmth.kernels, warmth.compiled, warmth.was_cold, Sums(np.array([2, 3]), 2).total(2, 0)]))
"""


def run(**changes: Any) -> GroupRun:
    """A run over four events of two keys, with changes."""
    given: dict[str, Any] = {
        "ts": np.array([1, 2, 2, 5]), "key": np.array([0, 1, 0, 0], np.int32), "n_keys": 2, "is_event": np.ones(4, np.bool_),
        "is_row": np.ones(4, np.bool_), "current": False, "delay_us": 0, "windows": [Sliding(10)], "label_changes": {},
        "features": [FeatureRequest("count", 0)]}
    return GroupRun(**{**given, **changes})


def warm_elsewhere(folder: Path, **environment: str) -> list[Any]:
    """Warm up in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run([sys.executable, "-c", WARM, str(folder)], env={**kept, **environment},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("changes", [
    {"ts": np.array([2, 1, 2, 5])}, {"ts": np.array([1, 2, 2, 2**60])}, {"key": np.array([0, 2, 0, 0], np.int32)},
    {"key": np.array([0, -2, 0, 0], np.int32)}, {"is_row": np.ones(3, np.bool_)}, {"delay_us": -1}, {"current": True, "delay_us": 1},
    {"features": [FeatureRequest("geometric_mean", 0)]}, {"features": [FeatureRequest("count", 1)]},
    {"features": [FeatureRequest("sum", 0)]}, {"features": [FeatureRequest("median", 0)]},
    {"features": [FeatureRequest("max", 0)]}, {"features": [FeatureRequest("top_k", 0, np.arange(4), most=2, place=2)]},
    {"features": [FeatureRequest("ewma", 0, np.arange(4), half_life_us=2**47)]},
    {"features": [FeatureRequest("label_count", 0, label="unknown")]}, {"features": [FeatureRequest("mean", 0, np.arange(4), scale=19)]},
])
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    """Law: kernels check no bounds, so a run refuses what would read outside of them."""
    with pytest.raises(ValueError):
        run(**changes)


@pytest.mark.parametrize("make", [
    lambda: Sliding(0), lambda: Sliding(-1), lambda: Latest(0), lambda: Latest(2**31), lambda: Tumbling(0), lambda: Tumbling(2**62),
    lambda: Session(0, 5), lambda: Session(5, 4), lambda: Since(np.array([3, 3])), lambda: Since(np.array([3, 2]))])
def test_windows_that_hold_nothing_are_refused(make: Any) -> None:
    """Law: a window without length, events or gap, a session that ends before its first pause, and boundaries out of order are none."""
    with pytest.raises(ValueError, match="no such window"):
        make()


def test_chunks_follow_each_other() -> None:
    """Law: cursors only move forward, so a chunk that does not follow the last one is refused; an empty one is none."""
    asked = run()
    assert asked.advance(0, 0)[0][0].tolist() == []
    assert asked.advance(0, 2)[0][0].tolist() == [0, 0]
    with pytest.raises(ValueError, match="do not follow"):
        asked.advance(0, 2)
    assert asked.advance(2, 4)[0][0].tolist() == [1, 2]


def test_inputs_may_be_read_only_and_are_left_alone() -> None:
    """Law: columns borrowed from Arrow are read-only and strided ones are legal; a run never writes to its inputs."""
    numbers = np.arange(8)[::2]
    arrays = {"ts": np.array([1, 2, 2, 5]), "key": np.array([0, 1, 0, 0], np.int32), "is_event": np.ones(4, np.bool_)}
    for array in (numbers, *arrays.values()):
        array.flags.writeable = False
    got = run(**arrays, features=[FeatureRequest("max", 0, numbers), FeatureRequest("sum", 0, numbers)]).advance(0, 4)
    assert got[0][0].tolist() == [0, 0, 0, 4]
    assert got[0][1].tolist() == [False, False, True, True]
    assert (got[1][0].tolist(), got[1][1]) == ([0, 0, 0, 4], None)


def test_labels_of_what_is_no_event_are_passed_over() -> None:
    """Law: a label on a position outside of the group changes nothing."""
    marks = np.ones(1, np.int8)
    asked = run(is_event=np.array([True, True, False, True]), features=[FeatureRequest("label_count", 0, label="x")],
                label_changes={"x": LabelChanges(np.array([2]), np.array([0]), marks, marks)})
    assert asked.advance(0, 4)[0][0].tolist() == [0, 0, 0, 0]


def test_warming_is_idempotent() -> None:
    """Law: warming twice compiles nothing more and names the same kernels."""
    assert warm().kernels == warm().kernels > 10


@pytest.mark.long
def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    """Law: kernels are compiled once per cache; the folder is chosen before numba is imported."""
    folder, kernels, compiled, cold, total = warm_elsewhere(tmp_path)
    assert (compiled, cold, total) == (kernels, True, 5)
    assert Path(folder).parent == tmp_path
    assert warm_elsewhere(tmp_path) == [folder, kernels, 0, False, 5]


@pytest.mark.long
def test_an_unwritable_cache_costs_time_only(tmp_path: Path) -> None:
    """Law: where no cache can be written (every folder that could hold one is a file) kernels are compiled for the process, and work."""
    package = tmp_path / "offline_feature_plane"
    shutil.copytree(Path(kernels_package.__file__).parent, package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").write_text("")
    (package / "kernels" / "__pycache__").write_text("")
    blocked = tmp_path / "file"
    blocked.write_text("")
    _, kernels, compiled, cold, total = warm_elsewhere(blocked, HOME=str(blocked), XDG_CACHE_HOME=str(blocked), PYTHONPATH=str(tmp_path))
    assert (compiled, cold, total) == (kernels, True, 5)


def test_a_sum_beyond_float64_is_told_whatever_fractions_are_among_its_values() -> None:
    """Values with bits below the point make sums in units below one; what is beyond every float64 is still an overflow of whole numbers."""
    values = np.array([1e308, 1e308, 0.5, 0.25])
    with pytest.raises(SumOverflow) as caught:
        run(key=np.zeros(4, np.int32), n_keys=1, features=[FeatureRequest("sum", 0, values)]).advance(0, 4)
    assert (caught.value.position, caught.value.total) == (2, 2 * int(1e308))
