"""Runs the daemon of the demo as its own process, as an operator would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from felinar.client import Client, find
from felinar.config import Config
from felinar.errors import ClientError


class DemoError(Exception):
    """Something the demo cannot go on without; the message is one sentence for the user."""


def wait_until(condition: Callable[[], bool], seconds: float, step_s: float = 0.1) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(step_s)
    return True


class Daemon:
    """`felinar daemon` on the given configuration; a context manager that ends it cleanly."""

    def __init__(self, config: Path, data: Path, log: Path) -> None:
        self._config, self._data, self._log = config, data, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("felinar")), "daemon", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the demo's: the daemon ends last
                env=os.environ,
            )
        if not wait_until(self._answers, 30):
            raise DemoError(f"the daemon did not start; {self._log} says why")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """SIGKILL: no goodbye, as when the machine's memory runs out. Entering again starts it anew."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self) -> Client:
        """A new connection to the daemon."""
        return Client(find(Config(data_dir=str(self._data))))

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise DemoError(f"the daemon ended at once; {self._log} says why")
        try:
            with self.client() as client:
                client.status()
        except ClientError:
            return False
        return True
