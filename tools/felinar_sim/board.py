"""One simulated board: the life of its MicroPython process, and the chip's parts that its requests reach."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from felinar_sim import process
from felinar_sim.audio import I2sPorts
from felinar_sim.buses import I2cBuses
from felinar_sim.chips.base import AudioSource, Chip, I2cChip, PinListener, PulseSource, PwmListener, UartChip
from felinar_sim.clock import Clock, Timer, VirtualClock
from felinar_sim.console import Console
from felinar_sim.errors import SimulatorError
from felinar_sim.flash import (
    BLOCK,
    DEFAULT_PARTITIONS,
    TABLE_AT,
    Flash,
    Fuse,
    Nvs,
    PowerLost,
    partition_table,
)
from felinar_sim.link import DONE, POSTS, Answer, Exit, Frame, Hung, Link, Op, Source
from felinar_sim.pins import Pins
from felinar_sim.spi import Hasty, SpiBuses, SpiPart
from felinar_sim.storage import Storage
from felinar_sim.timekeeping import Rtc, Watchdog
from felinar_sim.trace import Log, Trace
from felinar_sim.uarts import POLL_US, Uarts

# plain integers: these are looked at with every request
_CONSOLE, _I2S, _UART, _IRQ = int(Source.CONSOLE), int(Source.I2S0), int(Source.UART1), int(Source.IRQ)
_IDLE = int(Source.IDLE)
_LOWS = int(Source.LOW0), int(Source.LOW1)
_UARTS = int(Source.UART1 | Source.UART2)
_POLLED = int(Source.I2S0 | Source.I2S1) | _UARTS
_REAL_PATIENCE_US = 500  # in real time, what takes less than this is answered at once
_ASKED_MOST = 64
_ALONE_MOST_US = (
    60_000_000  # virtual time that a board may pass without a word, so that one that hangs is told from one that waits
)
_ROM_TEXT = {
    1: "rst:0x1 (POWERON_RESET)", 2: "rst:0xc (SW_CPU_RESET)", 3: "rst:0x8 (TG1WDT_SYS_RESET)", 4: "rst:0x5 (DEEPSLEEP_RESET)",
}  # fmt: skip


class Cause(IntEnum):
    """`machine.reset_cause()` of the ESP32 port: a brown-out reads as power-on, a panic as a hard reset."""

    POWER_ON = 1
    HARD = 2
    WATCHDOG = 3
    DEEP_SLEEP = 4
    SOFT = 5


@dataclass(frozen=True, slots=True)
class Appended:
    """One append to the node's outbox that returned, as the probe saw it."""

    at_us: int
    kind: int
    seq: int
    boot: int
    body: bytes


@dataclass(slots=True)
class _Waiting:
    """A request whose answer is still due."""

    frame: Frame
    sources: int
    timer: Timer | None = None


class Board:
    """A board with its chips, flash and console, on a clock.

    `power_on`, `cut_power`, `reset`, `brown_out` and `cut_after` are what the world does to it. `folder` is its working directory and
    keeps its flash, NVS and log. `parts` are (board-file entry, chip model) pairs. Faults of chips are attributes of the models:
    `board.chip("sps30").nack = True`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        clock: Clock,
        *,
        app: Path,
        description: Mapping[str, Any],
        parts: Sequence[tuple[Mapping[str, Any], Any]] = (),
        seed: int | str = 0,
        heap: str = process.HEAP,
        uid: bytes = b"\x02\0\0\0\0\1",
        probe: bool = False,
        boot_ms: int = 300,
        uptime_at_boot_s: float = 0.0,
        drift_ppm: float = 0.0,
        hang_s: float = 60.0,
        keep: bool = True,
        micropython: str | None = None,
    ) -> None:
        """`keep`: flash and NVS also live in files of the folder. `uptime_at_boot_s` moves the start of the chip's ticks (to test
        their wrap); `drift_ppm` is how much too fast the chip's clock runs (virtual time only); `hang_s` is how many seconds of real time
        a program may compute without asking for anything before it counts as hung.
        """
        self.name, self.folder, self.clock = name, folder, clock
        self.description = description
        self.heap, self.uid, self.probe, self.boot_ms, self.hang_s = heap, uid, probe, boot_ms, hang_s
        self.console = Console(clock, seed=f"{seed}/{name}", baud=int(description.get("line", {}).get("baud", 115_200)))
        self.console.on_input = lambda: self._wake(_CONSOLE)
        self.console.on_interrupt = self._wake
        self.pins = Pins(description.get("pins", {}))
        self.pins.on_irq = lambda: self._wake(_IRQ)
        self.i2c = I2cBuses(self.pins.numbers)
        self.spi = SpiBuses(self.pins)
        self.uarts = Uarts(self.pins.numbers)
        self._serial = self.uarts.set_up
        self.audio = I2sPorts(clock, self.pins.numbers, self._later, self._finish)
        self.i2s = self.audio.ports
        self.levels: Callable[[int, int, float], Sequence[float] | NDArray[np.float64]] | None = None
        """What the level-injection driver reads: (first block's end µs, blocks, full-scale dB) → mean squares."""
        self.parts = list(parts)
        self.cycled: list[Chip] = []
        self.fuse = Fuse()
        size = int(description.get("flash_mb", 4)) << 20
        self._storage = Storage(
            Flash(size, path=folder / "flash.bin" if keep else None, fuse=self.fuse, seed=f"{seed}/{name}"),
            Nvs(path=folder / "nvs.json" if keep else None, fuse=self.fuse),
        )
        self.log = Log(folder / "board.log")
        self.trace = Trace()
        self.appended: list[Appended] = []
        self.on_append: list[Callable[[Appended], None]] = []
        self.on_power: list[Callable[[bool, int], None]] = []
        """Called with (mains present, now) whenever the supply comes or goes."""
        self.on_boot: list[Callable[[], None]] = []
        self.boots: list[tuple[int, Cause]] = []
        self.powered = False
        self.restore_after_s: float | None = None
        """Seconds after which the supply comes back by itself after a cut planned with `cut_after`; None: never."""
        self._app, self._micropython = app, micropython or process.interpreter()
        self._seed = f"{seed}/{name}"
        self._random = random.Random(self._seed)
        self._ppb = round(drift_ppm * 1000)
        self._ticks_start_us = round(uptime_at_boot_s * 1_000_000)
        self._process: subprocess.Popen[bytes] | None = None
        self._link: Link | None = None
        self._generation = 0
        self._cause = Cause.POWER_ON
        self._boot_us = 0  # world time of uptime 0
        self._up_us = 0  # the program's uptime as far as it is known
        self._asked = 0  # requests in a row that took no time
        self._waiting: _Waiting | None = None
        self.rtc = Rtc()
        self._printed = ""
        self._watchdog = Watchdog(clock, self._fed_us, self._bitten)
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        self._handlers = self._table()
        self._hasty: Hasty | None = None
        self._quiet: list[int] = []  # pins that select it
        self._watched: list[tuple[int, int]] = []  # (flag, pin) of its outputs that answers tell of
        self._seen: frozenset[int] = frozenset()  # those pins
        for entry, part in self.parts:
            self.fit(entry, part)
        if self.flash.read(TABLE_AT, 2) == b"\xff\xff":
            self._write_table(description.get("partitions") or DEFAULT_PARTITIONS)

    # Building

    def fit(self, entry: Mapping[str, Any], part: Any) -> None:
        """Connect a part: to the bus of its entry, and to whatever pins it listens to or drives."""
        bus = str(entry.get("bus", ""))
        if isinstance(part, Chip):
            self.cycled.append(part)
        if isinstance(part, I2cChip) or (bus.startswith("i2c") and hasattr(part, "address")):
            self.i2c.bus(bus or "i2c0").chips.append(part)
        if isinstance(part, UartChip):
            self.uarts.ports[int(bus.removeprefix("uart") or 1)].chip = part
        if isinstance(part, SpiPart):
            self.spi.fit(bus or "radio", part)
            self.pins.pulled_up |= part.PULLED_UP
            self.on_power.append(part.supply)
            part.connect(self.clock, self.pins)
            if isinstance(part, Hasty) and self._hasty is None:
                self._hasty = part
                numbers = self.pins.numbers
                self._quiet = [numbers[name] for name in part.SELECTED if name in numbers]
                seen = [numbers[name] for name in sorted(part.OUTPUTS) if name in numbers]
                self._watched = list(zip(_LOWS, seen, strict=False))
                self._seen = frozenset(pin for _, pin in self._watched)
        if isinstance(part, AudioSource):
            self.audio.sources[bus or "i2s0"] = part
        if isinstance(part, PinListener):
            self.pins.listeners.append(part)
        if isinstance(part, PwmListener):
            self.pins.pwm_listeners.append(part)
        if isinstance(part, PulseSource):
            self.pins.pulse_sources.append(part)

    def chip(self, driver: str) -> Any:
        """The model fitted for a driver's name."""
        for entry, part in self.parts:
            if entry.get("driver") == driver:
                return part
        raise KeyError(f"{self.name} has no {driver!r} fitted")

    # What the world does

    @property
    def flash(self) -> Flash:
        """Its flash."""
        return self._storage.flash

    @flash.setter
    def flash(self, flash: Flash) -> None:
        self._storage.flash = flash

    @property
    def nvs(self) -> Nvs:
        """Its key-value store."""
        return self._storage.nvs

    @nvs.setter
    def nvs(self, nvs: Nvs) -> None:
        self._storage.nvs = nvs

    @property
    def drift_ppm(self) -> float:
        """How much too fast the chip's clock runs; to be set while there is no power, virtual time only."""
        return self._ppb / 1000

    @drift_ppm.setter
    def drift_ppm(self, value: float) -> None:
        self._ppb = round(value * 1000)

    @property
    def running(self) -> bool:
        """Whether the program runs: not while it is without power or booting."""
        return self._process is not None

    @property
    def reset_cause(self) -> Cause:
        """Why the program was started last."""
        return self._cause

    @property
    def uptime_s(self) -> float:
        """Seconds since the last boot, 0 without power."""
        return (self.clock.now_us - self._boot_us) / 1_000_000 if self.powered else 0.0

    @property
    def rtc_s(self) -> float:
        """The chip's real-time clock: seconds since 2000-01-01."""
        return (self.rtc.us + self._uptime(self.clock.now_us)) / 1_000_000

    def power_on(self) -> None:
        """The supply comes (back)."""
        with self.clock.lock:
            if self.powered:
                return
            now = self.clock.now_us
            self.powered = True
            for chip in self.cycled:
                chip.power_cycle(now)
            for listener in self.on_power:
                listener(True, now)
            self._power_on_state()
            self._boot(Cause.POWER_ON)

    def cut_power(self) -> None:
        """The supply fails, at this very moment."""
        with self.clock.lock:
            if not self.powered:
                return
            now = self.clock.now_us
            self.powered = False
            for listener in self.on_power:
                listener(False, now)
            self._stop_program()
            self.log.write(now, "-- power lost")

    def cut_after(self, operations: int, torn: float = 0.0) -> None:
        """Lose power at a later flash operation (NVS writes are some): see `Fuse.cut_after`."""
        self.fuse.cut_after(operations, torn)

    def power_cycle(self, seconds: float = 1.0) -> None:
        """Cut the power now and bring it back after so many seconds of the world's time."""
        with self.clock.lock:
            self.cut_power()
            self.clock.at(self.clock.now_us + round(seconds * 1_000_000), self.power_on)

    def brown_out(self) -> None:
        """A dip of the supply that only the chip notices: it restarts and calls it a power-on; the other parts keep their state.

        A system reset starts the real-time clock anew, but clears no memory (ESP32 Technical Reference Manual, "Reset and Clock"),
        and MicroPython keeps RTC memory where nothing initialises it.
        """
        with self.clock.lock:
            if self.powered:
                memory = self.rtc.memory
                self._stop_program()
                self._power_on_state()
                self.rtc.memory = memory
                self._boot(Cause.POWER_ON)

    def reset(self, cause: Cause = Cause.HARD) -> None:
        """The chip restarts (a panic, a debugger); real-time clock and RTC memory stay."""
        with self.clock.lock:
            if self.powered:
                self._rtc_keep()
                self._stop_program()
                self._boot(cause)

    def close(self) -> None:
        """End the process and let go of files and lines."""
        with self.clock.lock:
            self._stop_program()
            self.powered = False
            self.console.close()
            self.flash.close()

    # Life of the program

    def _power_on_state(self) -> None:
        self.rtc.power_on(self._ticks_start_us)

    def _boot(self, cause: Cause) -> None:
        now = self.clock.now_us
        self._cause = cause
        if cause is not Cause.SOFT:
            self._boot_us = now
            text = _ROM_TEXT.get(cause, "")
            self.console.output(f"ets Jul 29 2019 12:21:46\r\n\r\n{text},boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n".encode())
        self.boots.append((now, cause))
        for listener in self.on_boot:
            listener()
        self.log.write(now, f"-- boot {len(self.boots)}: {cause.name.lower()}")
        self._later(now + self.boot_ms * 1000, self._start_program)

    def _later(self, when_us: int, action: Callable[[], None]) -> Timer:
        """An action that is forgotten when the program ends before."""
        generation = self._generation

        def act() -> None:
            if generation == self._generation:
                action()

        return self.clock.at(when_us, act)

    def _start_program(self) -> None:
        process.prepare(self.folder, self._app, self._micropython)
        link = Link()
        self._process = process.spawn(self.folder, link, self.log.path, heap=self.heap, micropython=self._micropython)
        self._link = link
        self._up_us = self._uptime(self.clock.now_us)
        self.console.power(True)
        if self.clock.virtual:
            self._serve()
        else:
            self.clock.watch(link.fileno(), self._readable)

    def _stop_program(self, *, soft: bool = False) -> None:
        now = self.clock.now_us
        self._generation += 1
        self._waiting = None
        self._watchdog.look()  # a soft reset does not end the watchdog
        if self._process is not None and self._link is not None:
            self._process.kill()
            self._process.wait()
            if not self.clock.virtual:
                self.clock.unwatch(self._link.fileno())
            for frame in self._link.drain():  # appends that had returned; nothing else of it came to pass
                if frame.op == Op.PROBE:
                    self._probe(frame, now)
            self._link.close()
        self._process = self._link = None
        self.console.power(False)
        self.pins.release(now, hard=not soft)
        self.i2c.release()
        self.spi.release()
        self.i2s.clear()
        self.uarts.release()
        if not soft:
            self._watchdog.stop()

    def _ended(self) -> None:
        """The process ended by itself: on the chip, a panic."""
        assert self._process is not None
        status = self._process.wait()
        how = f"status {status}" if status >= 0 else signal.Signals(-status).name
        self.log.write(self.clock.now_us, f"-- the interpreter ended: {how}")
        self._rtc_keep()
        self._stop_program()
        self._boot(Cause.HARD)

    def _rtc_keep(self) -> None:
        """Carry the real-time clock over a reset, which starts the uptime anew."""
        self.rtc.us += self._uptime(self.clock.now_us) - self._ticks_start_us

    def _fed_us(self) -> int | None:
        """When the program has fed its watchdog last."""
        fed = self._link.fed_us() if self._link is not None else 0
        return self._world(fed) if fed else None

    def _bitten(self) -> None:
        if not self.powered:
            return
        self.log.write(self.clock.now_us, "-- the watchdog bites")
        self._rtc_keep()
        self._stop_program()
        self._boot(Cause.WATCHDOG)

    def _uptime(self, now_us: int) -> int:
        """The chip's uptime at a moment of the world."""
        passed = now_us - self._boot_us
        if self._ppb:
            passed += passed * self._ppb // 1_000_000_000
        return self._ticks_start_us + passed

    def _world(self, uptime_us: int) -> int:
        """The earliest moment of the world at which the chip's uptime has come to a value."""
        passed = uptime_us - self._ticks_start_us
        if self._ppb:
            passed = -(-passed * 1_000_000_000 // (1_000_000_000 + self._ppb))
        return self._boot_us + passed

    # Requests

    def _readable(self) -> None:
        link = self._link
        assert link is not None
        if not link.receive():
            self._ended()
            return
        while self._link is link and (frame := link.next()) is not None:
            self._dispatch(frame)

    def _serve(self) -> None:
        """Virtual time: carry out the program's requests until it has to wait for a later moment."""
        clock = self._virtual
        assert clock is not None
        link = self._link
        while link is not None and self._link is link:
            try:
                frame = link.wait_next(self.hang_s)
            except Hung as error:
                self._hung(error)
                return
            if frame is None:
                self._ended()
                return
            self._up_us += frame.cost
            when = self._world(self._up_us)
            if when > clock.now_us:
                if when > clock.horizon():
                    self._later(when, lambda frame=frame: self._resume(frame))  # type: ignore[misc]
                    return
                clock.now_us = when
            if not self._dispatch(frame):
                return

    def _resume(self, frame: Frame) -> None:
        if self._dispatch(frame):
            self._serve()

    def _hung(self, error: Hung) -> None:
        """The program computes without end: the watchdog bites when its time has come; without one the chip would hang for ever."""
        self.log.write(self.clock.now_us, f"-- {error}")
        if not self._watchdog.running:
            raise SimulatorError(
                f"{self.name}: {error}, and no watchdog is set: the program computes for ever"
            ) from error

    def _dispatch(self, frame: Frame) -> bool:
        """Carry out a request; True when the program goes on at once."""
        now = self.clock.now_us
        self.trace.add(now, frame.op, frame.arg, frame.a, frame.b, frame.data)
        if frame.taken:
            self.console.taken(frame.taken)
        handler = self._handlers.get(frame.op)
        if handler is None:
            raise SimulatorError(
                f"{self.name}: request {frame.op} is unknown; do the stand-ins and the simulator belong together?"
            )
        try:
            answer = handler(frame, now)
        except PowerLost:
            self.cut_power()
            if self.restore_after_s is not None:
                self.clock.at(now + round(self.restore_after_s * 1_000_000), self.power_on)
            return False
        if frame.op in POSTS:
            return self._link is not None
        if answer is None:
            return False
        return self._answer(answer, now)

    def _answer(self, answer: Answer, now: int) -> bool:
        took = answer.took_us
        clock = self._virtual
        if clock is not None:
            # A program that only asks must get on: what took no time is charged together, a microsecond each.
            self._asked = 0 if took else self._asked + 1
            if self._asked == _ASKED_MOST:
                took, self._asked = _ASKED_MOST, 0
            due = now + took
            if due > now:
                if due > clock.horizon():
                    self._later(due, lambda: self._finish(answer))
                    return False
                clock.now_us = due
        elif took > _REAL_PATIENCE_US:
            self._later(now + took, lambda: self._finish(answer))
            return False
        return self._send(answer)

    def _finish(self, answer: Answer) -> None:
        if self._send(answer) and self.clock.virtual:
            self._serve()

    def _send(self, answer: Answer) -> bool:
        assert self._link is not None
        now = self.clock.now_us
        self._up_us = self._uptime(now)
        status, data, _ = answer
        if data or status:
            self.trace.answer(status, data)
        flags = self.console.flags()
        for number, port in self.i2s.items():
            if port.available(now):
                flags |= _I2S << number
        for number, uart in self._serial.items():
            if uart.used and uart.ready(now):
                flags |= _UART << (number - 1)
        if self.pins.irq_pending:
            flags |= _IRQ
        hasty = self._hasty
        if hasty is not None:
            if hasty.idle():
                flags |= _IDLE
            reads = self.pins.reads
            for flag, pin in self._watched:
                if not reads(pin, now):
                    flags |= flag
        clock = self._virtual
        free = 0
        if clock is not None:
            horizon = clock.horizon()
            alone = now + _ALONE_MOST_US
            free = self._uptime(horizon if horizon < alone else alone)
        return self._link.answer(self._up_us, status, flags, data, free)

    # Waiting

    def _wait(self, frame: Frame, now: int) -> Answer | None:
        """WAIT: a = uptime to wait for (-1 for ever), b = sources that end it sooner, arg 1: there is room for a script.

        Before that, by the higher bits of b, a pin went high (bits 16-21: its number and 1, from bit 22 on how many µs ago).
        """
        sources = frame.b & 0xFFFF
        if frame.b > sources:
            self.pins.drive((frame.b >> 16 & 63) - 1, 1, now - (frame.b >> 22))
        if self._ready(sources, now):
            return self._woken(frame)
        until = None if frame.a < 0 else self._world(frame.a)
        if until is not None and until <= now:
            return DONE
        clock = self._virtual
        polled = sources & _POLLED
        if clock is not None and until is not None and not polled and until <= clock.horizon():
            clock.now_us = until
            return DONE
        self._park(_Waiting(frame, sources), until, now)
        return None

    def _park(self, waiting: _Waiting, until: int | None, now: int) -> None:
        self._waiting = waiting
        due = until
        for number, port in self.i2s.items():
            if waiting.sources & (_I2S << number):
                ready = port.ready_us()
                due = ready if due is None else min(due, ready)
        if waiting.sources & _UARTS:
            due = now + POLL_US if due is None else min(due, now + POLL_US)
        if due is not None:
            waiting.timer = self._later(due, lambda: self._due(until))

    def _due(self, until: int | None) -> None:
        waiting = self._waiting
        if waiting is None:
            return
        now = self.clock.now_us
        if self._ready(waiting.sources, now) or (until is not None and now >= until):
            self._waiting = None
            self._finish(self._woken(waiting.frame))
        else:
            self._park(waiting, until, now)

    def _wake(self, source: int = -1) -> None:
        """Something has come that a wait may listen to; without a source, that ends every wait."""
        waiting = self._waiting
        if waiting is not None and waiting.sources & source:
            if waiting.timer is not None:
                waiting.timer.cancel()
            waiting.timer = self._later(self.clock.now_us, lambda: self._due(self.clock.now_us))

    def _ready(self, sources: int, now: int) -> bool:
        if self.console.interrupted or (sources & _CONSOLE and self.console.pending):
            return True
        if sources & _IRQ and self.pins.irq_pending:
            return True
        for number, port in self.i2s.items():
            if sources & (_I2S << number) and port.available(now):
                return True
        if not self._serial:
            return False
        return any(sources & (_UART << (number - 1)) and uart.ready(now) for number, uart in self._serial.items())

    def _woken(self, frame: Frame) -> Answer:
        data = self.console.fetch() if frame.b & _CONSOLE else b""
        # An interrupt throws the data away.
        hits = self.pins.take_hits() if frame.b & _IRQ and not self.console.interrupted else b""
        script = b""
        hasty = self._hasty
        if hits and frame.arg and hasty is not None and not self._seen.isdisjoint(hits):
            script = hasty.foresee()
        return Answer(len(hits) | len(script) << 6, data + hits + script)

    # Handlers

    def _table(self) -> dict[int, Callable[[Frame, int], Answer | None]]:
        return {
            Op.HELLO: self._hello, Op.SYNC: lambda f, now: DONE, Op.WAIT: self._wait, Op.EXIT: self._exit,
            Op.CONSOLE_WRITE: self._console_write, Op.KBD_INTR: self._kbd_intr, Op.PROBE: self._probe,
            Op.RANDOM: lambda f, now: Answer(0, self._random.randbytes(f.b)), Op.LEVELS: self._levels,
            Op.PIN_MODE: self.pins.mode, Op.PIN_WRITE: self.pins.write, Op.PIN_READ: self.pins.read, Op.PIN_IRQ: self.pins.irq,
            Op.IRQ_TAKE: self.pins.irq_take, Op.PWM: self.pins.pwm, Op.ADC: self.pins.adc,
            Op.COUNTER_SETUP: self.pins.counter_setup, Op.COUNTER_READ: self.pins.counter_read,
            Op.I2C_SETUP: self.i2c.setup, Op.I2C_WRITE: self.i2c.write, Op.I2C_READ: self.i2c.read,
            Op.SPI_SETUP: self.spi.setup, Op.SPI_TRANSFER: self.spi.transfer, Op.SPI_WRITE: self.spi.write,
            Op.I2S_SETUP: self.audio.setup, Op.I2S_READ: self.audio.read, Op.I2S_STOP: self.audio.stop,
            Op.UART_SETUP: self.uarts.setup, Op.UART_WRITE: self.uarts.write, Op.UART_READ: self.uarts.read,
            Op.WDT: self._watchdog.start, Op.RTC_SET: self.rtc.set, Op.RTC_READ: self.rtc.read, Op.RTC_WRITE: self.rtc.write,
            Op.FLASH_READ: self._storage.read, Op.FLASH_WRITE: self._storage.write, Op.FLASH_ERASE: self._storage.erase,
            Op.NVS_GET: self._storage.get, Op.NVS_SET: self._storage.set, Op.NVS_ERASE: self._storage.forget,
        }  # fmt: skip

    def _hello(self, f: Frame, now: int) -> Answer:
        flags = (0 if self.clock.virtual else 1) | (2 if self.probe else 0)
        seed = random.Random(f"{self._seed}/{len(self.boots)}").getrandbits(31)
        data = (
            bytes([flags, self._cause]) + self.uid[:6].ljust(6, b"\0") + self.rtc.us.to_bytes(8, "little", signed=True)
        )
        data += seed.to_bytes(4, "little") + sum(1 << n for n in self._quiet).to_bytes(8, "little")
        return Answer(0, data + bytes(n for _, n in self._watched).ljust(2, b"\xff"))

    def _exit(self, f: Frame, now: int) -> Answer:
        reason = Exit(f.arg)
        if reason is Exit.SOFT:
            self._stop_program(soft=True)
            self._boot(Cause.SOFT)
            return DONE
        if reason is Exit.HARD:
            self._rtc_keep()
        self._stop_program()
        if reason is Exit.HARD:
            self._boot(Cause.HARD)
        elif f.a:
            self._later(now + f.a, self._wake_from_deep_sleep)
        return DONE

    def _wake_from_deep_sleep(self) -> None:
        self._rtc_keep()
        self._boot(Cause.DEEP_SLEEP)

    def _console_write(self, f: Frame, now: int) -> Answer:
        """CONSOLE_WRITE: arg 1 says that it is printed text, which the log keeps too."""
        if f.arg:
            *lines, self._printed = (self._printed + f.data.decode(errors="replace")).split("\r\n")
            for line in lines:
                self.log.write(now, line)
        took = self.console.sending_us(len(f.data))
        if self.clock.virtual:
            self._later(now + took, lambda: self.console.output(f.data))
            return Answer(0, b"", took)
        self.console.output(f.data)
        return Answer(
            0, b"", 0
        )  # a pseudo-terminal is as fast as it is; waiting for a line's speed would only add to it

    def _kbd_intr(self, f: Frame, now: int) -> Answer:
        self.console.interrupt_on(f.a)
        return DONE

    def _probe(self, f: Frame, now: int) -> Answer:
        appended = Appended(now, f.arg, f.a, f.b, f.data)
        self.appended.append(appended)
        for listener in self.on_append:
            listener(appended)
        return DONE

    def _levels(self, f: Frame, now: int) -> Answer:
        """LEVELS: arg = blocks of 125 ms in one that is asked for, a = uptime at the end of the first, b = blocks asked for |
        sensitivity in mdB << 8."""
        if self.levels is None:
            raise SimulatorError(f"{self.name}: the driver 'levels' asks for levels, and the board has none to give")
        each = f.arg or 1
        levels = np.asarray(self.levels(self._world(f.a), (f.b & 255) * each, (f.b >> 8) / 1000))
        return Answer(0, levels.reshape(-1, each).mean(axis=1).astype("<f4").tobytes())

    def _write_table(self, partitions: Sequence[Mapping[str, Any]]) -> None:
        """What flashing a board leaves there."""
        fuse, self.flash.fuse = self.flash.fuse, Fuse()
        table = partition_table([dict(p) for p in partitions])
        for at in range(0, len(table), BLOCK):
            self.flash.program(TABLE_AT + at, table[at : at + BLOCK])
        self.flash.fuse = fuse
