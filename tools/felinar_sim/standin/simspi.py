"""`machine.SPI`, to the chip whose lines it was given; chip select is a pin of its own, as on the chip."""

import simlink
from micropython import const

_SPI_SETUP = const(36)
_SPI_TRANSFER = const(37)
_SPI_WRITE = const(38)
_READ_BUFFER = const(0x1E)  # what reads on in the same transfer
_CALL_US = const(20)  # the driver's own time for a transfer
_HEAR = const(128)  # what comes back is wanted
_SAME = const(64)  # one byte is sent again and again


class SPI:
    MSB = const(0)
    LSB = const(1)

    def __init__(
        self, id, baudrate=500_000, *, polarity=0, phase=0, bits=8, firstbit=0, sck=None, mosi=None, miso=None
    ):
        if id not in (1, 2):
            raise ValueError("SPI(%d) doesn't exist" % id)
        self._id = id
        self._pins = 0xFFFFFF
        self.init(baudrate, polarity=polarity, phase=phase, bits=bits, firstbit=firstbit, sck=sck, mosi=mosi, miso=miso)

    def init(self, baudrate=-1, *, polarity=0, phase=0, bits=8, firstbit=0, sck=None, mosi=None, miso=None):
        for shift, pin in ((0, sck), (8, mosi), (16, miso)):
            if pin is not None:
                self._pins = self._pins & ~(255 << shift) | pin.sim_id << shift
        if baudrate > 0:
            self._hz = baudrate
        simlink.post(_SPI_SETUP, self._id, self._pins | (polarity << 1 | phase) << 24, self._hz)

    def deinit(self):
        simlink.post(_SPI_SETUP, self._id, self._pins, 0)

    def write(self, buf):
        buf = simlink.raw(buf)
        n = len(buf)
        script = simlink.script
        goes_on = False
        if simlink.at < len(script):
            if script[simlink.at] == _READ_BUFFER and simlink.foreseen(buf, None, self._us(n)):
                return
            goes_on = simlink.foreseen_write(buf)
        if not simlink.real:
            simlink.spend(self._us(n))
        simlink.defer(_SPI_WRITE, self._id, simlink.chosen(), 0, buf)
        if goes_on:
            simlink.go_on(script, n)

    def _us(self, n):
        return _CALL_US + 8_000_000 * n // self._hz

    def readinto(self, buf, write=0):
        n = len(buf)
        if simlink.unseen:
            if simlink.foreseen_more(buf, self._us(n)):
                return
            raise OSError(5)  # a driver that reads more than there is
        simlink.ask(_SPI_TRANSFER, self._id | _HEAR | _SAME, write | simlink.chosen(), n, None, buf)

    def read(self, nbytes, write=0):
        buf = bytearray(nbytes)
        self.readinto(buf, write)
        return bytes(buf)

    def write_readinto(self, write_buf, read_buf):
        if len(write_buf) != len(read_buf):
            raise ValueError("buffers must be the same length")
        out = simlink.raw(write_buf)
        if simlink.script and simlink.foreseen(out, read_buf, self._us(len(out))):
            return
        simlink.ask(_SPI_TRANSFER, self._id | _HEAR, simlink.chosen(), 0, out, read_buf)
