"""`machine.Timer`: callbacks run while the program waits."""

import simlink
from micropython import const


class Timer:
    ONE_SHOT = const(0)
    PERIODIC = const(1)

    def __init__(self, id, **options):
        if not 0 <= id < 4:
            raise ValueError("invalid Timer number")
        self.due = 0
        if options:
            self.init(**options)

    def init(self, *, mode=PERIODIC, period=-1, freq=-1, callback=None, hard=False):
        self.deinit()
        self._us = int(1_000_000 / freq) if freq > 0 else period * 1000
        self._once = mode == Timer.ONE_SHOT
        self._callback = callback
        self.due = simlink.uptime() + self._us
        simlink.timers.append(self)

    def deinit(self):
        if self in simlink.timers:
            simlink.timers.remove(self)

    def run(self, now):
        if self.due <= now and self in simlink.timers:
            if self._once:
                self.deinit()
            else:
                self.due += self._us
            if self._callback:
                self._callback(self)
