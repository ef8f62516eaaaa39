"""The process that esptool runs in (python -m felinar.flash.worker): it prints, exits and has one logger for all.

esptool is used as it comes, nothing in it is replaced: its scripting interface (`esptool.cmds`), a logger of ours set by
`log.set_logger`, and a class of ours derived from its loader.

It is asked on its standard input and answers on its standard output (`felinar.flash.messages`):
first of all it connects and answers `chip`; then `write` (segments) is answered by `part` as it goes on, `speed` when a
slower one is tried, and `written`; `end` resets the board and ends the process. `failed` may come at any time and is the last word.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from esptool import cmds
from esptool.logger import TemplateLogger, log
from esptool.util import FatalError
from serial import SerialException

from felinar.flash import messages, urls

ROM_BAUD = 115200
_ATTEMPTS = 7  # of entering the boot loader: esptool's own number
_LOOK_S = 0.25
Told = Callable[..., None]


class _Log(TemplateLogger):  # type: ignore[misc]
    """What esptool says goes to standard error; its progress to who asked for the write (esptool's documentation, "Custom Logger")."""

    def __init__(self, on_part: Callable[[int, int], None]) -> None:
        self._on_part = on_part

    def print(self, *args: Any, **_: Any) -> None:
        sys.stderr.write(" ".join(map(str, args)) + "\n")

    def note(self, message: str) -> None:
        self.print(message)

    def warning(self, message: str) -> None:
        self.print(message)

    def error(self, message: str) -> None:
        self.print(message)

    def stage(self, finish: bool = False) -> None:
        pass

    def progress_bar(self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30) -> None:  # fmt: skip
        self._on_part(cur_iter, total_iters)

    def set_verbosity(self, verbosity: str) -> None:
        pass


class _Quick:
    """Sends as esptool's loaders do (SLIP, RFC 1055). Theirs writes each packet out as hex even for a trace that is off: 2 s a board."""

    _port: Any

    def write(self, packet: bytes) -> None:
        self._port.write(b"\xc0" + packet.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")


def _quick(esp: Any) -> Any:
    """The same loader, of a class of ours above its own: esptool itself stays as it is."""
    esp.__class__ = type(f"Quick{type(esp).__name__}", (_Quick, type(esp)), {})
    return esp


class _Failed(Exception):
    """`code` is one of the catalogue's."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Loader:
    """One board in its boot loader."""

    def __init__(self, device: str, tell: Told) -> None:
        self.device = device
        self._tell = tell
        self._esp: Any = None
        self._begun = -1
        self._done = 0
        self._sizes: list[int] = []
        self._packed: dict[int, int] = {}
        self.sent = 0
        log.set_logger(_Log(self._part))

    def connect(self) -> None:
        """Enter the boot loader and start esptool's helper in the chip's memory."""
        self._close()
        try:
            self._esp = cmds.detect_chip(self.device, ROM_BAUD, connect_attempts=_ATTEMPTS)
        except (FatalError, SerialException, OSError) as error:
            raise _Failed(_opening(error), str(error)) from error
        self._count()

    def _count(self) -> None:
        port = self._esp._port
        write = port.write

        def counted(data: bytes) -> Any:
            self.sent += len(data)
            return write(data)

        port.write = counted

    def stub(self) -> None:
        if self._locked():
            return
        try:
            self._esp = _quick(cmds.run_stub(self._esp))
            cmds.attach_flash(self._esp)
        except (FatalError, SerialException, OSError) as error:
            raise _Failed("connection-lost" if _lost(error) else "stub", str(error)) from error

    def chip(self) -> dict[str, Any]:
        """What `felinar.flash.chip.Chip` is made of."""
        esp = self._esp
        try:
            features = tuple(map(str, esp.get_chip_features()))
            size = None if self._locked() else cmds.detect_flash_size(esp)
            return {
                "name": esp.CHIP_NAME,
                "mac": bytes(esp.read_mac()).hex(),
                "flash": size or "",
                "description": esp.get_chip_description(),
                "psram_mb": _psram(esp.CHIP_NAME, features),
                "features": features,
                "locked": self._locked(),
            }
        except (FatalError, SerialException, OSError) as error:
            raise _Failed("connection-lost", str(error)) from error

    def _locked(self) -> str:
        esp = self._esp
        if esp.secure_download_mode:
            return "secure download mode"
        with contextlib.suppress(AttributeError, NotImplementedError, FatalError):
            if esp.get_flash_encryption_enabled():
                return "flash encryption"
        with contextlib.suppress(AttributeError, NotImplementedError, FatalError):
            if esp.get_secure_boot_enabled():
                return "secure boot"
        return ""

    def write(self, segments: list[tuple[int, bytes]], speeds: list[int]) -> None:
        """Write and verify at the first speed that works. Raises _Failed."""
        last: Exception | None = None
        for tried, speed in enumerate(speeds):
            if tried:
                self._tell("speed", baud=speed, why=_plain(str(last)))
                self._again()
            try:
                self._write(segments, speed)
                return
            except (FatalError, SerialException, OSError) as error:
                last = error
        assert last is not None
        raise _Failed("connection-lost" if _lost(last) else "write", str(last)) from last

    def _again(self) -> None:
        """Enter the boot loader once more. The board was there a moment ago: what fails now is its line or its supply."""
        try:
            self.connect()
            self.stub()
        except _Failed as error:
            raise _Failed("connection-lost", str(error)) from error

    def _write(self, segments: list[tuple[int, bytes]], speed: int) -> None:
        if speed != ROM_BAUD:
            self._esp.change_baud(speed)
        self._begun = -1
        self._done = 0
        self._sizes = [len(data) for _, data in segments]
        self._packed = {}
        sent, began = self.sent, time.monotonic()
        for i, segment in enumerate(segments):
            # One at a time: after one that does not compress esptool sends the others as they are, too.
            self._begun = i
            cmds.write_flash(self._esp, [segment])
            self._done += self._sizes[i]
        self._tell(
            "written",
            baud=speed,
            seconds=time.monotonic() - began,
            line_bytes=self.sent - sent,
            compressed=sum(self._packed.values()),
        )

    def _part(self, now: int, whole: int) -> None:
        if self._begun >= 0 and whole:
            self._packed[self._begun] = whole
            part = self._done + self._sizes[self._begun] * now // whole
            self._tell("part", part=part, whole=sum(self._sizes))

    def reset(self) -> None:
        """Start what was written."""
        if self._esp is not None:
            try:
                cmds.reset_chip(self._esp, "hard-reset")
            except (FatalError, SerialException, OSError) as error:
                raise _Failed("connection-lost", str(error)) from error
            self._close()

    def _close(self) -> None:
        if self._esp is not None:
            with contextlib.suppress(Exception):
                self._esp._port.close()
            self._esp = None


def _psram(name: str, features: tuple[str, ...]) -> int | None:
    found = re.search(r"Embedded PSRAM (\d+)\s?MB", " ".join(features))
    if found:
        return int(found[1])
    return 0 if name in ("ESP32-S3", "ESP32-C3", "ESP32-C6") and "PSRAM" not in " ".join(features) else None


def _lost(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, (SerialException, OSError)) or "serial" in text or "no such file" in text


def _opening(error: BaseException) -> str:
    _, more, why = str(error).lower().partition("\n")  # esptool's first line names every possibility
    text = why if more else str(error).lower()
    for words, code in (
        (("no such file", "does not exist", "filenotfound", "doesn't exist"), "port-gone"),
        (("permission",), "port-denied"),
        (("busy", "exclusively lock", "temporarily unavailable"), "port-busy"),
        (("refused", "timed out while connecting", "unreachable", "name or service", "reset by peer"), "port-refused"),
    ):
        if any(word in text for word in words):
            return code
    return "no-sync" if isinstance(error, FatalError) else "connection-lost"


def _plain(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _live_with(parent: int) -> None:
    # Whoever asked was killed: the port must be free for the next one at once.
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def main() -> int:
    """Serve one board. The status says nothing: the messages do."""
    device = sys.argv[1]
    threading.Thread(target=_live_with, args=(os.getppid(),), daemon=True).start()
    urls.use()
    source = sys.stdin.buffer
    to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints there

    def tell(event: str, **values: Any) -> None:
        messages.send(to, {"event": event, **values})

    board = Loader(device, tell)
    try:
        board.connect()
        board.stub()
        tell("chip", **board.chip())
        while (asked := messages.receive(source)) is not None:
            if asked["do"] == "write":
                board.write([(at, data) for at, data in asked["segments"]], asked["speeds"])
            elif asked["do"] == "end":
                board.reset()
                tell("ended")
                break
    except _Failed as error:
        tell("failed", code=error.code, text=_plain(str(error)))
    except BaseException as error:  # esptool may exit as well
        tell("failed", code="internal", text=f"{type(error).__name__}: {_plain(str(error))}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
