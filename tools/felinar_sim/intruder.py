"""Somebody with a radio under a street's ether: hears everything, sends whenever and whatever he likes, holds stolen keys."""

from __future__ import annotations

import functools
import struct
from binascii import crc32
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from felinar_wire import core, frame, join, schema, tesla
from felinar_wire.aes import Ccm, cmac
from felinar_wire.session import Session, nonce

from felinar_sim.air_street import AirStreet, Antenna
from felinar_sim.ether import LOCK, Receptions, Transmission

if TYPE_CHECKING:
    from felinar_sim.board import Board

DBM = 27.0
EPOCH_MS = schema.EPOCH_UNIX * 1000
BLOCK = 4096
OUTBOX = (0x350000, 0x20000)
"""Where the outbox lies in flash, and how long it is."""

_CYCLE_MS = 300_000
"""After that a node's slot comes again."""
_NEAR_MS = 100
_EARLY_MS = 6
"""So much earlier than expected he sends over a frame, so that he is noticed first."""
_HEADER = 31
"""Symbols, preamble included, after which the first five bytes are known."""
_NOISE = bytes(12)

Identity = tuple[int, int]


def outbox(flash: bytes) -> tuple[set[Identity], set[Identity]]:
    """(pending, acknowledged) identities (boot, seq) of the records in an outbox's image, read without the node's code."""
    pending: set[Identity] = set()
    done: set[Identity] = set()
    for begin in range(0, len(flash), BLOCK):
        block = flash[begin : begin + BLOCK]
        _, boot, crc = struct.unpack_from("<IHI", block, 2)
        if block[:2] != b"fO" or crc != crc32(block[2:8]):
            continue
        at = 12
        while at + 10 <= BLOCK:
            state, size, delta, seq = struct.unpack_from("<BBBI", block, at)
            head = bytes((state & 15,)) + block[at + 1 : at + 7]
            check = crc32(block[at + 10 : at + 10 + size], crc32(head[1:], head[0])) & 0xFFFFFF
            if int.from_bytes(block[at + 7 : at + 10], "little") == check:
                (pending if state >= 0xF0 else done).add((boot + delta, seq))
                at += 10 + size
            else:
                at += 1
    return pending, done


@dataclass
class Loot:
    """What a node's flash gives away, and what follows from it and from what was heard on the air."""

    address: int
    root: bytes
    join: int
    """The join counter that was used last."""
    zones: dict[int, bytes]
    sessions: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(uplink key, downlink key) of each join that was overheard, the newest last."""


def steal(board: Board, address: int, heard: Iterable[bytes]) -> Loot:
    """Read the keys from a board's NVS as a programmer does, and derive those of its sessions from recorded joins."""
    stored = board.nvs.items()
    zones = stored.get("felinar/zones", b"")
    counter = int.from_bytes(stored["felinar/join"], "little")
    loot = Loot(
        address, stored["felinar/key"], counter,
        {int.from_bytes(zones[i : i + 2], "big"): zones[i + 2 : i + 18] for i in range(0, len(zones), 18)},
    )  # fmt: skip
    for data in heard:
        kind, to, low, payload = frame.unpack(data, frame.SEALED)
        if kind == schema.JOIN_ACC and to == address:
            count = counter - (counter - low & 0xFFFF)
            up, down = join.keys(loot.root, address, count, payload[:7])
            # The proof that the keys are the real ones: the answer opens under them.
            if (
                Ccm(down).open(nonce(kind, address, count), payload[7:], 8) is not None
                and (up, down) not in loot.sessions
            ):
                loot.sessions.append((up, down))
    return loot


class Intruder:
    """His transmitters stand at (x, y) metres, several at a place, so that he can send while he sends.

    `heard` holds every frame that was on the air, with when it ended (ms since 2024) and its channel in kHz: he has good ears. `keys` are the TESLA
    keys that beacons have disclosed, by interval. `on_frame` is called with each frame of others at its end, `on_begin` with
    each when a radio can tell that it comes.
    """

    def __init__(self, street: AirStreet, x: float = 20.0, y: float = 20.0, stations: int = 6) -> None:
        self.street = street
        self._places = [street.ether.station(x, y, 0.0) for _ in range(stations)]
        self._next = 0
        self.heard: list[tuple[int, int, bytes]] = []
        self.keys: dict[int, bytes] = {}
        self.sent = 0
        self.on_frame: list[Callable[[bytes, int], None]] = []
        self.on_begin: list[Callable[[Transmission], None]] = []
        street.on_frame.append(self._overhear)
        self._notice = street.notice
        street.notice = self._begin  # type: ignore[method-assign]

    def ms(self) -> int:
        """The host's time, ms since 2024."""
        return self.street.clock.now_us // 1000 - EPOCH_MS

    def frames(self) -> list[bytes]:
        """All that was heard."""
        return [data for _, _, data in self.heard]

    def _begin(self, source: Antenna, sent: Transmission) -> None:
        self._notice(source, sent)
        for listener in self.on_begin:
            listener(sent)

    def _overhear(self, station: int, sent: Transmission, _: Receptions) -> None:
        assert isinstance(sent.data, bytes)
        if station in self._places or len(sent.data) < frame.HEADER:
            return
        self.heard.append((self.ms(), sent.khz, sent.data))
        if sent.data[0] & 63 == schema.BEACON:
            n = self.ms() // tesla.INTERVAL
            self.keys[n - 2] = sent.data[5:21]
        for listener in self.on_frame:
            listener(sent.data, sent.khz)

    def send(self, data: bytes, khz: int, sf: int = 7) -> None:
        """Put a frame on the air now, as loud as he can."""
        street, ether = self.street, self.street.ether
        for _ in self._places:
            self._next = (self._next + 1) % len(self._places)
            if not ether.sends(self._places[self._next]):
                break
        sent = ether.begin(self._places[self._next], street.clock.now_us, khz, sf, DBM, data, len(data))
        self.sent += 1
        street.clock.at(sent.symbols(LOCK), functools.partial(self._noticed, sent))
        street.clock.at(sent.end, functools.partial(self._end, sent))

    def later(self, ms: float, data: bytes, khz: int) -> None:
        """Send in so many ms."""
        clock = self.street.clock
        clock.at(clock.now_us + round(ms * 1000), functools.partial(self.send, data, khz))

    def _noticed(self, sent: Transmission) -> None:
        street = self.street
        for antenna in street.antennas:
            if antenna.tuned == (sent.khz, sent.sf) and street.ether.receiving(antenna.station, street.clock.now_us):
                antenna.radio.preamble(sent.end)

    def _end(self, sent: Transmission) -> None:
        assert isinstance(sent.data, bytes)
        heard = self.street.ether.end(sent)
        for listener in self.street.on_frame:
            listener(sent.source, sent, heard)
        for station, rssi, snr in zip(heard.stations, heard.rssi_dbm, heard.snr_db, strict=True):
            self.street.antennas[int(station)].radio.deliver(sent.data, float(rssi), float(snr), sent.end)


class Jammer:
    """Keeps what one node says from the bridges, and plays it to them when he likes. It takes no key.

    While `jams`, a frame of the victim's that holds messages to be kept is disturbed as soon as its header has told whose it
    is, and recorded: `kept` has (ms since 2024 at which it began, frame). `play` sends one over what the victim says in its
    next slot, a little earlier and louder. He knows the slot by what was said in it.
    """

    def __init__(self, thief: Intruder, victim: int) -> None:
        self.victim = victim
        self.jams = False
        self.kept: list[tuple[int, bytes]] = []
        self.turns = 0
        """How many slots he has played something in."""
        self._thief = thief
        self._turn = 0
        self._khz = 0
        self._played = 0
        thief.on_begin.append(self._listen)

    def in_slot(self, ms: int) -> bool:
        """Whether what began then was in the victim's slot, as far as he knows."""
        return abs((ms - self._turn + _CYCLE_MS // 2) % _CYCLE_MS - _CYCLE_MS // 2) < _NEAR_MS

    def play(self, data: bytes) -> None:
        """In the next slot that there is time for."""
        wait = (self._turn - _EARLY_MS - self._thief.ms() - 1) % _CYCLE_MS + 1
        clock = self._thief.street.clock
        clock.at(clock.now_us + wait * 1000, functools.partial(self._play, data))

    def _play(self, data: bytes) -> None:
        self._thief.send(data, self._khz)
        self._played = self._thief.ms()
        self.turns += 1

    def _listen(self, sent: Transmission) -> None:
        data = sent.data
        if not isinstance(data, bytes) or len(data) < frame.HEADER or data[1] << 8 | data[2] != self.victim:
            return
        kind = data[0] & 63
        if kind not in (schema.REPORT, schema.BATCH, schema.EVENT):
            return
        began = sent.begin // 1000 - EPOCH_MS
        self._khz = sent.khz
        if kind != schema.EVENT:
            self._turn = began
        if not self.jams:
            return
        if began - self._played > _NEAR_MS:
            self._thief.street.clock.at(
                sent.symbols(_HEADER), functools.partial(self._thief.send, _NOISE, sent.khz, sent.sf)
            )
        self.kept.append((began, data))


# What he makes of it


def group(kind: int, address: int, counter: int, body: bytes, key: bytes, n: int | None = None) -> bytes:
    """A group frame under a TESLA key that is said to be interval n's (the counter's, unless told)."""
    tag = tesla.mac(counter >> 8 if n is None else n, key, nonce(kind, address, counter & 0xFFFFFFFF) + body)
    return frame.pack(kind, address, counter & 0xFFFF, body + tag, frame.SEALED)


def lamp(loot: Loot, zone: int, counter: int, fields: list[int], key: bytes) -> bytes:
    """A GROUP_LAMP (id, mode, level, fade, ttl in 10 s, reason) under the stolen zone key and whatever TESLA key he has."""
    body = core.encode(core.LAYOUT[schema.GROUP_LAMP], [*fields, bytes(8)])[:-8]
    front = nonce(schema.GROUP_LAMP, zone, counter & 0xFFFFFFFF)
    return group(schema.GROUP_LAMP, zone, counter, body + cmac(loot.zones[zone], front + body)[:8], key)


def join_acc(loot: Loot, address: int, counter: int, ms: int, slot: int, slot_map: int, key: bytes) -> bytes:
    """A JOIN_ACC for somebody, sealed under what follows from the stolen root key."""
    front = struct.pack(">IBH", ms // 1000, ms % 1000 // 4, 0xF0E1)
    _, down = join.keys(loot.root, address, counter, front)
    body = struct.pack(">HB", slot, slot_map) + key
    sealed = Ccm(down).seal(nonce(schema.JOIN_ACC, address, counter), body, 8)
    return frame.pack(schema.JOIN_ACC, address, counter & 0xFFFF, front + sealed, frame.SEALED)


def session(loot: Loot, address: int, *, down: bool, sent: int = 0) -> Session:
    """A session in the name of an address under the stolen node's newest keys; `down` speaks as the host would."""
    keys = loot.sessions[-1][::-1] if down else loot.sessions[-1]
    out = Session(address, *keys, schema.crc, {})
    out.sent = sent
    return out
