"""A bench for radios: boards with the real driver in MicroPython on the simulator's models, on one virtual clock, on one wire."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import msgspec
from felinar_build import app as build
from felinar_build import board as boards
from felinar_sim import chips
from felinar_sim.board import Board
from felinar_sim.chips import Emission, LoraRadio, Tuning
from felinar_sim.clock import VirtualClock

from tests.support.micropython import ROOT

NOON = 1_767_225_600 + 12 * 3600
DRIVER = {"sx1262": "sx126x", "sx1276": "sx127x"}

_HEAD = """
import asyncio, json, time
import machine
from drivers import DriverError
from drivers.lora import RX, TX_DONE, BAD, CAD
import drivers.{driver}

PINS = json.loads({pins!r})

class Services:
    def has(self, name):
        return name in PINS
    def pin(self, name, mode, value=None):
        return machine.Pin(PINS[name], mode, value=value)
    def ticks_ms(self):
        return time.ticks_ms()
    def sleep_ms(self, ms):
        return asyncio.sleep_ms(ms)

def say(*what):
    print(json.dumps(what))

radio = drivers.{driver}.open(Services(), json.loads({entry!r}))
HZ, SF, DBM = 869525000, 7, 14

async def ready(listen=True):
    await radio.start()
    radio.configure(HZ, SF, DBM)
    if listen:
        radio.listen()

async def hear(ms):
    "Tell what comes for so long."
    end = time.ticks_add(time.ticks_ms(), ms)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        try:
            await asyncio.wait_for_ms(radio.flag.wait(), time.ticks_diff(end, time.ticks_ms()))
        except asyncio.TimeoutError:
            return
        while radio.irq:
            event = radio.poll()
            if event:
                n = event[4] if event[0] == RX else 0
                say("event", event, bytes(radio.buffer[:n]).hex())

async def attempt(coroutine):
    try:
        say("ok", await coroutine)
    except DriverError as error:
        say("error", error.reason)

async def main():
{body}

asyncio.run(main())
"""


class Cable:
    """Every radio hears every other, at one level, without loss; frames that overlap do not disturb each other."""

    def __init__(self, clock: VirtualClock, rssi: float = -71.0, snr: float = 6.25) -> None:
        self.clock, self.rssi, self.snr = clock, rssi, snr
        self.radios: list[LoraRadio] = []
        self.sent: list[Emission] = []
        self.crc_ok = self.header_ok = True

    def add(self, radio: LoraRadio) -> None:
        self.radios.append(radio)
        radio.on_transmit = functools.partial(self._carry, radio)
        radio.channel_busy = self._busy

    def _carry(self, source: LoraRadio, emission: Emission) -> None:
        self.sent.append(emission)
        for radio in self.radios:
            tuning = radio.tuning(self.clock.now_us)
            if radio is not source and tuning is not None and tuning.hears(emission.tuning):
                radio.deliver(
                    emission.data, self.rssi, self.snr, emission.end_us, self.crc_ok, header_ok=self.header_ok
                )

    def _busy(self, tuning: Tuning, start_us: int, end_us: int) -> bool:
        return any(e.tuning.hears(tuning) and e.start_us < end_us and start_us < e.end_us for e in self.sent)


class Station:
    """A board with its radio: `lines` are what its program has said."""

    def __init__(self, board: Board, model: LoraRadio) -> None:
        self.board, self.model = board, model
        self._bytes = bytearray()
        board.console.on_output.append(self._bytes.extend)

    @property
    def text(self) -> str:
        return self._bytes.decode(errors="replace")

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("[")]

    def said(self, kind: str) -> list[Any]:
        """What was said of one kind, without its name."""
        assert "Traceback" not in self.text, self.text
        return [line[1:] for line in self.lines if line[0] == kind]

    def ticks(self, us: int) -> int:
        """A moment of the world as the board's ticks, without their wrap."""
        return us - self.board.boots[-1][0]


class RadioBench:
    """Boards on one clock. `app` keeps the compiled drivers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock(NOON)
        self.cable = Cable(self.clock)
        self.stations: list[Station] = []
        self._stubs = build_drivers(folder)

    def station(self, board_id: str, body: str, *, on: bool = True, drift_ppm: float = 0.0) -> Station:
        """A board of that kind whose program runs `body` after the names above."""
        number = len(self.stations) + 1
        about = boards.load(boards.find(ROOT / "boards", board_id))
        assert about.radio is not None
        # Other numbers: the simulated chip is an ESP32, some of whose pins are inputs only.
        pins = {name: 4 + i for i, name in enumerate(n for n in sorted(about.pins) if n.startswith("radio_"))}
        entry = msgspec.to_builtins(about.radio)
        application = self.folder / f"app-{number}"
        application.mkdir()
        (application / "drivers").symlink_to(self._stubs)
        (application / "felinar_air").symlink_to(ROOT / "protocol" / "felinar_air")
        text = "\n".join("    " + line for line in body.strip("\n").splitlines())
        (application / "main.py").write_text(
            _HEAD.format(driver=DRIVER[about.radio.chip], pins=json.dumps(pins), entry=json.dumps(entry), body=text)
        )
        home = self.folder / f"board-{number}"
        home.mkdir()
        model = chips.radio(entry, pins)
        board = Board(
            f"board-{number}", home, self.clock, app=application, description={"pins": pins},
            parts=[({"bus": "radio"}, model)], drift_ppm=drift_ppm, keep=False,
        )  # fmt: skip
        station = Station(board, model)
        self.stations.append(station)
        self.cable.add(model)
        if on:
            board.power_on()
        return station

    def run(self, seconds: float) -> None:
        self.clock.run_for(seconds)

    def close(self) -> None:
        for station in self.stations:
            station.board.close()


_compiled: list[Path] = []


def build_drivers(folder: Path) -> Path:
    """The radio drivers as .mpy, compiled once a process."""
    if not _compiled or not _compiled[0].is_dir():
        out = folder / "drivers"
        for name in ("__init__", "lora", "sx126x", "sx127x"):
            source = ROOT / "firmware" / "drivers" / f"{name}.py"
            build.compile_file(source, out / f"{name}.mpy", "x64", f"drivers/{name}.py")
        _compiled[:] = [out]
    return _compiled[0]
