"""The drivers' contract on real hardware, one sensor at a time; each check is a line of JSON behind a tilde."""

# mypy: ignore-errors
# ruff: noqa: B905, RUF005, RUF015, SIM300, UP031, UP041 (MicroPython)

import asyncio
import gc
import json
import sys
import time
from array import array

from agent import content
from drivers import RANGE, DriverError

REASONS = (
    "",
    "does not answer",
    "sent a wrong checksum",
    "did not come to an end in time",
    "is another chip",
    "is beyond its range",
    "says that it is broken",
)
_START_S = 20  # what the sampler gives a driver
_READS = 4
_BLOCKS = 8


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def tell(status, check, text):
    sys.stdout.write("~" + json.dumps([status, check, text]) + "\n")


def reason(error):
    n = error.reason
    return "it " + REASONS[n] if type(n) is int and 0 < n < len(REASONS) else "DriverError(%r)" % (n,)


async def bounded(work):
    """What the driver gives, or Failed; and how long it took in ms."""
    began = time.ticks_ms()
    try:
        value = await asyncio.wait_for(work, _START_S)
    except DriverError as error:
        raise Failed(reason(error)) from error
    except asyncio.TimeoutError as error:
        raise Failed("no end within %d s" % _START_S) from error
    return value, time.ticks_diff(time.ticks_ms(), began)


class Heap:
    """What is in use after each of some readings: it must not grow with every one."""

    def __init__(self):
        self._marks = array("i", bytes(4 * _READS))
        self._n = 0

    def mark(self):
        gc.collect()
        self._marks[self._n] = gc.mem_alloc()
        self._n += 1

    def verdict(self):
        marks = self._marks
        least = min(marks[i + 1] - marks[i] for i in range(self._n - 1))
        if least > 0:
            raise Failed("each reading keeps %d bytes of heap or more" % least)
        return "none kept"


class Check:
    """One entry of the board file. `limits`: lowest and highest value by field; `fields`: of a report; `patience_s`: until the first values."""

    def __init__(self, b, entry, limits, patience_s, pause_ms):
        self.b = b
        self.entry = entry
        self.limits = limits
        self.patience_s = patience_s
        self.pause_ms = pause_ms
        self.name = entry["driver"]

    def open(self, **change):
        entry = dict(self.entry)
        entry.update(change)
        return getattr(__import__("drivers." + self.name), self.name).open(self.b, entry)

    async def one(self, check, work):
        """Run one check; False when it failed."""
        try:
            tell("ok", check, await work)
            return True
        except Skipped as error:
            tell("skipped", check, str(error))
            return True
        except Failed as error:
            tell("failed", check, str(error))
        except DriverError as error:
            tell("failed", check, reason(error))
        except Exception as error:
            tell("failed", check, "the driver raises %r" % error)
        return False

    async def run(self):
        try:
            self.device = self.open()
        except Exception as error:
            tell("failed", "open", "the driver raises %r" % error)
            return
        levels = hasattr(self.device, "levels")
        reading = (self.sound, self.blocks) if levels else (self.value, self.again)
        steps = (self.shape, self.start) + reading + (self.absent,)
        for step in steps:
            if not await self.one(step.__name__, step()):
                break
        if levels and hasattr(self.device, "_i2s"):
            self.device._i2s.deinit()

    async def shape(self):
        """Name, fields and period are what docs/architecture.md says."""
        device = self.device
        if device.NAME != self.name:
            raise Failed("its name is %r" % device.NAME)
        for field in device.FIELDS:
            if field not in self.limits:
                raise Failed("a report has no field %r" % field)
        if hasattr(device, "levels"):
            return "a source of sound levels"
        if not 500 <= device.PERIOD_MS <= 60000:
            raise Failed("its period is %r ms" % device.PERIOD_MS)
        return ", ".join(device.FIELDS) + " every %d ms" % device.PERIOD_MS

    async def start(self):
        _, ms = await bounded(self.device.start())
        return "%d ms" % ms

    def _judge(self, out):
        for field, value in zip(self.device.FIELDS, out):
            low, high = self.limits[field]
            if value is not None and not low <= value <= high:
                raise Failed("%s is %r, which is not from %g to %g" % (field, value, low, high))

    async def _read(self):
        """A reading: its values, ms, and the bytes that it took from the heap for a moment."""
        out = [None] * len(self.device.FIELDS)
        gc.collect()
        before = gc.mem_alloc()
        try:
            _, ms = await bounded(self.device.read(out))
        except Failed as error:
            if isinstance(error.__cause__, DriverError) and error.__cause__.reason == RANGE:
                raise Failed("it " + REASONS[RANGE] + ": shade it") from error
            raise
        used = gc.mem_alloc() - before
        self._judge(out)
        return out, ms, used

    def _pause(self):
        return self.b.sleep_ms(min(self.device.PERIOD_MS, self.pause_ms))

    async def value(self):
        """Each field has a value within its range before the patience ends."""
        end = time.ticks_add(time.ticks_ms(), self.patience_s * 1000)
        seen = [None] * len(self.device.FIELDS)
        while True:
            out = (await self._read())[0]
            seen = [old if new is None else new for new, old in zip(out, seen)]
            if None not in seen:
                return ", ".join("%s %g" % pair for pair in zip(self.device.FIELDS, seen))
            if time.ticks_diff(end, time.ticks_ms()) < 0:
                missing = [name for name, value in zip(self.device.FIELDS, seen) if value is None]
                raise Failed("no value of %s within %d s" % (", ".join(missing), self.patience_s))
            await self._pause()

    async def again(self):
        """Reading goes on, in time, and leaves nothing on the heap."""
        longest = most = 0
        heap = Heap()
        for _ in range(_READS):
            await self._pause()
            _, ms, used = await self._read()
            longest, most = max(longest, ms), max(most, used)
            heap.mark()
        return "%d readings, the longest %d ms; %d bytes each at most, %s" % (_READS, longest, most, heap.verdict())

    async def sound(self):
        """A second of blocks, with a level that a street can have."""
        total = 0.0
        for _ in range(_BLOCKS):
            squares, _ = await bounded(self.device.levels())
            total += squares[0]
        if total <= 0:
            raise Failed("it is digital silence")
        import math

        level = self.device.sensitivity_db + 10 * math.log10(total / _BLOCKS)
        low, high = self.limits["leq"]
        if not low <= level <= high:
            raise Failed("its level is %.1f dB(A), which is not from %g to %g" % (level, low, high))
        return "%.1f dB(A)" % level

    async def blocks(self):
        """Blocks come in time, none is missed, and none leaves anything on the heap."""
        device = self.device
        missed, most = device.missed, 0
        heap = Heap()
        await device.levels()
        for _ in range(_READS):
            gc.collect()
            before = gc.mem_alloc()
            await device.levels()
            most = max(most, gc.mem_alloc() - before)
            heap.mark()
        if device.missed > missed + 1:  # a collection of garbage in between may cost one
            raise Failed("%d blocks were missed" % (device.missed - missed))
        return "%d blocks; %d bytes each at most, %s" % (_READS, most, heap.verdict())

    async def absent(self):
        """At an address where nothing is: one clear error; and the sensor itself goes on afterwards."""
        bus = self.entry.get("bus", "")
        if not bus.startswith("i2c"):
            raise Skipped("only a bus with addresses has a place where nothing is")
        there = self.b.i2c(bus).scan()
        address = [n for n in range(0x77, 0x07, -1) if n not in there][0]
        other = self.open(address=address)
        began = time.ticks_ms()
        try:
            await asyncio.wait_for(other.start(), _START_S)
        except DriverError as error:
            found = reason(error)
        except Exception as error:
            raise Failed("at an address where nothing is its start raises %r" % error) from error
        else:
            raise Failed("it starts at address 0x%02x, where nothing is" % address)
        ms = time.ticks_diff(time.ticks_ms(), began)
        await self._pause()
        await self._read()
        return "at 0x%02x %s, said after %d ms; the sensor itself goes on" % (address, found, ms)


def run(number):
    """Check one entry of what is in the mounted order."""
    from node.board import Board

    order = content("order.json")
    entry = order["entries"][number]
    b = Board(order["board"])
    gc.collect()
    asyncio.run(Check(b, entry["entry"], order["limits"], entry["patience_s"], order["pause_ms"]).run())
