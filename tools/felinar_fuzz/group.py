"""TESLA: of what comes from one to many, only what the host sent acts, once, and little is held meanwhile."""

from __future__ import annotations

from functools import cache
from struct import pack

from felinar_wire import frame, tesla
from felinar_wire.aes import cmac
from felinar_wire.session import nonce

from felinar_fuzz.take import Take, attempt, number, require

_RECEIVE = frozenset(
    {"short", "long", "version", "kind", "address", "clock", "late", "early", "replay", "zone", "gap", "chain"}
)
_FIRST = 1060 * tesla.DAY  # the day that begins soon after the start
_START = _FIRST - 6
_END = _FIRST + 1200
ALL, ZONE = 7, 0x8001
_ZONE_KEY = bytes(range(16, 32))
_KINDS = (tesla.BEACON, tesla.GROUP_LAMP, tesla.KEY_DISCLOSE)
_SEND, _REPEAT, _ALTER, _RAW, _POLL, _FORGE, _MISS = range(1, 8)
_Event = tuple[str, int, int, int, bytes]


@cache
def _keys() -> dict[int, bytes]:
    """The keys of the intervals from before the start to the end, of two chains."""
    found = {_FIRST - 1: bytes(16), _END: bytes(range(16))}
    for first, last in ((_START - 8, _FIRST - 1), (_FIRST, _END)):
        for n in range(last, first, -1):
            found[n - 1] = tesla.before(n, found[n])
    return found


def send_input(kind: int, address: int, body: bytes, wait: int = 50) -> bytes:
    """A step of the target `group`: time passes, in 0.2 s, and the host sends a frame."""
    where = (ALL, ZONE).index(address) if address in (ALL, ZONE) else 2
    return number(0) + number(wait) + number(_SEND) + number(_KINDS.index(kind)) + number(where) + number(1) + body[:8].ljust(8, b"\0")  # fmt: skip


def flood_input(intervals: int) -> bytes:
    """Steps of the target `group`: so many intervals with a forged frame of each kind and none that is right."""
    out = b""
    for _ in range(intervals):
        out += number(0) + number(50)
        for place in range(len(_KINDS)):
            # The key in a beacon's front, or the zone tag or TESLA tag behind, is not the host's.
            out += number(_MISS) + number(place) + number(0) + number(1) + bytes(8)
            out += number(_ALTER) + number(0) + number(5 if place != 1 else 28) + number(1) + number(1)
    return out


class _Street:
    """A node, the host that it hears, and the list of what may act."""

    def __init__(self) -> None:
        self.now = _START * tesla.INTERVAL
        self.counts: dict[str, int] = {}
        self.refused = 0
        self.draws = 0
        at = tesla.anchor(_START)
        self.group = tesla.Group(tesla.Chain(at, _keys()[at]), self.counts, self._random)
        self.group.last = {ALL: 0, ZONE: 0}
        self.group.zones = {ZONE: _ZONE_KEY}
        self.sent: list[bytes] = []
        self.genuine: set[tuple[int, int, int, bytes]] = set()
        self.numbers: dict[tuple[int, int], int] = {}
        self.last = {ALL: -1, ZONE: -1}
        self.hasty: set[tuple[int, int, int, bytes]] = set()

    def _random(self, size: int) -> bytes:
        self.draws += 1
        return number(self.draws * 40503, size)

    def make(self, kind: int, address: int, n: int, content: bytes) -> tuple[bytes, tuple[int, int, int, bytes]]:
        """A frame as the host makes it in interval n."""
        keys = _keys()
        count = self.numbers.get((address, n), 0) & 255
        self.numbers[address, n] = count + 1
        counter = n << 8 | count
        front = nonce(kind, address, counter & 0xFFFFFFFF)
        if kind == tesla.BEACON:
            body = keys[n - 2] + content
        elif kind == tesla.KEY_DISCLOSE:
            first = (n // tesla.DAY + 1) * tesla.DAY
            body = (
                keys[n - 2] + pack(">I", first) + (tesla.before(first, keys[first]) if first == _FIRST else bytes(16))
            )
        else:
            body = content + cmac(_ZONE_KEY, front + content)[:8]
        tag = tesla.mac(n, keys[n], front + body)
        return frame.pack(kind, address, counter & 0xFFFF, body + tag, frame.SEALED), (kind, address, counter, body)

    def give(self, data: bytes, bound: int) -> None:
        events, _ = attempt(lambda: self.group.receive(data, self.now, bound), _RECEIVE)
        if events is None:
            self.refused += 1
        self.check(events or [])

    def check(self, events: list[_Event]) -> None:
        held = self.group._held
        require(len(held) <= tesla.SLOTS, f"{len(held)} slots of frames are held")
        require(all(len(slot) <= 5 for slot in held.values()), "more than four frames in a slot are held")
        for what, kind, address, counter, body in events:
            message = (kind, address, counter, body)
            if what == "held":
                continue
            require(message in self.genuine, f"{what}: {message}, which the host did not send")
            if what == "verified":
                require(counter > self.last[address], f"counter {counter} of {address} acts after {self.last[address]}")
                self.last[address] = counter
                self.hasty.discard(message)
            elif what == "at once":
                require(kind == tesla.GROUP_LAMP and body[2] == 1, f"{message} acts at once")
                self.hasty.add(message)
            else:
                require(what == "take back" and message in self.hasty, f"{what}: {message}")
                self.hasty.discard(message)


def _bound(take: Take) -> int:
    return take.number() * 100


def groups(data: bytes) -> None:
    """Only what the host sent is verified, once and in order; refusals are counted; what is held is bounded."""
    street = _Street()
    take = Take(data)
    for _ in range(200):
        if not take.more():
            break
        step = take.number() & 7
        n = street.now // tesla.INTERVAL
        if step in (_SEND, _MISS):
            kind = _KINDS[take.number() % 3]
            address = (ALL, ZONE, 9)[take.number() % 3]
            bound = _bound(take)
            made, message = street.make(kind, address, n, take.piece(8).ljust(8, b"\0"))
            street.genuine.add(message)
            street.sent.append(made)
            if step == _SEND:
                street.give(made, bound)
        elif step in (_REPEAT, _ALTER):
            back = take.number()
            heard = bytearray(street.sent[-1 - back % len(street.sent)] if street.sent else bytes(40))
            if step == _ALTER:
                heard[take.number() % len(heard)] ^= take.number()
            street.give(bytes(heard), _bound(take))
        elif step == _RAW:
            street.give(take.piece(take.number() % 64), _bound(take))
        elif step == _POLL:
            event = street.group.poll(street.now)
            street.check([event] if event else [])
        elif step == _FORGE:
            # With a key that is out, for its own interval: what a thief of the air could make.
            kind = _KINDS[take.number() % 3]
            made, _ = street.make(kind, ALL, n - 2 - take.number() % 3, take.piece(8).ljust(8, b"\1"))
            street.give(made, _bound(take))
        else:
            street.now = min(street.now + take.number() * 200, (_END - 2) * tesla.INTERVAL)
    later = {"tag", "undisclosed", "displaced", "unconfirmed"}
    counted = sum(value for reason, value in street.counts.items() if reason not in later)
    require(counted == street.refused, f"{street.refused} refused, {street.counts} counted")
