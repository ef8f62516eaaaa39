"""`machine.UART` 1 and 2, to chips that speak a serial line."""

import io

import simlink
from micropython import const

_UART_SETUP = const(28)
_UART_WRITE = const(29)
_UART_READ = const(30)
_UART_IN = const(8)


class UART(io.IOBase):
    INV_TX = const(32)
    INV_RX = const(4)
    RTS = const(1)
    CTS = const(2)

    def __init__(
        self,
        id,
        baudrate=115200,
        bits=8,
        parity=None,
        stop=1,
        *,
        tx=None,
        rx=None,
        rxbuf=256,
        txbuf=256,
        timeout=0,
        timeout_char=0,
        **more,
    ):
        if id not in (1, 2):
            raise ValueError("UART(%d) does not exist, or belongs to the console" % id)
        self._id = id
        self.sim_source = _UART_IN << id - 1
        self.init(baudrate, tx=tx, rx=rx, rxbuf=rxbuf, timeout=timeout)

    def init(self, baudrate=115200, bits=8, parity=None, stop=1, *, tx=None, rx=None, rxbuf=256, timeout=0, **more):
        pins = (255 if tx is None else tx.sim_id) | (255 if rx is None else rx.sim_id) << 8
        self._timeout = timeout
        simlink.post(_UART_SETUP, self._id, pins | max(256, rxbuf) << 16, baudrate)

    def deinit(self):
        simlink.post(_UART_SETUP, self._id, 0xFFFF, 0)

    def any(self):
        return simlink.ask(_UART_READ, self._id, 1)

    def readinto(self, buf, nbytes=None):
        n = len(buf) if nbytes is None else nbytes
        at = 0
        while True:
            part = memoryview(buf)[at:n]
            simlink.ask(_UART_READ, self._id, 0, len(part), None, part)
            at += simlink.got
            if at == n or (simlink.got == 0 and not self._more()):
                return at or None

    def _more(self):
        # The flag may be old: what the last wait saw can have been read since.
        if self._timeout <= 0:
            return 0
        simlink.wait(simlink.uptime() + self._timeout * 1000, self.sim_source)
        return simlink.flags & self.sim_source

    def read(self, n=-1):
        if n < 0:
            n = max(1, self.any())
        buf = bytearray(n)
        k = self.readinto(buf)
        return k if k is None else bytes(memoryview(buf)[:k])

    def readline(self):
        line = b""
        while not line.endswith(b"\n"):
            c = self.read(1)
            if c is None:
                break
            line += c
        return line or None

    def write(self, data):
        if data:
            simlink.ask(_UART_WRITE, self._id, 0, 0, data)
        return len(data)

    def flush(self):
        pass

    def txdone(self):
        return True

    def ioctl(self, request, arg):
        if request != 3:
            return 0
        return arg & 4 | (arg & 1 if simlink.flags & self.sim_source else 0)
