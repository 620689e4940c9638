"""Each guard carries weight: taken away, the tests fail that say so. The list and the code stay in step."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from mutants import Mutant, read_mutants

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
MUTANTS = read_mutants()


@cache
def names_in(path: Path) -> set[str]:
    """The functions of a test file, and those that its classes inherit from the contracts."""
    files = [path, *(SOURCE / "offline_feature_plane/testing").glob("*_contract.py")]
    return {node.name for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_list_is_in_step_with_the_code(mutant: Mutant) -> None:
    """What a mutant takes away stands in the code exactly once, and the tests that must notice exist."""
    assert (SOURCE / "offline_feature_plane" / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file()
        assert not name or name.partition("[")[0].rpartition("::")[2] in names_in(ROOT / file), test


def test_the_list_is_long_enough() -> None:
    """The guards of ledger, store and protocol, each mutant once."""
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS) >= 50


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_a_guard_that_is_missing_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    """Without the guard, in a copy of the source, each of its tests fails."""
    copy = Path(shutil.copytree(SOURCE, tmp_path / "src"))
    file = copy / "offline_feature_plane" / mutant.file
    file.write_text(file.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", "-m", "not long", *mutant.tests]
    told = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, timeout=900,
                          check=False).stdout
    failed = [line.removeprefix("FAILED ") for line in told.splitlines() if line.startswith("FAILED ")]
    missed = [test for test in mutant.tests if not any(line.startswith(test) for line in failed)]
    assert not missed, f"not noticed by {missed}:\n{told[-3000:]}"
