"""What a request to stop becomes, wherever it arrives: the run is given back, and nothing else is made of it."""

import subprocess
import sys

import pytest
from small_plane import make_plane

import offline_feature_plane as ofs

# The first call of a step is interrupted, and what the signal raised becomes something else, as foreign code on the way may do.
PROGRAM = """
import os, signal, sys, time
from offline_feature_plane import __main__ as command
from offline_feature_plane.engines.local.session import LocalSession
from offline_feature_plane.errors import EngineFailed

replay = LocalSession.replay

def interrupted(self, inputs):
    LocalSession.replay = replay
    try:
        os.kill(os.getpid(), signal.{signal})
        time.sleep(5)
    except BaseException as stop:
        if "{becomes}" == "an error":
            raise EngineFailed("the query was interrupted.") from None
        if "{becomes}" == "a defect":
            raise RuntimeError("release unlocked lock") from None
    return replay(self, inputs)

LocalSession.replay = interrupted
command.main(sys.argv[1:])
"""


@pytest.fixture
def small(place):
    """A small plane in a folder that syncs fast."""
    return make_plane(place / "small")


def stopped(small, *arguments, becomes, number="SIGTERM"):
    """Run a command that is told to stop in its first replay; status and complaints."""
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(becomes=becomes, signal=number), *arguments], cwd=small.folder,
                          capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("becomes", ["nothing", *(pytest.param(one, marks=pytest.mark.long) for one in ("an error", "a defect"))])
def test_a_stop_that_others_swallow_still_stops_a_worker(small, becomes):
    """Whatever a library makes of the signal, the worker ends with status 0, says of no run that it failed, and gives its run back."""
    ofs.open(small.folder / "plane.yaml").enqueue(small.intent_path)
    done = stopped(small, "worker", becomes=becomes)
    assert (done.returncode, done.stdout, "Stopped" in done.stderr) == (0, "", True)
    (run,) = ofs.open(small.folder / "plane.yaml").runs()
    assert (run.state, run.reason_code, run.attempt) == ("QUEUED", "RUN_INTERRUPTED", 1)
    assert ofs.open(small.folder / "plane.yaml").build(small.intent_path).outcome == "PUBLISHED"


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_stop_that_becomes_an_error_does_not_fail_a_build(small, number, status):
    """A build that is told to stop says so, even if the engine reports a failure instead; the same command goes on."""
    done = stopped(small, "build", "intent.yaml", becomes="an error", number=number)
    assert (done.returncode, "Run the same command again" in done.stderr, "ENGINE_FAILED" in done.stderr) == (status, True, False)
    built = ofs.open(small.folder / "plane.yaml").build(small.intent_path)
    assert (built.outcome, built.run.attempt) == ("PUBLISHED", 2)


def test_a_process_that_hangs_is_told_again():
    """One that does not unwind is called every few seconds until it does, not by every signal; what Python drops is not shown."""
    program = """
import os, signal, sys, time
from offline_feature_plane import stopping
stopping.AGAIN_S = 0.5
stopping.listen()

class Dropped:
    def __del__(self):
        raise RuntimeError

for _ in range(3):
    try:
        if not stopping.told():
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        print("in peace", flush=True)
        time.sleep(30)
    except stopping.Terminated:
        print("told", flush=True)
        Dropped()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, ["told", *["in peace", "told"] * 2], "")
