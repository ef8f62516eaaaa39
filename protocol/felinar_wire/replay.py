"""The window that tells a frame's whole counter from its 16 low bits, and refuses one that was seen before."""

from felinar_wire.errors import WireError

try:
    from micropython import const
except ImportError:

    def const(value: int) -> int:
        return value


_SIZE = const(64)


class Window:
    """What one receiver has accepted: the highest counter `top`, and a bit each for it and the 63 below it."""

    def __init__(self, top: int = 0) -> None:
        """Counters up to `top` count as seen."""
        self.top = top
        self.seen = (1 << _SIZE) - 1

    def locate(self, low: int) -> int:
        """The counter nearest to `top` that ends in the 16 bits `low`; WireError: "old", "replay", "spent"."""
        back = (self.top - low + 0x8000 & 0xFFFF) - 0x8000
        counter = self.top - back
        if back >= _SIZE or counter < 0:
            raise WireError("old")
        if back >= 0 and self.seen >> back & 1:
            raise WireError("replay")
        if counter > 0xFFFFFFFF:
            raise WireError("spent")
        return counter

    def mark(self, counter: int) -> None:
        """Take note of an authentic frame's counter, as `locate` gave it."""
        ahead = counter - self.top
        if ahead <= 0:
            self.seen |= 1 << -ahead
        else:
            self.top = counter
            self.seen = (self.seen << ahead | 1) & ((1 << _SIZE) - 1) if ahead < _SIZE else 1
