"""What `felinar monitor` does: a line's frames and log as they come, in words or as JSON, and the prompt on request."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from felinar_wire import codec, core, schema, serial
from rich.console import Console
from rich.text import Text

from felinar.care.decode import Decoder, Entry, Keys, NoKeys
from felinar.care.errors import CareError
from felinar.care.line import CareLine
from felinar.care.node import Speech
from felinar.config import Config
from felinar.flash.prove import BAUD
from felinar.keys.interface import KeyStoreError

HEALTH_S = 30.0
PING_S = 5.0
"""A bridge falls silent ten seconds after the last one."""
_PLAUSIBLE = 1_767_225_600  # 2026-01-01: the clock of this host has been set
_READ_S = 0.2
_PROMPT = "\x12"  # Ctrl-R
_HEALTH = "\x05"  # Ctrl-E
_RUB_OUT = "\x7f"
_STYLES = {"bad": "red", "text": "dim", "bridge": "blue"}


class Order(msgspec.Struct):
    """What was asked for. `silent`: nothing is sent; `hear` is (MHz, spreading factor) for a bridge; `seconds` ends it."""

    port: str
    baud: int = BAUD
    silent: bool = False
    keys: bool = True
    hear: tuple[float, int] | None = None
    seconds: float | None = None
    json: bool = False


class Talker:
    """What the monitor itself says to who is at the line, as a host would, but that nothing is acknowledged: so a node
    that is watched keeps all that it has for its own host."""

    def __init__(self, order: Order, *, unix: Callable[[], float] = time.time) -> None:
        self._order = order
        self._unix = unix
        self._speech = Speech()
        self._health_due = float("inf")
        self._ping_due = float("inf")
        self._node: int | None = None

    def begin(self, now: float) -> bytes:
        """To whoever is there."""
        if self._order.silent:
            return b""
        self._health_due = now + HEALTH_S
        return self._speech.ask_hello()

    def answer(self, entries: list[Entry], now: float) -> bytes:
        """What is said to what was heard: a HELLO gets the time, a bridge is kept awake."""
        said = b""
        for entry in entries:
            if entry.way != "in" or self._order.silent:
                continue
            if entry.kind == "HELLO" and entry.what == "frame":
                self._node = entry.node
                if self._unix() >= _PLAUSIBLE and entry.node is not None:
                    said += self._speech.time(entry.node, int(entry.fields["nonce"]), self._unix())
            elif entry.what == "bridge" and self._ping_due == float("inf"):
                self._ping_due = now
                if self._order.hear:
                    mhz, sf = self._order.hear
                    said += _to_bridge(core.LISTEN, sf, round(mhz * 1e6))
        return said

    def due(self, now: float) -> bytes:
        """What it is time for."""
        said = b""
        if now >= self._ping_due:
            self._ping_due = now + PING_S
            said += _to_bridge(core.PING, 1)
        if now >= self._health_due:
            self._health_due = now + HEALTH_S
            said += self.health()
        return said

    def health(self) -> bytes:
        """The question for a node's account, once one is known."""
        if self._node is None or self._order.silent:
            return b""
        return self._speech.say(schema.QUERY, self._node, codec.encode(schema.QUERY, [schema.QUERY_HEALTH]))


def _to_bridge(kind: int, *values: int) -> bytes:
    return b"\0" + bytes(serial.encode(bytes((kind,)) + core.encode(core.BRIDGE[kind], list(values))))


def run(order: Order, settings: Config) -> None:
    """Watch a line until Ctrl-C, the end of its time, or the end of the line, which is told by CareError."""
    keys, closing = _keys(order, settings)
    decoder = Decoder(keys)
    screen: _Words | _Json = _Json() if order.json else _Words()
    try:
        line = CareLine(order.port, order.baud)
        try:
            with _keyboard() as keyboard:
                _watch(order, line, decoder, screen, keyboard)
        except KeyboardInterrupt:
            pass
        finally:
            line.close()
            for entry in decoder.end():
                screen.tell(entry)
            screen.end(decoder)
    finally:
        closing()


def _keys(order: Order, settings: Config) -> tuple[Keys, Callable[[], None]]:
    if not order.keys:
        return NoKeys("it was not asked for"), lambda: None
    from felinar.care.unseal import Unsealer
    from felinar.keys.place import keys_folder, open_keys

    try:
        store = open_keys(keys_folder(settings), role="read")
    except KeyStoreError as error:
        return NoKeys(error.sentence.rstrip(".")), lambda: None
    return Unsealer(store), store.close


def _watch(order: Order, line: CareLine, decoder: Decoder, screen: _Words | _Json, keyboard: Callable[[], str]) -> None:
    began = time.monotonic()
    end = began + order.seconds if order.seconds is not None else None
    screen.begin(order.port, keyboard is not _nobody)
    talker = Talker(order)
    _say(line, decoder, screen, talker.begin(began))
    typed = ""
    while end is None or time.monotonic() < end:
        left = _READ_S if end is None else max(0.0, min(_READ_S, end - time.monotonic()))
        entries = decoder.take(line.read(left))
        for entry in entries:
            screen.tell(entry)
        now = time.monotonic()
        _say(line, decoder, screen, talker.answer(entries, now) + talker.due(now))
        for key in keyboard():
            if key == _PROMPT:
                line.close()
                _prompt(order)
                line.again()
                _say(line, decoder, screen, talker.begin(time.monotonic()))
            elif key == _HEALTH:
                _say(line, decoder, screen, talker.health())
            elif key in "\r\n":
                if typed:
                    line.write(typed.encode() + b"\r")
                typed = ""
            elif key == _RUB_OUT:
                typed = typed[:-1]
            elif key.isprintable():
                typed += key


def _prompt(order: Order) -> None:
    from felinar.care import repl

    try:
        repl.run(order.port, baud=order.baud)
    except CareError as error:
        sys.stderr.write(f"{error.sentence} {error.remedy}\n")


def _say(line: CareLine, decoder: Decoder, screen: _Words | _Json, data: bytes) -> None:
    if data:
        line.write(data)
        for entry in decoder.out(data):
            screen.tell(entry)


# The keyboard


def _nobody() -> str:
    return ""


@contextmanager
def _keyboard() -> Iterator[Callable[[], str]]:
    """What was typed since the last time; keys come one by one while this lasts. Ctrl-C stays Ctrl-C."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield _nobody
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def typed() -> str:
        ready, _, _ = select.select([terminal], [], [], 0)
        return os.read(terminal, 256).decode(errors="ignore") if ready else ""

    try:
        yield typed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


# The screen


def words(entry: Entry) -> str:
    """One entry as a line of text, without its time."""
    arrow = ">" if entry.way == "out" else "<"
    if entry.what == "text":
        return f"| {''.join(c if c.isprintable() else '?' for c in entry.text)}"
    if entry.what == "bad":
        return f"{arrow} spoiled: {entry.size} bytes, {entry.reason}"
    who = f" {entry.node}" if entry.node is not None else ""
    if entry.node == 0xFFFF:
        who = " everyone"
    parts = [f"{name} {_value(value)}{_unit(entry.units.get(name, ''))}" for name, value in entry.fields.items()]
    if entry.seal:
        parts.insert(0, f"[{entry.seal}]")
    if entry.note:
        parts.append(f"({entry.note})")
    if not entry.fields and entry.size and not entry.note:
        parts.append(f"{entry.size} bytes")
    return f"{arrow} {entry.kind}{who}  {', '.join(parts)}".rstrip()


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_UNITS = {"Cel": "°C", "ug/m3": "µg/m³", "us": "µs"}


def _unit(unit: str) -> str:
    return f" {_UNITS.get(unit, unit)}" if unit else ""


def totals(decoder: Decoder) -> str:
    """The account of a line in one sentence."""
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(decoder.kinds.items())) or "none"
    bad = sum(decoder.bad.values())
    why = f" ({', '.join(f'{count} {name}' for name, count in sorted(decoder.bad.items()))})" if bad else ""
    counts = decoder.counts
    return f"{counts['frames']} frames: {kinds}. {counts['lines']} lines of text, {bad} spoiled{why}, {counts['bytes']} bytes."


class _Words:
    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)

    def begin(self, port: str, keys: bool) -> None:
        help_ = ": Ctrl-C ends, Ctrl-R is MicroPython's prompt, Ctrl-E asks for HEALTH; a line of text goes to the node's console"
        self._console.print(Text(f"{port}{help_ if keys else ''}", style="dim"))

    def tell(self, entry: Entry) -> None:
        at = datetime.now().strftime("%H:%M:%S.%f")[:-3]
        style = _STYLES.get(entry.what) or ("cyan" if entry.way == "out" else "")
        self._console.print(Text(f"{at} {words(entry)}", style=style))

    def end(self, decoder: Decoder) -> None:
        self._console.print(Text(totals(decoder), style="dim"))


class _Json:
    def begin(self, port: str, keys: bool) -> None:
        pass

    def tell(self, entry: Entry) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        _line({"time": at, **msgspec.to_builtins(entry)})

    def end(self, decoder: Decoder) -> None:
        _line({"what": "end", "counts": decoder.counts, "kinds": decoder.kinds, "bad": decoder.bad})


def _line(what: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()
