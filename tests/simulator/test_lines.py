"""Lines in real time: a pseudo-terminal that outlives its board, a cable that is pulled, a TCP port."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from felinar_sim.clock import RealClock
from felinar_sim.console import Console
from felinar_sim.errors import SimulatorError
from felinar_sim.lines import PtyLine, TcpLine

LIMIT = 20.0


class Setup:
    """A running clock and a console whose board repeats what it hears, in capitals."""

    def __init__(self) -> None:
        self.clock = RealClock()
        self.console = Console(self.clock)
        self.console.power(True)
        self.console.on_input = self._echo

    def _echo(self) -> None:
        data = self.console.fetch()
        self.console.taken(len(data))
        self.console.output(data.upper())


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    made.clock.start()
    yield made
    made.clock.stop()
    made.console.close()


def read(fd: int, n: int) -> bytes:
    """n bytes from a descriptor, or fewer at its end."""
    data, end = b"", time.monotonic() + LIMIT
    while len(data) < n and time.monotonic() < end:
        if select.select([fd], [], [], 1)[0]:
            try:
                more = os.read(fd, n - len(data))
            except OSError:
                return data
            if not more:
                return data
            data += more
    return data


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_bytes_go_through_a_pseudo_terminal_as_they_are(setup: Setup, tmp_path: Path) -> None:
    PtyLine(setup.clock, setup.console, tmp_path / "node-1.tty")
    setup.console.interrupt_on(-1)
    everything = bytes(range(256))
    with opened(tmp_path / "node-1.tty") as fd:
        os.write(fd, everything)
        assert read(fd, 256) == everything.upper()


def test_what_nobody_hears_is_lost_and_counted(setup: Setup, tmp_path: Path) -> None:
    line = PtyLine(setup.clock, setup.console, tmp_path / "node-1.tty")
    with setup.clock.lock:
        setup.console.output(b"unheard")
    assert line.unheard == 7
    for _ in range(2):
        with opened(tmp_path / "node-1.tty") as fd:
            os.write(fd, b"x")
            assert read(fd, 1) == b"X", "and nothing of what was said before"


def test_a_pulled_cable_hangs_up_and_comes_back_under_its_name(setup: Setup, tmp_path: Path) -> None:
    name = tmp_path / "node-1.tty"
    line = PtyLine(setup.clock, setup.console, name)
    with opened(name) as fd:
        os.write(fd, b"a")
        assert read(fd, 1) == b"A"
        line.pull()
        assert not name.exists()
        assert not line.plugged
        assert read(fd, 1) == b"", "a hang-up"
    line.pull()
    line.plug()
    line.plug()
    with opened(name) as fd:
        os.write(fd, b"b")
        assert read(fd, 1) == b"B"


def test_a_file_in_the_way_is_not_overwritten(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "node-1.tty").write_text("mine")
    with pytest.raises(SimulatorError, match="no symbolic link"):
        PtyLine(setup.clock, setup.console, tmp_path / "node-1.tty")
    assert (tmp_path / "node-1.tty").read_text() == "mine"


def test_tcp_port_serves_one_after_the_other(setup: Setup) -> None:
    line = TcpLine(setup.clock, setup.console)
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", line.port), LIMIT) as client:
            client.sendall(b"hello")
            assert read(client.fileno(), 5) == b"HELLO"
    with socket.create_connection(("127.0.0.1", line.port), LIMIT) as client:
        client.sendall(b"a")
        assert read(client.fileno(), 1) == b"A"
        line.pull()
        assert read(client.fileno(), 1) == b""
    with pytest.raises(SimulatorError, match="cannot be opened"):
        TcpLine(setup.clock, setup.console, line.port)
