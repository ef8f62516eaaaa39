"""What came before this boot: its number, why the chip was reset, crashes. Loaded when needed, and let go of again."""

import io
import struct
import sys
import time
from binascii import crc32

import esp32
import machine
from felinar_wire import schema
from micropython import const

_EARLY_MS = const(120000)
_EARLY_S = const(180)  # with the time that the watchdog takes
_HOUR = const(3600)
_TEXT = const(200)

# What RTC memory holds behind a CRC-32. It outlives every reset; a dip of the supply that is over before it has lost
# what it holds is a brown-out, which the chip itself calls a power-on, as it calls a panic a hard reset.
_WORDS = "<9I"
_WHY = const(0)  # cause of the reset that was announced, 0 none
_START = const(1)  # of the boot, s of the RTC
_SAFE = const(2)  # 1 in safe mode
_ROW = const(3)  # crashes in a row
_CRASHES = const(4)  # the last five: 2 * (s of the RTC) + 1 if soon after its boot


def _load():
    data = machine.RTC().memory()
    if len(data) == 40 and crc32(data[4:]) == struct.unpack_from("<I", data, 0)[0]:
        return list(struct.unpack_from(_WORDS, data, 4))
    return None


def _save(words: list) -> None:
    data = struct.pack(_WORDS, *words)
    machine.RTC().memory(struct.pack("<I", crc32(data)) + data)


def _count(words: list, early: bool) -> None:
    words[_ROW] += 1
    words[_CRASHES:] = words[_CRASHES + 1 :] + [2 * time.time() + early]  # noqa: RUF005 (no * here)


def place(text: bytes) -> int:
    """A number below zero by which crashes in the same line of the same function are known as such."""
    text = text[max(text.rfind(b"File"), 0) :]
    return ~(crc32(text[: text.find(b"\n")]) & 0x7FFF)


def last(new=None) -> bytes:
    """The newest lines of the last crash, as NVS keeps them; with `new`, keep those."""
    nvs = esp32.NVS("felinar")
    text = bytearray(_TEXT)
    try:
        if new:
            nvs.set_blob("crash", new)
            nvs.commit()
        return bytes(text[: nvs.get_blob("crash", text)])
    except OSError:
        return b""


def note(error) -> int:
    """Keep the newest lines of a traceback; returns their `place`."""
    out = io.StringIO()
    sys.print_exception(error, out)  # pyright: ignore[reportArgumentType]
    text = out.getvalue()[-_TEXT:].encode()  # pyright: ignore[reportAttributeAccessIssue]
    last(text)
    return place(text)


def crashed(error) -> int:
    """Leave word of what ended the node for the next boot; returns how long to wait before that, in s."""
    words = _load() or [0] * 9
    _count(words, time.ticks_ms() < _EARLY_MS)  # pyright: ignore[reportOperatorIssue]
    words[_WHY] = schema.RESET_PANIC
    _save(words)
    note(error)
    return 50 if words[_ROW] > 2 else 5


def tell(app) -> None:
    """Keep the EVENTs of a start."""
    health = app.health
    app.event(schema.EVENT_BOOT, health.reset)
    if health.crashes:
        app.event(schema.EVENT_CRASH, health.crashes)
    if health.place:
        app.event(schema.EVENT_CRASH, health.place)
    if health.safe:
        app.event(schema.EVENT_SAFE_MODE, 1)


def restart(app, cause: int, safe: int) -> None:
    """Reset, with word of why and whether into safe mode; crashes before it no longer count."""
    app.set_period(0)
    if app.health.safe and not safe:
        app.event(schema.EVENT_SAFE_MODE, 0)
    _save([cause, 0, safe] + [0] * 6)
    machine.reset()


def calm() -> None:
    """The node has run for so long that no crash was in a row with a coming one."""
    words = _load()
    if words:
        words[_ROW] = 0
        _save(words)


def begin(store, last_boot: int) -> tuple:
    """(boot, reset, crashes, place, safe), as node.health.Health has them.

    `last_boot` is what the outbox remembers (0 nothing), for a node whose NVS was lost or put back.
    """
    boot = store.get("boot")
    if last_boot and (not boot or (last_boot - boot) % 65536 < 32768):
        boot = last_boot
    boot = boot % 65535 + 1
    store.set("boot", boot)
    reset = {
        machine.PWRON_RESET: schema.RESET_POWER,
        machine.HARD_RESET: schema.RESET_PANIC,
        machine.WDT_RESET: schema.RESET_WATCHDOG,
        machine.DEEPSLEEP_RESET: schema.RESET_DEEPSLEEP,
        machine.SOFT_RESET: schema.RESET_SOFT,
    }.get(machine.reset_cause(), schema.RESET_UNKNOWN)
    now = time.time()
    words = _load()
    if not words:
        words = [0] * 9
    elif reset == schema.RESET_POWER:
        reset = schema.RESET_BROWNOUT
    elif reset == schema.RESET_PANIC and words[_WHY]:
        reset = words[_WHY]
    where = None
    if words[_WHY] == schema.RESET_PANIC:
        where = place(last())
    elif reset in (schema.RESET_PANIC, schema.RESET_WATCHDOG):
        _count(words, now - words[_START] < _EARLY_S)
    recent = [word & 1 for word in words[_CRASHES:] if word and 0 <= now - (word >> 1) < _HOUR]
    if len(recent) > 4 or sum(recent) > 2:
        words[_SAFE] = 1
    words[_WHY] = 0
    words[_START] = now
    _save(words)
    return boot, reset, words[_ROW], where, words[_SAFE]
