"""One open serial line for one command: what is wrong with a port is said in a sentence, with who holds it."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import stat
import termios
import time
from pathlib import Path
from typing import Any

import serial

from felinar.care.errors import CareError, LineLost
from felinar.flash import urls
from felinar.flash.prove import BAUD
from felinar.holders import holder
from felinar.port import complete

_TAIL = 2048
_AGAIN_S = 0.2
_NETWORK_S = 8
_URLS = ("rfc2217", "socket", "loop", "spy", "alt", "hwgrep")
_MEMORY = 1  # major number of /dev/null and its like


def holder_words(device: str) -> tuple[str, str] | None:
    """Who holds a device, and what to do about it; None when nobody is known to."""
    who = holder(device)
    if who is None:
        return None
    if is_daemon(who[0]):
        return (
            f"the felinar daemon (process {who[0]})",
            "Stop it for as long as this takes (systemctl stop felinar, or Ctrl-C where it runs), or see what it hears: "
            "felinar live",
        )
    return f"process {who[0]} ({who[1]})", "End that process, or use another port."


def is_daemon(pid: int, *, proc: Path = Path("/proc")) -> bool:
    """Whether a process is a felinar daemon, by its command line."""
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return (
        any(Path(word).name in ("felinar", "__main__.py") or word == "felinar" for word in words) and "daemon" in words
    )


def check(device: str) -> None:
    """Raises CareError for a device that can't be opened, before anybody tries; a URL is only looked at."""
    if "://" in device:
        kind = device.lower().partition("://")[0]
        if kind not in _URLS:
            raise CareError(
                f"'{device}' is no kind of port that is known.", f"Known are {', '.join(_URLS)} and devices."
            )
        if kind in ("rfc2217", "socket") and not complete(device):
            raise CareError(f"'{device}' names no host and port.", f"Write {kind}://host:port.")
        return
    if not os.path.exists(device):
        from felinar.flash import ports

        known = ", ".join(port.device for port in ports.find()) or "none"
        raise CareError(f"There is no port {device}.", f"Is the board plugged in? Boards are at: {known}.")
    about = os.stat(device)
    if not stat.S_ISCHR(about.st_mode) or os.major(about.st_rdev) == _MEMORY:
        raise CareError(f"{device} is not a serial port.", "Name one such as /dev/ttyUSB0; felinar ports lists them.")
    if not os.access(device, os.R_OK | os.W_OK):
        raise _denied(device)
    if held := holder_words(device):
        raise CareError(f"The port {device} is in use by {held[0]}.", held[1])


def _denied(device: str) -> CareError:
    try:
        group = grp.getgrgid(os.stat(device).st_gid).gr_name
    except (OSError, KeyError):
        return CareError(f"This user may not open {device}.", "See: felinar doctor")
    return CareError(
        f"This user may not open {device}: it is for the group {group}.",
        f"sudo usermod -aG {group} $USER, then log in again; felinar doctor tells a rule that needs no group.",
    )


def patient(device: str) -> str:
    """A port as pySerial is told it: the far end of a network gets longer to answer than the three seconds it has by itself."""
    slow = device.lower().startswith("rfc2217://") and "?" not in device
    return f"{device}?timeout={_NETWORK_S}" if slow else device


def explain(device: str, error: Exception) -> CareError:
    """Why a port could not be opened."""
    number = getattr(error, "errno", None)
    text = str(error).replace(patient(device), device)
    low = text.lower()
    if number in (errno.EACCES, errno.EPERM):
        return _denied(device)
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in low:
        held = holder_words(device) or ("another process", "End that process, or use another port.")
        return CareError(f"The port {device} is in use by {held[0]}.", held[1])
    if "://" in device:
        if "rfc2217" in low and ("inactive" in low or "timeout while" in low):
            return CareError(
                f"The far end of {device} takes nobody: somebody else is connected, or it is no RFC 2217 port.",
                "End what is connected there, or check host and port.",
            )
        if any(word in low for word in ("refused", "timed out", "unreachable", "name or service", "reset by peer")):
            return CareError(f"Nobody answers at {device}.", "Start what serves it, and check host and port.")
        return CareError(
            f"{device} can't be opened: {_plain(text)}.", "Write rfc2217://host:port or socket://host:port."
        )
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EIO):
        return CareError(f"There is nothing behind the port {device}.", "Is the board plugged in?")
    if "could not configure" in low or number in (errno.ENOTTY, errno.EISDIR, errno.EINVAL):
        return CareError(f"{device} is not a serial port.", "Name one such as /dev/ttyUSB0; felinar ports lists them.")
    return CareError(f"The port {device} can't be opened: {_plain(text)}.", "See: felinar doctor")


def _plain(text: str) -> str:
    return " ".join(text.split()).rsplit("] ", 1)[-1].strip("'\". ").lower() or "unknown"


def alive(device: str, port: Any) -> bool:
    """Whether an open port still has something behind it; pySerial's RFC 2217 port tells it by its reader alone."""
    if "://" not in device:
        return os.path.exists(device)
    reader = getattr(port, "_thread", None)
    return reader is None or reader.is_alive()


class CareLine:
    """An open line, as `felinar.flash.prove.Line` has it; leaving the `with` closes it without a reset.

    `tail` holds the newest bytes that came. Raises CareError on opening, LineLost afterwards.
    """

    def __init__(self, device: str, baud: int = BAUD) -> None:
        self.device = device
        self.tail = bytearray()
        self._baud = baud
        check(device)
        self._port = self._opened()

    def _opened(self) -> Any:
        urls.use()
        try:
            port = serial.serial_for_url(patient(self.device), self._baud, timeout=0.1, do_not_open=True)
            if "://" not in self.device:
                port.exclusive = True
            port.open()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise explain(self.device, error) from error
        if "://" not in self.device:
            # Closing must not drop DTR and RTS one after the other: on the usual circuit that resets the chip.
            with contextlib.suppress(termios.error, OSError):
                attributes = termios.tcgetattr(port.fileno())
                attributes[2] &= ~termios.HUPCL
                termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
        return port

    def __enter__(self) -> CareLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the port."""
        with contextlib.suppress(OSError, AttributeError, TypeError):
            self._port.close()

    def again(self, wait_s: float = 15.0) -> None:
        """Open it anew after it was lost, as a chip's own USB device is with each reset. Raises CareError."""
        self.close()
        end = time.monotonic() + wait_s
        while True:
            try:
                self._port = self._opened()
                return
            except CareError:
                if time.monotonic() >= end:
                    raise
                time.sleep(_AGAIN_S)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        try:
            self._port.write(data)
        except (OSError, AttributeError, TypeError) as error:
            raise LineLost(self.device) from error

    def read(self, seconds: float) -> bytes:
        """What comes within that time: all that is there once something is."""
        try:
            self._port.timeout = seconds
            data: bytes = self._port.read(1)
            if data and self._port.in_waiting:
                data += self._port.read(self._port.in_waiting)
        except (OSError, AttributeError, TypeError) as error:
            raise LineLost(self.device) from error
        if not data and not alive(self.device, self._port):
            raise LineLost(self.device)
        self.tail += data
        del self.tail[:-_TAIL]
        return data
