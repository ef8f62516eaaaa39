"""The bridge put together: a radio, a line to the host, and a watchdog that only a bridge with a working radio feeds."""

import asyncio
from time import ticks_us

import machine
import micropython
from drivers import DriverError, lora
from felinar_air.modem import LONGEST, Modem
from felinar_wire import serial
from micropython import const
from node import board as boards
from node.line import Line

_DOG_MS = const(20000)
_TEND_S = const(5)


class HostLine(Line):
    """A line that carries what bridge and host say to each other, not a node's frames."""

    def __init__(self, board, on_frame, on_text) -> None:
        super().__init__(board, on_frame, on_text)
        self._deframer = serial.Deframer(LONGEST)

    def _feed(self, data: bytes) -> None:
        for content in self._deframer.feed(data):
            self._on_frame(content)

    def send(self, data: bytes) -> None:
        self._out.write(b"\0" + serial.encode(data))


async def run() -> None:
    """Be a bridge; returns only by an exception."""
    entry = boards.parse(boards.find("board.json")) or {}
    board = boards.Board(entry)
    about = entry["radio"]
    name = about["chip"][:5] + "x"  # one driver a family: sx126x, sx127x
    radio = getattr(__import__("drivers." + name), name).open(board, about)
    dog = machine.WDT(timeout=_DOG_MS)
    modem = None

    def take(data: bytes) -> None:
        if modem:
            modem.take(data)
            radio.flag.set()  # there may be something to do at once

    line = HostLine(board, take, lambda text: None)
    modem = Modem(radio, lora, line.send, ticks_us, machine.unique_id(), 1 if name == "sx126x" else 2, radio.MOST)
    talking = asyncio.create_task(line.run())
    modem.broken = True
    tended = 0
    while not talking.done():
        if modem.broken:
            try:
                await radio.start()
            except DriverError:
                await asyncio.sleep_ms(1000)
                continue  # the watchdog has the last word
            modem.broken = False
            modem.listen()
            modem.hello()
        up = board.clock.up()
        modem.step(up * 1000)
        if up - tended >= _TEND_S and not modem.broken:
            tended = up
            try:
                await radio.tend(modem.heard > 0)
            except DriverError:
                modem.broken = True
        dog.feed()
        await radio.rest(modem.rest())


def main() -> None:
    """Run the bridge."""
    micropython.kbd_intr(-1)
    asyncio.run(run())
