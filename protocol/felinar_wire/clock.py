"""The host's time on a node, with an honest bound on its error. Only an authenticated exchange ever narrows it."""


class Clock:
    """Local times are any ms count that does not step; host times are ms since 2024-01-01T00:00:00Z.

    The bound grows by 100 ppm, a crystal's over temperature and age, until two exchanges an hour or more apart have
    measured the drift; then by what these leave open, and 20 ppm for the temperature.
    """

    def __init__(self) -> None:
        self._at = self._offset = self._skew = 0
        self._error = 86400000  # ms: unset
        self._drift = 100

    def exchange(self, host: int, asked: int, now: int) -> None:
        """The host said `host` at some moment between the local times `asked` (first sending) and `now`."""
        half = now - asked + 1 >> 1
        error = half + 4  # the answer's resolution
        offset = host + half - now
        old, bound = self.now(now)
        apart = now - self._at
        if abs(now + offset - old) > bound + error:
            # The first exchange; or the host's clock was put right, or this one ran wild.
            self._skew = 0
            self._drift = 100
        elif error > bound:
            return  # what is known is better
        elif apart >= 3600000:
            self._skew = (offset - self._offset) * 1000000 // apart
            self._drift = (error + self._error) * 1000000 // apart + 20
        self._at = now
        self._offset = offset
        self._error = error

    def now(self, local: int) -> tuple[int, int]:
        """(host's time, bound of its error) at a local time, both ms; the bound is a day or more when it was never set."""
        apart = local - self._at
        return local + self._offset + apart * self._skew // 1000000, self._error + apart * self._drift // 1000000
