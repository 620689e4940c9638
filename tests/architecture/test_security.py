"""What makes attacks easy is nowhere in the house: SQL put together from text, code made from data, a shell, a second way to open files."""

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

from offline_feature_plane.labelstores.postgres.schema import whole_script as label_script
from offline_feature_plane.ledger.postgres.schema import rights
from offline_feature_plane.postgres.address import is_schema

sys.path.insert(0, str(Path(__file__).parents[1] / "security"))

from hostile_texts import hostile_texts

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "offline_feature_plane"
MODULES = sorted(PACKAGE.rglob("*.py"))
STATEMENTS_MODULE = PACKAGE / "engines/local/statements.py"

# Where statements are not literals: how many, and what they are made of instead. The test below holds what a schema can be called.
MADE = {
    STATEMENTS_MODULE: (1, "pieces that take no text"),
    PACKAGE / "ledger/postgres/ledger.py": (1, "scripts of the package, in which only the schema's plain name is filled in"),
    PACKAGE / "labelstores/postgres/reading.py": (1, "literals of the module, into which `psycopg.sql` fills literals of SQL"),
}

RUN_SQL = {"execute", "executemany", "executescript", "sql", "query", "from_query", "extract_statements"}
LOADS_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "subprocess", "pty", "code", "codeop", "xmlrpc", "xml",
              "telnetlib", "ftplib", "webbrowser"}
RUNS_CODE = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
SHELLS = {"os.system", "os.popen", "os.execv", "os.execve", "os.execvp", "os.spawnv", "os.spawnl", "os.posix_spawn", "os.startfile"}
GUESSABLE = {"tempfile.mktemp", "os.tmpnam", "os.tempnam"}


@functools.cache
def tree_of(module: Path) -> ast.Module:
    """A module, parsed; every node knows its parent."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node
    return tree


@functools.cache
def calls(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Every call and its dotted name as it is written."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def around(node: ast.AST, kind: type[ast.AST]) -> ast.AST | None:
    """The nearest node of a kind around another one."""
    while (node := getattr(node, "parent", None)) is not None:
        if isinstance(node, kind):
            return node
    return None


def is_fixed(node: ast.expr, tree: ast.Module, seen: frozenset[str] = frozenset()) -> bool:
    """Is an expression always SQL of ours: a literal, a statement of our files by its name, what `psycopg.sql` makes of a literal?

    A choice of such is one, and a name or parameter that stands for nothing else.
    """
    fixed = False
    match node:
        case ast.Constant(value=str(text)):
            fixed = ";" not in text
        case ast.IfExp():
            fixed = is_fixed(node.body, tree, seen) and is_fixed(node.orelse, tree, seen)
        case ast.Subscript(value=ast.Name(id=name)):
            fixed = name.isupper()
        case ast.Call(func=ast.Attribute(value=ast.Call() as inner, attr="format")):
            fixed = is_fixed(inner, tree, seen)
        case ast.Call(func=ast.Name(id="SQL" | "sql") | ast.Attribute(attr="SQL")):
            fixed = is_fixed(node.args[0], tree, seen)
        case ast.Call(func=ast.Name(id="_statements" | "statements" | "sql_file")):
            fixed = True
        case ast.Name(id=name) if name not in seen:
            fixed = all(is_fixed(value, tree, seen | {name}) for value in values_of(node, tree))
    return fixed


def values_of(name: ast.Name, tree: ast.Module) -> list[ast.expr]:
    """Everything that a name can stand for in its function; a parameter stands for what the module's calls pass. Never empty."""
    function = around(name, ast.FunctionDef)
    found: list[ast.expr] = []
    for node in ast.walk(function or tree):
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.target, ast.Name) and node.target.id == name.id:
            found += node.iter.elts if isinstance(node.iter, ast.Tuple | ast.List) else [node.iter]
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name.id for one in node.targets):
            found.append(node.value)
    parameters = [one.arg for one in function.args.args] if isinstance(function, ast.FunctionDef) else []
    if name.id in parameters and isinstance(function, ast.FunctionDef):
        place = parameters.index(name.id) - (parameters[0] == "self")
        found += [call.args[place] for called, call in calls(tree) if called.split(".")[-1] == function.name and len(call.args) > place]
    if not found and name.id.isupper():
        found = [node.value for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
                 and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == name.id]
    return found or [ast.Constant(None)]


def unfixed(module: Path) -> list[str]:
    """Where a module runs SQL that is not fixed."""
    tree = tree_of(module)
    return [f"{module.name}:{call.lineno}: {ast.unparse(call)[:100]}" for name, call in calls(tree)
            if "." in name and name.split(".")[-1] in RUN_SQL and call.args and not is_fixed(call.args[0], tree)]


def test_no_statement_is_put_together_from_text():
    """What reaches `execute` and its kin is a literal without a second statement, a statement of our files, or listed above."""
    found = {module: where for module in MODULES if (where := unfixed(module))}
    assert {module: len(where) for module, where in found.items()} == {module: count for module, (count, _) in MADE.items()}, found


def test_what_is_filled_into_postgres_scripts_is_a_plain_name():
    """A schema is called by lower-case letters, digits and underscores only, and a role stays inside of its quotes."""
    assert not [text for text in hostile_texts(1_500) if is_schema(text) and not re.fullmatch(r"[a-z_][a-z0-9_]*", text)]
    quoted = re.compile(r'"(?:[^"]|"")*"')
    for text in hostile_texts(300):
        assert quoted.sub("ROLE", rights("ofs", text)) == quoted.sub("ROLE", rights("ofs", "worker"))
        scripts = [label_script("ofs", loader_role=role, reader_role=role) for role in (text, "worker")]
        assert quoted.sub("ROLE", scripts[0]) == quoted.sub("ROLE", scripts[1])


@pytest.mark.parametrize(("code", "fixed"), [
    ('c.execute("SELECT 1")', True), ("c.execute(STATEMENTS[name], values)", True), ('c.execute(SQL("x {}").format(Identifier(y)))', True),
    ('for one in ("PRAGMA a", "PRAGMA b"):\n    c.execute(one)', True), ('def f(c, how):\n    c.execute(how)\nf(c, "BEGIN")', True),
    ('c.execute("A" if x else "B")', True),
    ('c.execute(f"SELECT {name}")', False), ('c.execute("SELECT " + name)', False), ('c.execute("SELECT %s" % name)', False),
    ('c.execute("SELECT {}".format(name))', False), ('c.execute(" ".join(parts))', False), ("c.sql(text)", False),
    ("c.query(piece.text)", False), ('text = f"SELECT {x}"\nc.execute(text)', False),
    ("def f(c, how):\n    c.execute(how)\nf(c, user)", False), ('c.execute("SELECT 1; SELECT 2")', False),
    ('c.execute(SQL(f"x {y}"))', False), ("for one in lines:\n    c.executescript(one)", False)])
def test_the_search_for_statements_finds_what_it_should(code, fixed, tmp_path):
    """The test above would see each usual way to put a statement together."""
    (tmp_path / "m.py").write_text(code)
    assert (unfixed(tmp_path / "m.py") == []) is fixed


def test_pieces_of_statements_are_literals():
    """`sql` takes literal templates only, and nobody else makes a piece."""
    for module in MODULES:
        for name, call in calls(tree_of(module)):
            if name == "sql":
                assert isinstance(call.args[0], ast.Constant), f"{module.name}:{call.lineno}"
            assert name != "Sql" or module == STATEMENTS_MODULE, f"{module.name}:{call.lineno}"


def test_no_data_becomes_code():
    """Nothing unpickles, evaluates, starts a program or loads YAML with tags; no temporary name can be guessed."""
    for module in MODULES:
        tree = tree_of(module)
        imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & LOADS_CODE, module
        for name, call in calls(tree):
            assert name not in RUNS_CODE | SHELLS | GUESSABLE, f"{module}:{call.lineno}"
            assert not (name.startswith("yaml.") and "load" in name), f"{module}:{call.lineno}"
            assert not any(keyword.arg in {"shell", "allow_pickle"} for keyword in call.keywords), f"{module}:{call.lineno}"


# Who else opens files, and why that is in order.
OPENERS = {
    "plain_files.py": "the one door: regular files only, and without links where a path is not the user's own word",
    "objects/local.py": "walks the store folder by folder, without links",
    "objects/asides.py": "new files in a folder that is open already, and old ones without links",
    "objects/disk.py": "a file that the build has just written, without links",
    "objects/s3/store.py": "own copies in the scratch folder: new ones, and old ones that are hashed",
    "corridor/workfolders.py": "work folders, to lock them",
    "corridor/damage.py": "the store's local copy of a data file, to say what is wrong with it",
    "corridor/dataset.py": "the store's local copy of a data file, which is hashed",
    "corridor/parts.py": "the build's own new files; published ones after they were hashed",
    "corridor/stage.py": "the build's own new file",
    "sources/archives/places.py": "folders of an archive, to lock and sync them, and its new index aside, without links",
    "sources/archives/buckets.py": "own copies in the work folder, and new segments that the job has just written",
    "sources/archives/spools.py": "work folders, to lock them",
    "sources/archives/segment_files.py": "the job's own new files, exclusively",
    "key_file.py": "a new key, exclusively",
    "engines/local/history/places.py": "the build's own files in its work folder",
    "engines/local/history/batches.py": "the build's own files in its work folder",
    "engines/local/history/kept.py": "the build's own new files, and those of its run, which are hashed; folders, to lock and sync",
    "engines/local/sizes.py": "what the kernel says of this container's memory", "adapters.py": "what the kernel counts of this process",
    "engines/local/history/memory.py": "what the kernel counts of this process",
    "cli/showing.py": "a new pin, exclusively",
    "cli/starting.py": "the new files of a plane, exclusively",
    "cli/output.py": "the null device", "__main__.py": "the null device",
    "demo/world.py": "the files of the demonstration",
    "domain/zones.py": "the package of zone rules",
    "installation.py": "this package", "kernels/compiling.py": "this package", "ledger/connector.py": "this package",
    "postgres/migrations.py": "this package",
    "worker_identity.py": "what the kernel says of processes",
}
OPENS = {"open", "io.open", "os.open", "gzip.open", "pa.OSFile", "pa.memory_map", "pa.input_stream"}


def test_files_are_opened_through_one_door():
    """Data and documents of others are opened by `plain_files`: no module but those listed with their reason opens a file by its path."""
    found = {}
    for module in MODULES:
        place = str(module.relative_to(PACKAGE))
        ways = [f"{name}:{call.lineno}" for name, call in calls(tree_of(module))
                if name in OPENS or name.endswith((".open", ".read_text", ".read_bytes"))
                or (name == "pq.ParquetFile" and ast.unparse(call.args[0]) != "stream")]
        if ways and place not in OPENERS and not place.startswith("testing/"):
            found[place] = ways
    assert found == {}
