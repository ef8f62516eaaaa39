"""Moves bytes over one pySerial URL inside an event loop: opened exclusively, never waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import select
import termios
import threading
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import serial
from serial.tools import list_ports

from felinar.errors import LinkError
from felinar.holders import holder

_CHUNK = 16_384
_POLL_S = 0.2
_BACKLOG = 4096
"""Bytes that may wait for a line that takes none; the host never has that much to say at once."""
_RATE = 131_072
_RATE_S = 0.1
"""More than this in that time is no node: the line is left unread for a moment, so that the others are served."""

Received = Callable[[bytes], None]
Lost = Callable[[str], None]


class Port(Protocol):
    """An open line. `received` and `lost` of `open_port` are called in the event loop."""

    def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


async def open_port(url: str, baud: int, received: Received, lost: Lost) -> Port:
    """Open a device path or a pySerial URL. Raises LinkError with what is wrong and who holds it."""
    port = await asyncio.to_thread(_open, url, baud)
    if hasattr(port, "fileno"):
        with contextlib.suppress(OSError, ValueError):
            return DescriptorPort(port, port.fileno(), received, lost)
    return ThreadPort(port, received, lost)


class DescriptorPort:
    """A port with a file descriptor: devices, pseudo-terminals, sockets."""

    def __init__(self, port: Any, descriptor: int, received: Received, lost: Lost) -> None:
        self._port = port
        self._fd = descriptor
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._taken = 0
        self._pause: asyncio.TimerHandle | None = None
        self._window = self._loop.time()
        self._open = True
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def write(self, data: bytes) -> None:
        if not self._open:
            return
        self._out += data
        if len(self._out) > _BACKLOG:
            self._end(f"it has taken nothing of the last {len(self._out)} bytes")
        else:
            self._write()

    async def close(self) -> None:
        self._stop()
        await asyncio.to_thread(_close, self._port)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(_words(error))
            return
        if data:
            self._throttle(len(data))
            self._received(data)
        elif self._hung_up():
            self._end("the other end closed it")

    def _throttle(self, size: int) -> None:
        now = self._loop.time()
        if now - self._window > _RATE_S:
            self._window, self._taken = now, 0
        self._taken += size
        if self._taken > _RATE:
            self._loop.remove_reader(self._fd)
            self._pause = self._loop.call_later(_RATE_S, self._loop.add_reader, self._fd, self._read)

    def _hung_up(self) -> bool:
        # A terminal may be readable without bytes (VMIN is 0); an end of file on anything else is the end.
        if not os.isatty(self._fd):
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))

    def _write(self) -> None:
        try:
            while self._out:
                count = os.write(self._fd, self._out)
                del self._out[:count]
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(self._fd, self._write)
            return
        except OSError as error:
            self._end(_words(error))
            return
        self._loop.remove_writer(self._fd)

    def _end(self, reason: str) -> None:
        if self._open:
            self._stop()
            self._lost(reason)

    def _stop(self) -> None:
        if self._open:
            self._open = False
            if self._pause:
                self._pause.cancel()
            self._loop.remove_reader(self._fd)
            self._loop.remove_writer(self._fd)


class ThreadPort:
    """A port without one (RFC 2217): one thread reads, another writes."""

    def __init__(self, port: Any, received: Received, lost: Lost) -> None:
        self._port = port
        self._received = received
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._wake = threading.Condition()
        self._open = True
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    def write(self, data: bytes) -> None:
        with self._wake:
            self._out += data
            full = len(self._out) > _BACKLOG
            self._wake.notify()
        if full:
            self._end(f"it has taken nothing of the last {_BACKLOG} bytes")

    async def close(self) -> None:
        with self._wake:
            self._open = False
            self._wake.notify()
        await asyncio.to_thread(_close, self._port)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 2)

    def _read(self) -> None:
        while self._open:
            try:
                data = self._port.read(1)
                if data:
                    data += self._port.read(min(self._port.in_waiting, _CHUNK))
            except (OSError, TypeError, AttributeError) as error:  # pySerial's ports fail so when closed meanwhile
                self._tell(self._end, _words(error))
                return
            if data:
                self._tell(self._deliver, data)

    def _write(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._out or not self._open)
                if not self._open:
                    return
                data = bytes(self._out)
            try:
                self._port.write(data)
            except (OSError, TypeError, AttributeError) as error:
                self._tell(self._end, _words(error))
                return
            with self._wake:
                del self._out[: len(data)]

    def _tell(self, what: Callable[[Any], None], argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(what, argument)

    def _deliver(self, data: bytes) -> None:
        if self._open:
            self._received(data)

    def _end(self, reason: str) -> None:
        if self._open:
            self._open = False
            with self._wake:
                self._wake.notify()
            self._lost(reason)


def _open(url: str, baud: int) -> Any:
    if url.lower().startswith(("socket://", "rfc2217://")) and not complete(url):
        raise LinkError(
            f"'{url}' names no host and port.", "Write socket://host:port or rfc2217://host:port.", fatal=True
        )
    try:
        # DTR and RTS stay asserted together, as the system leaves them: on the usual reset circuit of ESP32 boards
        # only a difference between them resets the chip, and opening a line must not reset a lamp.
        port = serial.serial_for_url(url, baud, exclusive=True, timeout=_POLL_S, do_not_open=True)
        port.open()
    except serial.SerialException as error:
        raise _explain(url, error) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise LinkError(
            f"'{url}' is not a line that can be opened: {error}.",
            "Write a device (/dev/ttyUSB0) or a URL such as socket://host:port.",
            fatal=True,
        ) from error
    except OSError as error:
        raise _explain(url, error) from error
    if "://" not in url:
        _keep_lines_on_close(port.fileno())
    return port


def complete(url: str) -> bool:
    """Whether it names a host and a port."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False


def _keep_lines_on_close(descriptor: int) -> None:
    """Closing must not drop DTR and RTS either, for the same reason."""
    with contextlib.suppress(termios.error, OSError):
        attributes = termios.tcgetattr(descriptor)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


def _close(port: Any) -> None:
    with contextlib.suppress(OSError, serial.SerialException, AttributeError):
        port.close()


def _explain(url: str, error: Exception) -> LinkError:
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        known = ", ".join(sorted(port.device for port in list_ports.comports())) or "none"
        return LinkError(f"There is no port {url}.", f"Is the adapter plugged in? Ports on this machine: {known}.")
    if number in (errno.EAGAIN, errno.EBUSY):
        who = holder(url)
        by = f"process {who[0]} ({who[1]})" if who else "another process"
        return LinkError(f"The port {url} is in use by {by}.", "End that process, or use another port.")
    if number in (errno.EACCES, errno.EPERM):
        return LinkError(f"This user may not open {url}.", _permission(url))
    if number == errno.EIO:
        return LinkError(f"The port {url} has nothing behind it any more.", "Is the adapter plugged in?")
    if "Could not configure port" in text or number in (errno.ENOTTY, errno.EISDIR):
        return LinkError(f"{url} is not a serial port.", "Name a device such as /dev/ttyUSB0.", fatal=True)
    why = text.rsplit("] ", 1)[-1].strip("'\". ").lower() or "unknown"
    return LinkError(f"The line {url} can't be opened: {why}.", "Is the other end running?")


def _permission(url: str) -> str:
    try:
        group = grp.getgrgid(os.stat(url).st_gid).gr_name
    except (OSError, KeyError):
        return "Check the permissions of the device."
    return f"Add the user to its group (sudo usermod -aG {group} $USER) and log in again."


def _words(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return "the cable or adapter is gone"
    return os.strerror(number).lower() if number else str(error) or type(error).__name__
