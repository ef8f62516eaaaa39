"""The lamp's radio: when it sends and what it listens to, as felinar_air.node says. Loaded only where the line is the air."""

import asyncio
import os
from time import ticks_add, ticks_diff, ticks_us

import machine
from drivers import TIMEOUT, DriverError, lora
from felinar_air.node import Access
from felinar_air.plan import BANDS, DOWNLINK, Ledger, air_ms, airtime, band
from felinar_wire.session import count
from micropython import const

from node import board as boards
from node.radio_link import JOIN, Link

_DBM = const(14)  # what EN 300 220-2 allows and both chips can do
_AHEAD = const(150)  # ms before a slot in which its frame is made
_CHECK = const(10)  # ms before it in which the channel is looked at for the last time
_READY = const(10)  # ms that the radio needs to be ready
_REST = const(10000)  # ms between looks at everything
_TEND = const(12000)  # ms without a beacon after which the radio is asked how it does
_LEAST = const(40)  # bytes; a slot in which no report fits is left
_ILL = const(10000)  # ms until a radio that has failed is started again


class Radio:
    """Runs the radio in one task: `run`. `wish` holds, for each reason to contend, when to try (0: not)."""

    def __init__(self, app) -> None:
        # A node without a sound board.json has no radio and does not come here; kept from its start it would fill the heap.
        about = boards.parse(boards.find("board.json"))["radio"]  # type: ignore[index]
        name = about["chip"][:5] + "x"  # one driver a family
        radio = self._radio = getattr(__import__("drivers." + name), name).open(app.board, about)
        self.wake = radio.flag.set  # something may be due earlier
        self._clock = app.clock
        self._stepped = 0
        self._sending = 0  # until then a frame is on the air
        self._turned = -1  # interval of the last own slot that was looked at
        self.bad = 0  # frames with a wrong CRC
        self.wish = [0, 0, 0]
        self._heard: list = []  # (frame, when it began, RSSI)
        self.counts: dict = {}
        self.access = Access(app.config.address, os.urandom, self.counts)
        self._ledger = Ledger(BANDS[band(self.access.frame.uplink)][2])  # all uplinks are in one sub-band
        self.link = Link(app, self, machine.unique_id())

    def now(self) -> int:
        """Milliseconds that neither step nor wrap."""
        clock = self._clock
        return clock.up() * 1000 + clock._up_ms

    async def run(self) -> None:
        """For ever; a radio that fails is started again and again."""
        while True:
            try:
                await self._radio.start()
                self._tune()
                while True:
                    await self._round()
            except DriverError:
                count(self.counts, "radio")
                self._sending = 0
                await asyncio.sleep_ms(_ILL)

    def _tune(self) -> None:
        self._sending = 0
        self._channel(DOWNLINK).listen()

    def _channel(self, khz: int = 0):
        """The radio, set to a channel; to the bridge's uplink unless told."""
        frame = self.access.frame
        self._radio.configure((khz or frame.uplink) * 1000, frame.sf, _DBM)
        return self._radio

    def _collect(self) -> None:
        """Fetch what the radio has to tell; frames wait in `_heard`, as to read them takes time."""
        radio = self._radio
        while True:
            event = radio.poll()
            if not event:
                return
            if event[0] == lora.RX:
                _, at, rssi, _, n = event
                passed = ticks_diff(ticks_us(), at) + airtime(self.access.frame.sf, n)
                self._heard.append((bytes(radio.buffer[:n]), self.now() - passed // 1000, rssi))
            elif event[0] == lora.TX_DONE:
                self._tune()
            elif event[0] == lora.BAD:
                self.bad += 1

    async def _round(self) -> None:
        radio = self._radio
        link = self.link
        access = self.access
        self._collect()
        if self._heard:
            link.hear(*self._heard.pop(0))
            return
        now = self.now()
        if self._sending:
            if now < self._sending:
                await radio.rest(self._sending - now)
                return
            count(self.counts, "radio")
            self._tune()
        if link.reply:
            self._send(link.reply.pop(0))
            return
        if now - self._stepped >= 1000:
            self._stepped = now
            link.look(now)
            if access.step(now):
                self._tune()
            if now - access._heard >= _TEND:
                await radio.tend(link.heard)
        due = now + _REST
        at, limit, n = access.turn(now)
        if at and n != self._turned:
            if at - now <= _AHEAD:
                self._turned = n
                await self._slot(at, limit, n)
                return
            due = min(due, at - _AHEAD)
        wish = self.wish
        for i in range(len(wish)):
            if wish[i]:
                if wish[i] <= now:
                    wish[i] = 0
                    await self._contend(i, now)
                    return
                due = min(due, wish[i])
        await radio.rest(min(due, link.due) - now)

    async def _slot(self, at: int, limit: int, n: int) -> None:
        """Send in the own slot what there is to send."""
        if limit < _LEAST:
            count(self.counts, "unsure")
            return
        data, what = self.link.frame(limit, n)
        if not data:
            return
        self._radio.hearing()  # forgets what it had noticed before
        ms = at - _CHECK - self.now()
        if ms > 0:
            await asyncio.sleep_ms(ms)
        self._collect()
        if not self.access.clear(self.now(), self._radio.hearing()):
            return
        if self._send(data, at - self.now()):
            self.access.sent(n, what)

    async def _contend(self, i: int, now: int) -> None:
        """Send for one reason, unless somebody else does."""
        data = self.link.ask(i)
        access = self.access
        if not data:
            return
        radio = self._radio
        if access.clear(now, radio.irq):
            self._channel()
            if await radio.cad():
                self._tune()
            elif self._send(data):
                self.link.asked(i, self.now())
                return
        now = self.now()
        self.wish[i] = access.again(now) if i == JOIN else access.contend(now, len(data))

    def _send(self, data: bytes, ms: int = _READY) -> bool:
        """Begin to send in so many ms; False, and counted, when that is too late or the duty cycle forbids it."""
        air = air_ms(self.access.frame.sf, len(data))
        if not self._ledger.take(self.now(), air):
            count(self.counts, "duty")
            self._tune()
            return False
        try:
            self._channel().transmit(data, ticks_add(ticks_us(), ms * 1000))
        except DriverError as error:
            if error.reason != TIMEOUT:
                raise
            count(self.counts, "late")
            self._tune()
            return False
        self._sending = self.now() + air + 100
        return True


def open(app):
    """(line, uplink) of a node whose line is the air."""
    radio = Radio(app)
    return radio, radio.link
