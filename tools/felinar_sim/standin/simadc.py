"""`machine.ADC`: readings in µV come from the simulator."""

import simlink
from micropython import const

_ADC = const(16)


class ADC:
    ATTN_0DB = const(0)
    ATTN_2_5DB = const(1)
    ATTN_6DB = const(2)
    ATTN_11DB = const(3)
    WIDTH_9BIT = const(9)
    WIDTH_10BIT = const(10)
    WIDTH_11BIT = const(11)
    WIDTH_12BIT = const(12)

    def __init__(self, pin, *, atten=ATTN_0DB, sample_ns=None):
        self._pin = pin if isinstance(pin, int) else pin.sim_id
        self._atten = atten

    def init(self, *, atten=ATTN_0DB):
        self._atten = atten

    atten = init

    def read_uv(self):
        buf = bytearray(4)
        simlink.ask(_ADC, self._pin, self._atten, 0, None, buf)
        return int.from_bytes(buf, "little")

    def read_u16(self):
        full = (950_000, 1_250_000, 1_750_000, 2_450_000)[self._atten]
        return min(65535, self.read_uv() * 65535 // full)

    def read(self):
        return self.read_u16() >> 4
