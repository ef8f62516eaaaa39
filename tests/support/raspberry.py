"""A Raspberry Pi for tests: Blinka's modules and the kernel's GPIO lines, with the simulator's model of an SX1276 behind them."""

from __future__ import annotations

import os
import select
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

from felinar_sim.chips.sx127x import Sx127x
from felinar_sim.clock import RealClock, Timer, VirtualClock
from felinar_sim.pins import Pins as Wires

_NAMES = {"CE1": "radio_cs", "D25": "radio_rst", "D22": "radio_irq"}
_NUMBERS = {"SCK": 11, "MOSI": 10, "MISO": 9, "CE1": 7, "D25": 25, "D22": 22}


class Pin:
    """A pin of Blinka's board module."""

    chip_index = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = _NUMBERS[name]


class Raspberry(Wires):
    """`model` lives on `clock`; `spi_us` is what each transfer on the bus takes (virtual time alone). `install` puts the modules
    where `import` finds them. `transfers` counts what went over SPI."""

    def __init__(self, clock: VirtualClock | RealClock, *, spi_us: int = 0) -> None:
        super().__init__({name: _NUMBERS[pin] for pin, name in _NAMES.items()})
        self.clock = clock
        self.spi_us = spi_us
        self.transfers = 0
        self.broken_line = False
        """The wire of the interrupt is off."""
        self.life: Lockstep | None = None
        self.open: list[str] = []
        self._events: list[int] = []
        self._read, self._written = os.pipe()
        self.model = Sx127x()
        self.model.connect(clock, self)
        self.model.power_cycle(clock.now_us)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._written)

    def now_ns(self) -> int:
        """The machine's monotonic clock."""
        return self.clock.now_us * 1000

    def sleep(self, seconds: float) -> None:
        """Of the thread that drives the radio, in virtual time."""
        assert self.life
        self.life.pause(max(seconds, 10e-6), wakes=False)

    def select(self, descriptors: Sequence[int], seconds: float) -> None:
        """Until one is readable or the time is up, in virtual time."""
        assert self.life
        if not select.select(descriptors, (), (), 0)[0]:
            self.life.pause(seconds)

    # The model's side

    def put(self, name: str, level: int, now: int) -> None:
        before = self.inputs.get(name)
        super().put(name, level, now)
        if name == "radio_irq" and level and not before and not self.broken_line:
            self._events.append(self.now_ns())
            os.write(self._written, b"e")
            if self.life:
                self.life.wake()

    # Blinka's and the kernel's side

    def install(self, patch: Any) -> None:
        """Put board, busio, digitalio and gpiod into sys.modules by a MonkeyPatch."""
        pi = self

        class SPI:
            def __init__(self, clock: Pin, MOSI: Pin, MISO: Pin) -> None:
                assert (clock.name, MOSI.name, MISO.name) == ("SCK", "MOSI", "MISO")
                self._locked = False
                pi.open.append("spi")

            def deinit(self) -> None:
                pi.open.remove("spi")

            def try_lock(self) -> bool:
                taken, self._locked = self._locked, True
                return not taken

            def unlock(self) -> None:
                self._locked = False

            def configure(self, *, baudrate: int, polarity: int, phase: int) -> None:
                assert self._locked and baudrate <= 10_000_000 and polarity == phase == 0

            def write(self, buffer: Any, start: int = 0, end: int | None = None) -> None:
                self._transfer(bytes(buffer[start:end]))

            def readinto(self, buffer: Any, start: int = 0, end: int | None = None, write_value: int = 0) -> None:
                end = len(buffer) if end is None else end
                buffer[start:end] = self._transfer(bytes([write_value]) * (end - start))

            def _transfer(self, data: bytes) -> bytes:
                assert self._locked
                pi.transfers += 1
                if pi.spi_us:
                    pi.sleep(pi.spi_us / 1e6)
                return pi.guarded(lambda: pi.model.transfer(data, pi.clock.now_us)) or b"\xff" * len(data)

        class DigitalInOut:
            def __init__(self, pin: Pin) -> None:
                self._pin = pin
                pi.open.append(pin.name)

            def deinit(self) -> None:
                pi.open.remove(self._pin.name)

            def switch_to_output(self, value: bool = False) -> None:
                self.value = value

            def __setattr__(self, name: str, value: Any) -> None:
                object.__setattr__(self, name, value)
                if name == "value":
                    line = _NAMES[self._pin.name]
                    pi.guarded(lambda: pi.model.pin(line, int(value), pi.clock.now_us))

        class Request:
            fd = pi._read

            def wait_edge_events(self, timeout: float) -> bool:
                assert timeout == 0
                return bool(pi._events)

            def read_edge_events(self, most: int) -> list[Any]:
                def take() -> list[int]:
                    found, pi._events[:most] = pi._events[:most], []
                    return found

                found = pi.guarded(take)
                os.read(pi._read, len(found))
                return [types.SimpleNamespace(timestamp_ns=at) for at in found]

            def release(self) -> None:
                pi.open.remove("edges")

        def request_lines(path: str, consumer: str, config: dict[int, Any]) -> Request:
            (number, settings) = next(iter(config.items()))
            assert (path, number, settings.edge_detection, settings.event_clock) == (
                "/dev/gpiochip0",
                22,
                "rising",
                "mono",
            )
            pi.open.append("edges")
            return Request()

        def module(name: str, **content: Any) -> None:
            made = types.ModuleType(name)
            made.__dict__.update(content)
            patch.setitem(__import__("sys").modules, name, made)

        line = types.SimpleNamespace(
            Direction=types.SimpleNamespace(INPUT="in"), Edge=types.SimpleNamespace(RISING="rising"),
            Bias=types.SimpleNamespace(PULL_DOWN="down"), Clock=types.SimpleNamespace(MONOTONIC="mono"),
        )  # fmt: skip
        module("board", **{name: Pin(name) for name in _NUMBERS})
        module("busio", SPI=SPI)
        module("digitalio", DigitalInOut=DigitalInOut)
        module("gpiod", line=line, LineSettings=types.SimpleNamespace, request_lines=request_lines)

    def install_time(self, patch: Any) -> None:
        """Let Adafruit's library live in the clock's time."""
        import adafruit_rfm9x

        own = types.SimpleNamespace(sleep=self.sleep, monotonic=lambda: self.now_ns() / 1e9)
        patch.setattr(adafruit_rfm9x, "time", own)

    def guarded(self, work: Callable[[], Any]) -> Any:
        """Touch the model: while its own clock runs in another thread, only between two of its events."""
        if self.clock.virtual:
            return work()
        with self.clock.lock:
            return work()


class Lockstep:
    """A thread that lives in virtual time: it runs only while the clock waits for it, so that a seed gives the same each time."""

    def __init__(self, clock: VirtualClock, work: Callable[[], object]) -> None:
        self._clock = clock
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._timer: Timer | None = None
        self._wakes = False
        self._error: BaseException | None = None
        self.result: object = None
        self.done = False

        def run() -> None:
            self._go.acquire()
            try:
                self.result = work()
            except BaseException as error:
                self._error = error
            self.done = True
            self._back.release()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        clock.at(clock.now_us, self._resume)

    def pause(self, seconds: float, wakes: bool = True) -> None:
        """In the thread: until so long has passed, or `wake`."""
        self._wakes = wakes
        self._timer = self._clock.at(self._clock.now_us + max(1, round(seconds * 1e6)), self._resume)
        self._back.release()
        self._go.acquire()

    def wake(self) -> None:
        """Let a `pause` end now; for whoever runs while the thread is paused."""
        if self._timer is not None and self._wakes:
            self._timer.cancel()
            self._wakes = False
            self._timer = self._clock.at(self._clock.now_us, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._go.release()
        self._back.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
