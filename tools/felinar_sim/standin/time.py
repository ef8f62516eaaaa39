"""Stand-in for the chip's `time`: epoch 2000, ticks that wrap at 2^30, sleeping by asking the simulator."""

import simlink
import utime
from micropython import const

_PERIOD = const(1 << 30)
_HALF = const(1 << 29)
_EPOCH_2000 = const(946_684_800)  # Unix time of 2000-01-01


def ticks_ms():
    return simlink.uptime() // 1000 & (_PERIOD - 1)


def ticks_us():
    return simlink.uptime() & (_PERIOD - 1)


ticks_cpu = ticks_us


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return ticks + delta & (_PERIOD - 1)


def ticks_diff(end, start):
    return (end - start + _HALF & (_PERIOD - 1)) - _HALF


def sleep_us(us):
    simlink.sleep(us)


def sleep_ms(ms):
    simlink.sleep(ms * 1000)


def sleep(s):
    simlink.sleep(int(s * 1_000_000))


def time():
    return (simlink.rtc_us + simlink.uptime()) // 1_000_000


def time_ns():
    return (simlink.rtc_us + simlink.uptime()) * 1000


def gmtime(s=None):
    return utime.gmtime((time() if s is None else int(s)) + _EPOCH_2000)[:8]


localtime = gmtime  # the chip knows no time zones


def mktime(t):
    y, m, d = t[0], t[1], t[2]
    if m < 3:
        y -= 1
        m += 12
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * m - 457) // 5 + d - 306
    return (days - 730_120) * 86400 + t[3] * 3600 + t[4] * 60 + t[5]  # 730,119 days from 0000-12-31 to 2000-01-01
