"""The rarer parts of `machine`: PWM, ADC, Counter, Timer, RTC."""

import simlink
from micropython import const


class PWM:
    def __init__(self, dest, freq=5000, **duty):
        self._pin = dest.sim_id
        self._hz = freq
        self._u16 = 32768
        self.init(freq, **duty)

    def init(self, freq=None, duty=None, duty_u16=None, duty_ns=None, invert=0):
        if freq is not None:
            if not 1 <= freq <= 40_000_000:
                raise ValueError("frequency must be from 1Hz to 40MHz")
            self._hz = freq
        if duty is not None:
            duty_u16 = duty * 65535 // 1023
        elif duty_ns is not None:
            duty_u16 = duty_ns * self._hz * 65535 // 1_000_000_000
        if duty_u16 is not None:
            if not 0 <= duty_u16 <= 65535:
                raise ValueError("duty_u16 must be from 0 to 65535")
            self._u16 = duty_u16
        simlink.post(simlink.PWM, self._pin, 65535 - self._u16 if invert else self._u16, self._hz)

    def deinit(self):
        simlink.post(simlink.PWM, self._pin, 0, 0)

    def freq(self, hz=None):
        if hz is None:
            return self._hz
        self.init(hz)

    def duty_u16(self, duty=None):
        if duty is None:
            return self._u16
        self.init(duty_u16=duty)

    def duty(self, duty=None):
        if duty is None:
            return self._u16 * 1023 // 65535
        self.init(duty=duty)

    def duty_ns(self, ns=None):
        if ns is None:
            return self._u16 * 1_000_000_000 // (65535 * self._hz)
        self.init(duty_ns=ns)


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
        simlink.ask(simlink.ADC, self._pin, self._atten, 0, None, buf)
        return int.from_bytes(buf, "little")

    def read_u16(self):
        full = (950_000, 1_250_000, 1_750_000, 2_450_000)[self._atten]
        return min(65535, self.read_uv() * 65535 // full)

    def read(self):
        return self.read_u16() >> 4


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
        simlink.post(simlink.COUNTER_SETUP, self._id, src.sim_id)
        self._zero = self._count()

    def deinit(self):
        simlink.post(simlink.COUNTER_SETUP, self._id, 255)

    def _count(self):
        simlink.ask(simlink.COUNTER_READ, self._id, 0, 0, None, self._buf)
        return int.from_bytes(self._buf, "little")

    def value(self, value=None):
        count = self._count()
        before = (count - self._zero) * self._sign
        if value is not None:
            self._zero = count - value * self._sign
        return before


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
        simlink.post(simlink.RTC_SET, a=simlink.rtc_us)

    def memory(self, data=None):
        if data is None:
            buf = bytearray(2048)
            simlink.ask(simlink.RTC_READ, 0, 0, 0, None, buf)
            return bytes(memoryview(buf)[: simlink.got])
        if len(data) > 2048:
            raise ValueError("buffer too long")
        simlink.post(simlink.RTC_WRITE, data=data)
