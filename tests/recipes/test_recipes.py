"""The recipes for other libraries run as they are shown, with the versions that are written down. `make test-recipes` brings them."""

import re
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import running

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/hand-over.md"
NEEDED = sorted({needed for block in running.read_blocks(PAGE.read_text(encoding="utf-8")) if (needed := block.named("needs"))})
PINNED = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements-recipes.txt").read_text(encoding="utf-8"), re.MULTILINE))
MODULES = {"scikit-learn": "sklearn", "mlflow-skinny": "mlflow", "xgboost-cpu": "xgboost"}

absent = [name for name in NEEDED if find_spec(name) is None]
recipes = pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} not installed: `make test-recipes` brings them")


def test_every_library_of_a_recipe_is_pinned():
    """What a recipe needs stands in `requirements-recipes.txt`, with one version."""
    assert [name for name in NEEDED if name not in {MODULES.get(pinned, pinned) for pinned in PINNED}] == []
    assert len(NEEDED) == 7


@recipes
def test_the_pinned_versions_are_the_tested_ones():
    """What is installed here is what is written down, apart from how it was compiled."""
    assert {name: version(name).partition("+")[0] for name in PINNED} == PINNED


@recipes
@pytest.mark.filterwarnings("ignore")  # of others, about each other
def test_what_the_recipes_show_happens(monkeypatch):
    """Every recipe runs, in order, in an empty folder, and prints what is shown; none calls home."""
    for name in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "1" if name.startswith("HF") else "true")
    assert [str(one) for one in running.run_page(PAGE)] == []
