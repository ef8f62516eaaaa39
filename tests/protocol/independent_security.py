"""The second implementation's keys: sealed frames, joins, group frames, signatures; from docs/protocol.md alone.

AES, CCM and CMAC come from `cryptography`; LMS is written after RFC 8554. Everything is bytes here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from tests.protocol.independent import LAYOUTS, Refused, read_layout, unpack

JOIN_REQ, JOIN_ACC, BEACON, GROUP_LAMP, KEY_DISCLOSE = 48, 49, 32, 33, 34
INTERVAL, DAY = 10000, 8640


def big(value: int, bits: int) -> bytes:
    return (value & (1 << bits) - 1).to_bytes(bits // 8, "big")


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(AES(key))
    mac.update(data)
    return mac.finalize()


def derive(key: bytes, label: bytes, context: bytes) -> bytes:
    return cmac(key, b"\x01" + label + b"\x00" + context + b"\x00\x80")


def nonce(kind: int, address: int, counter: int, crc: int, interval: int = 0) -> bytes:
    return big(64 + kind, 8) + big(address, 16) + big(counter, 32) + big(crc, 16) + big(interval, 32)


def header(kind: int, address: int, counter: int) -> bytes:
    return big(64 + kind, 8) + big(address, 16) + big(counter, 16)


def tag_bytes(kind: int) -> int:
    return 4 if kind < 16 else 8


def ccm(key: bytes, tag: int, front: bytes, body: bytes) -> bytes:
    return AESCCM(key, tag).encrypt(front, body, None)


def unccm(key: bytes, tag: int, front: bytes, sealed: bytes) -> bytes:
    try:
        return AESCCM(key, tag).decrypt(front, sealed, None)
    except InvalidTag:
        raise Refused("tag") from None


def seal(key: bytes, kind: int, address: int, counter: int, crc: int, body: bytes, interval: int = 0) -> bytes:
    return header(kind, address, counter) + ccm(
        key, tag_bytes(kind), nonce(kind, address, counter, crc, interval), body
    )


def take_apart(data: bytes) -> tuple[int, int, int, bytes]:
    """(kind, address, low half of the counter, what is behind the header) of a sealed frame."""
    kind, address, low, rest = unpack(data.hex(), 1)
    return kind, address, low, bytes.fromhex(rest)


@dataclass
class Receiver:
    """One direction of a session; `crcs` by kind are the messages that there are."""

    address: int
    key: bytes
    crcs: dict[int, int]
    top: int = 0
    seen: int = 2**64 - 1

    def open(self, data: bytes, interval: int = 0) -> tuple[int, int, bytes]:
        kind, address, low, rest = take_apart(data)
        if len(rest) < tag_bytes(kind):
            raise Refused("short")
        if address != self.address:
            raise Refused("address")
        if kind not in self.crcs:
            raise Refused("kind")
        back = (self.top - low + 32768) % 65536 - 32768
        counter = self.top - back
        if back > 63 or not 0 <= counter <= 0xFFFFFFFF:
            raise Refused("old")
        if back >= 0 and self.seen // 2**back % 2:
            raise Refused("replay")
        body = unccm(self.key, tag_bytes(kind), nonce(kind, address, counter, self.crcs[kind], interval), rest)
        if back >= 0:
            self.seen |= 2**back
        else:
            self.top = counter
            self.seen = self.seen * 2**-back % 2**64 + 1
        return kind, counter, body


# Joining


def join_request(root: bytes, address: int, counter: int, schema: int, boot: int) -> bytes:
    body = big(counter >> 16, 16) + big(schema, 16) + big(boot, 16)
    tag = cmac(derive(root, b"join", b""), nonce(JOIN_REQ, address, counter, 1) + body)[:8]
    return header(JOIN_REQ, address, counter) + body + tag


def session_keys(root: bytes, address: int, counter: int, host_nonce: bytes) -> tuple[bytes, bytes]:
    context = big(address, 16) + big(counter, 32) + host_nonce
    return derive(root, b"up", context), derive(root, b"down", context)


def join_answer(
    root: bytes, address: int, counter: int, host_nonce: bytes, slot: int, slot_map: int, key: bytes
) -> bytes:
    down = session_keys(root, address, counter, host_nonce)[1]
    plain = big(slot, 16) + big(slot_map, 8) + key
    sealed = ccm(down, 8, nonce(JOIN_ACC, address, counter, 1), plain)
    return header(JOIN_ACC, address, counter) + host_nonce + sealed


def join_accepted(data: bytes, root: bytes, address: int, counter: int) -> dict[str, Any]:
    kind, to, low, rest = take_apart(data)
    if kind != JOIN_ACC:
        raise Refused("kind")
    if len(rest) != 34:
        raise Refused("short")
    if to != address:
        raise Refused("address")
    if low != counter % 65536:
        raise Refused("counter")
    up, down = session_keys(root, address, counter, rest[:7])
    plain = unccm(down, 8, nonce(JOIN_ACC, address, counter, 1), rest[7:])
    names = LAYOUTS[JOIN_ACC].split()[::2]
    told = dict(zip(names, read_layout(LAYOUTS[JOIN_ACC], (rest[:7] + plain).hex()), strict=True))
    n = told["time"] // 10
    return told | {"up": up, "down": down, "interval": max(n - 2, n - n % DAY - 1)}


# TESLA


def key_before(n: int, key: bytes) -> bytes:
    return sha256(b"chain" + big(n, 32) + key).digest()[:16]


def tesla_tag(n: int, key: bytes, data: bytes) -> bytes:
    return cmac(sha256(b"mac" + big(n, 32) + key).digest()[:16], data)[:8]


@dataclass
class Listener:
    """A node that hears group frames. `random16()` draws 16 bits."""

    at: int
    key: bytes
    last: dict[int, int]
    zones: dict[int, bytes]
    random16: Any = lambda: 0
    announced: tuple[int, bytes] | None = None
    # By (interval, kind): how many were heard, and the frames held as (counter, nonce and body, tag).
    held: dict[tuple[int, int], tuple[int, list[tuple[int, bytes, bytes]]]] = field(default_factory=dict)
    waiting_on: tuple[int, bytes, bytes] | None = None
    barred_until: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, reason: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def hear(self, data: bytes, now: int, bound: int) -> list[list[Any]]:
        try:
            return self.heard(data, now, bound)
        except Refused as refusal:
            self.count(refusal.args[0])
            raise

    def heard(self, data: bytes, now: int, bound: int) -> list[list[Any]]:
        kind, address, low, rest = take_apart(data)
        shortest = {BEACON: 29, GROUP_LAMP: 24, KEY_DISCLOSE: 44}
        if kind not in shortest:
            raise Refused("kind")
        if len(rest) < shortest[kind]:
            raise Refused("short")
        if address not in self.last:
            raise Refused("address")
        if bound > 20000:
            raise Refused("clock")
        n0 = now // INTERVAL
        n = n0 + (low // 256 - n0 + 128) % 256 - 128
        ahead = (now + bound) // INTERVAL - n
        if ahead > 1 or n <= self.at:
            raise Refused("late")
        if ahead < 0:
            raise Refused("early")
        counter = n * 256 + low % 256
        body, tag = rest[:-8], rest[-8:]
        front = nonce(kind, address, counter, 1)
        frame = (counter, front + body, tag)
        number, frames = self.held.setdefault((n, kind), (0, []))
        if len(self.held) > 16:
            for _ in self.held.pop(min(self.held))[1]:
                self.count("undisclosed")
        if counter <= self.last[address] or frame in frames:
            raise Refused("replay")
        events = [] if kind == GROUP_LAMP else self.learn(n - 2, body[:16])
        if kind == BEACON:
            events.append(["held", kind, address, counter, body.hex()])
        if kind == GROUP_LAMP and address in self.zones:
            if cmac(self.zones[address], front + body[:-8])[:8] != body[-8:]:
                raise Refused("zone")
            if body[2] == 1 and self.waiting_on is None and now >= self.barred_until and (n - 1) * 10_000 <= now:
                self.waiting_on = frame
                events.append(["at once", kind, address, counter, body.hex()])
        if number < 4:
            frames.append(frame)
        else:
            self.count("displaced")
            place = self.random16() % (number + 1)
            if place < 4:
                frames[place] = frame
        if (n, kind) in self.held:  # else it was its own pair that was taken out
            self.held[n, kind] = (number + 1, frames)
        return events

    def learn(self, m: int, key: bytes) -> list[list[Any]]:
        start, known = self.at, self.key
        if self.announced and self.at < self.announced[0] <= m:
            start, known = self.announced[0] - 1, self.announced[1]
        if m <= start:
            return []
        if m // DAY != (start + 1) // DAY:
            raise Refused("gap")
        keys = {}
        link = key
        for n in range(m, start, -1):
            keys[n] = link
            link = key_before(n, link)
        if link != known:
            raise Refused("chain")
        self.at, self.key = m, key
        due = [pair for pair in self.held if pair[0] <= m]
        frames = sorted(frame for pair in due for frame in self.held.pop(pair)[1])
        events = []
        for frame in frames:
            counter, message, tag = frame
            n = counter // 256
            if n not in keys:
                self.count("undisclosed")
            elif tesla_tag(n, keys[n], message) != tag:
                self.count("tag")
            else:
                kind, address, body = message[0] % 64, int.from_bytes(message[1:3], "big"), message[13:]
                self.last[address] = counter
                if frame == self.waiting_on:
                    self.waiting_on = None
                if kind == KEY_DISCLOSE:
                    self.announced = int.from_bytes(body[16:20], "big"), body[20:36]
                events.append(["verified", kind, address, counter, body.hex()])
        return events

    def look(self, now: int) -> list[Any] | None:
        """The event of an "on" that acted at once and has to be taken back now."""
        if self.waiting_on is None or now < (self.waiting_on[0] // 256 + 5) * INTERVAL:
            return None
        counter, message, _ = self.waiting_on
        self.waiting_on = None
        self.barred_until = now + 3600_000
        self.count("unconfirmed")
        return ["take back", GROUP_LAMP, int.from_bytes(message[1:3], "big"), counter, message[13:].hex()]


# HSS/LMS, RFC 8554

OTS = {1: (1, 265, 7), 2: (2, 133, 6), 3: (4, 67, 4), 4: (8, 34, 0)}  # table 1: w, p, ls
LMS = {5: 5, 6: 10, 7: 15, 8: 20, 9: 25}  # table 2: h


class Reader:
    """Bytes to be taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if len(self.data) < count:
            raise Refused("short")
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def number(self) -> int:
        return int.from_bytes(self.take(4), "big")


def lms_good(public: bytes, message: bytes, signature: Reader) -> bool:
    """Algorithm 6a with 4b; takes one LMS signature off the front."""
    owner = Reader(public)
    kind, ots, ident, root = owner.number(), owner.number(), owner.take(16), owner.take(32)
    q = signature.number()
    if kind not in LMS or ots not in OTS or signature.number() != ots or owner.data:
        return False
    (w, p, ls), height = OTS[ots], LMS[kind]
    randomizer = signature.take(32)
    chains = [signature.take(32) for _ in range(p)]
    if signature.number() != kind or q >= 2**height:
        return False
    path = [signature.take(32) for _ in range(height)]
    leaf = ident + big(q, 32)
    digest = sha256(leaf + big(0x8181, 16) + randomizer + message).digest()

    def coefficients(data: bytes) -> list[int]:
        bits = "".join(format(byte, "08b") for byte in data)
        return [int(bits[i : i + w], 2) for i in range(0, len(bits), w)]

    digits = coefficients(digest)
    checksum = sum(2**w - 1 - digit for digit in digits) << ls
    digits = (digits + coefficients(big(checksum, 16)))[:p]
    ends = b""
    for i, (value, digit) in enumerate(zip(chains, digits, strict=True)):
        for j in range(digit, 2**w - 1):
            value = sha256(leaf + big(i, 16) + big(j, 8) + value).digest()
        ends += value
    node = 2**height + q
    value = sha256(ident + big(node, 32) + big(0x8282, 16) + sha256(leaf + big(0x8080, 16) + ends).digest()).digest()
    for other in path:
        pair = other + value if node % 2 else value + other
        node //= 2
        value = sha256(ident + big(node, 32) + big(0x8383, 16) + pair).digest()
    return value == root


def hss_good(public: bytes, message: bytes, signature: bytes) -> bool:
    """Section 6.3; bytes of any kind give an answer."""
    levels = int.from_bytes(public[:4], "big")
    left = Reader(signature)
    try:
        if len(public) != 60 or left.number() != levels - 1 or not 1 <= levels <= 8:
            return False
        key = public[4:]
        for _ in range(levels - 1):
            here = left.data
            # The signed public key stands behind its signature, whose length its own types tell.
            ots, kind = int.from_bytes(here[4:8], "big"), int.from_bytes(key[:4], "big")
            if ots not in OTS or kind not in LMS:
                return False
            size = 4 + 4 + 32 + 32 * OTS[ots][1] + 4 + 32 * LMS[kind]
            signed = here[size : size + 56]
            if not lms_good(key, signed, left) or left.take(56) != signed:
                return False
            key = signed
        return lms_good(key, message, left) and not left.data
    except Refused:
        return False
