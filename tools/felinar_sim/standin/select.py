"""Stand-in for `select`: polls our own streams, and objects with an `ioctl`; the wait itself is the simulator's."""

import simlink
from micropython import const

_SYNC = const(1)
_IRQ = const(128)

POLLIN = const(1)
POLLPRI = const(2)
POLLOUT = const(4)
POLLERR = const(8)
POLLHUP = const(16)
_POLL = const(3)  # the stream protocol's request to poll


class poll:
    def __init__(self):
        self._entries = []  # [object, mask wanted, mask ready, source bit]
        self._sources = _IRQ

    def _find(self, obj):
        for e in self._entries:
            if e[0] is obj:
                return e

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        e = self._find(obj)
        if e:
            e[1] = eventmask
        else:
            self._entries.append([obj, eventmask, 0, getattr(obj, "sim_source", 0)])
        self._listen()

    def modify(self, obj, eventmask):
        e = self._find(obj)
        if not e:
            raise OSError(2)
        e[1] = eventmask
        self._listen()

    def unregister(self, obj):
        e = self._find(obj)
        if e:
            self._entries.remove(e)
            self._listen()

    def _listen(self):
        self._sources = _IRQ
        for e in self._entries:
            if e[1] & POLLIN:
                self._sources |= e[3]

    def _scan(self):
        n = 0
        for e in self._entries:
            mask = e[1]
            ready = e[0].ioctl(_POLL, mask)
            if ready:
                ready &= mask | POLLERR | POLLHUP
                n += ready > 0
            e[2] = ready
        return n

    def _wait(self, timeout):
        n = self._scan()
        if n:
            return n
        sources = self._sources
        if timeout == 0:
            if not simlink.stale(sources):
                return 0
            simlink.ask(_SYNC)
            return self._scan()
        until = -1 if timeout < 0 else simlink.uptime() + int(timeout * 1000)
        while True:
            n = self._scan() if simlink.wait(until, sources) else 0
            if n or 0 <= until <= simlink.uptime():
                return n

    def poll(self, timeout=-1):
        self._wait(timeout)
        return [(e[0], e[2]) for e in self._entries if e[2]]

    def ipoll(self, timeout=-1, flags=0):
        # asyncio looks in between any two steps of its tasks: mostly there is nothing.
        if not timeout and (not self._entries or (not self._scan() and not simlink.stale(self._sources))):
            return ()
        if not self._wait(timeout):
            return ()
        ready = [(e[0], e[2]) for e in self._entries if e[2]]
        if flags & 1:  # one-shot
            for e in self._entries:
                if e[2]:
                    e[1] = 0
            self._listen()
        return ready
