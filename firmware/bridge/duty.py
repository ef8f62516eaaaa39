"""How much each sub-band may still be used: the last word on the air time of a transmitter, whoever asks for more."""

from array import array

from micropython import const

# (lowest and highest frequency in Hz, air time in an hour in ms): EN 300 220-2 annex B, ERC/REC 70-03 annex 1.
BANDS = (
    (863000000, 865000000, 3600),
    (865000000, 868000000, 36000),
    (868000000, 868600000, 36000),
    (868700000, 869200000, 3600),
    (869400000, 869650000, 360000),
    (869700000, 870000000, 36000),
)
_HALF = const(62500)  # Hz; half a channel
_MINUTES = const(61)  # of which the first counts whole, so that no hour however it lies has more


class Duty:
    """Counts air time by minutes of the uptime; `refused` counts what was not allowed."""

    def __init__(self) -> None:
        self._spent = array("I", bytes(4 * _MINUTES * len(BANDS)))
        self._minute = 0
        self.refused = 0

    def take(self, hz: int, us: int, up_s: int) -> bool:
        """Whether `us` of air time on a frequency are allowed at this uptime; if so they are spent."""
        minute = up_s // 60
        spent = self._spent
        for _ in range(min(minute - self._minute, _MINUTES)):
            self._minute += 1
            for i in range(len(BANDS)):
                spent[i * _MINUTES + self._minute % _MINUTES] = 0
        self._minute = minute
        ms = (us + 999) // 1000
        for i in range(len(BANDS)):
            low, high, most = BANDS[i]
            if low + _HALF <= hz <= high - _HALF:
                first = i * _MINUTES
                if sum(spent[first : first + _MINUTES]) + ms <= most:
                    spent[first + minute % _MINUTES] += ms
                    return True
        self.refused += 1
        return False
