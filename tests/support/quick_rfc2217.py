"""Runs an installed tool (`python -m tests.support.quick_rfc2217 esptool …`) over a pySerial that is not slow on RFC 2217 ports.

pySerial negotiates all settings of such a port anew, for 100 ms, whenever a timeout is set, and esptool sets it twice for each command: a
fifth of a second each, where the board has answered in 0.1 ms. The tool itself is as it comes.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable
from typing import Any

from serial import rfc2217

PATIENCE_S = 20.0
"""For the far end's first words, in place of 3 s: a busy machine needs it."""


def _set_timeout(port: rfc2217.Serial, seconds: float | None) -> None:
    port._timeout = seconds


def _wait(option: rfc2217.TelnetSubnegotiation, timeout: float = 3) -> None:
    end = time.monotonic() + timeout
    while not option.is_ready():
        if time.monotonic() > end:
            raise rfc2217.SerialException(f"timeout while waiting for option {option.name!r}")
        time.sleep(0.0005)


def _patient(find: Callable[[Any, str], tuple[str, int]]) -> Callable[[Any, str], tuple[str, int]]:
    def from_url(port: Any, url: str) -> tuple[str, int]:
        found = find(port, url)
        port._network_timeout = PATIENCE_S
        return found

    return from_url


def main() -> None:
    rfc2217.Serial.from_url = _patient(rfc2217.Serial.from_url)
    rfc2217.Serial.timeout = property(lambda port: port._timeout, _set_timeout)
    rfc2217.TelnetSubnegotiation.wait = _wait
    tool = sys.argv[1]
    sys.argv[:2] = [tool]
    runpy.run_module(tool, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
