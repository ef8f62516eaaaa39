"""`machine.I2S`, receiving only: DMA blocks of 256 frames; what is read too late is lost without a word, as on the chip."""

import io

import simlink
from micropython import const

_I2S_SETUP = const(24)
_I2S_READ = const(25)
_I2S_STOP = const(26)
_I2S_IN = const(2)

_FRAME = const(8)  # bytes of a DMA frame: two slots of 32 bits


class I2S(io.IOBase):
    RX = const(9)
    TX = const(5)
    MONO = const(0)
    STEREO = const(1)

    def __init__(self, id, *, sck, ws, sd, mode, bits, format, rate, ibuf, mck=None):
        if not 0 <= id < 2:
            raise ValueError("invalid id")
        if bits not in (16, 32):
            raise ValueError("invalid bits")
        if ibuf < 0:
            raise ValueError("invalid ibuf")
        if mode != I2S.RX:
            raise ValueError("the simulated board receives only")
        self._id = id
        self._handler = None
        self._async = False
        self._buf = None
        self.sim_source = _I2S_IN << id
        pins = sck.sim_id | ws.sim_id << 8 | sd.sim_id << 16
        shape = (1 if bits == 16 else 0) | (2 if format == I2S.STEREO else 0)
        simlink.post(_I2S_SETUP, id | shape << 4, pins | max(2, ibuf // (256 * _FRAME)) << 32, rate)

    def readinto(self, buf):
        if buf is not self._buf:
            self._buf = buf
            self._bytes = simlink.raw(buf)
        buf = self._bytes
        # arg bit 7: return what is there (asyncio); otherwise the answer comes when the buffer is full
        simlink.ask(_I2S_READ, self._id | (128 if self._async else 0), 0, len(buf), None, buf)
        n = simlink.got
        if self._handler:
            self._handler(self)
        return n

    def irq(self, handler):
        self._handler = handler

    def ioctl(self, request, arg):
        if request != 3:
            return 0
        self._async = True
        return arg & 1 if simlink.flags & self.sim_source else 0

    @staticmethod
    def shift(*, buf, bits, shift):
        n = bits // 8
        for at in range(0, len(buf), n):
            v = int.from_bytes(buf[at : at + n], "little")
            if v >> bits - 1:
                v -= 1 << bits
            v = v << shift if shift >= 0 else v >> -shift
            buf[at : at + n] = (v & (1 << bits) - 1).to_bytes(n, "little")

    def deinit(self):
        simlink.post(_I2S_STOP, self._id)
