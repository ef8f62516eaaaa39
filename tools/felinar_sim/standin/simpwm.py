"""`machine.PWM`."""

import simlink
from micropython import const

_PWM = const(15)


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
        simlink.post(_PWM, self._pin, 65535 - self._u16 if invert else self._u16, self._hz)

    def deinit(self):
        simlink.post(_PWM, self._pin, 0, 0)

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
