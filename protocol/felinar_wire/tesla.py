"""TESLA (RFC 4082): a chain of keys, one for 10 s each, disclosed two intervals later; a day has a chain of its own.

The key before K(n) is SHA-256("chain" | n | K(n)), the MAC key of interval n SHA-256("mac" | n | K(n)), both cut to 16
bytes, n as 32 bits: the interval's number since 2024. A tag is a CMAC-64.
"""

from hashlib import sha256

from felinar_wire.cmac import cmac
from felinar_wire.errors import WireError

INTERVAL = 10000  # ms
DELAY = 2  # intervals from use to disclosure
DAY = 8640  # intervals of a chain


def _hash(label: bytes, n: int, key: bytes) -> bytes:
    return sha256(label + n.to_bytes(4, "big") + key).digest()[:16]


def before(n: int, key: bytes) -> bytes:
    """The chain's key of interval n - 1, from that of interval n."""
    return _hash(b"chain", n, key)


def mac(n: int, key: bytes, data: bytes) -> bytes:
    """The 8-byte tag of `data` under the chain's key of interval n."""
    return cmac(_hash(b"mac", n, key), data)[:8]


def anchor(n: int) -> int:
    """The interval whose key a host may tell in interval n: the last one disclosed, or where the day's chain begins."""
    return max(n - DELAY, n - n % DAY - 1)


class Chain:
    """A receiver's end: one key that is known to be the host's, and where the next day's chain begins."""

    def __init__(self, at: int, key: bytes) -> None:
        """`key` is the authentic key of interval `at`."""
        self.at = at
        self.key = key
        self.next = (0, b"")  # first interval of the chain to come and the key before it; 0 when none was announced

    def announce(self, first: int, key: bytes) -> None:
        """Take note of the next chain, told under a verified tag of this one."""
        if first > self.at:
            self.next = (first, key)

    def learn(self, n: int, key: bytes, wanted: "list[int]") -> "dict[int, bytes]":
        """Take the disclosed key of interval n; the keys of those `wanted` intervals that it opens.

        Nothing when n is known already. Raises WireError: "gap" (of a day whose chain was not announced), "chain" (not
        the host's key). The caller makes sure that n can be disclosed by now, which bounds the work to one hash for
        each interval missed.
        """
        at = self.at
        end = self.key
        first = self.next[0]
        if 0 < first <= n:
            at = first - 1
            end = self.next[1]
        if n <= at:
            return {}
        if n // DAY != (at + 1) // DAY:
            raise WireError("gap")
        found = {}
        link = key
        for i in range(n, at, -1):
            if i in wanted:
                found[i] = link
            link = before(i, link)
        if link != end:
            raise WireError("chain")
        self.at = n
        self.key = key
        if first <= n:
            self.next = (0, b"")
        return found
