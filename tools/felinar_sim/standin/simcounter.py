"""`machine.Counter`: pulses counted by the simulated hardware."""

import simlink
from micropython import const

_COUNTER_SETUP = const(17)
_COUNTER_READ = const(18)


class Counter:
    RISING = const(1)
    FALLING = const(2)
    UP = const(1)
    DOWN = const(-1)

    def __init__(self, id, src=None, **options):
        if not 0 <= id < 8:
            raise ValueError("invalid id")
        self._id = id
        self._buf = bytearray(8)
        if src is not None:
            self.init(src, **options)

    def init(self, src, *, direction=UP, edge=RISING, filter_ns=0):
        self._sign = direction
        self._zero = 0
        simlink.post(_COUNTER_SETUP, self._id, src.sim_id)
        self._zero = self._count()

    def deinit(self):
        simlink.post(_COUNTER_SETUP, self._id, 255)

    def _count(self):
        simlink.ask(_COUNTER_READ, self._id, 0, 0, None, self._buf)
        return int.from_bytes(self._buf, "little")

    def value(self, value=None):
        count = self._count()
        before = (count - self._zero) * self._sign
        if value is not None:
            self._zero = count - value * self._sign
        return before
