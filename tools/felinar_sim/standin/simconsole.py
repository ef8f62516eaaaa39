"""The console: `sys.stdin` and `sys.stdout` of the chip, whose reads block until all bytes that were asked for have come."""

import io

import simlink
from micropython import const

_CONSOLE_WRITE = const(4)
_CONSOLE_IN = const(1)
_IRQ = const(128)


class Raw(io.IOBase):
    sim_source = _CONSOLE_IN

    def readinto(self, buf, nbytes=None):
        n = len(buf) if nbytes is None else nbytes
        at = 0
        while at < n:
            if simlink.ring_at == simlink.ring_end:
                simlink.wait(-1, _CONSOLE_IN | _IRQ)
            else:
                k = min(n - at, simlink.ring_end - simlink.ring_at)
                buf[at : at + k] = simlink.ring[simlink.ring_at : simlink.ring_at + k]
                simlink.ring_at += k
                simlink.taken += k
                at += k
        return at

    def read(self, n=-1):
        if n == 1 and simlink.ring_at < simlink.ring_end:  # the usual way to read, without slices
            b = bytes((simlink.ring[simlink.ring_at],))
            simlink.ring_at += 1
            simlink.taken += 1
            return b
        if n < 0:
            n = 1 << 30  # the chip would wait for an end that never comes
        if n > 4096:
            while True:
                self.readinto(bytearray(256))
        buf = bytearray(n)
        self.readinto(buf)
        return bytes(buf)

    def readline(self):
        line = b""
        while not line.endswith(b"\n"):
            line += self.read(1)
        return line

    def write(self, data, n=None):
        if n is not None:
            data = data[:n]
        if len(data):
            simlink.ask(_CONSOLE_WRITE, data=data)
        return len(data)

    def ioctl(self, request, arg):
        if request != 3:
            return 0
        ready = arg & 4
        if arg & 1 and (simlink.ring_at < simlink.ring_end or simlink.flags & _CONSOLE_IN):
            ready |= 1
        return ready

    def flush(self):
        pass


class Text(Raw):
    """The text side: strings, and a line feed goes out as carriage return and line feed."""

    def __init__(self, raw):
        self.buffer = raw

    def read(self, n=-1):
        return self.buffer.read(n).decode()

    def readline(self):
        return self.buffer.readline().decode()

    def write(self, data):
        n = len(data)
        if isinstance(data, str):
            data = data.encode()
        if data:
            simlink.ask(_CONSOLE_WRITE, 1, data=data.replace(b"\n", b"\r\n"))
        return n


stdout = Text(Raw())


def console_print(*args, sep=" ", end="\n", file=None):
    (file or stdout).write(sep.join(str(a) for a in args) + end)
