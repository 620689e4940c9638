"""How a command ends when its streams or its user do not behave: the work counts, the status is true, and nobody sees a traceback."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_plane import make_plane

from offline_feature_plane.__main__ import run
from offline_feature_plane.cli import asking
from offline_feature_plane.plane import open_plane

OFS = f"{sys.executable} -m offline_feature_plane"


def shell(folder, line):
    """Run a line of bash; status, stdout, stderr."""
    done = subprocess.run(["bash", "-c", line], cwd=folder, text=True, capture_output=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A complete small plane whose dataset is published."""
    plane = make_plane(tmp_path_factory.mktemp("ends"))
    plane.documents()
    assert run(["build", str(plane.folder / "intent.yaml"), "--json"]) == 0
    return plane.folder


@pytest.mark.parametrize("ending", [">/dev/full", "--json >&-"])
def test_a_full_or_closed_output_is_told_and_the_work_stands(folder, ending):
    """What cannot be written is an outside failure, in one line, which sends to `ofs runs`; the build itself is done."""
    status, _, said = shell(folder, f"{OFS} build intent.yaml {ending}")
    assert status == 7
    assert len(said.splitlines()) == 1
    assert "could not be written" in said
    assert "`ofs runs`" in said
    with open_plane(folder / "plane.yaml") as plane:
        assert len(plane.datasets()) == 1


def test_a_reader_who_has_seen_enough_is_no_failure(folder):
    """A broken pipe is quiet, and the status is that of the work: 0, or what a command found."""
    for command in ("build intent.yaml", "--help"):
        assert shell(folder, f"{OFS} {command} | true; exit ${{PIPESTATUS[0]}}")[0] == 0
    assert shell(folder, f"{OFS} verify nothing --json | true; exit ${{PIPESTATUS[0]}}")[0] == 2
    assert shell(folder, f"{OFS} --help >/dev/full")[0] == 7


def test_a_closed_or_full_stderr_changes_no_status(folder):
    """Nobody listens to complaints: the answer and the status stay the same."""
    for redirect, refused in (("2>&-", "verify nothing"), ("2>/dev/full", "nonsense")):
        status, said, _ = shell(folder, f"{OFS} build intent.yaml --json {redirect}")
        assert status == 0
        assert json.loads(said)["outcome"]
        assert shell(folder, f"{OFS} {refused} {redirect}")[0] == 2


def test_an_output_that_cannot_spell_a_character_gets_an_escape(folder):
    """A narrow encoding is no reason to lose an answer; JSON stays JSON."""
    assert shell(folder, f"PYTHONIOENCODING=ascii {OFS} build intent.yaml")[0] == 0
    status, said, _ = shell(folder, f"PYTHONIOENCODING=ascii {OFS} datasets --json")
    assert status == 0
    assert json.loads(said)


def test_nothing_heavy_is_loaded_before_a_stop_can_be_answered():
    """The entry point loads in a moment: no click, no pydantic, no regular expressions."""
    code = "import sys, offline_feature_plane.__main__; print([m for m in ('click', 'pydantic', 're', 'duckdb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; " + code], text=True,
                          capture_output=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("stop", "status"), [("KeyboardInterrupt", 130), ("offline_feature_plane.__main__.Terminated", 143)])
def test_a_stop_while_modules_load_is_quiet(stop, status):
    """Ctrl-C in the first moments ends with the status of a stop and without a traceback."""
    code = f"""
import sys, offline_feature_plane.__main__
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            raise {stop}
sys.meta_path.insert(0, Stop())
offline_feature_plane.__main__.main(["runs"])
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)


def test_a_second_stop_while_the_process_ends_is_quiet():
    """Whoever presses Ctrl-C twice is not shown how Python winds down, which it does only if a thread is still at work."""
    code = """
import atexit, os, signal, threading, time, offline_feature_plane.__main__ as m
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
threading.Thread(target=time.sleep, args=[1]).start()
m.main(["--version"])
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_defect_does_not_claim_what_it_cannot_know(folder, monkeypatch, capsys):
    """A defect of ours sends to the ledger; it does not say that nothing was published."""
    monkeypatch.setattr(asking, "open_plane", lambda *_: (_ for _ in ()).throw(KeyError("x")))
    assert run(["runs"]) == 70
    said = capsys.readouterr().err
    assert "`ofs runs` shows" in said
    assert "Nothing was published" not in said


def test_too_little_memory_is_a_refusal_with_advice(folder, monkeypatch, capsys):
    """A machine that is too small is no defect of ours."""
    monkeypatch.setattr(asking, "open_plane", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert run(["runs"]) == 4
    assert "RESOURCE_EXCEEDED" in capsys.readouterr().err


def test_a_folder_that_is_gone_is_said(tmp_path):
    """A shell in a removed folder gets a sentence."""
    (tmp_path / "x").mkdir()
    for command in ("build intent.yaml", "init new --events x.csv", "runs"):
        status, _, said = shell(tmp_path, f"mkdir -p x; cd x; rmdir ../x; {OFS} {command}")
        assert status in (2, 3)
        assert "INTERNAL" not in said


def test_other_failures_of_files_are_not_taken_for_the_output(monkeypatch):
    """Only what writes the answer counts as the output."""
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(asking, "open_plane", fail)
    before = signal.getsignal(signal.SIGINT)
    assert run(["runs"]) == 70
    assert Path(os.devnull).exists()
    assert signal.getsignal(signal.SIGINT) is before
