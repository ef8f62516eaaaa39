"""Sessions and joins: what is accepted was sealed by the other end, is new, and is what was sealed."""

from __future__ import annotations

from functools import cache
from struct import pack

from felinar_wire import WireError, frame, join, schema
from felinar_wire.aes import Ccm
from felinar_wire.session import Session, nonce

from felinar_fuzz.take import Take, attempt, number, require

_OPEN = frozenset({"short", "long", "version", "address", "kind", "old", "replay", "tag"})
_ACCEPT = frozenset({"short", "long", "version", "kind", "address", "counter", "tag"})
_ADDRESS = 0x0102
_UP, _DOWN, _ROOT = bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))
_COUNTER = 0x10005
_KINDS = sorted(schema.TABLE)

_DELIVER, _ALTER, _CUT, _RAW, _SKIP, _REFLECT, _FAR = range(1, 8)


def seal_input(kind: int, body: bytes) -> bytes:
    """A step of the target `session`: the node seals a body, and the host is given the frame."""
    place = _KINDS.index(kind) if kind in _KINDS else 0
    return number(0) + number(place) + number(len(body)) + body + number(_DELIVER) + number(0)


def raw_input(data: bytes) -> bytes:
    """A step of the target `session`: the host is given these bytes."""
    return number(_RAW) + number(len(data)) + data


class _Ends:
    """A node and a host in a session, and beside them the list of what may be accepted."""

    def __init__(self) -> None:
        self.refusals: dict[str, int] = {}
        self.refused = 0
        self.node = Session(_ADDRESS, _UP, _DOWN, schema.crc, self.refusals)
        self.host = Session(_ADDRESS, _DOWN, _UP, schema.crc, self.refusals)
        self.frames: list[tuple[bytes, int, int, bytes]] = []
        self.accepted: set[int] = set()

    def seal(self, kind: int, body: bytes) -> None:
        room = 250 - frame.tag_length(kind)
        before = self.node.sent
        data, reason = attempt(lambda: self.node.seal(kind, body), frozenset({"spent", "long"}))
        require(
            (reason == "long") == (len(body) > room and reason != "spent"), f"a body of {len(body)} bytes: {reason!r}"
        )
        require((reason == "spent") == (before == 0xFFFFFFFF), f"counter {before}: {reason!r}")
        if data is None:
            require(self.node.sent == before, "a counter was used up by a refusal")
        else:
            self.frames.append((data, kind, self.node.sent, body))

    def due(self, data: bytes) -> tuple[int, int, bytes] | None:
        """What the host must make of a frame: the message if it is genuine, new and near enough, else nothing."""
        top = self.host.top
        for genuine, kind, counter, body in self.frames:
            if genuine == data and counter not in self.accepted and -64 < counter - top <= 0x8000:
                return kind, counter, body
        return None

    def give(self, data: bytes) -> None:
        due = self.due(data)
        found, reason = attempt(lambda: self.host.open(data), _OPEN)
        require(found == due, f"accepted {found} or refused as {reason!r}; it should be {due}")
        if found:
            self.accepted.add(found[1])
        else:
            self.refused += 1

    def pick(self, take: Take) -> bytes:
        back = take.number()
        return self.frames[-1 - back % len(self.frames)][0] if self.frames else bytes(back % 20)


def sessions(data: bytes) -> None:
    """Of frames that are new, late, repeated, altered, cut or made up, just the genuine new ones are accepted."""
    ends = _Ends()
    take = Take(data)
    for _ in range(60):
        if not take.more():
            break
        step = take.number() & 7
        if step == _DELIVER:
            ends.give(ends.pick(take))
        elif step == _ALTER:
            altered = bytearray(ends.pick(take) or b"\0")
            altered[take.number() % len(altered)] ^= take.number()
            ends.give(bytes(altered))
        elif step == _CUT:
            whole = ends.pick(take)
            ends.give(whole[: take.number()] + take.piece(take.number() & 3))
        elif step == _RAW:
            ends.give(take.piece(take.number()))
        elif step == _SKIP:
            ends.node.sent = min(ends.node.sent + take.number(), 0xFFFFFFFF)
        elif step == _FAR:
            ends.node.sent = min(ends.node.sent + take.number(4), 0xFFFFFFFF)
        elif step == _REFLECT:
            data_back = ends.pick(take)
            found, _ = attempt(lambda given=data_back: ends.node.open(given), _OPEN)  # type: ignore[misc]
            require(found is None, "a node took its own frame for the host's")
            ends.refused += 1
        else:
            kind = _KINDS[take.number() % len(_KINDS)]
            ends.seal(kind, take.piece(take.number()))
    require(sum(ends.refusals.values()) == ends.refused, f"{ends.refused} refused, {ends.refusals} counted")


@cache
def _answer() -> bytes:
    """A JOIN_ACC as the host makes it."""
    time = pack(">IBH", 91584000, 30, 0xABCD)
    down = join.keys(_ROOT, _ADDRESS, _COUNTER, time)[1]
    body = Ccm(down).seal(nonce(join.JOIN_ACC, _ADDRESS, _COUNTER), pack(">HB", 9, 1) + bytes(range(16)), 8)
    return frame.pack(join.JOIN_ACC, _ADDRESS, _COUNTER & 0xFFFF, time + body, frame.SEALED)


def joins(data: bytes) -> None:
    """No answer but the host's own begins a session; each other is counted."""
    take = Take(data)
    given = bytearray(_answer() if take.number() & 1 else b"")
    while given and take.more() and take.number() & 1:
        given[take.number() % len(given)] ^= take.number()
    given = given[: len(given) - take.number() % 40] + take.rest()
    counts: dict[str, int] = {}
    try:
        session, time, slot, slot_map, _ = join.accept(bytes(given), _ROOT, _ADDRESS, _COUNTER, schema.crc, counts)
    except WireError as error:
        require(error.reason in _ACCEPT, f"refused as {error.reason!r}")
        require(counts == {error.reason: 1}, f"refused as {error.reason!r} and counted as {counts}")
        require(given != _answer(), "the host's own answer is refused")
        return
    require(given == _answer(), "an answer that the host did not make is accepted")
    require((time, slot, slot_map, session.address) == (91584000120, 9, 1, _ADDRESS), "it is read wrongly")
