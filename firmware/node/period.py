"""What a period of sampling comes to: means of what was measured, None for what was not, in the steps of the wire."""

from array import array

from felinar_wire import scale, schema
from micropython import const

_SOUND = const(5)  # LAeq, LAmax, L10, L50, L90 stand together in a report


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
    """Collects samples by their position in a report; `levels` is a node.levels.Levels or None."""

    def __init__(self) -> None:
        self._table = schema.fields(schema.REPORT)
        n = len(self._table)
        self._mean = array("f", bytes(4 * n))
        self._count = array("H", bytes(2 * n))
        self._last: dict = {}
        self.levels = None
        # Counters are read, not averaged.
        self._counters = (schema.index(schema.REPORT, "energy"),)
        self._leq = schema.index(schema.REPORT, "leq")
        self.values: list = [None] * n

    def add(self, i: int, value) -> None:
        """A sample of report field i; None and what is not a number count for nothing."""
        if value is None or value != value:
            return
        if i in self._counters:
            self._last[i] = value
            return
        n = self._count[i]
        if n < 65535:
            n += 1
            self._count[i] = n
        self._mean[i] += (value - self._mean[i]) / n

    def close(self) -> list:
        """The period's values in steps, in report order (the list is used again), and begin the next period."""
        values = self.values
        for i in range(len(values)):
            value = self._mean[i] if self._count[i] else self._last.get(i)
            values[i] = steps(self._table[i], value)
            self._mean[i] = self._count[i] = 0
        self._last.clear()
        if self.levels:
            at = self._leq
            self.levels.summary(values, at)
            for i in range(at, at + _SOUND):
                values[i] = steps(self._table[i], values[i])
            self.levels.reset()
        return values
