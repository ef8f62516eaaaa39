"""What both LoRa drivers share: lines, interrupt, states, the start at a given tick, and what is done about a deaf radio.

Always 125 kHz, coding rate 4/5, a preamble of 8, explicit header, CRC, the private sync word. Received bytes are in
`buffer[:n]` until the next call. `irq` is set (and `flag`, an asyncio.ThreadSafeFlag) when `poll` has something to tell,
which ends `rest`.
Counters: `lost` events that nobody had polled in time, `missed` edges of the interrupt, `mended` and `resets` of a deaf radio.
"""

# The commands are the subclasses':
# pyright: reportAttributeAccessIssue=false

import asyncio
from time import sleep_us, ticks_add, ticks_diff, ticks_us

from felinar_air.plan import airtime
from machine import SPI
from micropython import const

from drivers import RANGE, TIMEOUT, DriverError

# What `poll` tells.
RX = const(1)
TX_DONE = const(2)
BAD = const(3)
CAD = const(4)

_IN = const(1)
_OUT = const(3)
# States; of its modes a chip tells whether it is listening.
_IDLE = const(0)
_LISTEN = const(1)
_SEND = const(2)
_DETECT = const(3)
_SHUT = const(4)

_AHEAD_US = const(200)  # the last command, its transfer, and the ramp of the amplifier
_MOST_US = const(100000)
_QUIET_MS = const(300000)  # silence that is not believed where frames are due


class Radio:
    """The shell around a chip's commands. Times are ticks of `time.ticks_us`; what fails raises DriverError."""

    def __init__(self, b, entry):
        self._b = b
        self._entry = entry
        if b.has("radio_power"):
            b.pin("radio_power", _OUT, 1)
        self._rxen = b.pin("radio_rxen", _OUT, 0) if b.has("radio_rxen") else None
        self._cs = b.pin("radio_cs", _OUT, 1)
        self._rst = b.pin("radio_rst", _OUT, 1)
        self._line = b.pin("radio_irq", _IN)
        self._spi = SPI(
            1,
            baudrate=8000000,
            sck=b.pin("radio_sck", _OUT),
            mosi=b.pin("radio_mosi", _OUT),
            miso=b.pin("radio_miso", _IN),
        )
        self.buffer = bytearray(255)
        self._view = memoryview(self.buffer)
        self._data = bytearray(5)
        self.flag = asyncio.ThreadSafeFlag()
        self.irq = False
        self._at = 0
        self._state = _SHUT
        self._on = False  # to listen when nothing else is to be done
        self._hz = self._sf = self._dbm = 0
        self._until = 0
        self._total = self._count = 0  # frames that the chip has had since it listens, and had when one was told
        self._quiet = b.ticks_ms()
        self._tried = False
        self._hit = False
        self._resting = None
        asyncio.create_task(self._hark())  # noqa: RUF006 (the loop keeps it)
        self.lost = self.missed = self.mended = self.resets = 0

    def _edge(self, pin):
        # Allocates nothing: ticks are small integers.
        self._at = ticks_us()
        self.irq = True
        self.flag.set()

    async def _hark(self):
        # A task that stays: asyncio.wait_for would make two more each time.
        while True:
            await self.flag.wait()
            task = self._resting
            if task:
                self._resting = None
                task.cancel()

    async def rest(self, ms: int) -> None:
        """Sleep for so many ms, or until there is something to poll or the flag is set. For one task."""
        if ms > 0 and not self.irq:
            self._resting = asyncio.current_task()
            try:
                await asyncio.sleep_ms(ms)
            except asyncio.CancelledError:
                if self._resting:
                    raise
            self._resting = None

    async def start(self) -> None:
        """Reset and set up; `configure` comes next. May be called again after an error."""
        self._line.irq(None)
        self._state = _SHUT
        self._on = self.irq = False
        self._sf = 0
        self._rst(0)
        await self._b.sleep_ms(1)
        self._rst(1)
        await self._b.sleep_ms(10)
        await self._start()
        self._quiet = self._b.ticks_ms()
        self._state = _IDLE
        self._line.irq(self._edge, 1)

    def configure(self, hz: int, sf: int, dbm: int) -> None:
        """Channel 863-870 or 902-928 MHz, SF 7-12, power at the antenna; listening ends. DriverError(RANGE).

        Before `start`, and while `start` or `tend` are awaited, every order is out of range.
        """
        if (
            self._state == _SHUT
            or not (7 <= sf <= 12 and self.LEAST <= dbm <= self.MOST)
            or not (863000000 <= hz <= 870000000 or 902000000 <= hz <= 928000000)
        ):
            raise DriverError(RANGE)
        self._on = False
        self._stop()
        if sf == self._sf and dbm == self._dbm:
            self._tune(hz)
        else:
            self._configure(hz, sf, dbm)
        self._hz = hz
        self._sf = sf
        self._dbm = dbm

    def listen(self) -> None:
        """Receive from now on, again after each transmission."""
        if not self._sf:
            raise DriverError(RANGE)
        self._on = True
        self._stop()
        self._resume()

    def _resume(self):
        if self._on:
            if self._rxen:
                self._rxen(1)
            self._listen()
            self._count = 0
            self._state = _LISTEN

    def _stop(self):
        """Standby. An event that nobody has polled is lost."""
        if self.irq:
            self.irq = False
            self.lost += 1
        elif self._state == _IDLE:
            return
        self._standby()
        self._state = _IDLE

    def transmit(self, data, at_us) -> None:
        """Send at that tick, at most 100 ms ahead: load, then wait for it without letting others run (10 ms are enough).

        Raises DriverError: RANGE for the data or the time, TIMEOUT when it is past; then nothing is sent.
        """
        n = len(data)
        if not 0 < n < 256 or not self._sf or ticks_diff(at_us, ticks_us()) > _MOST_US:
            raise DriverError(RANGE)
        self._stop()
        if self._rxen:
            self._rxen(0)
        self._load(data, n)
        at_us = ticks_add(at_us, -_AHEAD_US)
        wait = ticks_diff(at_us, ticks_us())
        if wait < 0:
            self._resume()
            raise DriverError(TIMEOUT)
        sleep_us(max(0, wait - 200))
        while ticks_diff(at_us, ticks_us()) > 0:
            pass
        self._send()
        self._state = _SEND
        self._until = ticks_add(self._b.ticks_ms(), airtime(self._sf, n) // 1000 + 50)

    async def cad(self) -> bool:
        """Whether somebody sends on the channel, in two to four symbols; DriverError(TIMEOUT). It listens again after."""
        if not self._sf:
            raise DriverError(RANGE)
        self._stop()
        if self._rxen:
            self._rxen(1)
        self._detect()
        self._hit = True  # for who is overtaken by another order
        self._state = _DETECT
        for _ in range(10 + (8 << self._sf) // 150):
            await self._b.sleep_ms(1)
            self.poll()
            if self._state != _DETECT:
                return self._hit
        self._stop()
        self._resume()
        raise DriverError(TIMEOUT)

    def poll(self):
        """None, (RX, at_us, rssi_dbm, snr_quarters, n), (TX_DONE, at_us), (BAD, at_us) or (CAD, busy)."""
        if not self.irq:
            return None
        self.irq = False
        at = self._at
        event = self._events(at)
        if event:
            if self._line():
                # More has come before the flags were cleared: there will be no edge.
                self._edge(None)
            if event[0] & 1:  # RX, BAD
                # Frames that have come since the last one was told are overwritten.
                more = (self._total - self._count & 255) - 1
                self._count = self._total
                if 0 < more < 100:
                    self.lost += more
            else:  # TX_DONE, CAD
                self._hit = event[1]
                self._state = _IDLE
                self._resume()
        return event

    def _heard(self):
        """A valid header: it isn't deaf."""
        self._quiet = self._b.ticks_ms()
        self._tried = False

    async def tend(self, expected: bool) -> bool:
        """See after the chip, every few seconds; `expected`: frames should be heard. True when all was well.

        A chip that is in another mode than it was put into is reset. One that has heard no header for five minutes is
        calibrated, and reset when that did not help. After a DriverError (its reason, or RANGE) call `start`, `configure` and `listen`.
        """
        if self.irq:
            return True
        sf = self._sf
        if not sf:
            raise DriverError(RANGE)
        now = self._b.ticks_ms()
        state = self._state
        on = self._on
        soft = False
        if not expected:
            self._quiet = now
        try:
            mode, pending = self._look()
            if pending:
                self.missed += 1
                self._edge(None)
                return False
            bad = mode != _LISTEN
            if state == _SEND:
                bad = ticks_diff(now, self._until) > 0
            elif state != _LISTEN:
                return True
            if not bad and (state == _SEND or ticks_diff(now, self._quiet) < _QUIET_MS):
                return True
            if not bad and not self._tried:
                self._tried = soft = True
                self._quiet = now
                self.mended += 1
                self._sf = 0
                self._stop()
                self._state = _SHUT
                await self._calibrate()
        except DriverError:
            soft = False
        if not soft:
            self.resets += 1
            self._tried = False
            await self.start()
        self._configure(self._hz, sf, self._dbm)
        self._state = _IDLE
        self._sf = sf
        self._on = on
        self._resume()
        return False
