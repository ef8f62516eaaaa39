"""What measured power says about lamp and relay: slow to accuse, slower to acquit."""

# The schema's events in order: relayFailure, lampUnexpectedOn, cyclingFailure, lampFailure, dimmingFailure.
# A verdict falls when thirteen samples over two minutes agree, and is lifted when as much that could tell has been well
# for five minutes; the first minute after a change does not count. What the lamp's state can't tell stays as it is.
# Off: more than dark is unexpected; half of full or more means that the contact has not opened.
# On: dark is a failed lamp; not even a standby current may as well be a contact that has not closed. A quarter of full
# power away from its level is a failure to dim. Going out three times, each within half an hour, is cycling.
from felinar_wire import schema
from micropython import const

_SETTLE_S = const(60)
_EVERY_S = const(10)
_RAISE = const(12)
_CLEAR = const(30)
_CYCLING_S = const(1800)
_LEAST = const(10)  # %; what a lamp takes below that, a lamp that is out may take as well
_NOT_DIMMED = const(70)  # %; a lamp that is not dimmed at all looks well above
_DARK = const(20)  # 0.1 W; a driver in standby takes 0.5 W at most: Regulation (EU) 2019/2020, annex II
_BITS = b"\0\1\2\3\4\0\4"  # of each bit the place among the events


class Verdict:
    """`full` is the lamp's power at 100 % in 0.1 W, learnt or given; `raised` has a bit for each failure."""

    def __init__(self, event) -> None:
        """`event(code, argument)` keeps an EVENT."""
        self._event = event
        self._count = bytearray(7)
        self._level = -1
        # Of the sample before; when the next one is due; how often it went out, and when last.
        self.full = self.raised = self._power = self._due = self._cycles = self._out = 0

    def step(self, up: int, level: int, power) -> None:
        """Judge by the power in W (None: not known) while the lamp is to give `level` %."""
        if level != self._level:
            self._level = level
            self._due = up + _SETTLE_S
            self._power = 0
        if up < self._due or power is None or not 0 <= power < 5000:
            return
        self._due = up + _EVERY_S
        power = int(power * 10)
        low = min(power, self._power)
        full = self.full
        dark = power <= max(5, min(_DARK, full // 20 or _DARK))
        known = 3
        bad = 0 if dark else 3 if power * 2 >= full else 2
        if level:
            known = 0
        if level >= _LEAST:
            if dark and self._power > _DARK:
                self._cycles += 1
                self._out = up
            elif up - self._out > _CYCLING_S:
                self._cycles = 0
            known = 0x2C
            bad = (self._cycles > 2) * 4 + dark * 8 + (power < 2) * 32
            if full and not dark:
                known = 0x7C if level <= _NOT_DIMMED else 0x6C
                away = power * 4 - full * level // 25
                bad += (away > full) * 16 + (away < -full) * 64
            if level == 100 and low > max(_DARK, full * 3 // 4):
                self.full = max(low, full - 1)
        self._power = power
        for i in range(7):
            bit = 1 << i
            self._count[i] += 1
            if not known & (bad ^ self.raised) & bit:
                self._count[i] = 0
            elif self._count[i] > (_RAISE if bad & bit else _CLEAR):
                self._count[i] = 0
                self.raised ^= bit
                code = schema.EVENT_RELAY_FAILURE + _BITS[i]
                if not bad & bit:
                    power = code
                    code = schema.EVENT_CLEARED
                self._event(code, self._cycles if code == schema.EVENT_CYCLING_FAILURE else power)
