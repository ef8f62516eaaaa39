"""`machine.RTC`: the clock that survives resets, and its 2 KB of memory."""

import simlink
from micropython import const

_RTC_SET = const(33)
_RTC_READ = const(34)
_RTC_WRITE = const(35)


class RTC:
    def __init__(self, id=0):
        pass

    def init(self, datetime):
        self.datetime(datetime)

    def datetime(self, datetime=None):
        import time

        us = simlink.rtc_us + simlink.uptime()
        if datetime is None:
            t = time.gmtime(us // 1_000_000)
            return (t[0], t[1], t[2], t[6], t[3], t[4], t[5], us % 1_000_000)
        s = time.mktime(tuple(datetime[:3]) + tuple(datetime[4:7]) + (0, 0))
        simlink.rtc_us += s * 1_000_000 + datetime[7] - us
        simlink.post(_RTC_SET, a=simlink.rtc_us)

    def memory(self, data=None):
        if data is None:
            buf = bytearray(2048)
            simlink.ask(_RTC_READ, 0, 0, 0, None, buf)
            return bytes(memoryview(buf)[: simlink.got])
        if len(data) > 2048:
            raise ValueError("buffer too long")
        simlink.post(_RTC_WRITE, data=data)
