"""What is safe without being asked for: modes of files and folders, the token key, the cache of compiled kernels, terminals."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_plane import SmallPlane, chargebacks, make_plane, transactions

from offline_feature_plane import adapters, plain_files
from offline_feature_plane.__main__ import run
from offline_feature_plane.cli.output import harmless
from offline_feature_plane.errors import SettingsInvalid
from offline_feature_plane.key_file import is_exposed, make_key, read_key
from offline_feature_plane.plain_files import is_private

# --- the token key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_key_is_its_owners_only(umask: int, tmp_path: Path) -> None:
    """Whatever the umask, nobody else can read a key that OFS made."""
    before = os.umask(umask)
    try:
        make_key(tmp_path / "tokens.key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "tokens.key").stat().st_mode) == 0o600
    assert not is_exposed(tmp_path / "tokens.key")


def test_a_key_that_everybody_may_write_is_no_secret(tmp_path: Path) -> None:
    """Whoever can replace the key can choose one that reverses tokens, so it is refused."""
    (tmp_path / "tokens.key").write_bytes(b"secret")
    (tmp_path / "tokens.key").chmod(0o666)
    with pytest.raises(SettingsInvalid, match="every user"):
        read_key(tmp_path / "tokens.key", str(tmp_path / "store"))


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_key_that_everybody_may_read_is_told(mode: int, warned: bool, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands go on with such a key and say on stderr what to do; answers on stdout are the same."""
    plane = make_plane(place / "p")
    (plane.folder / "tokens.key").chmod(mode)
    assert run(["plan", str(plane.intent_path), "--json"]) == 0
    told = capsys.readouterr()
    assert ("chmod 600" in told.err) is warned
    json.loads(told.out)


# --- modes --------------------------------------------------------------------------------------------------


def test_nothing_that_is_made_can_be_written_by_everybody(place: Path) -> None:
    """Even with an open umask: the key, the store, the ledger, the work folder and new planes."""
    plane = make_plane(place / "p")
    made_here = plane.folder / "made"
    made_here.mkdir()
    plane.plane |= {"store": "made/a/store", "ledger": "made/b/ledger.sqlite", "work": "made/c/work", "tokens": {"key_file": "made/d/key"}}
    plane.documents()
    for command in (["key", "--plane", f"{plane.folder}/plane.yaml"], ["build", f"{plane.intent_path}"],
                    ["init", f"{made_here}/new", "--events", f"{plane.folder}/transactions.parquet",
                     "--labels", f"{plane.folder}/chargebacks.parquet"]):
        done = subprocess.run([sys.executable, "-c", "import os; os.umask(0); from offline_feature_plane.__main__ import main; main()",
                               *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    made = [path for path in made_here.rglob("*") if not path.is_symlink()]
    assert len(made) > 20
    assert [str(path) for path in made if path.stat().st_mode & stat.S_IWOTH] == []


# --- compiled kernels ---------------------------------------------------------------------------------------

CACHED = """
import sys
from pathlib import Path
from offline_feature_plane.adapters import cache_folder
from offline_feature_plane.kernels.compiling import compiled, prepare_cache
prepare_cache(cache_folder())
sys.path.insert(0, sys.argv[1])
import tiny
print(tiny.successor(41), tiny.successor.stats.cache_hits != {})
"""
TINY = """
from offline_feature_plane.kernels.compiling import compiled
@compiled("int64(int64)")
def successor(number):
    return number + 1
"""


class Evil:
    """What does harm when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_kernels_that_others_could_have_put_there_are_not_loaded(tmp_path: Path) -> None:
    """A cache of compiled code is loaded only from where nobody else can write; else kernels are compiled for this process alone.

    That the planted file does harm where nothing is open shows that the test would notice.
    """
    (tmp_path / "tiny.py").write_text(TINY)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"} | {"XDG_CACHE_HOME": str(home / "cache")}

    def ask() -> str:
        done = subprocess.run([sys.executable, "-c", CACHED, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert ask() == "42 False\n"
    assert ask() == "42 True\n"
    folder = home / "cache/offline-feature-plane"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for index in folder.rglob("*.nbi"):
        index.write_bytes(pickle.dumps(Evil(tmp_path / "harm")))
    for opened in (folder, home):
        opened.chmod(0o777)
        assert ask() == "42 False\n"
        opened.chmod(0o700)
    assert not (tmp_path / "harm").exists()
    ask()
    assert (tmp_path / "harm").exists()


def test_who_may_write_decides_what_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owner, mode and every folder above count; a group of one and sticky folders are no others."""
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    assert is_private(folder)
    assert not is_private(tmp_path / "absent")
    for place, mode, private in ((folder, 0o777, False), (folder, 0o757, False), (folder, 0o1777, False), (folder.parent, 0o777, False),
                                 (folder.parent, 0o1777, True), (folder, 0o755, True), (folder, 0o500, True)):
        place.chmod(mode)
        assert is_private(folder) is private, (place, oct(mode))
        place.chmod(0o755)
    (tmp_path / "link").symlink_to(folder)
    assert is_private(tmp_path / "link")
    folder.chmod(0o775)
    assert is_private(folder)  # of our own group, which has no other member
    monkeypatch.setattr(plain_files.grp, "getgrgid", lambda _: type("Group", (), {"gr_mem": ["somebody"]}))
    assert not is_private(folder)
    folder.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 4_242)
    assert is_private(folder) is (folder.stat().st_uid == 0)


def test_a_cache_of_the_users_choice_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NUMBA_CACHE_DIR is where kernels are kept, unless others may write there."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "mine"))
    assert adapters.cache_folder() == tmp_path / "mine/offline-feature-plane"
    (tmp_path / "mine").chmod(0o777)
    assert adapters.cache_folder() is None


# --- terminals ----------------------------------------------------------------------------------------------

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066\x7f\x08\r"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_names_and_values_from_files_command_no_terminal(form: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control and direction characters in data, file names and documents are written out, in answers and in errors."""
    plane = make_plane(place / "p")
    (plane.folder / f"{ESCAPES}.parquet").write_bytes((plane.folder / "transactions.parquet").read_bytes())
    told = chargebacks()
    plane.labels({**told, "outcome": ["CHARGEBACK", *[f"x{ESCAPES}"] * (len(told["outcome"]) - 1)]})
    plane.events({**transactions(), "customer_id": [f"{ESCAPES}{one % 7}" for one in range(200)]})
    plane.profile["row_features"] = {"who": "customer_id"}
    plane.profile["fields"]["customer_id"] = {"type": "string", "identifier": "none"}
    plane.documents()
    said = ""
    for change in (lambda _: None, _other_file, _other_where, _other_type):
        change(plane)
        plane.documents()
        run(["preview", str(plane.intent_path), "--rows", "50", *form])
        answer = capsys.readouterr()
        said += answer.out + answer.err
        assert not form or json.loads(answer.out)
    assert "owned" in said
    assert set(said) & set("\x1b\x07\x9b\u202e\u2066\x7f\x08\r") == set()


def _other_file(plane: SmallPlane) -> None:
    plane.plane["events"]["transaction"]["path"] = f"no{ESCAPES}.parquet"


def _other_where(plane: SmallPlane) -> None:
    plane.intent["where"] = f"customer_id == '{ESCAPES}"


def _other_type(plane: SmallPlane) -> None:
    plane.intent["label"]["type"] = ESCAPES


def test_only_colours_pass() -> None:
    """Our own colours stay, line ends and tabs too; everything else that is not to be seen is written out."""
    assert harmless("a\tb\n\x1b[1mc\x1b[0m") == "a\tb\n\x1b[1mc\x1b[0m"
    assert harmless("\x1b[2J\x1b]8;;x\x1b\\\x00\u202e\u2028") == "\\x1b[2J\\x1b]8;;x\\x1b\\\\x00\\u202e\\u2028"
