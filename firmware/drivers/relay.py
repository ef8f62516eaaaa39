"""The lamp's relay. Wired normally closed, a coil without current lights the lamp: a dead board leaves it lit."""

import time

from micropython import const

_IN = const(1)  # machine.Pin.IN on the ESP32
_OUT = const(3)
_EDGE = const(250)  # 0.1 ms; more than two half periods


class Relay:
    """`operations` counts the switchings since boot. Minimum on and off times belong to the lamp policy.

    Where the board has a pin `zero_cross` that rises as the mains crosses zero, contacts close at a crossing (of 50 Hz),
    or at once where no edge comes: the empty capacitors of an LED driver draw a hundred times its current at the peak.
    The board knows how long its contacts take to close, `relay_delay_ms`.
    """

    def __init__(self, b, pin: str = "relay", normally_closed: bool = True):
        self._closed = normally_closed
        self._pin = b.pin(pin, _OUT, 0 if normally_closed else 1)
        self._cross = b.pin("zero_cross", _IN) if b.has("zero_cross") else None
        self._delay = getattr(b, "relay_delay_ms", 5)
        self.lit = True
        self.operations = 0

    def set(self, lit: bool) -> None:
        """Light the lamp or put it out. Writes the pin each time, so that a disturbed output is put right."""
        lit = bool(lit)
        if lit and not self.lit and self._cross:
            was = 1
            for _ in range(_EDGE):
                now = self._cross.value()
                if now > was:
                    time.sleep_us(-self._delay % 10 * 1000)
                    break
                was = now
                time.sleep_us(100)
        self._pin.value(lit != self._closed)
        if lit != self.lit:
            self.lit = lit
            self.operations += 1
