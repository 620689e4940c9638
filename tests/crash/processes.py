"""Starts `ofs` commands through the driver's server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


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

    def close(self) -> None:
        """End the server."""
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def _ask(self, order: dict[str, Any]) -> int:
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())
