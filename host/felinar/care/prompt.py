"""A board's MicroPython prompt and its files through mpremote's transport: the one module that knows mpremote.

mpremote has no documented stable interface, so what is used of it is here: `SerialTransport` with `enter_raw_repl`, `exit_raw_repl`, `exec`,
and `fs_listdir`, `fs_stat`, `fs_exists`, `fs_isdir`, `fs_readfile`, `fs_writefile`, `fs_rmfile`, `fs_rmdir`, `fs_hashfile`.

A wired node takes no Ctrl-C while it runs. So the chip is reset by its line, as esptool resets it, and interrupted while
it starts; in the end it is reset again and goes on as a node. While its lamp has no node it is lit, as in any reset.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from felinar.care.errors import CareError, LineLost
from felinar.care.line import alive, check, explain, patient
from felinar.flash import urls
from felinar.flash.prove import BAUD

_START_S = 15.0
_PRESS_S = 0.05
_ANSWER_S = 5.0
_RESET_S = 0.1
_DOG_MS = 3_600_000
"""A node that was interrupted late has a watchdog of a minute running, which can't be stopped and which nobody feeds at the
prompt. So it gets an hour, and a board that was forgotten at its prompt is a node again after that."""
_CHUNK = 512
_FOLDER = 0x4000

Told = Callable[[int, int], None]


class Entry(NamedTuple):
    """One file or folder of a board; `size` in bytes."""

    name: str
    size: int
    folder: bool


def reset(port: Any) -> None:
    """Reset the chip behind an open pySerial port: EN low by RTS while DTR, which would be IO0, is not asserted."""
    with contextlib.suppress(
        OSError
    ):  # a pseudo-terminal has no such lines, and its program may be stopped all the same
        port.dtr = False
        port.rts = True
        time.sleep(_RESET_S)
        port.rts = False


@contextmanager
def at_prompt(device: str, baud: int = BAUD, *, restart: bool = True, running: bool = False) -> Iterator[Board]:
    """A board whose program was stopped, at its raw prompt; it is started again in the end. With `running` the program is stopped
    where it is, without a reset. Raises CareError, LineLost."""
    from mpremote.transport import TransportError

    check(device)
    urls.use()
    try:
        transport = _quiet().SerialTransport(patient(device), baud)
    except TransportError as error:
        raise _why(device, baud, error) from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise explain(device, error) from error
    transport.serial.timeout = _ANSWER_S  # mpremote itself would wait for ever
    board = Board(device, transport)
    try:
        board.interrupt() if running else board.stop()
        yield board
    except (TransportError, struct.error, SyntaxError, UnicodeDecodeError) as error:  # what it makes of half an answer
        if not alive(device, transport.serial):
            raise LineLost(device) from error
        raise CareError(
            f"The board at {device} stopped answering as MicroPython does: {_last(str(error))}.",
            "Is its supply well? Tap RESET and try again.",
        ) from error
    except OSError as error:
        if _is_loss(error) or error.errno is None:  # pySerial's own have none
            raise LineLost(device) from error
        raise CareError(f"The line {device} fails: {(error.strerror or str(error)).lower()}.", "Try again.") from error
    finally:
        board.end(restart=restart)


def _quiet() -> Any:
    """mpremote's module for serial lines, kept from printing what it did not expect: several boards may be at work in as many threads, and
    standard output is everybody's."""
    from mpremote import transport_serial

    transport_serial.print = lambda *what, **how: None
    return transport_serial


def _why(device: str, baud: int, error: Exception) -> CareError:
    # mpremote keeps the reason to itself: look once more.
    from felinar.care.line import CareLine

    try:
        CareLine(device, baud).close()
    except CareError as found:
        return found
    return CareError(f"{device} can't be opened: {error}.", "Try again.")


def _is_loss(error: OSError) -> bool:
    import errno

    return error.errno in (errno.EIO, errno.ENXIO, errno.ENODEV, errno.EPIPE, errno.ECONNRESET)


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip().rstrip(".") if lines else "nothing comes"


class Board:
    """A board at its raw prompt: its files, by absolute paths. Raises CareError for what the board refuses."""

    def __init__(self, device: str, transport: Any) -> None:
        self.device = device
        self.transport = transport
        self.port = transport.serial

    def stop(self) -> None:
        """Reset the chip, end its program as it starts, and enter the raw prompt. Raises CareError."""
        reset(self.port)
        self._press()
        # Soft reset: without it the program's modules would fill the heap. In raw mode main.py is not run again.
        self.transport.enter_raw_repl(soft_reset=True)
        self.transport.exec(f"try:\n import machine\n machine.WDT(timeout={_DOG_MS})\nexcept Exception: pass")

    def _press(self) -> None:
        """Ctrl-C until the prompt is there."""
        seen = b""
        end = time.monotonic() + _START_S
        while not seen.endswith(b">>> "):
            if time.monotonic() >= end:
                raise self._mute(seen)
            self.port.write(b"\x03")
            time.sleep(_PRESS_S)
            seen = (seen + self._take())[-4096:]
        time.sleep(_PRESS_S)
        self._take()

    def _mute(self, seen: bytes) -> CareError:
        from felinar.care.node import who_is_there

        if who_is_there(seen) == "loader":
            return CareError(f"The board at {self.device} waits in its boot loader.", "Tap RESET, or flash it.")
        if seen.strip(b"\0\r\n "):
            return CareError(
                f"The program of the board at {self.device} could not be stopped: its reset line may not be connected.",
                "Tap RESET while this command waits.",
            )
        return CareError(f"Nothing answers at {self.device}.", "Is the board powered, and was it flashed?")

    def _take(self) -> bytes:
        data: bytes = self.port.read(self.port.in_waiting) if self.port.in_waiting else b""
        return data

    def interrupt(self) -> None:
        """Stop the program where it is, and enter the raw prompt with all that it has in memory. Raises CareError for one that takes no Ctrl-C."""
        self._press()
        self.transport.enter_raw_repl(soft_reset=False)

    def friendly(self) -> None:
        """From the raw prompt to the one that people know."""
        self.transport.exit_raw_repl()

    def end(self, *, restart: bool) -> None:
        """Start the program again (or leave the board at its prompt) and close the port."""
        with contextlib.suppress(Exception):
            if restart:
                # By its program, too: a chip's own USB port has no reset line while MicroPython runs.
                if self.transport.in_raw_repl:
                    self.transport.exec_raw_no_follow("import machine\nmachine.reset()")
                reset(self.port)
            elif self.transport.in_raw_repl:
                self.transport.exit_raw_repl()
        with contextlib.suppress(Exception):
            self.port.close()

    # Files

    def list(self, path: str = "/") -> list[Entry]:
        """What a folder has, folders first. A file lists itself."""
        if not self.is_folder(path):
            return [Entry(path, self.size(path), False)]
        with self._told(path):
            found = self.transport.fs_listdir(path)
        entries = [Entry(each.name, each.st_size, bool(each.st_mode & _FOLDER)) for each in found]
        return sorted(entries, key=lambda entry: (not entry.folder, entry.name))

    def exists(self, path: str) -> bool:
        return bool(path == "/" or self.transport.fs_exists(path))

    def is_folder(self, path: str) -> bool:
        return bool(path == "/" or self.transport.fs_isdir(path))

    def size(self, path: str) -> int:
        with self._told(path):
            return int(self.transport.fs_stat(path).st_size)

    def read(self, path: str, told: Told | None = None) -> bytes:
        with self._told(path):
            if self.is_folder(path):
                raise CareError(f"{path} is a folder.", f"felinar ls PORT {path} lists it.")
            return bytes(self.transport.fs_readfile(path, chunk_size=_CHUNK, progress_callback=told))

    def write(self, path: str, data: bytes, told: Told | None = None) -> None:
        """Write a file beside the old one, read its hash back, and only then put it in its place."""
        fresh = path + ".new"
        with self._told(path):
            self.transport.fs_writefile(fresh, data, chunk_size=_CHUNK, progress_callback=told)
            if self.transport.fs_hashfile(fresh, "sha256", chunk_size=_CHUNK) != hashlib.sha256(data).digest():
                self.transport.fs_rmfile(fresh)
                raise CareError(f"{path} did not arrive whole; the old one is still there.", "Try again.")
            self.transport.exec(f"import os\nos.rename({fresh!r}, {path!r})")

    def remove(self, path: str) -> None:
        with self._told(path):
            if self.is_folder(path):
                self.transport.fs_rmdir(path)
            else:
                self.transport.fs_rmfile(path)

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        from mpremote.transport import TransportExecError

        words = {2: "There is no {} on the board.", 17: "{} exists on the board already.", 28: "The board has no room for {}.",
                 39: "The folder {} is not empty.", 20: "{} is no folder."}  # fmt: skip
        try:
            yield
        except TransportExecError as error:
            if "ENOTEMPTY" in error.error_output or "OSError: 39" in error.error_output:
                raise CareError(words[39].format(path), "Remove what is in it first.") from error
            raise CareError(f"The board refuses: {_last(error.error_output)}.", "See: felinar ls PORT") from error
        except OSError as error:
            if error.errno not in words or _is_loss(error):
                raise
            raise CareError(words[error.errno].format(path), "See: felinar ls PORT") from error
