"""Which files are the code release: a dataset is pinned to everything of the package that can change rows (`decisions.md` D11)."""

import shutil

import pytest

from offline_feature_plane import installation


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the installed package, which is taken for the installed one."""
    copy = tmp_path / "package"
    shutil.copytree(installation.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(installation, "PACKAGE", copy)
    return copy


def release():
    """The release as a fresh process would take it."""
    return installation.installed_release.__wrapped__()


def test_a_copy_is_the_same_release(package):
    """Where the package lies is no part of it."""
    assert release() == installation.installed_release()


@pytest.mark.parametrize("ending", ["py", "sql", "json"])
def test_every_kind_of_file_that_decides_counts(package, ending):
    """A changed, a new, a renamed and a removed file of code, statements or schemas are each another release."""
    first = min(package.rglob(f"*.{ending}"))
    held, found = first.read_bytes(), [release()]
    first.write_bytes(held + b"\n")
    found.append(release())
    first.write_bytes(held)
    assert release() == found[0]
    other = first.with_name(f"other_name.{ending}")
    other.write_bytes(held)
    found.append(release())
    first.unlink()
    found.append(release())
    other.unlink()
    found.append(release())
    assert len(set(found)) == 5


@pytest.mark.parametrize("name", ["__pycache__/plane.cpython-311.pyc", "kernels/left.pyc", "kernels/cache.nbi", "ledger/notes.txt~"])
def test_what_python_and_editors_leave_does_not_count(package, name):
    """Compiled files and caches come and go: the release is the same before the first import and after it."""
    before = release()
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_bytes(b"left by somebody")
    assert release() == before


def test_no_kind_of_file_is_forgotten(package):
    """What lies in the package is code, statements or schemas; the demo's documents are pinned by whoever uses them, as any documents."""
    left = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()
            and path.suffix not in {".py", ".sql", ".json"}}
    assert left == {"py.typed", "demo/plane.yaml", "demo/features.yaml", "demo/intent.yaml"}
