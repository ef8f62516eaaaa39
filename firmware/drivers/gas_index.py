"""Gas index of an SGP41's raw signal: how much worse (or better) the air is than what was usual in the last day.

The method is Sensirion's ("Gas Index Algorithm", published with the SGP4x; its constants are theirs): a mean and a
deviation of the signal are learned with a weight that falls from minutes to 12 hours, learning pauses while the index is
high, the distance from the mean goes through a logistic curve to 0..500, and a low-pass smooths small changes more than
large ones. Written for one sample a second and for 32-bit floats: the mean is kept as an offset and a small rest.
"""

import math

from micropython import const

_BLACKOUT = const(45)
_LONGEST = const(32766)  # seconds that count
_SLOW = 1 / 43201  # weight of one second in 12 hours
_SLOW_DEVIATION = 1 / 2501
_GATE_INITIAL = const(510)


def _logistic(x: float, middle: float, steepness: float) -> float:
    """1 below the middle, 0 above it; negative steepness turns it round."""
    x = (x - middle) * steepness
    return 0.0 if x > 50 else 1.0 if x < -50 else 1 / (1 + math.exp(x))


class GasIndex:
    """The index of one signal, VOC or NOx: they differ in their constants."""

    def __init__(self, nox: bool):
        self._nox = nox
        if nox:
            self._lowest = 10000
            self._curve = (614, -0.0101)
            self._begin = 1 / 1201
            self._learning = (17100, 20520)  # s until the mean's and the deviation's weights are the slow ones
            self._gate = 30
            self._gate_most = 720
        else:
            self._lowest = 20000
            self._curve = (213, -0.0065)
            self._begin = 1 / 21
            self._learning = (2700, 5220)
            self._gate = 340
            self._gate_most = 180
        self.reset()

    def reset(self) -> None:
        """Begin to learn anew."""
        self._up = 0
        self._x = self._offset = None
        self._mean = 0.0
        self._std = 50.0
        self._t = self._t_gate = 0
        self._gated = 0.0  # minutes
        self._fast = self._slow = 0.0
        self._index = None

    def process(self, raw: int):
        """Take the signal of this second; returns the index, 1 to 500, or None in the first 46 s."""
        if self._up <= _BLACKOUT:
            self._up += 1
            return None
        if 0 < raw < 65000:  # what is beyond is no signal
            self._x = min(max(raw - self._lowest, 1), 32767)
        x = self._x
        if x is None:
            return None
        index = self._smooth(self._grade(x))
        self._index = index = max(index, 0.5)
        self._learn(x, index)
        return int(index + 0.5)

    def _grade(self, x: int) -> float:
        """The signal's distance from its mean on the scale of the index."""
        away = x - self._offset - self._mean if self._offset is not None else x
        if self._nox:
            if self._offset is None:
                return 1.0
            grade = away * 230 / 2000
        else:
            grade = -away * 230 / (self._std + 220)
        return 500 * _logistic(grade, *self._curve)

    def _smooth(self, grade: float) -> float:
        if self._index is None:
            self._fast = self._slow = self._index = grade
        self._fast += (grade - self._fast) / 21
        self._slow += (grade - self._slow) / 501
        tau = 20 + 480 * math.exp(-0.2 * abs(self._fast - self._slow))
        return self._index + (grade - self._index) / (1 + tau)

    def _learn(self, x: int, index: float) -> None:
        if self._offset is None:
            self._offset = x
            return
        if abs(self._mean) >= 100:
            self._offset += self._mean
            self._mean = 0.0
        if self._t < _LONGEST:
            self._t += 1
        if self._t_gate < _LONGEST:
            self._t_gate += 1
        for_mean, for_std = self._learning
        young = _logistic(self._t, for_mean, 0.01)
        weight = _SLOW + (self._begin - _SLOW) * young
        gate = self._open(index, for_mean)
        learning = _logistic(self._t, for_std, 0.01) - young
        std_weight = (_SLOW + (_SLOW_DEVIATION - _SLOW) * learning) * self._open(index, for_std)
        self._gated = max(0.0, self._gated + ((1 - gate) * 1.3 - 0.3) / 60)
        if self._gated > self._gate_most:
            self._t_gate = 0
        away = x - self._offset - self._mean
        self._std = math.sqrt((1 - std_weight) * (self._std * self._std + std_weight * away * away))
        self._mean += gate * weight * away

    def _open(self, index: float, duration: int) -> float:
        """How far learning goes on at this index: 1 all, 0 not at all."""
        threshold = self._gate + (_GATE_INITIAL - self._gate) * _logistic(self._t_gate, duration, 0.01)
        return _logistic(index, threshold, 0.09)
