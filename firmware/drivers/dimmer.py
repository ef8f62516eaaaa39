"""A 0-10 V dimmer behind a PWM output that is filtered and amplified: duty 65535 gives 10 V (IEC 60929, annex E.2)."""


class Dimmer:
    """`level` is the light asked for, in %; at the start all of it. An LED driver stays at its minimum below 1 V."""

    def __init__(self, b, pin: str = "dim", hz: int = 1000):
        self._pwm = b.pwm(pin, hz)
        self.set(100)

    def set(self, level: int) -> None:
        """Ask for `level` % of the light, 0 to 100; what is beyond is cut off."""
        self.level = level = max(0, min(100, level))
        self._pwm.duty_u16(level * 65535 // 100)
