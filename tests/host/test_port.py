"""Ports: what can't be opened says why, what is open moves bytes, what is gone says so."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable
from pathlib import Path

import pytest
import serial
from felinar.errors import LinkError
from felinar.holders import holder
from felinar.port import Port, ThreadPort, open_port
from serial import rfc2217


class End:
    """What a port has told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost: list[str] = []

    async def open(self, url: str) -> Port:
        return await open_port(url, 115200, self.data.extend, self.lost.append)

    async def wait(self, condition: Callable[[], object]) -> None:
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"waited in vain; data {bytes(self.data)!r}, lost {self.lost}")


def test_a_pseudo_terminal_both_ways_and_its_end() -> None:
    async def work() -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        end = End()
        port = await end.open(os.ttyname(slave))
        os.close(slave)
        os.write(master, b"\x03\x00\x11\x13\r\n")
        port.write(b"\x00\xff\n\r")
        await end.wait(lambda: len(end.data) == 6)
        assert end.data == b"\x03\x00\x11\x13\r\n", "no byte means anything to the terminal"
        assert os.read(master, 100) == b"\x00\xff\n\r"
        assert not end.lost
        os.close(master)
        await end.wait(lambda: end.lost)
        await port.close()
        assert end.lost in (["the cable or adapter is gone"], ["the other end closed it"])

    asyncio.run(work())


def test_a_socket_both_ways_and_its_end() -> None:
    async def work() -> None:
        server = socket.create_server(("127.0.0.1", 0))
        end = End()
        port = await end.open(f"socket://127.0.0.1:{server.getsockname()[1]}")
        caller, _ = server.accept()
        caller.send(b"hello")
        port.write(b"there")
        await end.wait(lambda: end.data == b"hello")
        assert caller.recv(100) == b"there"
        caller.close()
        await end.wait(lambda: end.lost)
        assert end.lost == ["the other end closed it"]
        await port.close()
        server.close()

    asyncio.run(work())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:serial")  # of pySerial's own threads
def test_a_remote_port_by_rfc_2217() -> None:
    async def work() -> None:
        server = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            caller, _ = server.accept()
            caller.settimeout(0.05)
            echo = serial.serial_for_url("loop://", timeout=0)
            manager = rfc2217.PortManager(echo, Writer(caller))
            try:
                while True:
                    try:
                        data = caller.recv(1024)
                    except TimeoutError:
                        data = None
                    if data == b"":
                        return
                    if data:
                        echo.write(b"".join(manager.filter(data)))
                    back = echo.read(echo.in_waiting)
                    if back:
                        caller.sendall(b"".join(manager.escape(back)))
            finally:
                caller.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        end = End()
        port = await end.open(f"rfc2217://127.0.0.1:{server.getsockname()[1]}")
        assert isinstance(port, ThreadPort)
        port.write(b"there and \xff back")
        await end.wait(lambda: end.data == b"there and \xff back")
        await port.close()
        server.close()
        await asyncio.to_thread(thread.join, 5)

    asyncio.run(work())


class Writer:
    """What pySerial's port manager writes to."""

    def __init__(self, to: socket.socket) -> None:
        self._to = to

    def write(self, data: bytes) -> None:
        self._to.sendall(data)


def test_a_line_that_takes_nothing_is_given_up() -> None:
    async def work() -> None:
        server = socket.create_server(("127.0.0.1", 0))
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        end = End()
        port = await end.open(f"socket://127.0.0.1:{server.getsockname()[1]}")
        for _ in range(10_000):
            port.write(bytes(4000))
            if end.lost:
                break
        assert "taken nothing" in end.lost[0]
        await port.close()
        server.close()

    asyncio.run(work())


def test_a_flood_leaves_the_loop_to_others() -> None:
    async def work() -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        end = End()
        port = await end.open(os.ttyname(slave))
        stop = threading.Event()

        def spew() -> None:
            while not stop.is_set():
                os.write(master, b"\x55" * 1024)

        thread = threading.Thread(target=spew, daemon=True)
        thread.start()
        await end.wait(lambda: port._pause is not None)  # type: ignore[attr-defined]
        await end.wait(lambda: len(end.data) > 300_000)
        stop.set()
        await asyncio.to_thread(thread.join, 5)
        await port.close()
        os.close(master)
        os.close(slave)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("url", "words", "fatal"),
    [
        ("/dev/ttyFELINAR9", "no port", False),
        ("/dev/null", "not a serial port", True),
        ("socket://127.0.0.1:1", "can't be opened", False),
        ("socket://nowhere", "names no host and port", True),
        ("rfc2217://nowhere:notaport", "names no host and port", True),
        ("gopher://127.0.0.1:70", "not a line", True),
    ],
)
def test_what_cannot_be_opened_says_why(url: str, words: str, fatal: bool) -> None:
    with pytest.raises(LinkError, match=words) as caught:
        asyncio.run(End().open(url))
    assert caught.value.fatal is fatal
    assert caught.value.remedy
    assert "Errno" not in str(caught.value)


def test_a_file_is_not_a_serial_port(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("keep me")
    with pytest.raises(LinkError, match="not a serial port"):
        asyncio.run(End().open(str(file)))
    assert file.read_text() == "keep me"


_HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
if sys.argv[2] == "lock":
    fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["lock", "open"])
def test_who_holds_a_port_is_found(how: str) -> None:
    master, slave = pty.openpty()
    device = os.ttyname(slave)
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, device, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    try:
        found = holder(device)
        assert found is not None
        assert found[0] == process.pid
        assert found[1].startswith("python")
        if how == "lock":
            with pytest.raises(LinkError, match=rf"in use by process {process.pid} \(python"):
                asyncio.run(End().open(device))
    finally:
        process.communicate()
        os.close(master)
        os.close(slave)


def test_a_port_is_ours_alone_while_it_is_open() -> None:
    async def work() -> None:
        master, slave = pty.openpty()
        end = End()
        port = await end.open(os.ttyname(slave))
        with pytest.raises(BlockingIOError):
            fcntl.flock(slave, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(LinkError, match="in use"):
            await End().open(os.ttyname(slave))
        await port.close()
        again = await end.open(os.ttyname(slave))
        await again.close()
        os.close(master)
        os.close(slave)

    asyncio.run(work())
