"""Starts `ofs` commands through the driver's server."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stopping import REFUSED


@dataclass(frozen=True)
class Stopped:
    """How a watched process ended, and the calls that it made or was about to make: `fsync store/a`."""

    code: int
    calls: list[str]


class Processes:
    """Starts `ofs` commands through the driver's server."""

    def __init__(self) -> None:
        driver = Path(__file__).with_name("driver.py")
        self._server = subprocess.Popen([sys.executable, str(driver)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, folder: Path, *arguments: str, name: str = "build", **order: Any) -> int:
        """Start a command in a folder; its process id."""
        return self._ask({"folder": str(folder), "arguments": list(arguments), "name": name, **order})

    def wait(self, pid: int) -> int:
        """The exit code of a process, negative for the signal that ended it."""
        return self._ask({"wait": pid})

    def call(self, folder: Path, *arguments: str, **order: Any) -> int:
        """Run a command to its end."""
        return self.wait(self.start(folder, *arguments, **order))

    def stopped(self, folder: Path, *arguments: str, under: str, name: str = "build", at: int = -1, ending: str | None = None,
                reading: bool = False, record: bool = False, **order: Any) -> Stopped:
        """Run a command to its end; its `at`-th call (from 0) that changes something in the folder `under` ends as `ending` says.

        Args:
            folder: where it runs.
            arguments: of `ofs`.
            under: a folder in `folder`.
            name: of the command's words.
            at: which call; a negative number is none.
            ending: a name in `stopping.ENDINGS`.
            reading: the calls that read are meant, not those that change something.
            record: write down what happens to the disk `under`.
            order: further wishes to the driver.
        """
        answer = self._ask({"folder": str(folder), "arguments": list(arguments), "name": name,
                            "trace": {"under": under, "at": at, "ending": ending, "reading": reading, "record": record}, **order})
        assert answer["code"] != REFUSED, (folder / f"stderr.{name}").read_text()
        return Stopped(**answer)

    def close(self) -> None:
        """End the server."""
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def _ask(self, order: dict[str, Any]) -> Any:
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
