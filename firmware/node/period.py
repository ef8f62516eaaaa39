"""What a period of sampling comes to: means of what was measured, None for what was not, in the steps of the wire."""

from array import array

from felinar_wire import scale, schema
from micropython import const

# Places in a report
_LEQ = const(12)  # LAeq, LAmax, L10, L50, L90 stand together
_ENERGY = const(20)
_DOUBT = const(23)
_BLOCKS = const(8)  # of sound in a second
_SOUND_BIT = const(64)  # 1 << schema.DOUBT_SOUND


def steps(field: tuple, value):
    """A physical value (lux in millilux) as a whole number of the field's steps; None for None and for no number.

    What lies beyond the range stays beyond it: the codec marks it as under or over.
    """
    if value is None or not -1e9 < value < 1e9:
        return None
    if not field[2]:
        return scale.lux_step(int(value))
    return round(value * field[3] / field[2])


class Period:
    """Collects samples by their position in a report.

    `levels` is a node.levels.Levels or None, `doubts` has a node.doubt.Doubt for each sensor that has come up.
    """

    def __init__(self) -> None:
        self._table = schema.fields(schema.REPORT)
        n = len(self._table)
        self._mean = array("f", bytes(4 * n))
        self._count = array("H", bytes(2 * n))
        self.levels = None
        self.doubts: list = []
        self._energy = None
        self.values: list = [None] * n

    def turn(self) -> None:
        """Called before a reading is added. Who closes periods puts in its place what closes one that is over."""

    def add(self, i: int, value) -> None:
        """A sample of report field i; None and what is not a number count for nothing."""
        if value is None or value != value:
            return
        if i == _ENERGY:  # counters are read, not averaged
            self._energy = value
            return
        n = self._count[i]
        if n < 65535:
            n += 1
            self._count[i] = n
        self._mean[i] += (value - self._mean[i]) / n

    def close(self, seconds: int = 0) -> list:
        """The values of a period so long in steps, in report order (the list is used again); begins the next one."""
        values = self.values
        for i in range(len(values)):
            values[i] = steps(self._table[i], self._mean[i]) if self._count[i] else None
            self._mean[i] = self._count[i] = 0
        values[_ENERGY] = steps(self._table[_ENERGY], self._energy)
        self._energy = None
        bits = 0
        for doubt in self.doubts:
            bits |= doubt.take(seconds)
        levels = self.levels
        if levels:
            levels.summary(values, _LEQ)
            for i in range(_LEQ, _LEQ + 5):
                values[i] = steps(self._table[i], values[i])
            # Even the noise of a microphone varies by some 0.1 dB from block to block: a maximum that is the mean is none.
            if levels.count and (levels.count * 3 < seconds * _BLOCKS or values[_LEQ] == values[_LEQ + 1]):
                bits |= _SOUND_BIT
            levels.reset()
        values[_DOUBT] = bits
        return values
