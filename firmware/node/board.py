"""The board's services: pins by name, buses, counters. What a driver uses comes from here."""

import asyncio
import json
import sys
import time

import esp32
import machine

from node.clock import Clock

ticks_ms = time.ticks_ms


def sleep_ms(ms: int):
    """Awaitable: at least so long. Ticks are whole milliseconds, so that asyncio may wake almost one too early."""
    return asyncio.sleep_ms(ms + 1 if ms > 0 else 0)


def parse(text):
    """What JSON says; None when it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def find(name: str) -> bytes:
    """The JSON in a file of the working directory or beside the modules; empty when there is none that can be read."""
    for folder in [""] + sys.path:  # noqa: RUF005 (MicroPython has no * here)
        try:
            with open(folder + "/" + name if folder else name, "rb") as file:
                text = file.read()
            json.loads(text)
            return text
        except (OSError, ValueError):
            pass
    return b""


def partition(label: str):
    """The data partition of that name, or None."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label=label)
    return found[0] if found else None


class Board:
    """Built from what board.json says. Buses are opened once and shared."""

    def __init__(self, data: dict) -> None:
        self._pins = data.get("pins", {})
        self._i2c: dict = {}
        self.sensors: list = []  # of node.sampler, once there are any
        self.clock = Clock(ticks_ms)
        self.up = self.clock.up
        self.fitted = data.get("fitted", [])
        self.line = data.get("line", {"type": "console"})
        self.normally_closed = data.get("relay_normally_closed", True)
        self.sleep_ms = sleep_ms
        self.ticks_ms = ticks_ms

    def latest(self, field: str):
        """The newest value of a report's field by any sensor; None when there is none or it is in doubt."""
        for sensor in self.sensors:
            value = sensor.value.get(field)
            if value is not None:
                return value

    def has(self, pin: str) -> bool:
        return pin in self._pins

    def _pin(self, name: str):
        return machine.Pin(self._pins[name])

    def pin(self, name: str, mode: int, value=None):
        return machine.Pin(self._pins[name], mode, value=value)

    def i2c(self, name: str):
        bus = self._i2c.get(name)
        if bus is None:
            bus = machine.I2C(int(name[3:]), scl=self._pin(name + "_scl"), sda=self._pin(name + "_sda"), freq=100000)
            self._i2c[name] = bus
        return bus

    def i2s(self, name: str, rate: int, bits: int, ibuf: int):
        return machine.I2S(
            int(name[3:]),
            sck=self._pin(name + "_sck"),
            ws=self._pin(name + "_ws"),
            sd=self._pin(name + "_sd"),
            mode=machine.I2S.RX,
            bits=bits,
            format=machine.I2S.MONO,
            rate=rate,
            ibuf=ibuf,
        )

    def uart(self, name: str, baud: int):
        return machine.UART(
            int(name[4:]), baud, tx=self._pin(name + "_tx"), rx=self._pin(name + "_rx"), timeout=0, rxbuf=1024
        )

    def counter(self, index: int, pin_name: str):
        return machine.Counter(index, self._pin(pin_name))

    def pwm(self, pin_name: str, hz: int):
        return machine.PWM(self._pin(pin_name), freq=hz)

    def meter(self):
        from node.sound import Meter

        return Meter()
