"""Any I2S microphone: reads samples in small pieces, hands them to a sound level meter and forgets them.

The samples live in one buffer of 4000 bytes that the next piece overwrites; nothing here gives them out. What comes
out are mean squares, one per 125 ms. Losses are found by counting samples against the clock: the driver of the I2S
drops them silently when it is read too late.
"""

import select
from array import array
from time import ticks_diff

from micropython import const

from drivers import NACK, TIMEOUT, DriverError

_PIECE = const(1000)  # samples: 21 ms
_BLOCK_MS = const(125)
_SILENT_MS = const(1000)
_DEAD_DB = const(15)  # dB(A): every microphone's own noise is louder by 10 dB and more
_PATIENCE = const(8)  # dead blocks before it counts as lost
_SETTLE = const(4)  # blocks to discard: start of the microphone, settling of the weightings
_IBUF = const(40960)  # of DMA frames of 8 bytes: 107 ms


class Microphone:
    """A source of A-weighted levels.

    `sensitivity_db` is the level of a full-scale RMS of 1.0: a sine of full scale, 3 dB less, reads 94 dB - dbfs.
    `fast` holds the Fast-weighted mean squares of the last block, at its end and its largest. `missed` counts lost
    blocks. Digital silence is a dead microphone: its blocks have a mean square of 0, which is no level, and after a
    second comes DriverError(NACK). The meter comes from the services: `b.meter()` has RATE, feed, ready and take as `node.sound.Meter` does.
    """

    FIELDS = ()

    def __init__(self, b, entry, name: str, dbfs: float):
        self.NAME = name
        self.sensitivity_db = 97.0103 - entry.get("dbfs", dbfs)
        self.fast = array("f", (0, 0))
        self.missed = 0
        self._b = b
        self._bus = entry["bus"]
        self._floor = 10 ** ((_DEAD_DB - self.sensitivity_db) / 10)
        self._dead = 0
        self._open = False
        self._meter = b.meter()
        self._buffer = bytearray(4 * _PIECE)
        self._at = self._end = 0
        self._result = array("f", (0, 0, 0))
        self._level = array("f", (0,))

    async def start(self) -> None:
        """Open the bus anew and discard the first half second.

        Raises DriverError: TIMEOUT when no samples come, NACK when they are silence.
        """
        if self._open:
            self._i2s.deinit()
        self._meter = self._b.meter()
        self._i2s = self._b.i2s(self._bus, self._meter.RATE, 32, _IBUF)
        self._open = True
        # Being polled is what puts the I2S into the mode that reads without waiting.
        self._poll = select.poll()
        self._poll.register(self._i2s, select.POLLIN)
        self._at = self._end = 0
        self._late = 0
        self._drained = self._forgive = False
        for _ in range(_SETTLE):
            await self._block()
        self._dead = 0
        if self._result[0] < self._floor:
            raise DriverError(NACK)
        self._then = self._b.ticks_ms()

    async def levels(self):
        """The next block: an array of one mean square (full scale = 1.0), overwritten by the next call."""
        await self._block()
        result = self._result
        if result[0] < self._floor:
            result[0] = 0
            self._dead += 1
            if self._dead == _PATIENCE:
                raise DriverError(NACK)
        else:
            self._dead = 0
        self._level[0] = result[0]
        self.fast[0] = result[1]
        self.fast[1] = result[2]
        self._account()
        return self._level

    async def _block(self) -> None:
        """Read until a block is complete; raises DriverError(TIMEOUT) after a second without samples."""
        meter = self._meter
        buffer = self._buffer
        silent = 0
        while True:
            self._at = meter.feed(buffer, self._at, self._end)
            if meter.ready:
                return meter.take(self._result)
            # A short piece means that nothing was left: give the next one time to fill.
            wait = (_PIECE - self._end) * 1000 // meter.RATE
            self._drained = wait > 0
            await self._b.sleep_ms(wait)
            self._at = self._end = 0
            for _ in self._poll.ipoll(0):
                self._end = self._i2s.readinto(buffer) >> 2
            if self._end:
                silent = 0
            else:
                silent += wait
                if silent > _SILENT_MS:
                    raise DriverError(TIMEOUT)

    def _account(self) -> None:
        now = self._b.ticks_ms()
        late = self._late + ticks_diff(now, self._then) - _BLOCK_MS
        self._then = now
        if self._drained:
            # What is late now does not come any more.
            while late >= _BLOCK_MS:
                late -= _BLOCK_MS
                self.missed += 1
            # 4 in 1000 forgives the difference of two clocks.
            self._forgive = not self._forgive
            if self._forgive:
                late -= 1
        self._late = max(0, late)
