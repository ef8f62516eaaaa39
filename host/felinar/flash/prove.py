"""A node proves its key and its parts: HELLO, challenge and proof, then each sensor read and the relay clicked."""

from __future__ import annotations

import ast
import contextlib
import hmac
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
import serial
from felinar_wire import core, schema
from felinar_wire.aes import cmac, derive

from felinar.flash import urls
from felinar.flash.catalogue import FlashError
from felinar.flash.talk import Said, Talk, uid

BAUD = 115200
HELLO_S = 40.0
"""A chip starts in one second, the application in a few; a HELLO may then be half a minute off, but is asked for."""
PROOF_S = 12.0
TEST_S = 90.0
"""The slowest sensor (a particle counter warming up) has a value after 30 s."""
POWER_S = 25.0
_ASK_S = 2.0
_RESET_S = 0.1
_TEST_AGAIN_S = 3.0
_PLAUSIBLE = 1_767_225_600  # 2026-01-01: the clock of this host has been set
_DARK_W, _LIT_W = 2.0, 2.0
"""Off is at most 2 W (docs/architecture.md, *Measured*); a lamp that is there takes 2 W more when lit."""
_RESULT = re.compile(r"(ok|FAILED) (\w+)")
_VERDICT = re.compile(r"PASS|FAIL")
_PROMPT = re.compile(r"Ctrl-C.*")
_LEVEL = re.compile(r"level \d+ mode \d+")
_SENSOR = re.compile(r"(\w+) (\{.*\}) errors \d+")


class Line(Protocol):
    """An open line: `read` waits that many seconds at most for anything."""

    def write(self, data: bytes) -> None: ...

    def read(self, seconds: float) -> bytes: ...


class Part(msgspec.Struct, frozen=True):
    """One part of the self-test; `detail` are the values that were read."""

    name: str
    passed: bool
    detail: str = ""


class Proven(msgspec.Struct, frozen=True):
    """A node that has shown that it has its key. `hello_s` is from opening the line to its first HELLO."""

    address: int
    uid: str
    boot: int
    firmware: str
    hello_s: float


class SerialLine:
    """A pySerial port as a line; leaving the `with` closes it, without a reset."""

    def __init__(self, device: str, baud: int = BAUD) -> None:
        urls.use()
        try:
            self._port = serial.serial_for_url(device, baud, timeout=0.1, do_not_open=True)
            if "://" not in device:
                self._port.exclusive = True
            self._port.open()
        except (OSError, ValueError) as error:
            raise FlashError("connection-lost", f"{device} can't be opened again: {error}.") from error

    def __enter__(self) -> SerialLine:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self._port.close()

    def reset(self) -> None:
        """Start the chip anew, and hear it from its first word on: EN low by RTS while DTR, which would be IO0, is not asserted."""
        with contextlib.suppress(OSError):
            self._port.dtr = False
            self._port.rts = True
            time.sleep(_RESET_S)
            self._port.reset_input_buffer()
            self._port.rts = False

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except (OSError, AttributeError) as error:
            raise FlashError("connection-lost", f"The line was lost: {error}.") from error

    def read(self, seconds: float) -> bytes:
        try:
            self._port.timeout = seconds
            data: bytes = self._port.read(1)
            return data + (self._port.read(self._port.in_waiting) if data and self._port.in_waiting else b"")
        except (OSError, AttributeError, TypeError) as error:
            raise FlashError("connection-lost", f"The line was lost: {error}.") from error


class Prover:
    """The conversation with one node. Every wait is bounded; `now`, `unix` and `random` are handed in by tests."""

    def __init__(
        self,
        line: Line,
        *,
        now: Callable[[], float] = time.monotonic,
        unix: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._line = line
        self._now, self._unix, self._random = now, unix, random
        self._talk = Talk()
        self._told = 0  # lines of text that have been looked at

    # The key

    def hello(self, wait_s: float = HELLO_S) -> Said:
        """The node's HELLO, which is asked for. Raises FlashError: silent."""
        for said in self._asking(self._talk.ask_hello, wait_s):
            if said.kind == schema.HELLO:
                return said
        what = f" (it prints: {self._talk.lines[-1][:100]})" if self._talk.lines else ""
        raise FlashError("silent", f"The board was written but says no HELLO within {wait_s:.0f} s{what}.")

    def prove(self, address: int, mac: str, key: bytes) -> Proven:
        """Raises FlashError: silent, other-node, no-proof, proof-wrong. The node gets the time as well."""
        began = self._now()
        hello = self.hello()
        after = self._now() - began
        if uid(hello) != mac or hello.address != address:
            raise FlashError(
                "other-node",
                f"The node at the line has chip {uid(hello)} and address {hello.address}, "
                f"and the one that was written {mac} and {address}.",
            )
        self._give_time(hello)
        nonce = self._random(16)
        want = cmac(derive(key, b"prove", b""), nonce + bytes.fromhex(mac) + address.to_bytes(2, "big"))[:8]
        for said in self._asking(lambda: self._talk.challenge(address, nonce), PROOF_S):
            if said.kind == schema.HELLO:
                self._give_time(said)
            elif said.kind == core.PROOF and said.values["nonce"] == nonce and said.address == address:
                if not hmac.compare_digest(said.values["tag"], want):
                    raise FlashError("proof-wrong")
                version = "{major}.{minor}.{patch}".format(**hello.values)
                return Proven(address, mac, int(hello.values["boot"]), version, after)
        raise FlashError("no-proof")

    def _give_time(self, hello: Said) -> None:
        unix = self._unix()
        if unix >= _PLAUSIBLE:
            self._line.write(self._talk.time(hello.address, int(hello.values["nonce"]), unix))

    def _asking(self, question: Callable[[], bytes], wait_s: float) -> Iterator[Said]:
        """The messages that come while a question is put again and again."""
        end = self._now() + wait_s
        again = 0.0
        while (now := self._now()) < end:
            if now >= again:
                self._line.write(question())
                again = now + _ASK_S
            yield from self._talk.take(self._line.read(min(again, end) - now))

    # Its parts

    def self_test(self, told: Callable[[str], None] = lambda _: None, *, wait_s: float = TEST_S) -> list[Part]:
        """What the node's own test says once all passes, or at the end of `wait_s` seconds. An empty list: it did not answer."""
        end = self._now() + wait_s
        parts: list[Part] = []
        while self._now() < end:
            lines = self._console("selftest", _VERDICT)
            if lines and lines[-1] in ("PASS", "FAIL"):
                found = [_RESULT.fullmatch(line) for line in lines]
                parts = [Part(match[2], match[1] == "ok") for match in found if match]
                missing = [part.name for part in parts if not part.passed]
                told(f"waits for {', '.join(missing)}" if missing else "all parts answer")
                if not missing:
                    break
            self._wait(_TEST_AGAIN_S)
        values = self.values()
        return [msgspec.structs.replace(part, detail=_shown(values.get(part.name))) for part in parts]

    def may_be_stopped(self) -> None:
        """Have the node take a Ctrl-C from now on, so that it can be brought to its prompt even where no line resets it."""
        self._console("prompt", _PROMPT)

    def values(self) -> dict[str, dict[str, float]]:
        """What each sensor read last, by driver."""
        found: dict[str, dict[str, float]] = {}
        for line in self._console("read", None):
            match = _SENSOR.fullmatch(line)
            if match:
                with contextlib.suppress(ValueError, SyntaxError):
                    found[match[1]] = ast.literal_eval(match[2])
        return found

    def relay(self, *, lamp: bool = False, meter: bool = True) -> list[Part]:
        """Click the relay off and on: its level, and with a meter the power at both. `lamp`: one must be seen to be there."""
        off = self._lamp("off", 0)
        dark = self._power(lambda watts: watts <= _DARK_W) if meter else None
        on = self._lamp("on", 100)
        base = dark or 0.0
        lit = (
            self._power(lambda watts: watts > base + _LIT_W, patient=lamp or not dark or dark > _DARK_W)
            if meter
            else None
        )
        self._console("lamp auto", _LEVEL)
        parts = [Part("relay", off and on, "clicked off and on" if off and on else "it does not take orders")]
        if meter and dark is not None and lit is not None:
            there = lit > dark + _LIT_W
            welded = dark > _DARK_W
            detail = f"{dark:.1f} W off, {lit:.1f} W on" + ("" if there or welded else ": no lamp is connected")
            parts.append(Part("power", not welded and (there or not lamp), detail))
        elif meter:
            parts.append(Part("power", False, "the meter has no value"))
        return parts

    def _lamp(self, what: str, level: int) -> bool:
        end = self._now() + POWER_S
        order = f"lamp {what} 60"
        while self._now() < end:
            if any(line.startswith(f"level {level} ") for line in self._console(order, _LEVEL)):
                return True
            order = "lamp"  # the contacts' minimum times are waited for
            self._wait(1.0)
        return False

    def _power(self, enough: Callable[[float], bool], *, patient: bool = True) -> float | None:
        """The meter's power once it is as expected, else its last one at the end."""
        end = self._now() + (POWER_S if patient else POWER_S / 2)
        watts = None
        while self._now() < end:
            self._wait(1.0)
            for value in self.values().values():
                if "power" in value:
                    watts = float(value["power"])
            if watts is not None and enough(watts):
                break
        return watts

    # The console

    def _console(self, command: str, until: re.Pattern[str] | None) -> list[str]:
        """The lines that answer a command: to the one that is `until`, or what comes in a second and a half."""
        self._told = len(self._talk.lines)
        self._line.write(command.encode() + b"\r")
        end = self._now() + (5.0 if until else 1.5)
        while self._now() < end:
            self._take(min(0.5, end - self._now()))
            fresh = [line.strip() for line in self._talk.lines[self._told :]]
            if until and any(map(until.fullmatch, fresh)):
                return fresh
        return [line.strip() for line in self._talk.lines[self._told :]]

    def _wait(self, seconds: float) -> None:
        end = self._now() + seconds
        while self._now() < end:
            self._take(end - self._now())

    def _take(self, seconds: float) -> None:
        for said in self._talk.take(self._line.read(max(0.01, seconds))):
            if said.kind == schema.HELLO:
                self._give_time(said)


def _shown(values: dict[str, float] | None) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in (values or {}).items() if value is not None)
