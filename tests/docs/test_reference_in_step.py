"""The reference says what the code says: no stale page, no missing command, setting, field or code."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

import offline_feature_plane
from offline_feature_plane import errors
from offline_feature_plane.cli.commands import every_command
from offline_feature_plane.contracts.schemas import schema_texts
from offline_feature_plane.domain.aggregations import registered
from offline_feature_plane.domain.resolution import RULES
from offline_feature_plane.domain.rows import DISPOSITIONS
from offline_feature_plane.settings import describe_settings

ROOT = Path(__file__).parents[2]
SOURCE = Path(offline_feature_plane.__file__).parent
REFERENCE = ROOT / "docs/reference"


def _load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _load_generator()
PAGES = GENERATOR.pages()


def _page(name):
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES)
def test_generated_pages_are_in_step(path):
    """A generated page is what the code gives now; `make docs` writes it again."""
    assert (ROOT / path).read_text(encoding="utf-8") == PAGES[path]


def test_no_generated_page_is_left_over():
    """Everything in the reference folder is generated."""
    assert {f"docs/reference/{path.name}" for path in REFERENCE.iterdir()} == {one for one in PAGES if "docs/reference" in one}


@pytest.mark.parametrize("name", sorted(dict(every_command())))
def test_every_command_has_its_help_and_an_example(name):
    """A command stands in the reference with a sentence, and shows how it is used."""
    text = _page("commands.md").partition(f"## `ofs {name}`")[2].partition("\n## ")[0]
    assert f"Usage: ofs {name}" in text
    assert "Example:" in text


def test_every_option_is_explained():
    """No option of any command lacks its help."""
    silent = [(name, option.name) for name, command in every_command() for option in command.params
              if option.param_type_name == "option" and not option.help]
    assert silent == []


@pytest.mark.parametrize("setting", describe_settings(), ids=lambda one: one[0])
def test_every_setting_is_listed_with_its_meaning(setting):
    """A setting stands in the reference and says what it is for."""
    assert f"| `{setting[0]}` |" in _page("settings.md")
    assert setting[3].endswith(".")


@pytest.mark.parametrize(("name", "text"), schema_texts().items(), ids=list(schema_texts()))
def test_every_field_is_listed_with_its_meaning(name, text):
    """Every field of every contract stands in its table; nobody's meaning is left open."""
    schema = json.loads(text)
    page = _page("contracts.md").partition(f"\n## {name.removesuffix('.json')}\n")[2].partition("\n## learning")[0]
    for model, definition in [(schema["title"], schema), *schema.get("$defs", {}).items()]:
        for field, spec in definition.get("properties", {}).items():
            assert f"| `{field}` |" in page
            assert GENERATOR.meaning_of(model, field, spec).endswith("."), f"{model}.{field}"


@pytest.mark.parametrize("code", errors.all_codes())
def test_every_code_says_what_it_means_and_what_to_do(code):
    """A code stands under its family with a meaning and an advice, and can be linked to."""
    line = next(line for line in _page("codes.md").split("\n") if line.startswith(f'| <a id="{code.lower()}"></a>`{code}` |'))
    assert all(cell.strip() for cell in line.split("|")[2:4])


def _raised_names():
    """Names of error classes that any module constructs or raises, and codes that stand in its text."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "offline_feature_plane.errors":
                yield from ((path, alias.name) for alias in node.names)


def test_every_code_raised_anywhere_is_in_the_tree():
    """What modules import from `errors` to raise is a class of the tree, so no code is raised that the reference does not list."""
    leaves = {leaf.__name__ for leaf in errors.all_codes().values()}
    families = {family.__name__ for family in errors.OfsError.__subclasses__()}
    known = leaves | families | {"OfsError", "Problem", "list_problems", "refuse", "all_codes"}
    assert {(path.name, name) for path, name in _raised_names() if name not in known} == set()


def test_no_error_class_lives_outside_of_the_tree():
    """Only `errors` defines kinds of OfsError; a class elsewhere would have a code that nobody lists."""
    bases = {"OfsError", *(leaf.__name__ for leaf in errors.all_codes().values()),
             *(family.__name__ for family in errors.OfsError.__subclasses__())}
    strays = [(path.name, node.name) for path in SOURCE.rglob("*.py") if path.parent.name != "errors"
              for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)
              and any(isinstance(base, ast.Name) and base.id in bases for base in node.bases)]
    assert strays == []


@pytest.mark.parametrize(("page", "names"), [
    ("aggregations.md", sorted(registered())), ("label-rules.md", sorted(RULES)), ("dispositions.md", list(DISPOSITIONS)),
], ids=["aggregations", "rules", "dispositions"])
def test_everything_found_by_name_is_listed(page, names):
    """Each aggregation, rule and disposition has its entry."""
    assert [name for name in names if f"`{name}`" not in _page(page)] == []


def test_meanings_speak_of_what_exists():
    """No meaning is kept for a model, a field or a code that is gone."""
    models = {}
    for text in schema_texts().values():
        schema = json.loads(text)
        for model, definition in [(schema["title"], schema), *schema.get("$defs", {}).items()]:
            models.setdefault(model, set()).update(definition.get("properties", {}))
    said = GENERATOR._meanings()
    gone = [(model, field) for model, fields in said.items() if model not in ("any", "codes") for field in fields
            if field not in models.get(model, set())]
    everywhere = set().union(*models.values())
    assert gone == []
    assert [field for field in said["any"] if field not in everywhere] == []
    assert [code for code in said["codes"] if code not in errors.all_codes()] == []


def test_pages_for_readers_name_no_place_in_the_design():
    """What docstrings say to developers about design documents does not reach the reference."""
    design = re.compile(r"`(domain|decisions|features|house|reliability)\.md`")
    assert [path.name for path in REFERENCE.iterdir() if design.search(path.read_text(encoding="utf-8"))] == []
