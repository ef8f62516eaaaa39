"""The line to a board through mpremote's transport: its application is stopped before it begins, and started again at the end."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from felinar.flash import urls
from felinar.flash.ports import Port
from felinar.holders import holder

from felinar_board_test.errors import BoardTestError

BAUD = 115_200
_RESETS = 3
_HOLD_S, _BOOT_S, _TAP_S = 0.1, 6.0, 20.0
_AGAIN_S = 0.03
_READ_S = 20.0
_PROMPT = b">>>"
_BARE = (b"invalid header", b"flash read err", b"No bootable app", b"Failed to verify partition table")
"""What the boot ROM and the boot loader say where there is nothing to start (ESP-IDF, boot loader)."""
_ARCHS = (
    "", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc",
)  # fmt: skip
"""By their number in `sys.implementation._mpy` (MicroPython's documentation, "MicroPython .mpy files")."""

_WHO = """
import sys
i = sys.implementation
try:
    sys.modules["node.app"].light()
    running = True
except Exception: running = False
print(repr((getattr(i, "_mpy", 0), i._machine, ".".join(map(str, i.version[:3])), running)))
"""
_LIT = """
import gc, json, machine
gc.threshold(32768)  # as main.py does
try:
    with open("/board.json") as f: d = json.load(f)
    p = d["pins"].get("relay")
except (OSError, ValueError, KeyError): p = None
if p is not None: machine.Pin(p, machine.Pin.OUT, value=0 if d.get("relay_normally_closed", True) else 1)
"""
_FLASH = """
import esp32
from binascii import crc32
b = bytearray(4096)
found = {}
for p in esp32.Partition.find(esp32.Partition.TYPE_DATA):
    i = p.info()
    c = 0
    for n in range(i[3] // 4096):
        p.readblocks(n, b)
        c = crc32(b, c)
    found[i[4]] = c
print(repr(found))
"""
_FILE = """
try:
    with open("/board.json") as f: print(repr(f.read()))
except OSError: print("None")
"""


class Console:
    """One board at a port. Raises BoardTestError for what keeps it from being tested.

    `say` is told what a person should know meanwhile.
    """

    def __init__(self, port: Port, say: Callable[[str], None]) -> None:
        self.port = port
        self._say = say
        self._link: Any = None
        self.arch = self.machine = self.version = ""
        self.mpy = (0, 0)
        """Version and sub-version of the .mpy files that it takes."""
        self._heard = b""
        self._open()

    def _open(self) -> None:
        try:
            from mpremote.transport import TransportError
            from mpremote.transport_serial import SerialTransport
        except ImportError as error:
            raise BoardTestError("mpremote is not installed.", "Run `make setup`, or pip install mpremote.") from error
        urls.use()
        device = self.port.device
        who = None if self.port.remote else holder(device)
        if who:
            raise BoardTestError(f"{device} is held by process {who[0]} ({who[1]}).", "End that process first.")
        try:
            self._link = SerialTransport(device, BAUD, timeout=_READ_S)
        except (TransportError, OSError, ValueError) as error:
            if self.port.remote:
                sentence = f"Nobody answers at {device}, or another program is connected to it."
                raise BoardTestError(sentence, "Start what serves it, and check host and port.") from error
            if not os.access(device, os.R_OK | os.W_OK):
                remedy = "Add the user to the port's group (usually dialout) and log in again."
                raise BoardTestError(f"This user may not open {device}.", remedy) from error
            raise BoardTestError(
                f"The port {device} can't be opened ({error}).", "Unplug the board and plug it in again."
            ) from error

    # Stopping and starting

    def stop(self) -> None:
        """Reset the board and interrupt what starts, before a watchdog has begun; ask it what it is."""
        for _ in range(_RESETS):
            self._reset()
            if self._interrupted(_BOOT_S) and not self._who():
                return
            if any(sign in self._heard for sign in _BARE):
                raise self._no_prompt()
        self._say(f"no prompt at {self.port.device} yet: tap RESET on the board")
        if self._interrupted(_TAP_S) and not self._who():
            return
        raise self._no_prompt()

    def _reset(self) -> None:
        serial = self._link.serial
        with contextlib.suppress(OSError):  # a pseudo-terminal has no such lines
            serial.dtr, serial.rts = False, True
            time.sleep(_HOLD_S)
            serial.rts = False

    def _interrupted(self, seconds: float) -> bool:
        serial, heard, end = self._link.serial, bytearray(), time.monotonic() + seconds
        while time.monotonic() < end:
            serial.write(b"\x03")
            time.sleep(_AGAIN_S)
            heard += serial.read(serial.in_waiting) if serial.in_waiting else b""
            if heard.rstrip().endswith(_PROMPT):
                return True
            if any(sign in heard for sign in _BARE):
                break
        self._heard = bytes(heard)
        return False

    def _no_prompt(self) -> BoardTestError:
        device, heard = self.port.device, self._heard
        if not heard.strip(b"\0\r\n"):
            return BoardTestError(
                f"The board at {device} says nothing.", "Check cable and supply; another program may hold the line."
            )
        if any(sign in heard for sign in _BARE):
            return BoardTestError(
                f"There is no MicroPython on the board at {device}.",
                "Flash it first: felinar flash --board … --port ….",
            )
        return BoardTestError(
            f"The board at {device} gives no MicroPython prompt: its program can't be interrupted as it starts.",
            "Flash it anew (felinar flash), and run the test again.",
        )

    def _who(self) -> bool:
        """What the board is; whether its application is running already."""
        self._raw(reset=False)
        mpy, self.machine, self.version, running = self.ask(_WHO)
        number = mpy >> 10
        self.arch = _ARCHS[number] if number < len(_ARCHS) else ""
        self.mpy = (mpy & 0xFF, mpy >> 8 & 3)
        return bool(running)

    def restart(self) -> None:
        """Start what is on the board, as after RESET, and let go of the port."""
        try:
            if not self.machine:
                raise BoardTestError("It has no prompt.")
            self._raw(reset=True)
            self._link.exec_raw_no_follow("import machine\nmachine.reset()\n")
            time.sleep(_HOLD_S)
        except Exception:  # whatever it was, there is a second way
            with contextlib.suppress(Exception):
                self._reset()
        self.close()

    @property
    def open(self) -> bool:
        """Whether the port is ours still."""
        return self._link is not None

    def close(self) -> None:
        """Let go of the port."""
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(Exception):
                link.close()

    # What runs there

    def _raw(self, *, reset: bool) -> None:
        from mpremote.transport import TransportError

        link = self._link
        if link.mounted:
            link.serial, link.mounted = link.serial.orig_serial, False
        words: list[object] = []
        try:
            with _said(words):
                link.enter_raw_repl(soft_reset=reset)
        except (TransportError, OSError) as error:
            raise BoardTestError(
                f"The board at {self.port.device} no longer answers: {error}.", "Check cable and supply and try again."
            ) from error

    def fresh(self, folder: Path | None = None) -> None:
        """Start MicroPython over with an empty heap; the lamp is lit; with `folder` in place of the board's own files."""
        self._raw(reset=True)
        self.run(_LIT)
        if folder is not None:
            self._link.mount_local(str(folder))

    def run(self, code: str, timeout_s: float = 20.0, on_line: Callable[[str], None] = lambda line: None) -> str:
        """Run code; what it said. Each line is told as it comes. Raises Crashed with the last line of a traceback."""
        from mpremote.transport import TransportError

        said = bytearray()
        begun = [0]

        def take(data: bytes) -> None:
            said.extend(data.replace(b"\x04", b""))
            while (end := said.find(b"\n", begun[0])) >= 0:
                on_line(said[begun[0] : end].decode(errors="replace").strip("\r\x04"))
                begun[0] = end + 1

        try:
            self._link.exec_raw_no_follow(code)
            _, wrong = self._link.follow(timeout_s, take)
        except (TransportError, OSError) as error:
            raise Crashed(f"the board fell silent ({error})", lost=True) from error
        if wrong:
            raise Crashed(wrong.decode(errors="replace").strip().splitlines()[-1])
        return bytes(said).decode(errors="replace").strip()

    def ask(self, code: str) -> Any:
        """What code prints as a literal."""
        import ast

        return ast.literal_eval(self.run(code))

    def flash(self) -> dict[str, int]:
        """A CRC-32 of each data partition: key and counters are in `nvs`, records in `outbox`."""
        found: dict[str, int] = self.ask(_FLASH)
        return found

    def board(self) -> dict[str, Any] | None:
        """The node's board.json; None when there is none."""
        text = self.ask(_FILE)
        try:
            found = json.loads(text) if text else None
        except ValueError:
            found = None
        return found if isinstance(found, dict) else None


class Crashed(Exception):
    """What ran there raised; the argument is the last line of its traceback. `lost`: the board no longer answers."""

    def __init__(self, text: str, *, lost: bool = False) -> None:
        super().__init__(text)
        self.lost = lost


@contextlib.contextmanager
def _said(words: list[object]) -> Any:
    """mpremote prints what it did not expect: not among our lines."""
    import io

    with contextlib.redirect_stdout(io.StringIO()) as text:
        yield
    words.append(text.getvalue())
