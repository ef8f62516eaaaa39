"""The host's time on a node, with an honest bound on its error. Only an authenticated exchange ever narrows it."""

_DRIFT = 100  # ppm: a crystal over temperature and age, until two exchanges have measured it
_SPREAD = 20  # ppm: what is left of it after that, with the temperature
_APART = 3600000  # ms between two exchanges that measure drift


class Clock:
    """Local times are any ms count that does not step; host times are ms since 2024-01-01T00:00:00Z."""

    def __init__(self) -> None:
        self.set = False
        self._at = self._offset = self._error = self._skew = 0
        self._drift = _DRIFT

    def exchange(self, host: int, asked: int, now: int) -> None:
        """The host said `host` at some moment between the local times `asked` (first sending) and `now`."""
        half = now - asked + 1 >> 1
        error = half + 4  # the answer's resolution
        offset = host + half - now
        if self.set:
            old, bound = self.now(now)
            apart = now - self._at
            step = now + offset - old
            if abs(step) <= bound + error:
                if error > bound:
                    return  # what is known is better
                if apart >= _APART:
                    self._skew = (offset - self._offset) * 1000000 // apart
                    self._drift = (error + self._error) * 1000000 // apart + _SPREAD
            else:  # the host's clock was put right, or this one ran wild
                self._skew = 0
                self._drift = _DRIFT
        self.set = True
        self._at = now
        self._offset = offset
        self._error = error

    def now(self, local: int) -> tuple[int, int]:
        """(host's time, bound of its error) at a local time, both ms; the bound is a day when it was never set."""
        if not self.set:
            return local, 86400000
        apart = local - self._at
        return local + self._offset + apart * self._skew // 1000000, self._error + apart * self._drift // 1000000
