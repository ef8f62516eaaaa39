"""A 0-10 V dimmer behind a PWM output that is filtered and amplified: duty 65535 gives 10 V (IEC 60929, annex E.2).

An LED driver's light does not follow the voltage in proportion: below 1 V it stays at its minimum. `curve` is the
lamp's, as pairs of light in % and voltage in 0.01 V, ascending; between them the line is straight.
"""

_LINEAR = ((0, 0), (100, 1000))


class Dimmer:
    """`level` is the light asked for, in %. A high-side transistor that inverts the signal is `inverted`."""

    def __init__(self, b, pin: str = "dim", hz: int = 1000, curve=_LINEAR, inverted: bool = False):
        self._curve = curve
        self._inverted = inverted
        self._pwm = b.pwm(pin, hz)
        self.set(100)

    def set(self, level: int) -> None:
        """Ask for `level` % of the light, 0 to 100; what is beyond is cut off."""
        self.level = level = max(0, min(100, level))
        self._pwm.duty_u16(self.duty(level))

    def duty(self, level: int) -> int:
        """The duty of 65535 that gives `level` %."""
        below, volts = self._curve[0]
        for point, high in self._curve:
            if level <= point:
                if point > below:
                    high = volts + (high - volts) * (level - below) // (point - below)
                volts = high
                break
            below, volts = point, high
        duty = volts * 65535 // 1000
        return 65535 - duty if self._inverted else duty
