"""The lamp's relay. Wired normally closed, a coil without current lights the lamp: a dead board leaves it lit."""

from micropython import const

_OUT = const(3)  # machine.Pin.OUT on the ESP32


class Relay:
    """`operations` counts the switchings since boot. Minimum on and off times belong to the lamp policy."""

    def __init__(self, b, pin: str = "relay", normally_closed: bool = True):
        self._closed = normally_closed
        self._pin = b.pin(pin, _OUT, 0 if normally_closed else 1)
        self.lit = True
        self.operations = 0

    def set(self, lit: bool) -> None:
        """Light the lamp or put it out. Writes the pin each time, so that a disturbed output is put right."""
        lit = bool(lit)
        self._pin.value(lit != self._closed)
        if lit != self.lit:
            self.lit = lit
            self.operations += 1
