"""How much each sub-band may still be used: the last word on the air time of a transmitter, whoever asks for more."""

from array import array

from felinar_air.plan import BANDS

_HALF = 62500  # Hz; half a channel
_MINUTES = 61  # of which the first counts whole, so that no hour however it lies has more


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
            low, high, share, _ = BANDS[i]
            if low * 1000 + _HALF <= hz <= high * 1000 - _HALF:
                first = i * _MINUTES
                if sum(spent[first : first + _MINUTES]) + ms <= share * 3600:
                    spent[first + minute % _MINUTES] += ms
                    return True
        self.refused += 1
        return False
