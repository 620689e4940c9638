"""The house keeps its shape: floors, room sizes, light doors."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "offline_feature_plane"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"duckdb", "numba", "numpy", "pyarrow", "pandas", "polars", "pydantic", "rich", "sqlite3"}


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in `sys.modules` after a statement ran in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", f"{statement}\nimport sys\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"],
                          capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("statement", ["import offline_feature_plane", "import offline_feature_plane.__main__",
                                       "from offline_feature_plane.__main__ import run; run(['--help']); run(['build', '--help'])"])
def test_the_front_door_is_light(statement):
    """Importing the package and asking for help loads no engine, compiler, database or frame library."""
    assert not loaded_by(statement) & HEAVY


def looking(folder):
    """Statements that write a small demonstration into a folder, and look at its rows."""
    return f"""
import sys
from offline_feature_plane.__main__ import run
from offline_feature_plane.demo import world
world.EVENTS = 2_000
assert run(["init", {str(folder)!r}, "--demo"]) == 0 and run(["preview", {str(folder / "intent.yaml")!r}]) == 0
"""


def test_a_command_loads_no_frame_library(tmp_path):
    """Looking at rows needs no pandas, which pyarrow would import where it is installed; a frame can be had afterwards all the same."""
    assert "pandas" in loaded_by(f"""{looking(tmp_path / "plane")}
assert "pandas" not in sys.modules
import pyarrow
assert list(pyarrow.table({{"a": [1]}}).to_pandas().a) == [1]
""")


def test_no_kernel_is_compiled_after_the_work_began(tmp_path):
    """A lease begins when all kernels are there, for the compiler holds the interpreter: rows load none that warming did not."""
    statement = f"""
from offline_feature_plane import machines
from offline_feature_plane.kernels import compiling
warm, warmed = machines.warm, []
def count(functions, **more):
    warm(functions, **more)
    warmed.append(len(compiling._kernels))
machines.warm = count
{looking(tmp_path / "plane")}
assert warmed == [len(compiling._kernels)], (warmed, len(compiling._kernels))
"""
    assert "numba" in loaded_by(statement)


def test_no_module_is_a_country():
    """No module is longer than 500 lines, and none has a name that says nothing."""
    nothing = {"utils", "util", "helpers", "common", "base", "manager", "misc"}
    assert [module for module in MODULES if len(module.read_text().splitlines()) > 500] == []
    assert [module for module in MODULES if module.stem in nothing or re.search(r"phase_?\d|step_?\d", module.stem)] == []


def nodes_of(paths):
    """Each file, with each node of its syntax tree."""
    return ((path, node) for path in paths for node in ast.walk(ast.parse(path.read_text())))


def test_nobody_inside_imports_the_package_root():
    """The package root gathers public names; importing it from inside would tie every module into one knot."""
    root = "offline_feature_plane"
    assert [(module, node.lineno) for module, node in nodes_of(MODULES)
            if (isinstance(node, ast.Import) and any(alias.name == root for alias in node.names))
            or (isinstance(node, ast.ImportFrom) and node.module == root)] == []


def test_every_test_states_its_law():
    """Every test function says in its docstring what must hold."""
    tests = [(path, node) for path, node in nodes_of(sorted((ROOT / "tests").rglob("test_*.py")))
             if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert len(tests) > 1_500
    assert [(path.name, node.name) for path, node in tests if not ast.get_docstring(node)] == []
